"""The escalation cases: a list to choose from, and everything about each one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from workers.console.addresses import path
from workers.console.case_lists import (
    GROUPS,
    LABELS,
    MAX_SELECTED,
    OPEN_EVERY_S,
    RESOLVED_EVERY_S,
    CaseFilter,
    CaseList,
    CasesNow,
    listed,
    read_open,
    read_resolved,
)
from workers.console.console import Console, console_of
from workers.console.feeds import Feed, Reading
from workers.console.live_lists import Seen, stream_list
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.console.query import Query, chips
from workers.console.rows import MAX_ROWS, ROWS, marks
from workers.domain.cases import Case, CaseState
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.resolutions import pending_claim
from workers.operations.case_story import CaseStory, differences, read_case_story
from workers.operations.errors import OperationError
from workers.operations.next_step import next_step_of_case
from workers.operations.order_table import is_key
from workers.operations.stack import Stack
from workers.operations.story import UnknownIdError

CASE_EVERY_S = 5.0
routes: Final = web.RouteTableDef()


@routes.get("/cases")
async def cases(request: web.Request) -> web.Response:
    query = Query(request.query)
    if (case_id := query.text("id")) is not None:
        raise web.HTTPSeeOther(path("cases", case_id).unescape())
    asked = CaseFilter.of(query)
    live, reading = None, None
    if not query.problems:
        reading = await _list_feed(console_of(request), asked).latest(wait_s=PATIENCE_S)
    values = _list_values(request, asked, reading)
    if not query.problems:
        found = values["found"]
        seen = "".join(found.marks) if found else None
        live = path("live", "cases", **asked.query(), seen=seen, cold=found is None)
    return await page(
        request,
        "cases.html",
        status=400 if query.problems else 200,
        live=live,
        problems=query.problems,
        chips=chips("cases", asked.query(), LABELS),
        reasons=list(Reason),
        sources=list(Source),
        groups=GROUPS,
        **values,
    )


@routes.get("/live/cases")
async def live_cases(request: web.Request) -> web.StreamResponse:
    query = Query(request.query)
    asked = CaseFilter.of(query)
    if query.problems:
        raise web.HTTPBadRequest(text="the filters are wrong")
    seen = Seen(marks(request.query.get("seen", "")), is_cold="cold" in request.query)

    def values(reading: Reading[CasesNow]) -> dict[str, Any]:
        made = _list_values(request, asked, reading)
        if (found := made["found"]) is not None:
            made["brings_list"], made["changed"] = seen.next(found.marks)
        return made

    return await stream_list(request, _list_feed(console_of(request), asked), "cases_live.html", values)


def _list_feed(console: Console, asked: CaseFilter) -> Feed[CasesNow]:
    stack = console.stack
    if asked.resolved:
        return console.feeds.feed(("cases", asked), lambda: read_resolved(stack, asked), RESOLVED_EVERY_S)
    return console.feeds.feed("open cases", lambda: read_open(stack), OPEN_EVERY_S)


def _list_values(request: web.Request, asked: CaseFilter, reading: Reading[CasesNow] | None) -> dict[str, Any]:
    query = asked.query()
    found: CaseList | None = None
    problem = reading.problem if reading else None
    if reading is not None and reading.value is not None:
        try:
            found = listed(reading.value, asked, console_of(request).stack.now())
        except OperationError as error:
            problem = str(error)
    return {
        "asked": asked,
        "query": query,
        "found": found,
        "problem_text": problem,
        "changed": 0,
        "brings_list": False,
        "here": path("cases", **query),
        "more": path("cases", **query | {"rows": asked.rows + ROWS}) if asked.rows < MAX_ROWS else None,
        "cards": _cards(query),
        "max_selected": MAX_SELECTED,
    }


def _cards(query: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Return the severity, the address, and whether the page shows it, of each count card."""
    given = {name: value for name, value in query.items() if value and name != "rows"}
    made = [("", path("cases"), not given)]
    made += [
        (str(severity), path("cases", severity=severity), given == {"severity": severity})
        for severity in reversed(Severity)
    ]
    return [(severity, str(address), is_here) for severity, address, is_here in made]


@dataclass(frozen=True, slots=True)
class Told:
    """A case with its order; if *story* is None, *missing* says that there is none."""

    story: CaseStory | None
    missing: str | None = None


@routes.get("/cases/{case_id}")
async def case(request: web.Request) -> web.Response:
    case_id = request.match_info["case_id"]
    if not is_key(case_id):
        return await page(request, "order_refused.html", status=404)
    reading = await _case_feed(console_of(request), case_id).latest(wait_s=PATIENCE_S)
    is_missing = reading is not None and reading.value is not None and reading.value.story is None
    return await page(
        request,
        "case.html",
        status=404 if is_missing else 200,
        live=path("live", "cases", case_id),
        **_case_values(request, reading),
    )


@routes.get("/live/cases/{case_id}")
async def live_case(request: web.Request) -> web.StreamResponse:
    case_id = request.match_info["case_id"]
    if not is_key(case_id):
        raise web.HTTPNotFound(text="this cannot be the id of a case")
    feed = _case_feed(console_of(request), case_id)
    return await stream(request, feed, "case_live.html", lambda reading: _case_values(request, reading))


def _case_feed(console: Console, case_id: str) -> Feed[Told]:
    return console.feeds.feed(("case", case_id), lambda: _told(console.stack, case_id), CASE_EVERY_S)


async def _told(stack: Stack, case_id: str) -> Told:
    try:
        return Told(await read_case_story(stack, case_id))
    except UnknownIdError as error:
        return Told(None, str(error))


def _case_values(request: web.Request, reading: Reading[Told] | None) -> dict[str, Any]:
    told = reading.value if reading else None
    story = told.story if told else None
    values = {"case_id": request.match_info["case_id"], "reading": reading, "told": told, "story": story}
    if story is None or story.case is None:
        return values
    found, now = story.case, console_of(request).stack.now()
    return values | {
        "case": found,
        "order": story.order,
        "next": None if story.order_problem else next_step_of_case(found, story.order, now),
        "differences": differences(found.order, story.order) if found.order else [],
        "is_open": found.state is CaseState.OPEN,
        "claim": _claim(found),
        "unrouted": found.unrouted if found.state is CaseState.OPEN else (),
        "dropped": _dropped(found),
    }


def _claim(case: Case) -> str | None:
    """Say what the newest resubmission that a person has begun came to."""
    if case.claim is None:
        return None
    if case.has_resubmission(case.claim.execution_arn):
        return "done"
    return "under way, or interrupted" if pending_claim(case) is not None else "escalated again"


def _dropped(case: Case) -> list[str]:
    """Say how many entries of which lists were dropped, so that the case stays bounded."""
    if case.dropped is None:
        return []
    dropped = case.dropped
    counted = {
        "messages": dropped.evidence,
        "ids of messages": dropped.message_ids,
        "executions": dropped.execution_arns,
        "refused executions": dropped.rejected_executions,
        "notifications": dropped.routed,
        "resolutions": dropped.resolutions,
        "episodes": dropped.episodes,
    }
    return [f"{number:,} {what}" for what, number in counted.items() if number]
