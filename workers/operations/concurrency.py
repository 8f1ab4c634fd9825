"""Bounded concurrency: the same work for each item of a long list."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WINDOW = 2  # Items taken per slot. With only one per slot, a slow item would leave the other slots idle.


async def in_parallel(
    work: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    at_most: int,
    stop: asyncio.Event | None = None,
) -> AsyncGenerator[Result, None]:
    """
    Yield `work(item)` for each item, in the items' order, with *at_most* running at once.

    After an error, a cancellation or `aclose` it sets *stop*, starts no more work and waits for the running work.
    Iterate over it in `contextlib.aclosing`, so that leaving the loop early closes it.
    """
    tasks = _Tasks(work, at_most)
    try:
        async for item in as_async(items):
            tasks.add(item)
            if len(tasks) == at_most * _WINDOW:
                yield await tasks.first()
        while len(tasks):
            yield await tasks.first()
    finally:
        if len(tasks):
            if stop is not None:
                stop.set()
            await tasks.finish()


async def as_async(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Yield the items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


async def finish(work: Coroutine[Any, Any, Result]) -> Result:
    """
    Run *work* to its end even if the caller is cancelled meanwhile; the cancellation is raised afterward.

    A second cancellation cancels *work*.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


class _Tasks(Generic[Item, Result]):
    """The tasks whose results have not been taken yet, in order; at most *at_most* of them run."""

    def __init__(self, work: Callable[[Item], Awaitable[Result]], at_most: int) -> None:
        self._work = work
        self._slots = asyncio.Semaphore(at_most)
        self._tasks: deque[asyncio.Task[Result]] = deque()
        self._started: set[asyncio.Task[Result] | None] = set()
        self._failed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, item: Item) -> None:
        self._tasks.append(asyncio.create_task(self._run(item)))

    async def first(self) -> Result:
        await asyncio.wait([self._tasks[0]])  # `await task` would pass a cancellation on to the task.
        task = self._tasks.popleft()
        self._started.discard(task)
        return task.result()

    async def finish(self) -> None:
        """Wait for the running tasks, and cancel the others."""
        for task in self._tasks:
            if task not in self._started:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, item: Item) -> Result:
        async with self._slots:
            if self._failed:  # `first` will raise the error, after the earlier results.
                raise asyncio.CancelledError
            self._started.add(asyncio.current_task())
            try:
                return await self._work(item)
            except BaseException:
                self._failed = True
                raise
