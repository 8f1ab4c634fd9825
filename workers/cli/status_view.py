"""The screen of `orders status`, as lines."""

from collections.abc import Iterator, Sequence

from workers import clock
from workers.cli.tables import StyledLine, table_lines, wrapped_lines
from workers.domain.orders import OrderStatus
from workers.operations.ages import format_age, seconds_since
from workers.operations.queues import paused_text
from workers.operations.status import (
    OrderCount,
    QueueStatus,
    ServiceState,
    ServiceStatus,
    Status,
    WorkerState,
    WorkerStatus,
)

UNKNOWN = "unknown"


def screen(status: Status, width: int | None) -> Iterator[StyledLine]:
    """Yield the lines of the screen, for a terminal of *width* columns; None: for a pipe."""
    yield [(f"{clock.shown(status.at)} UTC", "dim")]
    yield []
    yield [("NEEDS A PERSON NOW", "bold")]
    yield from _needs(status, width)
    for section in (_workers, _services, _queues, _orders, _cases):
        yield []
        yield from section(status, width)
    if status.unknown:
        yield []
        yield [("UNKNOWN", "bold")]
        for unknown in status.unknown:
            yield from wrapped_lines(f"{', '.join(unknown.what)}: {unknown.reason}", width, "  - ")


def _needs(status: Status, width: int | None) -> Iterator[StyledLine]:
    for need in status.needs:
        yield from wrapped_lines(f"{need.text}: `{need.command}`", width, "  - ", "yellow")
    if not status.needs:
        known = "nothing, as far as is known" if status.unknown else "nothing"
        yield [("  ", ""), (known, "" if status.unknown else "green")]


def _workers(status: Status, width: int | None) -> Iterator[StyledLine]:
    headings = ["worker", "state", "tasks", "last poll", "messages/s", "failures", "held", "release"]
    rows = [_worker(worker, status.at) for worker in status.workers]
    problems = [None if worker.held else worker.problem for worker in status.workers]
    if any(problems):
        headings.append("problem")
        rows = [[*row, problem] for row, problem in zip(rows, problems, strict=True)]
    return table_lines(headings, rows, right=("tasks", "messages/s"), text=("held", "problem"), width=width)


def _worker(worker: WorkerStatus, now: str) -> list[object]:
    # A worker that does not run has no speed; one that does run, and is silent about it, has an unknown one.
    missing = "-" if worker.state is WorkerState.NOT_RUNNING else UNKNOWN
    polled, speed, failures = _ago(worker.last_poll_at, now), worker.messages_per_second, worker.failures
    since = _age(worker.failures_since_at, now)
    held: str | None = None
    if worker.held is not None:
        reason = f": {worker.held_reason}" if worker.held_reason else ""
        held = f"for {_age(worker.held_since_at, now)} by {worker.held_by}{reason}" if worker.held else "no"
    tasks = missing if worker.running is None else str(worker.running)
    return [
        f"{worker.worker} worker",
        worker.state,
        tasks if worker.desired is None else f"{tasks}/{worker.desired}",
        polled or missing,
        missing if speed is None else f"{speed:.1f}",
        missing if failures is None else f"{failures:,}{f' in {since}' if since else ''}",
        held or missing,
        worker.release or ("-" if worker.state in (WorkerState.RUNNING, WorkerState.STARTING) else missing),
    ]


def _services(status: Status, width: int | None) -> Iterator[StyledLine]:
    if not status.services:
        return iter([[("PROVIDER, CHANNELS", "bold"), ("  none, except for the log", "")]])
    headings = ("provider, channels", "state", "since", "last worked", "last error")
    rows = [_service(service, status.at) for service in status.services]
    return table_lines(headings, rows, text=("last error",), width=width)


def _service(service: ServiceStatus, now: str) -> list[object]:
    missing = UNKNOWN if service.state is ServiceState.UNKNOWN else "-"
    error = service.last_error
    if error is not None and service.last_error_at is not None:
        error = f"{error} ({_ago(service.last_error_at, now)})"
    return [
        service.service,
        service.state,
        _age(service.down_since_at, now) or missing,
        _ago(service.last_success_at, now) or missing,
        error or missing,
    ]


def _queues(status: Status, width: int | None) -> Iterator[StyledLine]:
    headings = ["queue", "depth", "in flight", "delayed", "oldest", "drains", "empty in", "dead letters"]
    rows, right = [_queue(queue) for queue in status.queues], headings[1:]
    if any(queue.paused for queue in status.queues):
        headings.append("paused")
        rows = [[*row, paused_text(queue)] for row, queue in zip(rows, status.queues, strict=True)]
    return table_lines(headings, rows, right=right, text=("paused",), width=width)


def _queue(queue: QueueStatus) -> list[object]:
    missing = "-" if queue.messages == 0 else UNKNOWN
    drained, dead_letters = queue.drained_per_second, queue.dead_letters
    speed, empty_in = missing, missing
    if drained is not None and queue.messages:
        speed = f"{drained:.1f}/s" if drained >= 0 else f"grows {-drained:.1f}/s"
        empty_in = "-" if queue.empty_in_s is None else str(format_age(queue.empty_in_s))
    dead_for = format_age(queue.oldest_dead_letter_s) if dead_letters else None
    return [
        queue.queue,
        *(UNKNOWN if number is None else f"{number:,}" for number in (queue.depth, queue.in_flight, queue.delayed)),
        format_age(queue.oldest_s) or missing,
        speed,
        empty_in,
        UNKNOWN if dead_letters is None else f"{dead_letters:,}{f' for {dead_for}' if dead_for else ''}",
    ]


def _orders(status: Status, width: int | None) -> Iterator[StyledLine]:
    rows = [_order(count, status.at) for count in status.orders]
    return table_lines(("status", "orders", "oldest"), rows, right=("orders",), width=width)


def _order(count: OrderCount, now: str) -> list[object]:
    number = UNKNOWN if count.orders is None else f"{count.orders:,}{'+' if count.at_least else ''}"
    oldest = UNKNOWN if count.orders is None and count.status == OrderStatus.RECEIVED else _age(count.oldest_at, now)
    return [count.status, f"{number} today" if count.today else number, oldest]


def _cases(status: Status, width: int | None) -> Iterator[StyledLine]:
    if status.open_cases is None:
        return iter([[("OPEN CASES", "bold"), ("  ", ""), (UNKNOWN, "magenta")]])
    rows: Sequence[Sequence[object]] = [
        (count.severity, count.reason, f"{count.cases:,}", _age(count.oldest_at, status.at)) for count in status.cases
    ]
    if not rows:  # None, or too many to read them in time.
        return iter([[("OPEN CASES", "bold"), (f"  {status.open_cases:,}", "")]])
    return table_lines(
        ("severity", "reason", "open cases", "oldest"), rows, right=("open cases", "oldest"), width=width
    )


def _age(at: str | None, now: str) -> str | None:
    return format_age(seconds_since(at, clock.parse(now)))


def _ago(at: str | None, now: str) -> str | None:
    age = _age(at, now)
    return None if age is None else f"{age} ago"
