"""Reads orders, with what their cases say, before they are shipped."""

from dataclasses import replace
from typing import TYPE_CHECKING

from workers.aws.batch_reads import BatchReads, ReadTable
from workers.aws.errors import readable
from workers.aws.items import from_item
from workers.aws.orders import order_of
from workers.aws.status_index import STATUS_KEY, is_open_key
from workers.domain.cases import CaseState
from workers.domain.orders import Order

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


class DynamoOrdersToShip:
    """
    Reads an order together with its case: whether that is open, and the executions that were rejected.

    The rejections decide the order's idempotency key. A message that names its execution was sent after the rejections
    of all earlier executions had been recorded, so it does not matter which of the two items is read first. A bare
    OrderId may come at any time. If its case were read first, the order could be rejected and resubmitted before it is
    read too. The next try would count that rejection, and the key would change although the first request may be in
    flight. So its order is read first.
    """

    def __init__(self, dynamodb: "DynamoDBClient", order_table: str, case_table: str) -> None:
        self._order_table = order_table
        self._case_table = case_table
        self._reads = BatchReads(
            dynamodb,
            ReadTable(order_table, "OrderId"),
            ReadTable(case_table, "CaseId", attributes=f"CaseId, RejectedExecutions, Dropped, {STATUS_KEY}"),
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
            item = from_item(stored)
            case_item = {} if case is None else from_item(case)
            rejected = set(case_item.get("RejectedExecutions", []))
            dropped = case_item.get("Dropped", {}).get("RejectedExecutions", 0)
        order = order_of(item)
        rejections = len(rejected - {order.execution_arn}) + dropped
        # An order without a case, as most are, stays as it is.
        if not case_item:
            return order
        is_open = is_open_key(case_item.get(STATUS_KEY), CaseState.OPEN)
        return replace(order, rejections=rejections, has_open_case=is_open)
