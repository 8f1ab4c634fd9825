"""What needs a person now, each with the command to run next."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from workers.domain.orders import OrderStatus
from workers.domain.reasons import Severity
from workers.operations.ages import format_age, seconds_since
from workers.operations.status import (
    Need,
    OrderCount,
    QueueStatus,
    ServiceState,
    ServiceStatus,
    SeverityCount,
    WorkerState,
    WorkerStatus,
)
from workers.operations.status_ecs import WORKERS, cluster, log_group
from workers.operations.stuck import DEFAULT_LIMIT

TOO_OLD_S = 900.0  # Of a message or an order that workers should handle. They take seconds.
PROLONGED_S = 300.0  # As in `workers.metrics`: AWS's deployments, throttling and failovers are over sooner.
_WATCH = "orders status --watch"


def needs(
    now: datetime,
    *,
    prefix: str | None,
    workers: Sequence[WorkerStatus],
    services: Iterable[ServiceStatus],
    queues: Sequence[QueueStatus],
    orders: Iterable[OrderCount],
    severities: Sequence[SeverityCount],
    open_cases: int | None,
) -> list[Need]:
    """Return what needs a person, the most urgent first. *prefix* is that of the workers' stack; None: none on ECS."""
    return [
        *_of_workers(now, workers, prefix),
        *_of_services(now, services, {worker.held_reason for worker in workers if worker.held}),
        *_of_cases(now, severities, open_cases),
        *_of_queues(now, queues),
        *_of_orders(now, orders, max((queue.oldest_s or 0 for queue in queues), default=0)),
    ]


def _of_workers(now: datetime, workers: Iterable[WorkerStatus], prefix: str | None) -> Iterator[Need]:
    for worker in workers:
        name = worker.worker
        if worker.state in (WorkerState.NOT_RUNNING, WorkerState.UNHEALTHY):
            problem = f": {worker.problem}" if worker.problem else ""
            if prefix is None:
                ours = name.partition("-")[0]
                command = f"python -m workers {ours if ours in WORKERS else 'run HANDLER --queue QUEUE'}"
            else:
                command = f"aws ecs describe-services --cluster {cluster(prefix)} --services {name}"
            yield Need(text=f"the {name} worker is {worker.state}{problem}", command=command)
        if worker.state is WorkerState.UNKNOWN and worker.problem:  # It hangs, for example.
            yield Need(text=f"the {name} worker does not say how it is: {worker.problem}", command=_WATCH)
        held_s = seconds_since(worker.held_since_at, now)
        if worker.held and held_s is not None and held_s >= PROLONGED_S:
            reason = f": {worker.held_reason}" if worker.held_reason else ""
            command = _WATCH
            if prefix is not None and name in WORKERS:
                command = f"aws logs tail {log_group(prefix, name)} --since 15m"
            yield Need(
                text=f"the {name} worker is held by an outage for {format_age(held_s)} ({worker.held_by}{reason})",
                command=command,
            )


def _of_services(now: datetime, services: Iterable[ServiceStatus], said: Collection[str | None]) -> Iterator[Need]:
    for service in services:
        if service.last_error in said:  # Of the worker that it holds.
            continue
        down_s = seconds_since(service.down_since_at, now)
        if service.state is ServiceState.DOWN and down_s is not None and down_s >= PROLONGED_S:
            reason = f": {service.last_error}" if service.last_error else ""
            yield Need(text=f"the {service.service} is down for {format_age(down_s)}{reason}", command=_WATCH)


def _of_cases(now: datetime, severities: Sequence[SeverityCount], open_cases: int | None) -> Iterator[Need]:
    if open_cases and not severities:  # They could not be read in time.
        yield Need(text=f"{open_cases:,} cases are open", command="orders escalations list")
    order = [str(severity) for severity in reversed(Severity)]
    for count in sorted(severities, key=lambda count: order.index(count.severity)):
        age = format_age(seconds_since(count.oldest_at, now))
        one = count.cases == 1
        yield Need(
            text=f"{count.cases:,} {count.severity} {'case is' if one else 'cases are'} open, "
            f"{'for' if one else 'the oldest for'} {age}",
            command=f"orders escalations list --severity {count.severity}",
        )


def _of_queues(now: datetime, queues: Iterable[QueueStatus]) -> Iterator[Need]:
    for name, queue in zip(WORKERS, queues, strict=True):
        if queue.dead_letters:
            one = queue.dead_letters == 1
            yield Need(
                text=f"{queue.dead_letters:,} dead {'letter is' if one else 'letters are'} in "
                f"{queue.dead_letter_queue}",
                command=f"orders dead-letters list {name}",
            )
        if queue.paused:  # It explains why its messages are old.
            yield from _of_pause(now, name, queue)
        elif queue.oldest_s is not None and queue.oldest_s >= TOO_OLD_S:
            yield Need(
                text=f"the oldest message of {queue.queue} is {format_age(queue.oldest_s)} old", command="orders queues"
            )


def _of_pause(now: datetime, name: str, queue: QueueStatus) -> Iterator[Need]:
    """Yield a pause that has lasted for long: it may have been forgotten."""
    paused_s = seconds_since(queue.paused_since_at, now)
    if paused_s is None or paused_s >= TOO_OLD_S:
        since = "" if paused_s is None else f" for {format_age(paused_s)}"
        yield Need(
            text=f"{queue.queue} is paused{since} by {queue.paused_by or 'an unknown person'}: "
            f"{queue.paused_note or 'no reason given'}",
            command=f"orders workers resume {name}",
        )


def _of_orders(now: datetime, orders: Iterable[OrderCount], oldest_message_s: float) -> Iterator[Need]:
    for count in orders:
        age_s = seconds_since(count.oldest_at, now)
        if age_s is None:
            continue
        if count.status == OrderStatus.RECEIVED and age_s >= DEFAULT_LIMIT.total_seconds() + oldest_message_s:
            text = f"the oldest {count.status} order waits for {format_age(age_s)}, and may be stuck"
            yield Need(text=text, command="orders list --stuck")
        elif age_s >= TOO_OLD_S:
            yield Need(
                text=f"the oldest {count.status} order waits for {format_age(age_s)}",
                command=f"orders list --status {count.status} --older-than {format_age(TOO_OLD_S)}",
            )
