"""The workflow: the graph of each state machine, how often its ways are taken, and its recent executions."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from workers.console.addresses import path
from workers.console.console import console_of
from workers.console.feeds import Feed, Reading
from workers.console.inspector import inspect
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.console.recent import EVERY_S, OF_HEAT, RecentReader, Workflow
from workers.console.rendering import now
from workers.operations.workflow import STATUSES, Kind, Listed

routes: Final = web.RouteTableDef()
MAX_ROWS: Final = 50
MACHINES: Final = {Kind.ORDERS: "Order workflow", Kind.INTAKE: "Bulk intake", Kind.SWEEP: "Sweep of stuck orders"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page was asked for; *at* is when its list was made: what comes later is only counted."""

    kind: Kind
    status: str | None
    at: datetime

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Asked":
        status = query.get("status", "").upper()
        return cls(kind_of(query) or Kind.ORDERS, status if status in STATUSES else None, _time(query.get("at")))


def kind_of(query: Mapping[str, str]) -> Kind | None:
    """Return the machine that an address names; None if it names none that there is."""
    return next((kind for kind in Kind if kind == query.get("machine")), None)


@routes.get("/workflow")
async def workflow(request: web.Request) -> web.Response:
    if name := request.query.get("name", "").strip():
        raise web.HTTPSeeOther(str(path("executions", name)))
    asked = Asked.of(request.query)
    reading = await _feed(request, asked.kind).latest(wait_s=PATIENCE_S)
    return await page(request, "workflow.html", live="/live/workflow", **_values(asked, reading))


@routes.get("/live/workflow")
async def live(request: web.Request) -> web.StreamResponse:
    asked = Asked.of(request.query)
    return await stream(
        request, _feed(request, asked.kind), "workflow_live.html", lambda reading: _values(asked, reading)
    )


def _feed(request: web.Request, kind: Kind) -> Feed[Workflow]:
    console = console_of(request)
    return console.feeds.feed(("workflow", kind), RecentReader(console.stack, kind).read, EVERY_S)


def _values(asked: Asked, reading: Reading[Workflow] | None) -> dict[str, Any]:
    values = {"reading": reading, "asked": asked, "machines": MACHINES, "of_heat": OF_HEAT}
    if reading is None or reading.value is None:
        return values
    known = reading.value
    wanted = [run for run in known.recent.runs if _is_shown(run, asked)]
    return values | {
        "drawing": known.drawing,
        "states": inspect(known.drawing.states, known.machine.definition, (), None),
        "rows": wanted[:MAX_ROWS],
        "matching": len(wanted),
        "newer": sum(_is_newer(run, asked) for run in known.recent.runs),
        "counts": known.recent.counts,
        "is_empty": not known.recent.runs,
    }


def _is_shown(run: Listed, asked: Asked) -> bool:
    """Return whether a row stands in the list, as it stood when the page was made: nothing moves under the mouse."""
    if run.started > asked.at:
        return False
    was_running = run.ended is None or run.ended > asked.at
    if asked.status is None:
        return True
    return was_running if asked.status == "RUNNING" else run.status == asked.status and not was_running


def _is_newer(run: Listed, asked: Asked) -> bool:
    if asked.status in {None, "RUNNING"}:
        return run.started > asked.at and asked.status in {None, run.status}
    return run.status == asked.status and run.ended is not None and run.ended > asked.at


def _time(text: str | None) -> datetime:
    """Return the time in the address of a live part, in seconds since the epoch; now if there is none."""
    try:
        return datetime.fromtimestamp(float(text or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return now()
