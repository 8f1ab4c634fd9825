"""Waits for orders to end: fulfilled, escalated or cancelled."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.cli.executions import RUNNING
from workers.cli.order_table import get_orders
from workers.cli.output import InterruptedCommandError, print_table, progress
from workers.domain.orders import OrderStatus

if TYPE_CHECKING:
    from workers.cli.stack import Stack

POLL_S = 1.0
MAX_EXECUTIONS = 10  # That are looked at in a turn: reading them is allowed far less often than orders are.


@dataclass(frozen=True, slots=True)
class Ended:
    """How an order ended; *outcome* is its status, or that of an execution that recorded no order."""

    order_id: str
    outcome: str
    reasons: Sequence[str] = ()


def follow(stack: "Stack", executions: Mapping[str, str]) -> list[Ended]:
    """
    Wait until the orders, given with the ARNs of their executions, have ended.

    Raises:
        InterruptedCommandError: Ctrl-C.
    """
    waiting, ended = dict(executions), list[Ended]()
    try:
        with progress("ended", len(executions)) as advance:
            while waiting:
                found = _look(stack, waiting)
                for each in found:
                    del waiting[each.order_id]
                advance(len(found))
                ended += found
                if waiting:
                    time.sleep(POLL_S)
    except KeyboardInterrupt:
        raise InterruptedCommandError(
            f"interrupted: {len(ended)} of {len(executions)} orders have ended, the rest goes on without this command"
        ) from None
    return ended


def print_ended(ended: Sequence[Ended]) -> None:
    """Show how many orders ended how."""
    counts = Counter((each.outcome, ", ".join(each.reasons) or None) for each in ended)
    rows = [(outcome, reasons, count) for (outcome, reasons), count in counts.most_common()]
    print_table(("outcome", "reasons", "orders"), rows, right=("orders",))


def _look(stack: "Stack", waiting: Mapping[str, str]) -> list[Ended]:
    items = _items(stack, waiting)
    ended, unsure = [], []
    for order_id, arn in waiting.items():
        item = items.get(order_id)
        if item is None or item.get("ExecutionArn") != arn:
            # Not recorded yet, or never; or it was refused as a duplicate, or is another execution's by now.
            unsure.append(order_id)
        elif item.get("Status") != OrderStatus.RECEIVED:
            ended.append(_ended(item))
    sample = random.sample(unsure, min(len(unsure), MAX_EXECUTIONS))
    statuses = {order_id: _status(stack, waiting[order_id]) for order_id in sample}
    over = [order_id for order_id, status in statuses.items() if status != RUNNING]
    # Read after the end of the execution, an order that is not there never will be.
    items = _items(stack, over)
    for order_id in over:
        item = items.get(order_id)
        if item is None:
            ended.append(Ended(order_id, f"execution {statuses[order_id]}"))
        elif item.get("Status") != OrderStatus.RECEIVED:
            ended.append(_ended(item))
    return ended


def _items(stack: "Stack", order_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {item["OrderId"]: item for page in get_orders(stack, order_ids) for item in page}


def _ended(item: Mapping[str, Any]) -> Ended:
    reasons = item.get("Reasons", ()) if item.get("Status") == OrderStatus.ESCALATED else ()
    return Ended(item["OrderId"], str(item.get("Status")), tuple(map(str, reasons)))


def _status(stack: "Stack", arn: str) -> str:
    answer = stack.stepfunctions.describe_execution(executionArn=arn, includedData="METADATA_ONLY")
    return answer["status"]
