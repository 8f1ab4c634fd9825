"""What the plots remember."""

from datetime import timedelta

from tests.workers.operations.fakes import NOW
from workers import clock
from workers.console.history import WINDOW_S, History
from workers.operations.status import QueueStatus, Status, WorkerStatus


def status(minutes_ago: float, depth: int | None = 1) -> Status:
    at = clock.written(NOW - timedelta(minutes=minutes_ago))
    queue = QueueStatus(queue="Q", depth=depth)
    return Status(at=at, queues=[queue], workers=[WorkerStatus(worker="w", failures=depth)])


def test_values_are_kept_by_queue_and_worker_with_their_time() -> None:
    history, now_s = History(), NOW.timestamp()
    history.add(status(1, 5))
    history.add(status(0, None))
    assert history.of_queue("Q", lambda queue: queue.depth) == [(now_s - 60, 5), (now_s, None)]
    assert history.of_worker("w", lambda worker: worker.failures) == [(now_s - 60, 5), (now_s, None)]
    assert history.of_queue("other", lambda queue: queue.depth) == [(now_s - 60, None), (now_s, None)]


def test_only_the_last_fifteen_minutes_are_kept() -> None:
    history = History()
    for minutes in (40, 15.1, 15, 3):
        history.add(status(minutes))
    history.add(status(0))
    ages = [NOW.timestamp() - at_s for at_s, _ in history.of_queue("Q", lambda queue: queue.depth)]
    assert ages == [WINDOW_S, 180, 0]
