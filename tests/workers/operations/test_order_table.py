import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.workers.operations.fakes import FakeClient, Waits, fake_stack
from workers.aws.items import to_item
from workers.backoff import Backoff
from workers.operations import order_table
from workers.operations.order_table import get_orders, is_key, shown_order

CARD = "4929123412345678"


class Table:
    """BatchGetItem on orders, of which it processes at most *limit* keys, and returns them in any order."""

    def __init__(self, order_ids: set[str], limit: int = 100) -> None:
        self.order_ids = order_ids
        self.limit = limit
        self.sizes: list[int] = []

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        ((name, request),) = RequestItems.items()
        assert request["ConsistentRead"]
        keys = request["Keys"]
        self.sizes.append(len(keys))
        done, left = keys[: self.limit], keys[self.limit :]
        found = [key for key in reversed(done) if key["OrderId"]["S"] in self.order_ids]
        return {"Responses": {name: found}} | ({"UnprocessedKeys": {name: {"Keys": left}}} if left else {})


async def ids_from(table: Table, wanted: list[str]) -> list[str]:
    stack = fake_stack(dynamodb=FakeClient(batch_get_item=table.batch_get_item))
    async with aclosing(get_orders(stack, wanted)) as pages:
        return [order["OrderId"] async for page in pages for order in page]


async def test_existing_orders_are_read_in_batches_and_in_order() -> None:
    wanted = [f"{n:03}" for n in range(250)]
    table = Table(set(wanted) - {"007", "199"})
    assert await ids_from(table, wanted) == [order_id for order_id in wanted if order_id not in {"007", "199"}]
    assert table.sizes == [100, 100, 50]


async def test_keys_that_dynamodb_has_not_processed_are_requested_again() -> None:
    table = Table({"1", "2", "3"}, limit=2)
    assert await ids_from(table, ["1", "2", "3"]) == ["1", "2", "3"]
    assert table.sizes == [3, 1]


def test_a_card_number_in_the_table_is_masked() -> None:
    assert shown_order(to_item({"OrderId": "1", "CC": CARD})) == {"OrderId": "1", "CC": "****"}
    assert shown_order(to_item({"CC": "************5678"})) == {"CC": "************5678"}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("001", True),
        ("x" * 255, True),
        ("x" * 256, False),
        ("", False),
        (CARD, False),
    ],
)
def test_only_possible_keys_are_keys(text: str, key: bool) -> None:
    assert is_key(text) is key


def test_no_surrogate_is_part_of_a_key() -> None:
    assert [is_key(chr(code)) for code in (0xD7FF, 0xD800, 0xDFFF, 0xE000)] == [True, False, False, True]
    assert not is_key(f"bytes-{chr(0xDCFF)}")


async def test_a_hundred_orders_are_one_request() -> None:
    table, wanted = Table(set()), [f"{n:03}" for n in range(100)]
    assert await ids_from(table, wanted) == []
    assert table.sizes == [100]


async def test_an_answer_without_the_table_has_none_of_its_orders() -> None:
    stack = fake_stack(dynamodb=FakeClient(batch_get_item=lambda **_: {"Responses": {}, "UnprocessedKeys": {}}))
    async with aclosing(get_orders(stack, ["1"])) as pages:
        assert [page async for page in pages] == [[]]


async def test_waits_for_unprocessed_keys_grow_and_the_first_request_does_not_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Backoff(base_s=0.1, cap_s=5.0) == order_table._UNPROCESSED
    waits = Waits()
    monkeypatch.setattr(order_table, "_UNPROCESSED", waits)
    table = Table({"1", "2", "3"}, limit=1)
    assert await ids_from(table, ["1", "2", "3"]) == ["1", "2", "3"]
    assert (table.sizes, waits.attempts) == ([3, 2, 1], [1, 2])


async def test_eight_requests_run_at_once() -> None:
    running, most = 0, 0

    async def batch_get_item(**_request: Any) -> dict[str, Any]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3000):  # Until the ids of all batches have been taken.
            await asyncio.sleep(0)
        running -= 1
        return {"Responses": {}}

    stack = fake_stack(dynamodb=FakeClient(batch_get_item=batch_get_item))
    async with aclosing(get_orders(stack, map(str, range(2000)))) as pages:
        assert len([page async for page in pages]) == 20
    assert most == 8
