from typing import Any

import pytest

from tests.workers.aws.test_orders import ANOTHER, EXECUTION
from workers.aws.items import to_item
from workers.aws.orders_to_ship import DynamoOrdersToShip
from workers.domain.orders import OrderStatus
from workers.errors import SuspectedOutageError, UnreadableOrderError


class FakeTables:
    """An order of `EXECUTION` and its case. It is rejected and resubmitted as soon as one of the two has been read."""

    def __init__(self) -> None:
        self.order: dict[str, Any] = {"OrderId": "001", "Status": "RECEIVED", "ExecutionArn": ANOTHER}
        self.case: dict[str, Any] = {"CaseId": "001"}
        self.changes_between = True
        self.asked: list[list[str]] = []

    async def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - the SDK's name.
        self.asked.append(list(RequestItems))
        items = {"Orders": self.order, "Cases": self.case}
        found = {table: [to_item(items[table])] if items[table] else [] for table in RequestItems}
        if self.changes_between:
            self.case = self.case | {"RejectedExecutions": [ANOTHER]}
            self.order = self.order | {"ExecutionArn": EXECUTION}
        return {"Responses": found, "UnprocessedKeys": {}}


def orders_of(tables: Any) -> DynamoOrdersToShip:
    return DynamoOrdersToShip(tables, "Orders", "Cases")


async def test_an_order_and_its_rejections_are_read_in_one_request() -> None:
    tables = FakeTables()
    tables.changes_between = False
    tables.case = {"CaseId": "001", "RejectedExecutions": [EXECUTION, ANOTHER, EXECUTION]}
    order = await orders_of(tables).get_to_ship("001", ANOTHER)
    assert order is not None
    assert (order.order_id, order.status, order.execution_arn, order.rejections) == (
        *("001", OrderStatus.RECEIVED),
        *(ANOTHER, 1),
    )
    assert tables.asked == [["Orders", "Cases"]]


@pytest.mark.parametrize(
    ("case", "is_open"), [({"OpenKey": "OPEN#1"}, True), ({"OpenKey": "RESOLVED#2026-11-22#1"}, False), ({}, False)]
)
async def test_an_order_is_read_with_whether_its_case_is_open(case: dict[str, str], is_open: bool) -> None:
    tables = FakeTables()
    tables.changes_between = False
    tables.case |= case
    order = await orders_of(tables).get_to_ship("001", ANOTHER)
    assert order is not None
    assert order.has_open_case is is_open


async def test_rejections_that_the_case_has_dropped_count_too() -> None:
    tables = FakeTables()
    tables.changes_between = False
    tables.case = {"CaseId": "001", "RejectedExecutions": [EXECUTION], "Dropped": {"RejectedExecutions": 7}}
    order = await orders_of(tables).get_to_ship("001", ANOTHER)
    assert order is not None
    assert order.rejections == 8


async def test_the_order_of_a_bare_order_id_is_read_before_its_rejections() -> None:
    """Otherwise the next read would count a rejection that this one did not, and the idempotency key would change."""
    tables = FakeTables()
    order = await orders_of(tables).get_to_ship("001", None)
    assert order is not None
    assert (order.execution_arn, order.rejections) == (ANOTHER, 0)
    assert tables.asked == [["Orders"], ["Cases"]]
    again = await orders_of(tables).get_to_ship("001", None)
    assert again is not None
    assert (again.execution_arn, again.rejections) == (EXECUTION, 1)


@pytest.mark.parametrize("execution", [EXECUTION, None])
async def test_a_missing_order_is_none(execution: str | None) -> None:
    tables = FakeTables()
    tables.order = {}
    assert await orders_of(tables).get_to_ship("001", execution) is None


async def test_an_unreadable_order_or_case_is_not_shipped() -> None:
    tables = FakeTables()
    tables.changes_between = False
    tables.order = {"OrderId": "001", "Status": "ODD"}
    with pytest.raises(UnreadableOrderError):
        await orders_of(tables).get_to_ship("001", EXECUTION)
    tables = FakeTables()
    tables.case = {"CaseId": "001", "RejectedExecutions": 5}
    with pytest.raises(SuspectedOutageError):
        await orders_of(tables).get_to_ship("001", EXECUTION)
