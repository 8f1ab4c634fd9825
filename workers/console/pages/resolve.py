"""Resolving cases: a form, then what would be done, then the work and what came of each case."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from workers import clock
from workers.console.addresses import path
from workers.console.audit import FormError, Person, audit, person_of, text_field
from workers.console.console import console_of
from workers.console.feeds import Feed
from workers.console.pages.common import page, stream
from workers.console.resolving import MAX_CASES, NEXT, CardError, Change, Job, Jobs, changes, stop, stored_fields
from workers.domain.cards import masked_card_number
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order
from workers.domain.resolutions import Action, Request, ResolutionError
from workers.operations.cases import read_case, read_cases
from workers.operations.decisions import Decision
from workers.operations.errors import OperationError
from workers.operations.resolve import problem_of
from workers.operations.resolve_many import Step, plan

routes: Final = web.RouteTableDef()
JOBS: Final = web.AppKey("jobs", Jobs)
PROGRESS_EVERY_S: Final = 0.5
_WORDS: Final = {
    Action.RESUBMIT: "the corrected order starts again, in a new execution of the workflow",
    Action.FULFILL: "the order becomes FULFILLED, with the given shipment id; no provider is called",
    Action.CANCEL: "the order becomes CANCELLED; a case without an order is only closed",
    Action.CLOSE: "the order stays as it is: for a case whose order is final, in progress, or unknown",
}
_CORRECTIONS: Final = {"order_id": "OrderId", "name": "Name", "item_name": "ItemName", "price": "Price"}
_ANY_SHIPMENT: Final = "S"  # Where it is not known yet.


def prepare(application: web.Application) -> None:
    jobs = application[JOBS] = Jobs()

    async def close(_: web.Application) -> None:
        await jobs.close()

    application.on_shutdown.append(close)


@routes.get("/cases/{id}/resolve")
async def form_of_one(request: web.Request) -> web.Response:
    case, order = await _read(request)
    return await _form_of_one(request, case, order)


@routes.post("/cases/{id}/resolve")
async def plan_one(request: web.Request) -> web.Response:
    form, case_id = await request.post(), request.match_info["id"]
    try:
        person = person_of(form, note_required=True)
        decision = _decision(case_id, _episode(form.get("episode")), _action(form), person, form)
        planned = await plan(console_of(request).stack, [decision])
        (step,) = planned.steps
        problem = step.problem
    except FormError as error:
        problem = str(error)
    if problem is not None:
        case, order = await _read(request)
        return await _form_of_one(request, case, order, form, problem)
    return _planned(request, Job(decision.request.action, person, planned))


async def _read(request: web.Request) -> tuple[Case, Order | None]:
    try:
        return await read_case(console_of(request).stack, request.match_info["id"])
    except OperationError as error:
        raise web.HTTPNotFound(text=str(error)) from None


async def _form_of_one(
    request: web.Request,
    case: Case,
    order: Order | None,
    form: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> web.Response:
    given = request.query if form is None else form
    typed = {name: text_field(given, name) for name in given}
    stack = console_of(request).stack
    choices = [(action, _WORDS[action], _refusal(case, order, action, clock.written(stack.now()))) for action in Action]
    return await page(
        request,
        "resolve.html",
        status=200 if error is None else web.HTTPBadRequest.status_code,
        case=case,
        order=order,
        resolution=case.resolution_of(case.episode) if case.state is CaseState.RESOLVED else None,
        choices=choices,
        stored=stored_fields(order),
        card=order and order.cc and masked_card_number(order.cc),
        typed=typed,
        error=error,
    )


def _refusal(case: Case, order: Order | None, action: Action, now: str) -> str | None:
    """Return why *action* is not allowed as the case and its order are now; None if it is."""
    shipment = (order and order.shipment_id) or _ANY_SHIPMENT
    try:
        given = shipment if action is Action.FULFILL else None
        request = Request(action=action, actor="-", note="-", shipment_id=given)
        return problem_of(case, order, request, now)
    except ResolutionError as error:  # The stored shipment id is not one that a person could give.
        return str(error)


@routes.post("/cases/resolve")
async def many(request: web.Request) -> web.Response:
    """Show the form for the cases of a list; or, with an action, what would be done about each."""
    form = await request.post()
    try:
        seen = _seen([each for each in form.getall("case", []) if isinstance(each, str)])
    except FormError as error:
        raise web.HTTPBadRequest(text=error.sentence) from None
    if "action" not in form:
        return await _form_of_many(request, seen)
    try:
        person, action = person_of(form, note_required=True), _action(form)
        decisions = [
            _decision(case_id, episode, action, person, _fields_of(form, n))
            for n, (case_id, episode) in enumerate(seen.items())
        ]
    except FormError as error:
        return await _form_of_many(request, seen, form, str(error))
    return _planned(request, Job(action, person, await plan(console_of(request).stack, decisions)))


async def _form_of_many(
    request: web.Request, seen: Mapping[str, int], form: Mapping[str, Any] | None = None, error: str | None = None
) -> web.Response:
    found = await read_cases(console_of(request).stack, list(seen))
    return await page(
        request,
        "resolve_many.html",
        status=200 if error is None else web.HTTPBadRequest.status_code,
        cases=[(case_id, episode, found[case_id]) for case_id, episode in seen.items()],
        is_missing=lambda each: isinstance(each, OperationError),
        choices=[(action, _WORDS[action], None) for action in Action],
        typed={} if form is None else {name: text_field(form, name) for name in form},
        error=error,
    )


@routes.get("/cases/resolve/{job}")
async def job_page(request: web.Request) -> web.Response:
    return await _job_page(request, _job(request))


@routes.post("/cases/resolve/{job}")
async def carry_out(request: web.Request) -> web.Response:
    """Begin the work. Sent once more, by a double click or after a step back, it leads to what has begun."""
    job, jobs, console = _job(request), request.app[JOBS], console_of(request)
    form = await request.post()
    if job.state == "planned":
        if jobs.is_full:
            raise web.HTTPServiceUnavailable(text="Several others are at work. Wait until one of them has ended.")
        try:
            job.add_card_numbers({n: _card(form, n) for n in range(len(job.plan.steps))})
        except CardError as error:
            return await _job_page(request, job, error)

        def ended(job: Job) -> None:
            person, targets = job.person, [step.decision.case_id for step in job.plan.steps]
            audit(
                request,
                action="resolve",
                actor=person.actor,
                note=person.note,
                targets=targets,
                outcome=f"{job.action}: {job.outcome}",
            )
            console.feeds.refresh()

        jobs.start(job, console.stack, console.feeds.explain, ended)
    raise web.HTTPSeeOther(path("cases", "resolve", job.id))


@routes.post("/cases/resolve/{job}/stop")
async def stop_job(request: web.Request) -> web.Response:
    job = _job(request)
    stop(job)
    raise web.HTTPSeeOther(path("cases", "resolve", job.id))


@routes.post("/cases/resolve/{job}/again")
async def plan_rest(request: web.Request) -> web.Response:
    """Look again at what was not done, as the same person wanted it."""
    job = _job(request)
    decisions = [step.decision for step in job.rest]
    if job.is_running or not decisions:
        raise web.HTTPSeeOther(path("cases", "resolve", job.id))
    return _planned(request, Job(job.action, job.person, await plan(console_of(request).stack, decisions)))


@routes.get("/live/cases/resolve/{job}")
async def live(request: web.Request) -> web.StreamResponse:
    job = _job(request)
    return await stream(request, _feed(request, job), "resolving_live.html", lambda _: _values(job))


def _feed(request: web.Request, job: Job) -> Feed[int]:
    async def read() -> int:
        return job.done

    return console_of(request).feeds.feed(("job", job.id), read, PROGRESS_EVERY_S)


def _job(request: web.Request) -> Job:
    job = request.app[JOBS].get(request.match_info["job"])
    if job is None:
        raise web.HTTPNotFound(
            text="This is not known here any more: the console was started again, or it was not looked at for an hour."
            " Nothing is done that was not begun. The cases show what was."
        )
    return job


def _planned(request: web.Request, job: Job) -> web.Response:
    request.app[JOBS].add(job)
    raise web.HTTPSeeOther(path("cases", "resolve", job.id))


async def _job_page(request: web.Request, job: Job, error: CardError | None = None) -> web.Response:
    return await page(
        request,
        "resolving.html",
        status=200 if error is None else web.HTTPBadRequest.status_code,
        live=path("live", "cases", "resolve", job.id) if job.is_running else None,
        card_problems={} if error is None else error.problems,
        **_values(job),
    )


def _values(job: Job) -> dict[str, Any]:
    rows: list[tuple[int, Step, Sequence[Change], str]] = [
        (n, step, changes(step), job.next_of(step)) for n, step in enumerate(job.plan.steps)
    ]
    return {"job": job, "rows": rows, "about_one": len(rows) == 1, "next_of_action": NEXT[job.action]}


def _decision(case_id: str, episode: int, action: Action, person: Person, form: Mapping[str, Any]) -> Decision:
    shipment_id = (
        form.get("shipment_id") if action is Action.FULFILL else None
    )  # As it was typed: like a card number, it is refused.
    given = {field: text_field(form, name) for name, field in _CORRECTIONS.items()}
    corrections = {field: text for field, text in given.items() if text} if action is Action.RESUBMIT else {}
    try:
        request = Request(action=action, actor=person.actor, note=person.note, shipment_id=shipment_id, episode=episode)
    except ResolutionError as error:
        raise FormError("shipment_id", str(error)) from None
    return Decision(case_id, request, corrections)


def _fields_of(form: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the fields of one of many cases, which have its number in their names."""
    end = f".{number}"
    return {name.removesuffix(end): value for name, value in form.items() if name.endswith(end)}


def _card(form: Mapping[str, Any], number: int) -> str:
    given = form.get(f"card.{number}", "")
    return given if isinstance(given, str) else ""


def _action(form: Mapping[str, Any]) -> Action:
    try:
        return Action(text_field(form, "action"))
    except ValueError:
        raise FormError("action", f"choose what to do: {', '.join(Action)}") from None


def _seen(cases: Sequence[str]) -> dict[str, int]:
    """Return the episode that was seen of each case, from texts such as `2:004`."""
    seen = {}
    for each in cases:
        episode, _, case_id = each.partition(":")
        seen[case_id] = _episode(episode if case_id else None)
    if not seen:
        raise FormError("case", "select at least one case")
    if len(seen) > MAX_CASES:
        raise FormError("case", f"at most {MAX_CASES} cases can be resolved at once; {len(seen):,} are selected")
    return seen


def _episode(text: object) -> int:
    if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10:  # noqa: PLR2004 - a number of DynamoDB.
        return int(text)
    raise FormError("case", "the form does not say which episode of the case was seen; load the page again")
