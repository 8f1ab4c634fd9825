import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import FakeClient, fake_stack
from workers.aws.items import from_item, to_item
from workers.aws.status_index import status_key
from workers.domain.orders import OrderStatus
from workers.operations.listing import OrderListing, Selection
from workers.operations.windows import Window


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

    def reads(self) -> list[int]:
        return [
            len(request["RequestItems"]["OrderTable"]["Keys"])
            for operation, request in self.client.requests
            if operation == "batch_get_item"
        ]

    def _query(self, **request: Any) -> Iterator[dict[str, Any]]:
        assert (request["TableName"], request["IndexName"]) == ("OrderTable", "OpenOrders")
        assert request["KeyConditionExpression"] == "OpenKey = :key AND UpdatedAt < :before"
        values = from_item(request["ExpressionAttributeValues"])
        entries = [
            to_item({name: entry[name] for name in ("OrderId", "UpdatedAt")})
            for entry in sorted(self.index, key=lambda entry: str(entry["UpdatedAt"]))
            if entry["OpenKey"] == values[":key"] and entry["UpdatedAt"] < values[":before"]
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
