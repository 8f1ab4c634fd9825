"""A worker's Prometheus metrics, and its outages. A gauge shows them; a prolonged one is logged every minute."""

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Iterable
from contextvars import copy_context
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from workers.service_calls import Services
from workers.tallies import Distribution, Tally

log = structlog.get_logger(__name__)

PROLONGED_AFTER_S = 300.0  # AWS's deployments, throttling and failovers are over sooner.
LOGGED_EVERY_S = 60.0
_HANDLE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
_AGE_BUCKETS_S = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 10 * 24 * 3600)


@dataclass(slots=True)
class _Failing:
    since_s: float
    last_s: float
    reason: str


class StageOutage:
    """
    How long a stage has been failing.

    Failures with the same `key` form a row. A stage may have several rows at a time: one batch may keep failing while
    others of the same stage succeed. The outage has lasted as long as the longest row.

    `fresh_s` is for stages that may not try again after a failure, so that nothing shows that the outage is over. Then
    a row lasts only until its last failure, and does not count if that was more than `fresh_s` seconds ago.

    Once a row is `prolonged_after_s` seconds old, `outage.prolonged` is logged every minute until the row ends.
    """

    def __init__(
        self, stage: str, *, prolonged_after_s: float, logged_every_s: float, fresh_s: float, **fields: str
    ) -> None:
        self.stage = stage
        self._prolonged_after_s = prolonged_after_s
        self._logged_every_s = logged_every_s
        self._fresh_s = fresh_s
        self._fields = fields
        self._rows: dict[Hashable, _Failing] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._context = copy_context()  # Not the context of a failure: the log line is not about a single message.

    def failed(self, reason: str, key: Hashable = None) -> None:
        """Record a failure, which begins or continues a row."""
        now_s = asyncio.get_running_loop().time()
        row = self._rows.get(key)
        if row is None or now_s - row.last_s > self._fresh_s:
            self._rows[key] = _Failing(now_s, now_s, reason)
        else:
            row.last_s, row.reason = now_s, reason
        if self._timer is None:
            self._report_in(self._prolonged_after_s)

    def ended(self, key: Hashable = None) -> None:
        """End a row, if there is one."""
        self._rows.pop(key, None)
        if not self._rows and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def duration_s(self) -> float:
        """How long the longest row has lasted; 0 if there is no outage."""
        longest = self._longest()
        return 0.0 if longest is None else self._lasted_s(longest)

    @property
    def reason(self) -> str | None:
        """The last failure of the longest row; None if there is no outage."""
        longest = self._longest()
        return None if longest is None else longest.reason

    @property
    def is_prolonged(self) -> bool:
        return bool(self._rows) and self.duration_s >= self._prolonged_after_s

    def _longest(self) -> _Failing | None:
        if not self._rows:
            return None
        fresh_since_s = asyncio.get_running_loop().time() - self._fresh_s
        fresh = (row for row in self._rows.values() if row.last_s >= fresh_since_s)
        return max(fresh, key=self._lasted_s, default=None)

    def _lasted_s(self, row: _Failing) -> float:
        until_s = asyncio.get_running_loop().time() if math.isinf(self._fresh_s) else row.last_s
        return until_s - row.since_s

    def _report_in(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._report, context=self._context)

    def _report(self) -> None:
        longest, duration_s = self._longest(), self.duration_s
        if longest is None or duration_s < self._prolonged_after_s:
            self._report_in(min(self._prolonged_after_s - duration_s, self._logged_every_s))
            return
        log.error(
            "outage.prolonged",
            stage=self.stage,
            reason=longest.reason,
            duration_ms=round(duration_s * 1000),
            **self._fields,
        )
        self._report_in(self._logged_every_s)


@dataclass(slots=True)
class Outages:
    """The outages of one worker. Stages with the same name share one value of the gauge: their longest outage."""

    registry: CollectorRegistry
    mask: Callable[[str], str] = str
    prolonged_after_s: float = PROLONGED_AFTER_S
    logged_every_s: float = LOGGED_EVERY_S
    _gauge: Gauge = field(init=False)
    _stages: list[StageOutage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._gauge = Gauge(
            "workers_outage_seconds",
            "Duration of the current outage of each stage; 0 if there is none.",
            ["stage"],
            registry=self.registry,
        )
        self.registry.register(_Reasons(self))

    def stage(self, name: str, *, fresh_s: float = math.inf, **fields: str) -> StageOutage:
        """Add a stage, or another part of one, and return its outage. *fields* are added to its log lines."""
        stage = StageOutage(
            name,
            prolonged_after_s=self.prolonged_after_s,
            logged_every_s=self.logged_every_s,
            fresh_s=fresh_s,
            **fields,
        )
        self._stages.append(stage)
        self._gauge.labels(name).set_function(lambda: self.duration_s(name))
        return stage

    def duration_s(self, name: str) -> float:
        """Return how long the outage of the stage called *name* has lasted; 0 if there is none."""
        return max((stage.duration_s for stage in self._stages if stage.stage == name), default=0.0)

    def reasons(self) -> dict[str, str]:
        """Return the last failure of each stage that has an outage."""
        longest: dict[str, StageOutage] = {}
        for stage in self._stages:
            if stage.reason is not None and (
                stage.stage not in longest or stage.duration_s > longest[stage.stage].duration_s
            ):
                longest[stage.stage] = stage
        return {name: self.mask(stage.reason or "") for name, stage in longest.items()}

    def problem(self) -> str | None:
        """Return which stages have a prolonged outage, and for how long; None if none has."""
        names = dict.fromkeys(stage.stage for stage in self._stages if stage.is_prolonged)
        return ", ".join(f"{name} has failed for {self.duration_s(name):.0f} s" for name in names) or None


class _Reasons(Collector):
    """Why each stage that has an outage fails."""

    def __init__(self, outages: Outages) -> None:
        self._outages = outages

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "workers_outage_reason",
            "1 for each stage that has an outage, with its last failure.",
            labels=["stage", "reason"],
        )
        for stage, reason in self._outages.reasons().items():
            family.add_metric([stage, reason], 1)
        yield family

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Without it, registering would call `collect`, which needs a running event loop."""
        return ()


class Metrics:
    """The metrics of one worker, in their own registry, and its outages."""

    def __init__(
        self,
        *,
        mask: Callable[[str], str] = str,
        prolonged_after_s: float = PROLONGED_AFTER_S,
        prolonged_every_s: float = LOGGED_EVERY_S,
    ) -> None:
        """*mask* hides card numbers in the texts of errors, which are labels."""
        self.registry = CollectorRegistry()
        self.outages = Outages(self.registry, mask, prolonged_after_s, prolonged_every_s)
        self.services = Services(self.registry, mask)
        self._add_process()
        self._add_messages()
        self._add_event_loop()

    def _add_process(self) -> None:
        self._polled_at_s = math.nan
        Gauge(
            "workers_last_poll_timestamp_seconds",
            "When SQS last answered a receive; NaN before the first answer.",
            registry=self.registry,
        ).set_function(lambda: self._polled_at_s)
        Gauge(
            "workers_start_timestamp_seconds", "When the process began its work.", registry=self.registry
        ).set_to_current_time()
        self._info = Gauge(
            "workers_info",
            "1, with the worker, its queue and its release.",
            ["worker", "queue", "release"],
            registry=self.registry,
        )

    def _add_messages(self) -> None:
        self.received = Tally("workers_messages_received", "Messages received.", self.registry)
        self.settled = Tally(
            "workers_messages_settled",
            "Messages that ended, by last log line and outcome.",
            self.registry,
            labels=["ending", "outcome"],
        )
        self.in_flight = Gauge(
            "workers_messages_in_flight", "Messages received that have not ended.", registry=self.registry
        )
        self.paused = Gauge(
            "workers_paused", "1 while a person has paused the queue: nothing is received.", registry=self.registry
        )
        self.rate_limit = Gauge(
            "workers_rate_limit", "Messages that may begin a second; +Inf without a limit.", registry=self.registry
        )
        self.rate_limit.set(math.inf)
        self.handle_s = Distribution(
            "workers_handle_seconds",
            "Duration of each call of the handler.",
            self.registry,
            bounds=_HANDLE_BUCKETS_S,
        )
        self.age_s = Distribution(
            "workers_message_age_seconds",
            "Age of each message when it was received.",
            self.registry,
            bounds=_AGE_BUCKETS_S,
        )
        self.requests = Counter(
            "workers_aws_requests",
            "Calls to AWS, by action and result: ok, an error code, or the name of a network error.",
            ["action", "result"],
            registry=self.registry,
        )
        self.notifications = Counter(
            "workers_notifications",
            "Notifications of escalations, by channel and result: sent, failed, refused, deferred (paused), given_up.",
            ["channel", "result"],
            registry=self.registry,
        )

    def _add_event_loop(self) -> None:
        self._tasks = Gauge("workers_tasks", "Tasks of the event loop.", registry=self.registry)
        self.loop_blocked_s = Counter(
            "workers_event_loop_blocked_seconds",
            "Seconds for which code blocked the event loop, in blocks of more than a second.",
            registry=self.registry,
        )
        self.log_lines_dropped = Counter(
            "workers_log_lines_dropped",
            "Log lines of DEBUG and INFO that were dropped because standard output took no more.",
            registry=self.registry,
        )

    def count_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `workers_tasks` be the number of *loop*'s tasks."""
        self._tasks.set_function(lambda: len(asyncio.all_tasks(loop)))

    def describe(self, worker: str, queue: str, release: str | None) -> None:
        """Say which worker's these metrics are."""
        self._info.labels(worker, queue, release or "").set(1)

    def polled(self) -> None:
        """Record that SQS has answered a receive."""
        self._polled_at_s = time.time()
