"""Dead letters: how many there are, and looks at them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from typing import Any, Final

from aiohttp import web

from workers.console.addresses import path
from workers.console.audit import FormError, audit, person_of, text_field
from workers.console.console import console_of
from workers.console.looks import IDLE_S, MAX_LETTERS, MAX_OPEN, Look, Looks, LookState, leave
from workers.console.pages.common import PATIENCE_S, common_values, page, send, stream
from workers.console.rendering import render
from workers.operations.dead_letters import DeadLetter, Selection
from workers.operations.errors import OperationError
from workers.operations.hold import HOLD_S
from workers.operations.stack import Stack

routes: Final = web.RouteTableDef()
LOOKS: Final = web.AppKey("looks", Looks)
LOOK_EVERY_S: Final = 0.5
MAX_ROWS: Final = 100
MAX_BODY_CHARS: Final = 4_000
AGES: Final = {"1h": timedelta(hours=1), "1d": timedelta(days=1), "3d": timedelta(days=3), "7d": timedelta(days=7)}


def prepare(application: web.Application) -> None:
    looks = application[LOOKS] = Looks()

    async def close(_: web.Application) -> None:
        await looks.close()

    application.on_shutdown.append(close)


@routes.get("/dead-letters")
async def dead_letters(request: web.Request) -> web.Response:
    reading = await console_of(request).status.latest(wait_s=PATIENCE_S)
    return await page(
        request,
        "dead_letters.html",
        live="/live/dead-letters",
        looks=request.app[LOOKS].open,
        idle_s=IDLE_S,
        **_counts(request, reading),
    )


@routes.get("/live/dead-letters")
async def live(request: web.Request) -> web.StreamResponse:
    feed = console_of(request).status
    return await stream(request, feed, "dead_letters_live.html", lambda reading: _counts(request, reading))


def _counts(request: web.Request, reading: Any) -> dict[str, Any]:
    return {"reading": reading, "queue_names": list(console_of(request).stack.names.queues)}


@routes.post("/dead-letters/looks")
async def look(request: web.Request) -> web.Response:
    """Look at the dead letters of a queue; if they are being looked at here, lead to that look."""
    form, console, looks = await request.post(), console_of(request), request.app[LOOKS]
    try:
        person = person_of(form)
        given, name = await _queue(console.stack, text_field(form, "queue"))
    except (FormError, OperationError) as error:
        raise web.HTTPBadRequest(text=f"{error}") from None
    found = looks.of_queue(name)
    if found is None:
        if len(looks.open) >= MAX_OPEN:
            raise web.HTTPServiceUnavailable(text="Several other looks are open. Let one of them go first.")
        found = Look(given, name)
        looks.start(console.stack, found, console.feeds.explain)
        audit(request, action="look", actor=person.actor, note=person.note, targets=[name], outcome="begun")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await found.ready.wait()
    raise web.HTTPSeeOther(address(found))


async def _queue(stack: Stack, given: str) -> tuple[str, str]:
    """
    Return a queue as commands name it, and what addresses call it.

    Raises:
        OperationError: There is no such queue, or it has no dead letters.
    """
    if not given:
        raise OperationError("name a queue")
    known = stack.names.queues.get(given, given)
    try:
        queue = await stack.queue(known)
    except ValueError as error:
        raise OperationError(str(error)) from None
    return known, queue.worker or queue.name


def address(look: Look, *parts: str, **query: Any) -> str:
    return path("dead-letters", look.queue, "looks", look.id, *parts, **query)


def look_of(request: web.Request) -> Look:
    found = request.app[LOOKS].get(request.match_info["look"])
    if found is None or found.queue != request.match_info["queue"]:
        raise web.HTTPNotFound(
            text="This look is not known here any more: the console was started again, or it ended an hour ago."
            f" Letters that it held are visible again within {HOLD_S} seconds."
        )
    return found


@routes.get("/dead-letters/{queue}/looks/{look}")
async def look_page(request: web.Request) -> web.Response:
    look = look_of(request)
    return await page(
        request,
        "look.html",
        live=address(look, "live", seen=look.state) if look.is_open else None,
        **_look_values(request, look),
    )


@routes.get("/dead-letters/{queue}/looks/{look}/live")
async def look_live(request: web.Request) -> web.StreamResponse:
    look = look_of(request)
    return await send(request, _look_parts(request, look, request.query.get("seen", "")))


async def _look_parts(request: web.Request, look: Look, seen: str) -> AsyncGenerator[str, None]:
    """
    Yield the look as it goes on, until its letters are there, and once more when it has ended.

    While a person works with the letters, nothing on the page moves. *seen* is the state that the page shows.
    """

    async def part() -> str:
        values = await common_values(request) | _look_values(request, look)
        return render(console_of(request).templates, "look_live.html", values)

    assert look.task is not None  # noqa: S101 - it was started.
    while look.state is LookState.LOOKING:
        yield await part()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await look.ready.wait()
    if seen != look.state:
        yield await part()
    if look.is_open:
        await asyncio.wait([look.task])
        yield await part()
    await asyncio.Event().wait()  # Until the viewer or the console ends: a browser connects again after an end.


def _look_values(request: web.Request, look: Look) -> dict[str, Any]:
    given = {name: value for name in ("reason", "order", "older") if (value := request.query.get(name, "").strip())}
    letters = matching(look, given, console_of(request).stack)
    filtered = [
        (name, value, address(look, **{key: each for key, each in given.items() if key != name}))
        for name, value in given.items()
    ]
    return {
        "look": look,
        "here": address(look),
        "address": lambda *parts: address(look, *parts),
        "letters": letters[:MAX_ROWS],
        "matching": len(letters),
        "reasons": sorted({letter.reason for letter in look.letters}),
        "ages": list(AGES),
        "given": given,
        "filters": filtered,
        "pretty": pretty,
        "max_letters": MAX_LETTERS,
        "idle_s": IDLE_S,
    }


def matching(look: Look, given: Mapping[str, str], stack: Stack) -> list[DeadLetter]:
    """Return the letters of a look that the filters *given* select, oldest first."""
    selection = Selection(
        reason=given.get("reason"), order_id=given.get("order"), older_than=AGES.get(given.get("older", ""))
    )
    now = stack.now()
    return [letter for letter in look.letters if selection.includes(letter, now)]


def pretty(body: str) -> str:
    """Return the start of a body for people: JSON on several lines. The page masks it."""
    try:
        text = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body
    return text if len(text) <= MAX_BODY_CHARS else f"{text[:MAX_BODY_CHARS]}\n... ({len(body):,} characters)"


@routes.post("/dead-letters/{queue}/looks/{look}/leave")
async def leave_look(request: web.Request) -> web.Response:
    look = look_of(request)
    leave(look, "you have left it")
    await _ended(look)
    console_of(request).feeds.refresh()
    raise web.HTTPSeeOther("/dead-letters")


@routes.post("/dead-letters/{queue}/looks/{look}/again")
async def look_again(request: web.Request) -> web.Response:
    """Let the letters go, and look at all that are there now."""
    look, console = look_of(request), console_of(request)
    if look.is_acting:
        raise web.HTTPConflict(text="Wait until the action on these letters has ended.")
    leave(look, "you looked again")
    await _ended(look)
    again = request.app[LOOKS].of_queue(look.queue)
    if again is None:
        again = Look(look.given, look.queue)
        request.app[LOOKS].start(console.stack, again, console.feeds.explain)
    raise web.HTTPSeeOther(address(again))


async def _ended(look: Look) -> None:
    if look.task is not None and not look.is_acting:
        await asyncio.wait([look.task])
