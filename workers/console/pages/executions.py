"""An execution: its path through the graph, its states and events, and its order. Never its input or output."""

import json
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from workers import clock
from workers.console.addresses import path
from workers.console.console import console_of
from workers.console.feeds import Feed, Reading
from workers.console.inspector import inspect
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.console.pages.workflow import MACHINES, kind_of
from workers.console.rendering import now
from workers.console.watched import EVERY_S, ExecutionReader, Watched
from workers.domain.text import clean
from workers.operations.execution_events import Event
from workers.operations.workflow import Kind

routes: Final = web.RouteTableDef()
TABS: Final = {"states": "States", "events": "Events", "definition": "Definition"}
MAX_ROWS: Final = 500
_MAX_NAME_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page was asked for: an execution by its name or ARN, and what of it."""

    given: str
    kind: Kind | None
    order_id: str | None
    tab: str
    state: str | None
    after: int

    @classmethod
    def of(cls, request: web.Request) -> "Asked":
        query = request.query
        tab, after = query.get("tab", ""), query.get("after", "")
        return cls(
            request.match_info["name"][:_MAX_NAME_CHARS],
            kind_of(query),
            query.get("order", "").strip() or None,
            tab if tab in TABS else "states",
            query.get("state") or None,
            int(after) if after.isascii() and after.isdecimal() and len(after) < 7 else 0,  # noqa: PLR2004 - of digits.
        )

    def address(self, *before: str, **changed: object) -> str:
        """Return the address of this page, with some of what it was asked for *changed*."""
        given: dict[str, object] = {
            "machine": self.kind,
            "order": self.order_id,
            "tab": None if self.tab == "states" else self.tab,
            "state": self.state,
            "after": self.after or None,
        }
        return path(*before, "executions", self.given, **given | changed)


@routes.get("/executions/{name}")
async def execution(request: web.Request) -> web.Response:
    asked = Asked.of(request)
    reading = await _feed(request, asked).latest(wait_s=PATIENCE_S)
    known = None if reading is None else reading.value
    status = 404 if known is not None and known.run is None else 200
    live = None if known is not None and known.is_last else asked.address("live")
    return await page(request, "execution.html", status=status, live=live, **_values(asked, reading))


@routes.get("/live/executions/{name}")
async def live_part(request: web.Request) -> web.StreamResponse:
    asked = Asked.of(request)

    def is_last(reading: Reading[Watched]) -> bool:
        return reading.value is not None and reading.problem is None and reading.value.is_last

    return await stream(
        request, _feed(request, asked), "execution_live.html", lambda reading: _values(asked, reading), is_last
    )


@routes.get("/executions/{name}/events.json")
async def export(request: web.Request) -> web.Response:
    """Return the events of an execution as JSON, without its data, as the page has them."""
    reading = await _feed(request, Asked.of(request)).latest()
    if reading is None or reading.value is None:
        raise web.HTTPBadGateway(text=(reading and reading.problem) or "the execution could not be read")
    known = reading.value
    if known.run is None:
        raise web.HTTPNotFound(text="There is no such execution, or no longer.")
    body = {
        "execution": clean(known.run.arn),
        "status": known.run.status,
        "started_at": clock.written(known.run.started),
        "ended_at": None if known.run.ended is None else clock.written(known.run.ended),
        "is_complete": not known.history.is_cut,
        "events": [_exported(event) for event in known.history.all],
    }
    return web.Response(
        text=json.dumps(body, indent=2),
        content_type="application/json",
        headers={"Content-Disposition": 'attachment; filename="events.json"'},
    )


def _exported(event: Event) -> dict[str, Any]:
    found = {
        "id": event.id,
        "at": clock.written(event.at),
        "type": event.type,
        "state": event.state,
        "error": event.error,
        "cause": event.cause,
        **dict(event.details),
    }
    return {name: value for name, value in found.items() if value is not None}


def _feed(request: web.Request, asked: Asked) -> Feed[Watched]:
    console = console_of(request)
    reader = ExecutionReader(console.stack, asked.given, asked.kind, asked.order_id)
    return console.feeds.feed(("execution", asked.given, asked.kind, asked.order_id), reader.read, EVERY_S)


def _values(asked: Asked, reading: Reading[Watched] | None) -> dict[str, Any]:
    values: dict[str, Any] = {"reading": reading, "asked": asked, "tabs": TABS, "machines": MACHINES, "kinds": Kind}
    if reading is None or reading.value is None or reading.value.run is None:
        return values
    known = reading.value
    events = known.history.all
    return (
        values
        | _of_tab(asked, known)
        | {
            "transitions": sum(event.type.endswith("StateEntered") for event in events),
            "duration_s": _duration_s(known),
            "events": [event for event in events if event.id > asked.after][:MAX_ROWS],
            "number_of_events": len(events),
        }
    )


def _of_tab(asked: Asked, known: Watched) -> dict[str, Any]:
    """Return what only one of the tabs needs."""
    if asked.tab == "definition":
        return {"definition": json.dumps(known.definition, indent=2, ensure_ascii=False)}
    if asked.tab == "events" or known.drawing is None:
        return {}
    return {
        "drawing": known.drawing,
        "states": inspect(known.drawing.states, known.definition, known.history.events, asked.state),
    }


def _duration_s(known: Watched) -> float | None:
    run = known.run
    if run is None or (run.ended is None and not run.is_running):
        return None
    return max(((run.ended or now()) - run.started).total_seconds(), 0.0)
