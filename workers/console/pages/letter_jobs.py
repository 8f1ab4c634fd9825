"""Replaying, discarding and editing the dead letters of a look: what would be done, then the work and its outcomes."""

import difflib
import math
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from workers.console.audit import FormError, Person, audit, person_of, text_field
from workers.console.console import console_of
from workers.console.looks import LetterJob, Look, start, stop
from workers.console.pages.common import page, stream
from workers.console.pages.dead_letters import address, look_of, matching, pretty
from workers.console.rendering import shown
from workers.domain.cards import mask
from workers.domain.characters import sendable
from workers.operations.actions import DISCARD, FoundLetters, HeldQueue, replay_to
from workers.operations.dead_letters import DeadLetter
from workers.operations.letter_edits import Editing, Fault, edited, replay_edited
from workers.operations.pauses import pause_warning
from workers.operations.stack import Stack

routes: Final = web.RouteTableDef()
DEFAULT_RATE, MIN_RATE, MAX_RATE = 10.0, 0.1, 1_000.0
MAX_ROWS: Final = 200  # On the page of an action; all are counted.
JOB_EVERY_S: Final = 0.5


@routes.post("/dead-letters/{queue}/looks/{look}/jobs")
async def plan(request: web.Request) -> web.Response:
    """Take the selected letters as a fixed set, and show what would be done with them."""
    form, look, stack = await request.post(), look_of(request), console_of(request).stack
    _held(look)
    try:
        person, rate, letters = person_of(form), _rate(form), _selected(form, look, stack)
    except FormError as error:
        back = address(look)
        return await page(request, "refused.html", status=400, title="Not done", text=error.sentence, back=back)
    name = text_field(form, "action")
    if name not in {"replay", "discard"} or look.found is None:
        raise web.HTTPBadRequest(text="Choose to replay or to discard.")
    action = replay_to(look.found.source) if name == "replay" else DISCARD
    return _planned(look, LetterJob(name, action, person, letters, rate))


def _selected(form: Any, look: Look, stack: Stack) -> list[DeadLetter]:
    if text_field(form, "all"):
        given = {name: text_field(form, name) for name in ("reason", "order", "older")}
        letters = matching(look, {name: text for name, text in given.items() if text}, stack)
    else:
        letters = look.selected([each for each in form.getall("id", []) if isinstance(each, str)])
    if not letters:
        raise FormError("id", "select at least one letter that is still here")
    return letters


def _held(look: Look) -> None:
    if not look.can_act:
        raise web.HTTPConflict(
            text=f"These letters are not held any more: {look.why_ended or 'the look is not ready'}. Look again."
        )


def _planned(look: Look, job: LetterJob) -> web.Response:
    look.jobs[job.id] = job
    raise web.HTTPSeeOther(address(look, "jobs", job.id))


def _rate(form: Mapping[str, Any]) -> float:
    text = text_field(form, "rate")
    try:
        rate = float(text) if text else DEFAULT_RATE
    except ValueError:
        rate = math.nan
    if not MIN_RATE <= rate <= MAX_RATE:
        raise FormError("rate", f"the rate must be {MIN_RATE:g} to {MAX_RATE:g} messages a second")
    return rate


def _job_of(request: web.Request) -> tuple[Look, LetterJob]:
    look = look_of(request)
    job = look.jobs.get(request.match_info["job"])
    if job is None:
        raise web.HTTPNotFound(text="This action is not known here any more.")
    return look, job


@routes.get("/dead-letters/{queue}/looks/{look}/jobs/{job}")
async def job_page(request: web.Request) -> web.Response:
    look, job = _job_of(request)
    warning = None
    if job.is_planned and job.name != "discard":
        warning = await pause_warning(console_of(request).stack, look.given)
    return await page(
        request,
        "letter_job.html",
        live=address(look, "jobs", job.id, "live") if job.is_running else None,
        warning=warning,
        **_job_values(look, job),
    )


@routes.get("/dead-letters/{queue}/looks/{look}/jobs/{job}/live")
async def job_live(request: web.Request) -> web.StreamResponse:
    look, job = _job_of(request)

    async def read() -> int:
        return len(job.report.outcomes)

    feed = console_of(request).feeds.feed(("letters", job.id), read, JOB_EVERY_S)
    return await stream(request, feed, "letter_job_live.html", lambda _: _job_values(look, job))


def _job_values(look: Look, job: LetterJob) -> dict[str, Any]:
    return {
        "look": look,
        "job": job,
        "back": address(look),
        "here": address(look, "jobs", job.id),
        "stop": address(look, "jobs", job.id, "stop"),
        "rows": job.letters[:MAX_ROWS],
        "outcomes": job.report.outcomes[-MAX_ROWS:],
        "undecodable": sum(letter.undecodable for letter in job.letters) if job.name == "replay" else 0,
        "difference": _difference(job),
    }


def _difference(job: LetterJob) -> list[tuple[str, str]]:
    """Return the lines of an edited body, each with `-`, `+` or a blank before it."""
    if not job.originals:
        return []
    letters = (*job.originals, *job.letters)  # One each.
    before, after = (str(shown(pretty(letter.body))).split("\n") for letter in letters)
    return [(line[0], line[2:]) for line in difflib.ndiff(before, after) if not line.startswith("?")]


@routes.post("/dead-letters/{queue}/looks/{look}/jobs/{job}")
async def carry_out(request: web.Request) -> web.Response:
    """Begin the action. Sent once more, it leads to what has begun."""
    look, job = _job_of(request)
    console = console_of(request)

    def ended() -> None:
        ids, person = [letter.id for letter in job.letters], job.person
        audit(request, action=job.name, actor=person.actor, note=person.note, targets=ids, outcome=job.outcome)
        console.feeds.refresh()

    if job.is_planned:
        _held(look)
        start(look, job, console.feeds.explain, ended)
    raise web.HTTPSeeOther(address(look, "jobs", job.id))


@routes.post("/dead-letters/{queue}/looks/{look}/jobs/{job}/stop")
async def stop_job(request: web.Request) -> web.Response:
    look, job = _job_of(request)
    stop(job)
    raise web.HTTPSeeOther(address(look, "jobs", job.id))


@routes.get("/dead-letters/{queue}/looks/{look}/letters/{id}/edit")
async def edit_form(request: web.Request) -> web.Response:
    look = look_of(request)
    source, letter = _letter(request, look)
    return await _edit_page(request, look, source, letter)


@routes.post("/dead-letters/{queue}/looks/{look}/letters/{id}/edit")
async def plan_edit(request: web.Request) -> web.Response:
    """Check the edited body, and show the difference. Nothing is sent before that is confirmed."""
    form, look = await request.post(), look_of(request)
    source, letter = _letter(request, look)
    body = _body(form)
    _held(look)
    found = FoundLetters(source, [letter], 1)
    if source.queue.worker is not None:
        body = mask(body)  # Nothing in our own messages looks like a card number and is none.
    try:
        person = person_of(form)
        changed, problem = await _edited(found, person, body)
    except FormError as error:
        changed, problem = None, str(error)
    if changed is None:
        typed = {"actor": text_field(form, "actor"), "note": text_field(form, "note"), "body": body}
        return await _edit_page(request, look, source, letter, problem=problem, typed=typed)
    warnings = list[str]()
    action = replay_edited(source, found, Editing(person.actor, person.note, _unused), warnings.append)
    job = LetterJob("edit", action, person, [changed], DEFAULT_RATE, warnings=warnings, originals=[letter])
    return _planned(look, job)


async def _edited(found: FoundLetters, person: Person, body: str) -> tuple[DeadLetter | None, str | None]:
    """Return the letter of *found* with the edited *body*, or what is wrong with that."""
    problem = "it is not changed"

    def editor(_: DeadLetter, before: str, fault_of: Fault) -> str | None:
        nonlocal problem
        if body in {before.strip(), str(shown(before)).strip()}:
            return None
        problem = fault_of(body) or ""
        return None if problem else body

    letters = (await edited(found, Editing(person.actor, person.note, editor))).letters
    return next(iter(letters), None), problem


def _unused(*_: object) -> str | None:
    return None


def _letter(request: web.Request, look: Look) -> tuple[HeldQueue, DeadLetter]:
    letter = next(iter(look.selected([request.match_info["id"]])), None)
    if look.found is None or letter is None:
        raise web.HTTPNotFound(text="This letter is not here any more: something was done with it, or it was let go.")
    return look.found.source, letter


def _body(form: Mapping[str, Any]) -> str:
    """Return the body as it was typed, with the line ends of the text before: browsers send others."""
    given = form.get("body", "")
    return sendable(given.replace("\r\n", "\n").strip()) if isinstance(given, str) else ""


async def _edit_page(
    request: web.Request,
    look: Look,
    source: HeldQueue,
    letter: DeadLetter,
    *,
    problem: str | None = None,
    typed: Mapping[str, str] | None = None,
) -> web.Response:
    return await page(
        request,
        "letter_edit.html",
        status=200 if problem is None else web.HTTPBadRequest.status_code,
        look=look,
        letter=letter,
        back=address(look),
        here=address(look, "letters", letter.id, "edit"),
        body=mask(sendable(letter.body)) if typed is None else typed["body"],
        is_ours=source.queue.worker is not None,
        problem_text=problem,
        typed=typed or {},
    )
