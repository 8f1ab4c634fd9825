"""What one test has: its workers, its queues, its orders."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.testing.orders import Orders
from workers.testing.queues import Queues
from workers.testing.running import Running
from workers.testing.stack import Stack
from workers.testing.worker import Worker

_queue_numbers = itertools.count()  # Of a session: each of its tests has queues of its own.


@dataclass(frozen=True, slots=True)
class Testbed:
    """The parts of one test."""

    running: Running
    queues: Queues
    orders: Orders


@contextlib.contextmanager
def testbed(stack: Stack, directory: Callable[[], Path]) -> Iterator[Testbed]:
    """Yield the parts of one test on *stack*; stop its workers and delete its queues afterward."""
    queues = Queues(stack, workers := list[Worker](), _queue_numbers)
    running = Running(stack, queues, directory, workers)
    with contextlib.ExitStack() as ending:
        ending.callback(queues.delete)
        ending.callback(running.stop)  # First.
        yield Testbed(running, queues, Orders(stack, running))
