"""What disturbs the system now: what is down, held or paused, since when, and what waits because of it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from workers.domain.reasons import Reason
from workers.operations.status import QueueStatus, ServiceState, Status, WorkerState, WorkerStatus
from workers.operations.status_ecs import WORKERS
from workers.operations.stuck import Deferred
from workers.service_calls import PROVIDER

if TYPE_CHECKING:
    from workers.operations.sweep import Sweep


class Kind(StrEnum):
    """What is disturbed; a page shows each kind with a link of its own."""

    WORKER = "worker"
    SERVICE = "service"
    PAUSE = "pause"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """
    One thing that is not as it should be. *since_at* is None if that is unknown.

    *reason* is what others said, such as an error. *held* says what waits because of it; None if nothing is known to.
    """

    kind: Kind
    text: str
    since_at: str | None = None
    reason: str | None = None
    held: str | None = None


def disturbances(status: Status, sweep: "Sweep | None" = None) -> Sequence[Disturbance]:
    """Return what disturbs the system now. *sweep* is the last sweep of stuck orders, if it is known."""
    return [*_services(status), *_workers(status), *_pauses(status.queues), *_sweep(status, sweep)]


def _services(status: Status) -> Iterator[Disturbance]:
    of_worker = dict(zip(WORKERS, status.queues, strict=False))
    for service in status.services:
        if service.state is not ServiceState.DOWN:
            continue
        is_provider = service.service == PROVIDER
        held = _waiting(of_worker.get(WORKERS[0])) if is_provider else f"notifications through {service.service} wait"
        yield Disturbance(
            kind=Kind.SERVICE,
            text=f"The {service.service} is down",
            since_at=service.down_since_at,
            reason=service.last_error,
            held=held,
        )


def _workers(status: Status) -> Iterator[Disturbance]:
    said = {service.last_error for service in status.services if service.state is ServiceState.DOWN}
    for worker, queue in _with_queues(status.workers, status.queues):
        if worker.state in (WorkerState.NOT_RUNNING, WorkerState.UNHEALTHY):
            yield Disturbance(
                kind=Kind.WORKER,
                text=f"The {worker.worker} worker is {worker.state}",
                reason=worker.problem,
                held=_waiting(queue),
            )
        elif worker.held and (worker.held_reason is None or worker.held_reason not in said):
            yield Disturbance(
                kind=Kind.WORKER,
                text=f"The {worker.worker} worker is held by an outage ({worker.held_by})",
                since_at=worker.held_since_at,
                reason=worker.held_reason,
                held=_waiting(queue),
            )


def _with_queues(
    workers: Iterable[WorkerStatus], queues: Sequence[QueueStatus]
) -> Iterator[tuple[WorkerStatus, QueueStatus | None]]:
    known = dict(zip(WORKERS, queues, strict=False))
    for worker in workers:
        yield worker, known.get(worker.worker.partition("-")[0])


def _pauses(queues: Iterable[QueueStatus]) -> Iterator[Disturbance]:
    for queue in queues:
        if queue.paused:
            yield Disturbance(
                kind=Kind.PAUSE,
                text=f"{queue.queue} is paused by {queue.paused_by or 'an unknown person'}",
                since_at=queue.paused_since_at,
                reason=queue.paused_note,
                held=_waiting(queue),
            )


def _waiting(queue: QueueStatus | None) -> str | None:
    number = None if queue is None else queue.messages
    if queue is None or not number:
        return None
    return f"{number:,} {'message waits' if number == 1 else 'messages wait'} in {queue.queue}"


def _sweep(status: Status, sweep: "Sweep | None") -> Iterator[Disturbance]:
    """Yield what the sweep has found, while a case about it is open, and a sweep that could not look."""
    counts = [count for count in status.cases if count.reason == Reason.ORDER_STUCK]
    stuck = sum(count.cases for count in counts)
    if stuck:
        yield Disturbance(
            kind=Kind.SWEEP,
            text=f"{stuck:,} {'order was stuck and has' if stuck == 1 else 'orders were stuck and have'} an open case",
            since_at=min(count.oldest_at for count in counts),
            reason=Reason.ORDER_STUCK,
        )
    if sweep is None or sweep.is_running or sweep.has_looked:
        return
    if sweep.deferred is None:
        text = f"The last sweep of stuck orders has ended as {sweep.status}"
        yield Disturbance(kind=Kind.SWEEP, text=text, since_at=sweep.ended_at, reason=sweep.error)
    elif sweep.deferred in set(Deferred) and Deferred(sweep.deferred) is Deferred.PENDING:
        text = "The sweep of stuck orders does not escalate yet"
        explanation = Deferred(sweep.deferred).explanation
        yield Disturbance(kind=Kind.SWEEP, text=text, since_at=sweep.ended_at, reason=explanation)
