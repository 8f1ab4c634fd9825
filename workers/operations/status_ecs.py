"""What ECS and the log lines say about the workers that deploy/workers.yaml runs."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.errors import error_code
from workers.domain.text import clean
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import ClientError
from workers.operations.status import ServiceState, ServiceStatus
from workers.operations.status_endpoints import HOLDING_STAGES
from workers.service_calls import PROVIDER, channel_service

if TYPE_CHECKING:
    from workers.operations.stack import Stack

QUEUE = "OrderFulfillmentQueue"
WORKERS = ("fulfillment", "escalation")
_NO_CLUSTER = "ClusterNotFoundException"
_MAX_SERVICES, _BATCH = 100, 10  # AWS lists at most 100 services in an answer, and describes at most 10.
LINES_WINDOW = timedelta(minutes=15)
_FRESH = timedelta(minutes=6)  # A stage that fails logs that again after five minutes at the latest.
_EVENTS = (
    "outage.prolonged",
    *(f"{stage}.{what}" for stage in ("poll", "downstream", "channel") for what in ("failed", "recovered")),
)
_PATTERN = "{ " + " || ".join(f'$.event = "{event}"' for event in _EVENTS) + " }"
_OF_PROVIDER = re.compile(r"(?:the|this) provider")


def prefix_of(queue: str) -> str | None:
    """Return the prefix of the stack's names; None if the fulfillment queue is not named as in a stack."""
    return queue.removesuffix(QUEUE) if queue.endswith(QUEUE) else None


def cluster(prefix: str) -> str:
    return f"{prefix}order-fulfillment"


def log_group(prefix: str, worker: str) -> str:
    return f"/ecs/{cluster(prefix)}/{worker}"


@dataclass(frozen=True, slots=True)
class Service:
    """A service of ECS: how many of its tasks run, and the release in its task definition."""

    worker: str
    running: int
    desired: int
    pending: int
    release: str | None


@dataclass(frozen=True, slots=True)
class _Task:
    """What matters of a task definition."""

    release: str | None
    is_own: bool  # It runs a worker of your own.


class Services:
    """Reads the services. A task definition never changes, so it is read once."""

    def __init__(self, stack: "Stack", prefix: str) -> None:
        self._stack = stack
        self._prefix = prefix
        self._tasks: dict[str, _Task] = {}

    async def read(self) -> dict[str, Service]:
        """
        Return the services of our workers that exist, by worker.

        Raises:
            OperationError: There is no cluster.
        """
        name = cluster(self._prefix)
        try:
            found = await self._described(WORKERS)
        except ClientError as error:
            if error_code(error) == _NO_CLUSTER:
                raise OperationError(
                    f"there is no cluster {name} on ECS, and WORKER_HEALTH_URLS does not say where workers run"
                ) from None
            raise
        return {service.worker: service for service, _ in found}

    async def read_own(self) -> dict[str, Service]:
        """
        Return the services in the cluster that run workers of your own, by worker; none if there is no cluster.

        Raises:
            OperationError: They are too many to look at.
        """
        name = cluster(self._prefix)
        try:
            answer = await self._stack.ecs.call("list_services", cluster=name, maxResults=_MAX_SERVICES)
        except ClientError as error:
            if error_code(error) == _NO_CLUSTER:
                return {}
            raise
        if "nextToken" in answer:
            raise OperationError(f"the cluster {name} has more than {_MAX_SERVICES} services")
        others = sorted({arn.rpartition("/")[2] for arn in answer["serviceArns"]} - {*WORKERS})
        batches = (others[first : first + _BATCH] for first in range(0, len(others), _BATCH))
        found = await asyncio.gather(*(self._described(batch) for batch in batches))
        return {service.worker: service for batch in found for service, task in batch if task.is_own}

    async def _described(self, names: Sequence[str]) -> list[tuple[Service, _Task]]:
        answer = await self._stack.ecs.call("describe_services", cluster=cluster(self._prefix), services=list(names))
        found = [each for each in answer["services"] if each.get("status") != "INACTIVE"]
        tasks = await asyncio.gather(*(self._task(each["taskDefinition"]) for each in found))
        return [
            (
                Service(
                    clean(each["serviceName"]),
                    each["runningCount"],
                    each["desiredCount"],
                    each["pendingCount"],
                    task.release,
                ),
                task,
            )
            for each, task in zip(found, tasks, strict=True)
        ]

    async def _task(self, task_definition: str) -> _Task:
        if task_definition not in self._tasks:
            answer = await self._stack.ecs.call("describe_task_definition", taskDefinition=task_definition)
            containers = answer["taskDefinition"]["containerDefinitions"]
            values = [each["value"] for one in containers for each in one.get("environment", ()) if _is_release(each)]
            self._tasks[task_definition] = _Task(
                release=clean(values[0]) if values and values[0] else None,
                is_own=any(_runs_own(one.get("command", ())) for one in containers),
            )
        return self._tasks[task_definition]


def _is_release(variable: Mapping[str, str]) -> bool:
    return variable["name"] == "WORKER_RELEASE"


def _runs_own(command: Sequence[str]) -> bool:
    """Return whether this is `run HANDLER --queue QUEUE`, as in deploy/own-worker.yaml."""
    return "run" in command and any(each.partition("=")[0] == "--queue" for each in command)


@dataclass(frozen=True, slots=True)
class Outage:
    """What the lines of one task say about a stage, or about a channel: it has failed, or it works again."""

    stage: str
    channel: str | None
    failing: bool
    since_at: str | None
    at: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Outages:
    """The newest state of each stage of each task, from the lines of the last fifteen minutes."""

    newest: Sequence[Outage] = field(default_factory=tuple)

    def holding(self, now: datetime) -> Outage | None:
        """Return the longest outage that holds messages."""
        return _longest(each for each in self._known(now) if each.failing and _holds(each))

    def services(self, now: datetime) -> list[ServiceStatus]:
        """Return the provider and the channels that lines tell of."""
        found, known = [], self._known(now)
        provider = [each for each in known if each.stage == "downstream" and _OF_PROVIDER.search(each.reason or "")]
        names = {channel_service(each.channel): each.channel for each in known if each.channel is not None}
        by_service = {name: [each for each in known if each.channel == channel] for name, channel in names.items()}
        for name, lines in ({PROVIDER: provider} | by_service).items():
            failing = _longest(each for each in lines if each.failing)
            if failing is not None:
                found.append(
                    ServiceStatus(
                        service=clean(name),
                        state=ServiceState.DOWN,
                        down_since_at=failing.since_at,
                        last_error=failing.reason,
                        last_error_at=failing.at,
                    )
                )
            elif lines:
                found.append(ServiceStatus(service=clean(name), state=ServiceState.UP))
        return found

    def _known(self, now: datetime) -> list[Outage]:
        """Return the states that still hold. Without a new line about a failure, its task has ended."""
        fresh_since = clock.written(now - _FRESH)
        return [each for each in self.newest if not each.failing or each.at >= fresh_since]


def _holds(outage: Outage) -> bool:
    return outage.stage in HOLDING_STAGES


def _longest(outages: Iterable[Outage]) -> Outage | None:
    return min(outages, key=lambda outage: outage.since_at or outage.at, default=None)


async def read_outages(stack: "Stack", prefix: str, worker: str) -> Outages:
    """Read the lines about failing stages that the tasks of *worker* wrote lately."""
    since = stack.now() - LINES_WINDOW
    newest: dict[tuple[str, str, str | None], Outage] = {}
    request: dict[str, Any] = {
        "logGroupName": log_group(prefix, worker),
        "startTime": round(since.timestamp() * 1000),
        "filterPattern": _PATTERN,
    }
    while True:  # The newest lines, which count, come last.
        page = await _lines(stack, request)
        for event in page["events"]:
            with suppress(ValueError, KeyError, TypeError, AttributeError):  # Not a line of ours.
                outage = _outage(json.loads(event["message"]))
                key = event["logStreamName"], outage.stage, outage.channel
                newest[key] = _joined(newest.get(key), outage)
        if "nextToken" not in page:
            break
        request["nextToken"] = page["nextToken"]
    return Outages(list(newest.values()))


async def _lines(stack: "Stack", request: Mapping[str, Any]) -> Any:
    try:
        return await stack.logs.call("filter_log_events", **request)
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            raise OperationError(f"there is no log group {request['logGroupName']}") from None
        raise


def _outage(line: Mapping[str, Any]) -> Outage:
    stage, _, what = line["event"].rpartition(".")
    prolonged, at = stage == "outage", line["timestamp"]
    since_at = clock.earlier(at, line["duration_ms"] / 1000) if prolonged else at
    reason = line.get("reason")
    return Outage(
        stage=line["stage"] if prolonged else stage,
        channel=line.get("channel"),
        failing=what != "recovered",
        since_at=since_at,
        at=at,
        reason=None if reason is None else clean(reason),
    )


def _joined(before: Outage | None, now: Outage) -> Outage:
    """Return *now*, with what only the lines before say: since when it fails, and why."""
    if before is None or not before.failing:
        return now
    if not now.failing:
        return Outage(now.stage, now.channel, failing=False, since_at=None, at=now.at, reason=before.reason)
    since_at = min(filter(None, (before.since_at, now.since_at)))
    return Outage(now.stage, now.channel, failing=True, since_at=since_at, at=now.at, reason=now.reason)
