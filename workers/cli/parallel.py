"""Many calls at a time, but not too many: what a command does to each of a long list."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2  # Items for each thread that are taken before the results of earlier ones are.


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item], *, at_most: int, stop: threading.Event | None = None
) -> Iterator[Result]:
    """
    Yield `work(item)` for each item, in the items' order, with *at_most* under way at a time and few of them ahead.

    Where one raises, or Ctrl-C comes, *stop* is set, those under way are let finish, and no other is begun.
    """
    waiting: deque[Future[Result]] = deque()
    remaining = iter(items)
    pool = ThreadPoolExecutor(at_most)
    try:
        while True:
            waiting.extend(pool.submit(work, each) for each in islice(remaining, at_most * _AHEAD - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        if waiting and stop is not None:
            stop.set()
        pool.shutdown(cancel_futures=True)
