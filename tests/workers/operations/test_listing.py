import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW, FakeClient, FakeSession, fake_stack
from workers.aws.items import from_item, to_item
from workers.aws.status_index import status_key
from workers.domain.orders import OrderStatus
from workers.operations.listing import FINAL, OrderListing, Selection
from workers.operations.stack import Stack
from workers.operations.windows import Window, parse_moment


class OrderTable:
    """The order table; `index` holds its entries as they were a moment ago, two to a page."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.index: list[dict[str, Any]] = []
        self.client = FakeClient(query=self._query, batch_get_item=self._batch_get_item)

    def put(
        self, order_id: str, minute: int, status: str = "RECEIVED", was: str | None = None, since: int | None = None
    ) -> None:
        """Put an order that had the status *was* since *minute*, and that was perhaps updated *since*."""
        now, at = (f"2026-11-22T10:{at:02}:00.000000Z" for at in (since or minute, minute))
        self.items[order_id] = {"OrderId": order_id, "Status": status, "UpdatedAt": now}
        self.index.append({"OpenKey": status_key(was or status, order_id, at), "OrderId": order_id, "UpdatedAt": at})

    def put_final(self, order_id: str, at: str, status: str = "FULFILLED", **fields: Any) -> None:
        """Put an order that is final since *at*."""
        self.items[order_id] = {"OrderId": order_id, "Status": status, "UpdatedAt": at} | fields
        self.index.append({"OpenKey": status_key(status, order_id, at), "OrderId": order_id, "UpdatedAt": at})

    def queried(self) -> list[str]:
        """Return the keys that were queried."""
        return [
            request["ExpressionAttributeValues"][":key"]["S"]
            for operation, request in self.client.requests
            if operation == "query"
        ]

    def reads(self) -> list[int]:
        return [
            len(request["RequestItems"]["OrderTable"]["Keys"])
            for operation, request in self.client.requests
            if operation == "batch_get_item"
        ]

    def _query(self, **request: Any) -> Iterator[dict[str, Any]]:
        assert (request["TableName"], request["IndexName"]) == ("OrderTable", "OpenOrders")
        values = from_item(request["ExpressionAttributeValues"])
        within = "BETWEEN :since AND :before" if ":since" in values else "< :before"
        assert request["KeyConditionExpression"] == f"OpenKey = :key AND UpdatedAt {within}"
        entries = [
            to_item({name: entry[name] for name in ("OrderId", "UpdatedAt")})
            for entry in sorted(
                self.index,
                key=lambda entry: (str(entry["UpdatedAt"]), str(entry["OrderId"])),
                reverse=not request.get("ScanIndexForward", True),
            )
            if entry["OpenKey"] == values[":key"]
            and values.get(":since", "") <= entry["UpdatedAt"]
            and (
                entry["UpdatedAt"] < values[":before"]
                or (":since" in values and entry["UpdatedAt"] == values[":before"])
            )
        ]
        for start in range(0, len(entries), 2):
            yield {"Items": entries[start : start + 2]}

    def _batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        ((name, request),) = RequestItems.items()
        found = [self.items[key["OrderId"]["S"]] for key in request["Keys"] if key["OrderId"]["S"] in self.items]
        return {"Responses": {name: [to_item(item) for item in found]}}


async def listed(table: OrderTable, **options: Any) -> list[str]:
    """List orders; `limit`, `max_read` and `progress` are the listing's, *options* besides the selection's."""
    stack = fake_stack(dynamodb=table.client)
    more = {name: options.pop(name) for name in ("limit", "max_read", "progress") if name in options}
    if "older_than" in options:
        options["window"] = Window.of(stack.now(), None, options.pop("older_than"))
    listing = OrderListing(stack, Selection(**options), **more)
    return [order["OrderId"] async for order in listing.orders()]


async def test_orders_of_all_shards_and_statuses_come_oldest_first() -> None:
    table = OrderTable()
    for minute in range(59, -1, -1):
        table.put(f"o-{minute:02}", minute, "ESCALATED" if minute % 3 else "RECEIVED")
    assert await listed(table) == [f"o-{minute:02}" for minute in range(60)]
    assert await listed(table, statuses=[OrderStatus.RECEIVED]) == [f"o-{minute:02}" for minute in range(0, 60, 3)]


async def test_an_order_that_has_ended_or_changed_its_status_is_left_out() -> None:
    table = OrderTable()
    table.put("ended", 1, "FULFILLED", was="RECEIVED")
    table.put("changed", 2, "ESCALATED", was="RECEIVED")
    table.put("open", 3)
    del table.items["open"]
    assert await listed(table, statuses=[OrderStatus.RECEIVED]) == []


async def test_an_order_that_the_index_has_twice_is_listed_once() -> None:
    table = OrderTable()
    table.put("twice", 1, "RECEIVED")
    table.put("twice", 2, "ESCALATED")
    assert await listed(table) == ["twice"]


async def test_a_limit_reads_few_more_orders_than_it_shows() -> None:
    table = OrderTable()
    for n in range(1000):
        table.put(f"o-{n:03}", n // 20)
    assert await listed(table, limit=3) == ["o-000", "o-001", "o-002"]
    assert sum(table.reads()) <= 200


async def test_younger_orders_are_not_asked_for() -> None:
    table = OrderTable()
    table.put("old", 29)
    table.put("young", 31)
    assert await listed(table, older_than=timedelta(hours=1, minutes=30)) == ["old"]


async def test_without_an_age_the_youngest_orders_are_asked_for_too() -> None:
    table = OrderTable()
    table.put("young", 59)
    table.index[0]["UpdatedAt"] = table.items["young"]["UpdatedAt"] = "2999-01-01T00:00:00.000000Z"
    assert await listed(table) == ["young"]


@pytest.mark.parametrize(("since", "order_ids"), [(29, ["changed"]), (30, []), (31, [])])
async def test_an_order_that_changed_lately_is_left_out_although_the_index_lags(
    since: int, order_ids: list[str]
) -> None:
    table = OrderTable()
    table.put("changed", 10, since=since)
    assert await listed(table, older_than=timedelta(hours=1, minutes=30)) == order_ids


async def test_orders_of_the_same_time_are_all_listed() -> None:
    table = OrderTable()
    for n in range(40):
        table.put(f"o-{n:02}", 1)
    assert await listed(table) == [f"o-{n:02}" for n in range(40)]


async def test_orders_are_reported_as_they_are_read() -> None:
    table, read = OrderTable(), list[int]()
    for n in range(150):
        table.put(f"o-{n:03}", n // 20)
    await listed(table, progress=read.append)
    assert read == [100, 50]


async def test_without_a_limit_several_requests_run_at_once() -> None:
    table, running, most = OrderTable(), 0, 0
    for n in range(400):
        table.put(f"o-{n:03}", n // 20)

    async def batch_get_item(**request: Any) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(2000):  # Until the keys of all batches have been queried.
            await asyncio.sleep(0)
        running -= 1
        return table._batch_get_item(**request)

    table.client.operations["batch_get_item"] = batch_get_item
    await listed(table)
    assert most == 4
    most = 0
    await listed(table, limit=150)
    assert most == 1


async def test_at_a_limit_the_request_in_flight_is_waited_for() -> None:
    table, release, reads = OrderTable(), asyncio.Event(), 0
    for n in range(300):
        table.put(f"o-{n:03}", n // 20)

    async def batch_get_item(**request: Any) -> dict[str, Any]:
        nonlocal reads
        reads += 1
        if reads > 1:
            await release.wait()
        return table._batch_get_item(**request)

    table.client.operations["batch_get_item"] = batch_get_item
    listing = asyncio.create_task(listed(table, limit=1))
    for _ in range(5_000):
        await asyncio.sleep(0)
    assert (reads, listing.done()) == (2, False)
    release.set()
    assert await listing == ["o-000"]


def finds(table: OrderTable, since: timedelta | None = None, **options: Any) -> OrderListing:
    """Return a listing of final orders, and of open ones if their statuses are given."""
    stack = fake_stack(dynamodb=table.client)
    more = {name: options.pop(name) for name in ("limit", "max_read") if name in options}
    options.setdefault("window", Window.of(stack.now(), since, options.pop("until", None)))
    return OrderListing(stack, Selection(**{"statuses": FINAL} | options), **more)


async def ids(listing: OrderListing) -> list[str]:
    return [order["OrderId"] async for order in listing.orders()]


async def test_final_orders_come_newest_first_day_by_day() -> None:
    table = OrderTable()
    table.put("open", 1)
    for day in (20, 22, 21):
        for n in range(30):
            status = "CANCELLED" if n % 3 else "FULFILLED"
            table.put_final(f"d{day}-{n:02}", f"2026-11-{day}T0{n // 10}:{n % 10}0:00.000000Z", status)
    newest_first = [f"d{day}-{n:02}" for day in (22, 21, 20) for n in range(29, -1, -1)]
    assert await ids(finds(table)) == newest_first
    fulfilled = [order_id for order_id in newest_first if int(order_id[-2:]) % 3 == 0]
    assert await ids(finds(table, statuses=[OrderStatus.FULFILLED])) == fulfilled


async def test_final_orders_are_looked_for_in_the_last_seven_days() -> None:
    table = OrderTable()
    table.put_final("in", "2026-11-15T12:00:00.000000Z")
    table.put_final("before", "2026-11-15T11:59:59.999999Z")
    listing = finds(table)
    assert await ids(listing) == ["in"]
    assert (listing.found.read, listing.found.matched, listing.found.oldest_final) == (
        1,
        1,
        "2026-11-15T12:00:00.000000Z",
    )
    assert len(table.queried()) == 16 * 2 * 8
    assert {operation for operation, _ in table.client.requests} == {"query", "batch_get_item"}


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2026-11-20", "2026-11-21", ["first", "last"]),
        ("2026-11-20T00:00:00.000001Z", "2026-11-21", ["last"]),
        ("2026-11-20", "2026-11-21T00:00:00.000001Z", ["first", "last", "next"]),
        ("2026-11-19T23:00-01:00", "2026-11-20T12:00Z", ["first"]),
    ],
)
async def test_a_window_has_its_begin_and_not_its_end(since: str, until: str, expected: list[str]) -> None:
    table = OrderTable()
    table.put_final("first", "2026-11-20T00:00:00.000000Z")
    table.put_final("last", "2026-11-20T23:59:59.999999Z")
    table.put_final("next", "2026-11-21T00:00:00.000000Z")
    window = Window.of(NOW, parse_moment(since), parse_moment(until))
    assert sorted(await ids(finds(table, window=window))) == expected


async def test_an_order_of_a_worker_whose_clock_is_ahead_is_listed() -> None:
    table = OrderTable()
    table.put_final("tomorrow", "2026-11-23T00:02:00.000000Z")
    stack = Stack({}, now=lambda: NOW.replace(hour=23, minute=59), session=FakeSession({"dynamodb": table.client}))
    listing = OrderListing(stack, Selection(statuses=FINAL))
    assert await ids(listing) == ["tomorrow"]


async def test_open_orders_come_before_final_ones_and_need_no_window() -> None:
    table = OrderTable()
    table.put("received", 59)
    table.items["received"]["UpdatedAt"] = table.index[0]["UpdatedAt"] = "2020-11-22T00:00:00.000000Z"
    table.put("escalated", 1, "ESCALATED")
    table.put_final("final", "2026-11-22T09:00:00.000000Z")
    assert await ids(finds(table, statuses=[*OrderStatus])) == ["received", "escalated", "final"]
    assert await ids(finds(table, timedelta(hours=2), statuses=[*OrderStatus])) == ["escalated"]


async def test_an_erased_order_is_not_listed_although_the_index_lags() -> None:
    table = OrderTable()
    table.put_final("erased", "2026-11-22T09:00:00.000000Z", ErasedAt="2026-11-22T09:00:00.000000Z")
    assert await ids(finds(table)) == []


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"name": "LOVE"}, ["ada"]),
        ({"name": "stra\u00dfe"}, ["eszett"]),
        ({"item": "lamp"}, ["ada", "grace"]),
        ({"item": "lamp", "name": "hop"}, ["grace"]),
        ({"reason": "INVALID_PRICE"}, ["grace"]),
        ({"actor": "OPERATOR"}, ["ada", "grace"]),
        ({"name": "nobody"}, []),
    ],
)
async def test_texts_are_searched_in_upper_or_lower_case(part: dict[str, Any], expected: list[str]) -> None:
    table, at = OrderTable(), "2026-11-22T09:00:00.000000Z"
    table.put_final("ada", at, Name="Ada Lovelace", ItemName="Lamp", CancelledBy="operator 1")
    table.put_final("grace", at, Name="Grace Hopper", ItemName="LAMP", Reasons=["INVALID_PRICE"], ResolvedBy="Operator")
    table.put_final("eszett", at, Name="STRASSE", ItemName="Bell")
    table.put_final("edited", at, Name=7, Reasons=7, CancelledBy=b"\xff")
    table.put_final("edited too", at, ItemName={"a"}, Reasons=b"x", ResolvedBy=[None])
    listing = finds(table, **part)
    assert sorted(await ids(listing)) == expected
    assert (listing.found.read, listing.found.matched, listing.found.is_cut) == (5, len(expected), False)


async def test_an_order_that_the_index_has_as_open_and_as_final_is_listed_once() -> None:
    table = OrderTable()
    table.put("twice", 59)
    table.put_final("twice", "2026-11-22T11:00:00.000000Z")
    table.put_final("older", "2026-11-21T11:00:00.000000Z")
    table.index.append(table.index[-1])  # It changed while the index was read.
    listing = finds(table, statuses=[*OrderStatus])
    assert (await ids(listing), listing.found.read) == (["twice", "older"], 2)


async def test_what_is_read_is_bounded_and_a_cut_listing_says_so() -> None:
    table = OrderTable()
    for n in range(10):
        table.put_final(f"o-{n}", f"2026-11-22T0{n}:00:00.000000Z", Name="x")
    listing = finds(table, name="x", max_read=9)
    assert await ids(listing) == [f"o-{n}" for n in range(9, 0, -1)]
    assert (listing.found.read, listing.found.is_cut, listing.found.is_limited) == (9, True, False)
    all_of_them = finds(table, name="x", max_read=10)
    assert len(await ids(all_of_them)) == 10
    assert not all_of_them.found.is_cut
    limited = finds(table, name="x", limit=3)
    assert await ids(limited) == ["o-9", "o-8", "o-7"]
    assert limited.found.is_limited


@pytest.mark.parametrize("part", ["name", "item", "reason", "actor"])
def test_orders_are_read_only_if_a_part_of_their_text_is_wanted(part: str) -> None:
    wanted: dict[str, Any] = {part: "x"}
    assert Selection(**wanted).searches
    assert not Selection(statuses=[OrderStatus.RECEIVED]).searches


async def test_a_page_reads_its_rows_and_counts_the_others_in_the_index() -> None:
    table = OrderTable()
    for minute in range(7):
        table.put(f"o-{minute}", minute)
    del table.items["o-1"]
    table.items["o-2"]["Status"] = "LOST"  # Edited: no status of an order.
    listing = OrderListing(fake_stack(dynamodb=table.client), Selection())
    assert [order["OrderId"] for order in await listing.page(3)] == ["o-0", "o-2", "o-3"]
    assert table.reads() == [3, 1]
    assert (listing.found.read, listing.found.matched, listing.found.is_cut) == (7, 6, False)


async def test_a_page_of_a_search_reads_all_orders_and_counts_those_that_match() -> None:
    table = OrderTable()
    for minute in range(5):
        table.put(f"o-{minute}", minute)
        table.items[f"o-{minute}"]["ItemName"] = "Bell" if minute % 2 else "Horn"
    listing = OrderListing(fake_stack(dynamodb=table.client), Selection(text="HORN"))
    assert [order["OrderId"] for order in await listing.page(2)] == ["o-0", "o-2"]
    assert (listing.found.read, listing.found.matched) == (5, 3)


async def test_a_page_may_have_room_for_more_orders_than_there_are() -> None:
    table = OrderTable()
    table.put("one", 1)
    listing = OrderListing(fake_stack(dynamodb=table.client), Selection())
    assert [order["OrderId"] for order in await listing.page(100)] == ["one"]
    assert (listing.found.matched, table.reads()) == (1, [1])


async def test_a_page_says_if_there_was_too_much_to_read() -> None:
    table = OrderTable()
    for minute in range(5):
        table.put(f"o-{minute}", minute)
    listing = OrderListing(fake_stack(dynamodb=table.client), Selection(), max_read=3)
    assert len(await listing.page(2)) == 2
    assert (listing.found.matched, listing.found.is_cut) == (3, True)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("o-1", True),
        ("ada", True),
        ("bell", True),
        ("SHIP-7", True),
        ("stuck", True),
        ("grace", True),
        ("asked", True),
        ("12.50", True),
        ("other", False),
    ],
)
def test_a_text_may_be_in_any_text_of_an_order(text: str, found: bool) -> None:
    order = {
        "OrderId": "o-1",
        "Status": "CANCELLED",
        "UpdatedAt": "2026",
        "Name": "Ada",
        "ItemName": "Bell",
        "Price": "12.50",
        "ShipmentId": "SHIP-7",
        "Reasons": ["ORDER_STUCK"],
        "CancelledBy": "Grace",
        "CancelNote": "as asked",
        "CC": "other",
    }
    assert Selection(statuses=FINAL, text=text).includes(order) is found
