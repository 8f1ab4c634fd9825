"""
The state of the whole system at one moment, as plain values: `orders status` and the web console show it.

What is not known is None, and `Status.unknown` says why. Nothing here counts what it does not know as 0, or as fine.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class WorkerState(StrEnum):
    RUNNING = "running"
    STARTING = "starting"  # It waits for AWS, or ECS starts its tasks.
    STOPPING = "stopping"
    UNHEALTHY = "unhealthy"  # Only a restart helps.
    NOT_RUNNING = "not running"
    UNKNOWN = "unknown"


class ServiceState(StrEnum):
    UP = "up"
    DOWN = "down"
    NOT_CALLED = "not called"  # Not yet, since the worker's start.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """
    A worker process, or on ECS a service of them.

    `failures` are deliveries that failed since `failures_since_at`. It is held if it handles or receives nothing,
    because `held_by` (a stage) fails, since `held_since_at` at the latest.
    """

    worker: str
    state: WorkerState = WorkerState.UNKNOWN
    running: int | None = None
    desired: int | None = None
    problem: str | None = None
    last_poll_at: str | None = None
    messages_per_second: float | None = None
    failures: int | None = None
    failures_since_at: str | None = None
    held: bool | None = None
    held_by: str | None = None
    held_since_at: str | None = None
    held_reason: str | None = None
    release: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceStatus:
    """The provider, or a channel, as the calls of a worker have shown it."""

    service: str
    state: ServiceState = ServiceState.UNKNOWN
    down_since_at: str | None = None
    last_success_at: str | None = None
    last_error: str | None = None
    last_error_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """
    A queue. The numbers of messages are SQS's approximate ones.

    Of a `paused` queue, workers receive nothing, because a person wants that.
    `drained_per_second` is how fast it gets shorter; negative if it grows. At this rate, it is empty in `empty_in_s`.
    """

    queue: str
    depth: int | None = None
    in_flight: int | None = None
    delayed: int | None = None
    oldest_s: int | None = None
    drained_per_second: float | None = None
    empty_in_s: int | None = None
    dead_letter_queue: str | None = None
    dead_letters: int | None = None
    oldest_dead_letter_s: int | None = None
    paused: bool | None = None
    paused_since_at: str | None = None
    paused_by: str | None = None
    paused_note: str | None = None

    @property
    def messages(self) -> int | None:
        """All messages of the queue; None if their number is unknown."""
        if self.depth is None or self.in_flight is None or self.delayed is None:
            return None
        return self.depth + self.in_flight + self.delayed


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCount:
    """How many orders have a status; final ones only if they became final today (UTC). `at_least`: not all counted."""

    status: str
    orders: int | None = None
    at_least: bool = False
    today: bool = False
    oldest_at: str | None = None  # Only of RECEIVED orders.


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseCount:
    """How many open cases of a severity have a reason. A case counts for each of its reasons."""

    severity: str
    reason: str
    cases: int
    oldest_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that needs a person now, and the command to run next."""

    text: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What is not known, and why."""

    what: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeverityCount:
    """How many open cases there are of a severity; a case counts once."""

    severity: str
    cases: int
    oldest_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything at one moment. `open_cases` is None if the cases are unknown."""

    at: str
    needs: Sequence[Need] = ()
    workers: Sequence[WorkerStatus] = ()
    services: Sequence[ServiceStatus] = ()
    queues: Sequence[QueueStatus] = ()
    orders: Sequence[OrderCount] = ()
    open_cases: int | None = None
    severities: Sequence[SeverityCount] = ()
    cases: Sequence[CaseCount] = ()
    unknown: Sequence[Unknown] = ()


@dataclass(slots=True)
class Unknowns:
    """Collects what is unknown; each reason is said once."""

    _what: dict[str, list[str]] = field(default_factory=dict)

    def add(self, what: str, reason: str) -> None:
        known = self._what.setdefault(reason, [])
        if what not in known:
            known.append(what)

    def listed(self) -> list[Unknown]:
        """Return everything, sorted, whichever source was first."""
        found = [Unknown(what=tuple(sorted(what)), reason=reason) for reason, what in self._what.items()]
        return sorted(found, key=lambda unknown: unknown.what)
