"""What a list of orders is asked for, and what is read for it."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from multidict import MultiDict

from tests.workers.operations.fakes import NOW, fake_stack
from tests.workers.operations.test_listing import OrderTable
from workers.console import order_lists
from workers.console.order_lists import EVERY_S, SEARCH_EVERY_S, OrderFilter, read_orders
from workers.console.query import Query
from workers.domain.orders import OrderStatus
from workers.operations.listing import OPEN, Selection
from workers.operations.windows import Window

WHOLE = {
    "status": ["ESCALATED", "CANCELLED"],
    "q": "text",
    "older_than": "2h",
    "since": "3d",
    "name": "ada",
    "item": "bicycle",
    "reason": "ORDER_STUCK",
    "actor": "grace",
    "stuck": False,
    "rows": 200,
}


def asked(**values: str) -> OrderFilter:
    return OrderFilter.of(Query(MultiDict(values)))


def test_an_address_has_all_that_a_list_is_asked_for() -> None:
    given = MultiDict[str]()
    for name, value in WHOLE.items():
        for each in value if isinstance(value, list) else [value] if value else []:
            given.add(name, str(each))
    query = Query(given)
    found = OrderFilter.of(query)
    assert (found.query(), query.problems, found.is_default) == (WHOLE, {}, False)
    hours = timedelta(hours=1)
    assert found.selection(NOW, None) == Selection(
        statuses=(OrderStatus.ESCALATED, OrderStatus.CANCELLED),
        window=Window(NOW - 72 * hours, NOW - 2 * hours),
        name="ada",
        item="bicycle",
        reason="ORDER_STUCK",
        actor="grace",
        text="text",
    )


def test_without_filters_all_open_orders_are_asked_for() -> None:
    assert (asked().is_default, asked(rows="100").is_default, asked(stuck="1").is_default) == (True, True, False)
    assert asked(rows="100").query()["rows"] is None
    assert asked().selection(NOW, None) == Selection(statuses=OPEN)


def test_final_orders_are_those_of_the_last_day_and_stuck_ones_those_before_a_time() -> None:
    day = NOW - timedelta(days=1)
    assert asked(status="FULFILLED").selection(NOW, None).window == Window(day, None)
    assert asked(status="RECEIVED").selection(NOW, None).window == Window()
    stuck = asked(stuck="1").selection(NOW, day)
    assert (stuck.statuses, stuck.window) == ((OrderStatus.RECEIVED,), Window(None, day))


@pytest.mark.parametrize(
    ("given", "is_wrong"),
    [
        ({}, False),
        ({"status": "RECEIVED"}, False),
        ({"status": "ESCALATED"}, True),
        ({"since": "2h"}, True),
        ({"older_than": "2h"}, True),
    ],
)
def test_stuck_orders_have_a_status_and_times_of_their_own(given: dict[str, str], is_wrong: bool) -> None:
    query = Query(MultiDict(given | {"stuck": "1"}))
    OrderFilter.of(query)
    assert ("stuck" in query.problems) == is_wrong
    query = Query(MultiDict(given))
    OrderFilter.of(query)
    assert query.problems == {}


@pytest.mark.parametrize(
    ("given", "every_s"),
    [
        ({}, EVERY_S),
        ({"older_than": "2h", "status": "RECEIVED", "since": "3h"}, EVERY_S),
        ({"status": "CANCELLED"}, SEARCH_EVERY_S),
        ({"stuck": "1"}, SEARCH_EVERY_S),
        *(({name: "x"}, SEARCH_EVERY_S) for name in ("q", "name", "item", "actor")),
        ({"reason": "ORDER_STUCK"}, SEARCH_EVERY_S),
    ],
)
def test_what_takes_many_requests_is_read_less_often(given: dict[str, str], every_s: float) -> None:
    assert asked(**given).every_s == every_s


async def test_a_list_has_its_first_rows_and_all_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    table = OrderTable()
    for minute, order_id in enumerate("abc"):
        table.put(order_id, minute)
    stack = fake_stack(dynamodb=table.client)
    found = await read_orders(stack, OrderFilter(rows=2))
    assert ([row["order_id"] for row in found.rows], found.matched, found.read) == (["a", "b"], 3, 3)
    assert (found.is_cut, found.window, len(set(found.marks))) == (False, None, 2)
    monkeypatch.setattr(order_lists, "MAX_READ", 2)
    assert (await read_orders(stack, OrderFilter(text="x"))).is_cut
    assert (await read_orders(stack, OrderFilter(statuses=("FULFILLED",)))).window == "24h"


@pytest.mark.parametrize(
    "change",
    [{"Status": "ESCALATED"}, {"UpdatedAt": "2026-11-22T10:30:00.000000Z"}, {"Attempts": 1}, {"OrderId": "b"}],
)
async def test_a_row_has_changed_with_its_order(change: dict[str, object]) -> None:
    table = OrderTable()
    table.put("a", 1)
    stack = fake_stack(dynamodb=table.client)
    before = (await read_orders(stack, OrderFilter())).marks
    assert (await read_orders(stack, OrderFilter())).marks == before
    table.items["a"] |= change
    assert (await read_orders(stack, OrderFilter())).marks != before


async def test_stuck_orders_are_those_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    async def rule(_: object) -> object:
        return SimpleNamespace(before=lambda now: now - timedelta(minutes=118))

    monkeypatch.setattr(order_lists, "read_rule", rule)
    table = OrderTable()
    table.put("long", 1)
    table.put("short", 3)
    found = await read_orders(fake_stack(dynamodb=table.client), OrderFilter(stuck=True))
    assert [row["order_id"] for row in found.rows] == ["long"]
