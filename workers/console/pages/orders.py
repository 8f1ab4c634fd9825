"""The orders: a list with filters, and the whole story of each one."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from workers.console.addresses import path
from workers.console.console import Console, console_of
from workers.console.feeds import Feed, Reading
from workers.console.live_lists import Seen, stream_list
from workers.console.order_lists import LABELS, OrderFilter, OrderList, read_orders
from workers.console.order_stories import OrderReader, OrderStory, every_s
from workers.console.pages.common import PATIENCE_S, page, stream
from workers.console.query import Query, chips
from workers.console.rendering import stored
from workers.console.rows import MAX_ROWS, ROWS, marks
from workers.domain.reasons import Reason
from workers.operations.listing import FINAL, OPEN
from workers.operations.order_table import is_key

routes: Final = web.RouteTableDef()


@routes.get("/orders")
async def orders(request: web.Request) -> web.Response:
    query = Query(request.query)
    if (order_id := query.text("id")) is not None:
        raise web.HTTPSeeOther(path("orders", order_id).unescape())
    asked = OrderFilter.of(query)
    live, reading = None, None
    if not query.problems:
        reading = await _list_feed(console_of(request), asked).latest(wait_s=PATIENCE_S)
        seen = "".join(reading.value.marks) if reading and reading.value else None
        live = path("live", "orders", **asked.query(), seen=seen, cold=seen is None or None)
    values = _list_values(request, asked, reading)
    return await page(
        request,
        "orders.html",
        status=400 if query.problems else 200,
        live=live,
        problems=query.problems,
        chips=chips("orders", asked.query(), LABELS),
        reasons=list(Reason),
        **values,
    )


@routes.get("/live/orders")
async def live_orders(request: web.Request) -> web.StreamResponse:
    query = Query(request.query)
    asked = OrderFilter.of(query)
    if query.problems:
        raise web.HTTPBadRequest(text="the filters are wrong")
    seen = Seen(marks(request.query.get("seen", "")), is_cold="cold" in request.query)

    def values(reading: Reading[OrderList]) -> dict[str, Any]:
        made = _list_values(request, asked, reading)
        if (found := reading.value) is not None:
            made["brings_list"], made["changed"] = seen.next(found.marks)
        return made

    return await stream_list(request, _list_feed(console_of(request), asked), "orders_live.html", values)


def _list_feed(console: Console, asked: OrderFilter) -> Feed[OrderList]:
    return console.feeds.feed(("orders", asked), lambda: read_orders(console.stack, asked), asked.every_s)


def _list_values(request: web.Request, asked: OrderFilter, reading: Reading[OrderList] | None) -> dict[str, Any]:
    today = console_of(request).stack.now().date().isoformat()
    query = asked.query()
    found = reading.value if reading else None
    more = asked.rows + ROWS
    return {
        "asked": asked,
        "query": query,
        "reading": reading,
        "found": found,
        "changed": 0,
        "here": path("orders", **query),
        "more": path("orders", **query | {"rows": more}) if asked.rows < MAX_ROWS else None,
        "cards": _cards(query, today),
        "statuses": [*OPEN, *FINAL],
        "brings_list": False,
    }


def _cards(query: Mapping[str, Any], today: str) -> list[tuple[str, str, str, bool]]:
    """Return status, label, address, and whether the page shows it, of each count card."""
    made = list[tuple[str, str, str, bool]]()
    for status in (*OPEN, *FINAL):
        final = status in FINAL
        wanted: dict[str, Any] = {"status": [status], "since": today if final else None}
        is_here = {name: value for name, value in query.items() if value} == {k: v for k, v in wanted.items() if v}
        label = f"{status} today" if final else str(status)
        made.append((str(status), label, path("orders", **wanted), is_here))
    return made


@routes.get("/orders/{order_id}")
async def order(request: web.Request) -> web.Response:
    order_id = request.match_info["order_id"]
    if not is_key(order_id):
        return await page(request, "order_refused.html", status=404)
    reading = await _story_feed(console_of(request), order_id).latest(wait_s=PATIENCE_S)
    is_missing = reading is not None and reading.value is not None and reading.value.missing is not None
    return await page(
        request,
        "order.html",
        status=404 if is_missing else 200,
        live=path("live", "orders", order_id),
        **_story_values(request, reading),
    )


@routes.get("/live/orders/{order_id}")
async def live_order(request: web.Request) -> web.StreamResponse:
    order_id = request.match_info["order_id"]
    if not is_key(order_id):
        raise web.HTTPNotFound(text="this cannot be the id of an order")
    feed = _story_feed(console_of(request), order_id)
    return await stream(request, feed, "order_live.html", lambda reading: _story_values(request, reading))


def _story_feed(console: Console, order_id: str) -> Feed[OrderStory]:
    # Nothing is changed for those who only read, and looking hides dead letters.
    reader = OrderReader(console.stack, order_id, console.logs, may_look=console.place.can_write)
    return console.feeds.feed(("order", order_id), reader.read, every_s)


def _story_values(request: web.Request, reading: Reading[OrderStory] | None) -> dict[str, Any]:
    told = reading.value if reading else None
    story = told.story if told else None
    return {
        "order_id": request.match_info["order_id"],
        "logs": console_of(request).logs,
        "reading": reading,
        "told": told,
        "story": story,
        "order": stored(story.order) if story else None,
        "case": stored(story.case) if story else None,
        "others": [stored(case) for case in story.related_cases.values()] if story else [],
    }
