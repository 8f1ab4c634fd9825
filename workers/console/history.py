"""What the console has seen of queues and workers while somebody watched: the plots show it."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from workers import clock
from workers.operations.status import QueueStatus, Status, WorkerStatus

WINDOW_S: Final = 900.0
MAX_POINTS: Final = 1_000

Series = Sequence[tuple[float, float | None]]
"""Times in seconds since the epoch, the oldest first, each with a value; None if it was unknown."""


@dataclass(frozen=True, slots=True)
class History:
    """The last fifteen minutes of what was read. Nothing is read for it: it has gaps while nobody watched."""

    _seen: deque[tuple[float, Status]] = field(default_factory=lambda: deque(maxlen=MAX_POINTS))

    def add(self, status: Status) -> None:
        at_s = clock.parse(status.at).timestamp()
        self._seen.append((at_s, status))
        while at_s - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()

    def of_queue(self, name: str, value: Callable[[QueueStatus], float | None]) -> Series:
        """Return a value of the queue *name* over time."""
        return [
            (at_s, next((value(queue) for queue in status.queues if queue.queue == name), None))
            for at_s, status in self._seen
        ]

    def of_worker(self, name: str, value: Callable[[WorkerStatus], float | None]) -> Series:
        """Return a value of the worker *name* over time."""
        return [
            (at_s, next((value(worker) for worker in status.workers if worker.worker == name), None))
            for at_s, status in self._seen
        ]
