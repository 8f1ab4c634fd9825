"""Reads orders, with what their cases say, before they are shipped."""

from dataclasses import replace
from typing import TYPE_CHECKING

from workers.aws.batch_reads import BatchReads, Item, ReadTable
from workers.aws.errors import readable
from workers.aws.items import from_item
from workers.aws.orders import order_of
from workers.domain.orders import Order

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


class DynamoOrdersToShip:
    """
    Reads an order together with the rejected executions in its case. They decide the order's idempotency key.

    A message that names its execution was sent after the rejections of all earlier executions had been recorded, so it
    does not matter which of the two items is read first. A bare OrderId may come at any time. If its case were read
    first, the order could be rejected and resubmitted before it is read too. The next try would count that rejection,
    and the key would change although the first request may be in flight. So its order is read first.
    """

    def __init__(self, dynamodb: "DynamoDBClient", order_table: str, case_table: str) -> None:
        self._order_table = order_table
        self._case_table = case_table
        self._reads = BatchReads(
            dynamodb,
            ReadTable(order_table, "OrderId"),
            ReadTable(case_table, "CaseId", attributes="CaseId, RejectedExecutions, Dropped"),
        )

    async def get_to_ship(self, order_id: str, execution_arn: str | None) -> Order | None:
        order_key, case_key = (self._order_table, order_id), (self._case_table, order_id)
        if execution_arn is not None:
            stored, case = await self._reads.read(order_key, case_key)
        else:
            (stored,) = await self._reads.read(order_key)
            (case,) = await self._reads.read(case_key)
        if stored is None:
            return None
        with readable("BatchGetItem"):
            item, (rejected, dropped) = from_item(stored), _rejected_executions(case)
        order = order_of(item)
        rejections = len(rejected - {order.execution_arn}) + dropped
        return replace(order, rejections=rejections) if rejections else order


def _rejected_executions(case: Item | None) -> tuple[set[str], int]:
    """Return the executions that were rejected, and how many more the case has dropped."""
    if case is None:
        return set(), 0
    item = from_item(case)
    return set(item.get("RejectedExecutions", [])), item.get("Dropped", {}).get("RejectedExecutions", 0)
