"""Reads workers from their own endpoints: `/healthz`, `/readyz` and `/metrics`."""

import asyncio
import math
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from workers import clock
from workers.domain.text import clean
from workers.errors import plain_name
from workers.operations.errors import OperationError
from workers.operations.status import ServiceState, ServiceStatus, WorkerState, WorkerStatus
from workers.service_calls import PROVIDER

ANSWER_S = 2.0
# A worker handles or receives nothing while one of these stages fails. What the others fail at is tried again later.
HOLDING_STAGES = ("start", "poll", "downstream", "log_output")
_FAILED_RELEASES = {"transient", "unexpected_error", "timed_out"}
_OK = 200
_MAX_PROBLEM_CHARS = 300
_SECRETS = re.compile(r"(?<=//)[^/@]*(?=@)|(?<=[?#]).*", re.DOTALL)  # Of a URL: user and password, query and fragment.
# The labels that a worker gives to these metrics.
_LABELS = {
    "workers_outage_seconds": {"stage"},
    "workers_messages_settled_total": {"ending", "outcome"},
    "workers_service_up": {"service"},
    "workers_service_last_error_timestamp_seconds": {"service", "reason"},
}

Fetch = Callable[[str], Awaitable[tuple[int, str]]]
"""Requests a URL; returns the status and the text of the response. Raises `OSError`; `TimeoutError` is one."""

Values = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
"""The samples of `/metrics`, by name: their labels and values."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a worker serves its endpoints: a URL without a path."""

    worker: str
    url: str


@dataclass(frozen=True, slots=True)
class Sample:
    """
    What a worker said at *at_s*, in seconds since the epoch.

    If it said nothing, `problem` says why, and `is_running` is False if nothing listens there, None if that is unknown.
    """

    endpoint: Endpoint
    at_s: float
    values: Values
    unhealthy: str | None = None
    unready: str | None = None
    is_running: bool | None = True
    problem: str | None = None

    @property
    def worker_name(self) -> str:
        """What the worker calls itself; if it has not said that, as it is called on the command line."""
        return _label(self.values, "workers_info", "worker") or self.endpoint.worker.partition("-")[0]


def parse_endpoint(text: str) -> Endpoint:
    """
    Return the endpoint that `fulfillment=http://127.0.0.1:8081` names: the worker is ours or your own.

    Raises:
        ValueError: It is not a name and an address.
    """
    worker, _, url = text.partition("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", worker) or not _is_base_url(url):
        raise ValueError(
            f"{_SECRETS.sub('***', text)!r} must be a worker and the address of its health port, such as "
            "fulfillment=http://127.0.0.1:8081, escalation-2=http://10.0.0.7:8080 or Returns=http://10.0.0.8:8080"
        )
    return Endpoint(worker, url.rstrip("/"))


def _is_base_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return valid and url.path in {"", "/"} and not (url.query or url.fragment or url.username)


async def sample(endpoint: Endpoint, fetch: Fetch, now_s: Callable[[], float]) -> Sample:
    """Ask a worker."""
    try:
        health, ready, metrics = await asyncio.gather(
            *(fetch(f"{endpoint.url}{path}") for path in ("/healthz", "/readyz", "/metrics"))
        )
        values = _parsed(endpoint, *metrics)
    except TimeoutError:
        problem = f"{endpoint.url} did not answer within {ANSWER_S:g} s"
        return Sample(endpoint, now_s(), {}, is_running=None, problem=problem)
    except ConnectionRefusedError:
        return Sample(endpoint, now_s(), {}, is_running=False, problem=f"nothing listens at {endpoint.url}")
    except OSError as error:
        problem = f"{endpoint.url} cannot be read: {error.strerror or plain_name(error)}"
        return Sample(endpoint, now_s(), {}, is_running=None, problem=problem)
    except OperationError as error:
        return Sample(endpoint, now_s(), {}, is_running=None, problem=str(error))
    return Sample(endpoint, now_s(), values, _problem(health), _problem(ready))


def _problem(answer: tuple[int, str]) -> str | None:
    return None if answer[0] == _OK else clean(answer[1].strip())[:_MAX_PROBLEM_CHARS]


def _parsed(endpoint: Endpoint, code: int, text: str) -> Values:
    """
    Return the samples in an answer.

    Raises:
        OperationError: It is not the answer of a worker.
    """
    if code != _OK:
        raise OperationError(f"{endpoint.url} is not a worker: /metrics answers with {code}")
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - few commands need it.

    values = defaultdict[str, list[tuple[Mapping[str, str], float]]](list)
    try:
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                if not math.isinf(each.value):
                    values[each.name].append((each.labels, each.value))
    except Exception:  # noqa: BLE001 - the parser fails in many ways at what is not for it.
        raise OperationError(f"{endpoint.url} is not a worker: its metrics cannot be read") from None
    if "workers_messages_received_total" not in values or any(
        not wanted <= labels.keys() for name, wanted in _LABELS.items() for labels, _ in values.get(name, ())
    ):
        raise OperationError(f"{endpoint.url} is not a worker: its metrics are not those of a worker")
    worker = _label(values, "workers_info", "worker")
    if worker is not None and not f"{endpoint.worker}-".startswith(f"{worker}-"):
        raise OperationError(f"{endpoint.url} is the {worker} worker")
    return values


def worker_status(now: Sample, before: Sample | None) -> WorkerStatus:
    """Return the status of a worker. Its speed is that since *before*; None if that is unknown."""
    name = now.endpoint.worker
    if now.is_running is not True:
        state = WorkerState.UNKNOWN if now.is_running is None else WorkerState.NOT_RUNNING
        return WorkerStatus(
            worker=name, state=state, running=None if now.is_running is None else 0, problem=now.problem
        )
    values = now.values
    stage, lasted_s = _longest(values)
    return WorkerStatus(
        worker=name,
        state=_state(now),
        running=1,
        problem=now.unhealthy or now.unready,
        last_poll_at=_time(_value(values, "workers_last_poll_timestamp_seconds")),
        messages_per_second=_speed(now, before),
        failures=_failures(values),
        failures_since_at=_time(_value(values, "workers_start_timestamp_seconds")),
        held=None if "workers_outage_seconds" not in values else stage is not None,
        held_by=stage,
        held_since_at=None if stage is None else clock.rfc_3339(now.at_s - lasted_s),
        held_reason=_label(values, "workers_outage_reason", "reason", stage=stage),
        release=_label(values, "workers_info", "release"),
    )


def _state(now: Sample) -> WorkerState:
    if now.unhealthy is not None:
        return WorkerState.UNHEALTHY
    return {"waiting for AWS": WorkerState.STARTING, "stopping": WorkerState.STOPPING}.get(
        now.unready or "", WorkerState.RUNNING
    )


def _longest(values: Values) -> tuple[str | None, float]:
    """Return the stage that holds messages for the longest time, and for how long."""
    outages = [
        (lasted_s, labels["stage"])
        for labels, lasted_s in values.get("workers_outage_seconds", ())
        if lasted_s > 0 and labels["stage"] in HOLDING_STAGES
    ]
    lasted_s, stage = max(outages, default=(0.0, None))
    return stage, lasted_s


def _failures(values: Values) -> int:
    """Return how many deliveries have failed."""
    return round(
        sum(
            count
            for labels, count in _counts(values)
            if labels["ending"] in {"message.dead_lettered", "message.abandoned"}
            or labels["outcome"] in _FAILED_RELEASES
        )
    )


def _speed(now: Sample, before: Sample | None) -> float | None:
    if before is None or before.is_running is not True or now.at_s <= before.at_s:
        return None
    settled = _settled(now.values) - _settled(before.values)
    # Fewer than before: it was started again.
    return None if settled < 0 else round(settled / (now.at_s - before.at_s), 3)


def _settled(values: Values) -> float:
    return sum(count for _, count in _counts(values))


def _counts(values: Values) -> Iterator[tuple[Mapping[str, str], float]]:
    settled = values.get("workers_messages_settled_total", ())
    return ((labels, count) for labels, count in settled if math.isfinite(count))


def service_statuses(samples: Iterable[Sample]) -> list[ServiceStatus]:
    """Return the services that workers use. If several workers use one, the one that says it is down counts."""
    found: dict[str, ServiceStatus] = {}
    for each in samples:
        for labels, up in each.values.get("workers_service_up", ()):
            status = _service(each.values, labels["service"], up)
            if status.service not in found or status.state is ServiceState.DOWN:
                found[status.service] = status
    return [found[name] for name in sorted(found, key=lambda name: (name != PROVIDER, name))]


def _service(values: Values, name: str, up: float) -> ServiceStatus:
    error = next(
        (
            (labels["reason"], at_s)
            for labels, at_s in values.get("workers_service_last_error_timestamp_seconds", ())
            if labels["service"] == name
        ),
        None,
    )
    state = ServiceState.NOT_CALLED if math.isnan(up) else ServiceState.UP if up else ServiceState.DOWN
    return ServiceStatus(
        service=clean(name),
        state=state,
        down_since_at=_time(_value(values, "workers_service_down_since_timestamp_seconds", service=name)),
        last_success_at=_time(_value(values, "workers_service_last_success_timestamp_seconds", service=name)),
        last_error=None if error is None else clean(error[0]),
        last_error_at=None if error is None else _time(error[1]),
    )


def _value(values: Values, name: str, **wanted: str) -> float | None:
    return next(
        (value for labels, value in values.get(name, ()) if wanted.items() <= labels.items() and math.isfinite(value)),
        None,
    )


def _label(values: Values, name: str, label: str, **wanted: str | None) -> str | None:
    for labels, _ in values.get(name, ()):
        if wanted.items() <= labels.items():
            return clean(labels.get(label, "")) or None
    return None


def _time(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else clock.rfc_3339(epoch_s)
