"""Bounded concurrency: the same work for each item of a long list."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_WINDOW = 2  # Items taken per slot: a slow item does not leave the other slots idle.


async def in_parallel(
    work: Callable[[Item], Awaitable[Result]],
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    at_most: int,
    stop: asyncio.Event | None = None,
) -> AsyncGenerator[Result, None]:
    """
    Yield `work(item)` for each item, in the items' order, with *at_most* running at once.

    On an error, a cancellation or `aclose` it sets *stop*, starts nothing more and waits for what is running. Iterate
    over it in `contextlib.aclosing`: without it, leaving the loop early leaves work behind.
    """
    slots, started = asyncio.Semaphore(at_most), set[asyncio.Task[Result] | None]()
    waiting: deque[asyncio.Task[Result]] = deque()

    async def run(item: Item) -> Result:
        async with slots:
            started.add(asyncio.current_task())
            return await work(item)

    async def first() -> Result:
        await asyncio.wait([waiting[0]])  # Not the task itself: cancelling us would cancel it.
        task = waiting.popleft()
        started.discard(task)
        return task.result()

    try:
        async for item in as_async(items):
            waiting.append(asyncio.create_task(run(item)))
            if len(waiting) == at_most * _WINDOW:
                yield await first()
        while waiting:
            yield await first()
    finally:
        if waiting:
            if stop is not None:
                stop.set()
            for task in waiting:
                if task not in started:
                    task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def as_async(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    """Yield the items of either kind of iterable."""
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
