"""How a page does one thing: it shows what that is about, asks who and why, and does it once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from workers.console.addresses import path
from workers.console.audit import FormError, Person, audit, person_of, text_field
from workers.console.console import console_of
from workers.console.kept import Kept, new_id
from workers.console.pages.common import page
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

MAX_KEPT, KEPT_S = 500, 3_600.0


@dataclass(frozen=True, slots=True)
class Subject:
    """
    What an action is about: facts by their names, and the state that is seen.

    *nothing* says why nothing is to be done, although it is no error.
    """

    facts: Mapping[str, Any]
    seen: str
    nothing: str | None = None


@dataclass(frozen=True, slots=True)
class Act:
    """
    An action of `orders`. *read* raises `OperationError` if it is not allowed; *do* returns what was done, in lines.

    *words* say what happens. The log has *name*.
    """

    name: str
    button: str
    words: str
    read: Callable[[Stack, str], Awaitable[Subject]]
    do: Callable[[Stack, str, Person], Awaitable[Sequence[str]]]
    is_final: bool = False
    note_required: bool = False


@dataclass(slots=True)
class Once:
    """A form that was shown. Sent twice, it is done once: the second one gets the outcome of the first."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    lines: Sequence[str] | None = None


FORMS: Final = web.AppKey("forms", Kept[Once])


def prepare(application: web.Application) -> None:
    application[FORMS] = Kept(MAX_KEPT, KEPT_S, busy=lambda once: once.lock.locked())


async def show(
    request: web.Request, act: Act, target: str, where: Mapping[str, str], problem: str | None = None, **typed: str
) -> web.Response:
    """Show the form, or why the action is not allowed now. *where* has the addresses to go back to, by their names."""
    subject, refusal = None, None
    try:
        subject = await act.read(console_of(request).stack, target)
    except OperationError as error:
        refusal = str(error)
    status = web.HTTPOk if problem is None else web.HTTPBadRequest
    return await page(
        request,
        "action.html",
        status=status.status_code,
        act=act,
        target=target,
        action=path(request.path.split("/")[1], target, act.name),
        subject=subject,
        refusal=refusal,
        problem_text=problem,
        where=where,
        once=new_id(),
        typed=typed,
    )


async def do(request: web.Request, act: Act, target: str, where: Mapping[str, str]) -> web.Response:
    form = await request.post()
    once, problem = _once(request, text_field(form, "once")), None
    async with once.lock:
        if once.lines is None:
            try:
                person = person_of(form, note_required=act.note_required)
                once.lines = await _unless_changed(request, act, target, text_field(form, "seen"), person)
            except (FormError, OperationError) as error:
                problem = str(error)
    if once.lines is None:
        typed = {name: text_field(form, name) for name in ("actor", "note")}
        return await show(request, act, target, where, problem, **typed)
    return await page(request, "action_done.html", act=act, target=target, lines=once.lines, where=where)


async def _unless_changed(request: web.Request, act: Act, target: str, seen: str, person: Person) -> Sequence[str]:
    """
    Do it if its subject is still as it was seen.

    Raises:
        OperationError: It has changed, or does not allow the action.
    """
    console = console_of(request)
    subject = await act.read(console.stack, target)
    if subject.nothing is not None:
        return [subject.nothing]
    if subject.seen != seen:
        raise OperationError("it has changed since this page was loaded: look at it again")
    outcome = "failed"
    try:
        lines = await act.do(console.stack, target, person)
        outcome = lines[0]
    except OperationError as error:
        outcome = f"failed: {error}"
        raise
    finally:
        audit(request, action=act.name, actor=person.actor, note=person.note, targets=[target], outcome=outcome)
        console.feeds.refresh()
    return lines


def _once(request: web.Request, key: str) -> Once:
    forms = request.app[FORMS]
    once = forms.get(key)
    if once is None:
        once = Once()
        if key:
            forms.add(key, once)
    return once
