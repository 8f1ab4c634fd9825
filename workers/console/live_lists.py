"""The live part of a list: how many rows have changed, and the counts. The list itself stays as it is."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from workers.console.console import console_of
from workers.console.feeds import Feed, Reading
from workers.console.pages.common import common_values, send
from workers.console.rendering import render
from workers.console.rows import changed

Value = TypeVar("Value")


@dataclass
class Seen:
    """The rows that a page shows. A page that was made before anything was read gets them with the first reading."""

    marks: list[str]
    is_cold: bool

    def next(self, marks: Sequence[str]) -> tuple[bool, int]:
        """Return whether the page gets the list now, and otherwise how many of its rows have changed."""
        if self.is_cold:
            self.is_cold, self.marks = False, [*marks]
            return True, 0
        return False, changed(self.marks, marks)


async def stream_list(
    request: web.Request, feed: Feed[Value], template: str, values: Callable[[Reading[Value]], dict[str, Any]]
) -> web.StreamResponse:
    """Do what `stream` does, and again for each reading of the status, which has the counts."""
    return await send(request, _parts(request, feed, template, values))


async def _parts(
    request: web.Request, feed: Feed[Value], template: str, values: Callable[[Reading[Value]], dict[str, Any]]
) -> AsyncGenerator[str, None]:
    console = console_of(request)
    last: Reading[Value] | None = None
    async with aclosing(_merged(feed.readings(), console.status.readings())) as readings:
        async for is_list, reading in readings:
            last = reading if is_list else last
            if last is not None:
                common = await common_values(request)
                counts = render(console.templates, "_counts.html", common)
                yield render(console.templates, template, common | values(last)) + counts


async def _merged(
    first: AsyncGenerator[Any, None], second: AsyncGenerator[Any, None]
) -> AsyncGenerator[tuple[bool, Any], None]:
    """Yield what both generators yield, and whether it is from the first one."""
    waiting = {asyncio.create_task(_next(readings), name="console-reading"): readings for readings in (first, second)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                readings = waiting.pop(task)
                yield readings is first, task.result()
                waiting[asyncio.create_task(_next(readings), name="console-reading")] = readings
    finally:
        for task in waiting:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for readings in (first, second):
            await readings.aclose()


async def _next(readings: AsyncIterator[Any]) -> Any:
    return await anext(readings)
