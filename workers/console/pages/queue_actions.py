"""Pausing and resuming the workers of a queue."""

from collections.abc import Sequence
from typing import Final

from aiohttp import web

from workers.console.audit import Person
from workers.console.pages.acting import Act, Subject, do, show
from workers.domain.resolutions import Action, Request
from workers.operations.errors import OperationError
from workers.operations.pauses import PauseChange, described, pause, resume
from workers.operations.stack import Stack

routes: Final = web.RouteTableDef()


async def _to_pause(stack: Stack, queue: str) -> Subject:
    try:
        found = await stack.queue(stack.names.queues.get(queue, queue))
    except ValueError as error:  # Nothing that names a queue.
        raise OperationError(str(error)) from None
    return Subject({"Queue": found.name}, "")


def _changed(change: PauseChange, done: str, not_done: str) -> list[str]:
    by = "" if change.paused is None else f" {described(change.paused)}"
    return [f"{done if change.changed else not_done}{by}"]


async def _pause(stack: Stack, queue: str, person: Person) -> Sequence[str]:
    name = stack.names.queues.get(queue, queue)
    change = await pause(stack, name, Request(action=Action.CLOSE, actor=person.actor, note=person.note))
    return [
        *_changed(change, "It is paused", "Nothing was changed: it is paused already,"),
        "Its workers receive nothing more within about a minute, and end what they are handling",
    ]


async def _resume(stack: Stack, queue: str, person: Person) -> Sequence[str]:
    name = stack.names.queues.get(queue, queue)
    change = await resume(stack, name, Request(action=Action.CLOSE, actor=person.actor, note=person.note))
    if not change.changed:
        return ["Nothing was changed: it is not paused"]
    return [
        *_changed(change, "It is resumed. It was paused", ""),
        "Its workers receive again within about a minute",
    ]


ACTS: Final = {
    "pause": Act(
        "pause",
        "Pause the queue",
        "Its workers receive nothing more, and end what they are handling. Messages wait in the queue, for as long as"
        " it keeps them (10 days), and no order loses an attempt.",
        _to_pause,
        _pause,
    ),
    "resume": Act("resume", "Resume the queue", "Its workers receive again within about a minute.", _to_pause, _resume),
}


@routes.get("/queues/{queue}/{act:pause|resume}")
async def queue_form(request: web.Request) -> web.Response:
    act, queue = ACTS[request.match_info["act"]], request.match_info["queue"]
    return await show(request, act, queue, {"Queues": "/queues"})


@routes.post("/queues/{queue}/{act:pause|resume}")
async def queue_action(request: web.Request) -> web.Response:
    act, queue = ACTS[request.match_info["act"]], request.match_info["queue"]
    return await do(request, act, queue, {"Queues": "/queues"})
