"""What all pages use: to render one, to stream its live part, and to check and record an action."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

import structlog
from aiohttp import web

from workers.console.console import console_of, report
from workers.console.feeds import Feed, Reading, Value
from workers.console.proposed_name import proposed_name
from workers.console.query import REFUSED
from workers.console.rendering import now, render
from workers.operations.disturbances import disturbances

SESSION: Final = web.RequestKey("session", str)
MAX_STREAMS: Final = 64
PATIENCE_S: Final = 0.15  # A page does not wait longer for what its stream brings anyway.
KEEP_ALIVE_S: Final = 15.0

log = structlog.get_logger(__name__)
_STREAMS: Final = web.AppKey("streams", set[asyncio.Task[Any]])


async def page(request: web.Request, template: str, /, *, status: int = 200, **values: Any) -> web.Response:
    """Return a whole page. *values* are the template's own; `base.html` needs what `common_values` adds."""
    text = render(console_of(request).templates, template, await common_values(request) | values)
    return web.Response(text=text, content_type="text/html", status=status)


async def common_values(request: web.Request) -> dict[str, Any]:
    """Return what `base.html` shows: the navigation with its counts, the place, and what the forms need."""
    console = console_of(request)
    session = request.get(SESSION)
    known = None if session is None else await console.status.latest(wait_s=0)
    system = None if known is None else known.value
    return {
        "request_path": request.path,
        "refused": REFUSED in request.query,
        "place": None if session is None else console.place,
        "actor": proposed_name(request),
        "csrf": "" if session is None else console.guard.csrf_token(session),
        "now": now(),
        "system": system,
        "disturbances": [] if system is None else disturbances(system, console.system.sweep),
    }


async def stream(
    request: web.Request,
    feed: Feed[Value],
    template: str,
    values: Callable[[Reading[Value]], dict[str, Any]],
    is_last: Callable[[Reading[Value]], bool] = lambda _: False,
) -> web.StreamResponse:
    """
    Send the page's live part as server-sent events: *template* with what *values* makes of each reading of *feed*.

    A part that has not changed is not sent again. The counts of the navigation come with it. After the reading that
    *is_last*, the stream ends with the event `ended`.
    """
    return await send(request, _parts(request, feed, template, values, is_last))


async def _parts(
    request: web.Request,
    feed: Feed[Value],
    template: str,
    values: Callable[[Reading[Value]], dict[str, Any]],
    is_last: Callable[[Reading[Value]], bool],
) -> AsyncGenerator[str, None]:
    templates = console_of(request).templates
    async with aclosing(feed.readings()) as readings:
        async for reading in readings:
            common = await common_values(request)
            yield render(templates, template, common | values(reading)) + render(templates, "_counts.html", common)
            if is_last(reading):
                return


async def send(request: web.Request, parts: AsyncGenerator[str, None]) -> web.StreamResponse:
    """
    Send *parts* as unnamed events, each only if it differs from the one before.

    It ends with the viewer, with the console, or with *parts*: then the event `ended` says so.
    """
    streams = request.app[_STREAMS]
    if len(streams) >= MAX_STREAMS:
        raise web.HTTPServiceUnavailable(text="too many pages are watched live; this one does not change by itself\n")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker.
    streams.add(task)
    ending = asyncio.create_task(console_of(request).stopping.wait(), name="console-stopping")
    try:
        async with aclosing(parts):
            await _send_all(response, parts, ending)
    except ConnectionError:
        pass  # The viewer has gone.
    except Exception as error:  # noqa: BLE001 - the answer has begun, so that no page can say it.
        report(error)
    finally:
        streams.discard(task)
        await _cancel(ending)
    return response


async def _send_all(response: web.StreamResponse, parts: AsyncGenerator[str, None], ending: asyncio.Task[Any]) -> None:
    await response.write(b": connected\n\n")  # The headers leave with the first bytes.
    last, pending = None, asyncio.create_task(_next(parts), name="console-part")
    try:
        while True:
            done, _ = await asyncio.wait({pending, ending}, timeout=KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if ending in done:
                return
            if not done:
                await response.write(b": alive\n\n")
                continue
            text = pending.result()
            if text is None:
                await response.write(b"event: ended\ndata: -\n\n")
                return
            if text != last:
                await response.write(_event(text))
                last = text
            pending = asyncio.create_task(_next(parts), name="console-part")
    finally:
        await _cancel(pending)


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _next(parts: AsyncGenerator[str, None]) -> str | None:
    return await anext(parts, None)


def _event(text: str) -> bytes:
    lines = "".join(f"data: {line}\n" for line in text.splitlines())
    return f"{lines}\n".encode()


def prepare(application: web.Application) -> None:
    application[_STREAMS] = set()
