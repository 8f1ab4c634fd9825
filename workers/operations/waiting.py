"""Waits for orders to end: fulfilled, escalated or cancelled."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.domain.orders import OrderStatus
from workers.domain.submissions import submission_name
from workers.operations.executions import RUNNING
from workers.operations.order_table import get_orders
from workers.operations.progress import Progress, unreported

if TYPE_CHECKING:
    from workers.operations.stack import Stack

POLL_S = 1.0
MAX_EXECUTIONS = 10  # Read per poll: AWS allows far fewer reads of executions than of orders.


@dataclass(frozen=True, slots=True)
class Ended:
    """How an order ended. *outcome* is its status or, if its execution recorded no order, the execution's status."""

    order_id: str
    outcome: str
    reasons: Sequence[str] = ()


async def wait_for_orders(
    stack: "Stack",
    order_ids: Iterable[str],
    ended: list[Ended],
    *,
    submission: int,
    poll_s: float = POLL_S,
    progress: Progress = unreported,
) -> None:
    """
    Wait until all orders have ended. *submission* is their submission's number.

    Each order is added to *ended* once it has ended, so after a cancellation *ended* has those that ended before.
    """
    waiting = {order_id: await stack.execution_arn(submission_name(order_id, submission)) for order_id in order_ids}
    while waiting:
        found = await _find_ended(stack, waiting)
        for order in found:
            del waiting[order.order_id]
        ended += found
        progress(len(found))
        if waiting:
            await asyncio.sleep(poll_s)


async def _find_ended(stack: "Stack", waiting: Mapping[str, str]) -> list[Ended]:
    items = await _items(stack, waiting)
    ended, unsure = [], []
    for order_id, arn in waiting.items():
        item = items.get(order_id)
        if item is None or item.get("ExecutionArn") != arn:
            # The order is not recorded yet, will never be, was refused as a duplicate, or was recorded by another
            # execution.
            unsure.append(order_id)
        elif item.get("Status") != OrderStatus.RECEIVED:
            ended.append(_ended(item))
    sample = random.sample(unsure, min(len(unsure), MAX_EXECUTIONS))
    statuses = {order_id: await _execution_status(stack, waiting[order_id]) for order_id in sample}
    over = [order_id for order_id, status in statuses.items() if status != RUNNING]
    # These executions have ended. If their order is still missing now, it stays missing.
    items = await _items(stack, over)
    for order_id in over:
        item = items.get(order_id)
        if item is None:
            ended.append(Ended(order_id, f"execution {statuses[order_id]}"))
        elif item.get("Status") != OrderStatus.RECEIVED:
            ended.append(_ended(item))
    return ended


async def _items(stack: "Stack", order_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    async with aclosing(get_orders(stack, order_ids)) as pages:
        return {item["OrderId"]: item async for page in pages for item in page}


def _ended(item: Mapping[str, Any]) -> Ended:
    reasons = item.get("Reasons", ()) if item.get("Status") == OrderStatus.ESCALATED else ()
    return Ended(item["OrderId"], str(item.get("Status")), tuple(map(str, reasons)))


async def _execution_status(stack: "Stack", arn: str) -> str:
    answer = await stack.stepfunctions.call("describe_execution", executionArn=arn, includedData="METADATA_ONLY")
    return str(answer["status"])
