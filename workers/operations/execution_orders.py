"""
Finds the orders of executions, without a look at an execution's input, which has the card number.

A name that `orders submit` gave an execution has a hash of the OrderId. So the order of a known id can be checked, and
among the orders that the index has for a time, the one of an execution can be found.
"""

from collections.abc import Collection
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from workers.aws.items import to_item
from workers.domain.escalations import execution_case_id
from workers.domain.ids import execution_name
from workers.domain.submissions import submission_name, submission_number
from workers.operations.history import escalation_reasons
from workers.operations.listing import FINAL, OPEN
from workers.operations.order_table import get_orders, is_key, shown_order
from workers.operations.related_cases import stored_case
from workers.operations.search import Found
from workers.operations.status_index import StatusIndex, final_entries, open_entries
from workers.operations.windows import Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_IDS = 5_000  # That are looked through for the orders of some executions, of each open and final orders.
MAX_ORDERS = 500  # That are read, to see which executions they name.
_SUBMISSION = "submission-"
_MAX_LOOK = timedelta(days=1)  # Each day takes 32 requests.
_MARGIN = timedelta(seconds=5)  # The clocks of AWS and of the workers differ.


@dataclass(frozen=True, slots=True)
class Linked:
    """
    The order of an execution, and the case about it.

    *order_id* is None if it is not known, *order* if it is not stored, or is now that of another execution. *reasons*
    say why this execution was escalated.
    """

    order_id: str | None = None
    status: str | None = None
    is_of_other: bool = False
    case_id: str | None = None
    case_state: str | None = None
    reasons: tuple[str, ...] = ()


async def is_order_of(stack: "Stack", order_id: str, arn: str) -> bool:
    """Return whether an execution is of this order: its name says so, or the stored order does."""
    return _is_named_after(order_id, arn) or (await _stored(stack, order_id)).get("ExecutionArn") == arn


def _is_named_after(order_id: str, arn: str) -> bool:
    return submission_number(order_id, execution_name(arn)) is not None


async def find_orders(
    stack: "Stack", arns: Collection[str], since: datetime, until: datetime | None = None
) -> dict[str, str]:
    """
    Return the OrderIds of executions by their ARN, as far as orders are known that changed in this time.

    A stored order names only the execution that recorded it last. The name of a submission always identifies its order.
    """
    now, index, found, ids = stack.now(), StatusIndex.of_orders(stack), Found(), list[str]()
    since -= _MARGIN
    ended = Window(max(since, now - _MAX_LOOK) if until is None else since, until)
    for entries in (open_entries(stack, index, OPEN, Window(since)), final_entries(stack, index, FINAL, ended, now)):
        ids += [order_id async for order_id in found.ids(entries, MAX_IDS)]
    wanted, orders = set(arns), dict[str, str]()
    of_name = {submission_name(order_id, 1).rpartition("-")[0]: order_id for order_id in ids}
    for arn in wanted:
        order_id = of_name.get(execution_name(arn).rpartition("-")[0])
        if order_id is not None and _is_named_after(order_id, arn):
            orders[arn] = order_id
    if any(not execution_name(arn).startswith(_SUBMISSION) for arn in wanted):
        async with aclosing(get_orders(stack, ids[:MAX_ORDERS])) as pages:
            async for page in pages:
                named = {str(order.get("ExecutionArn")): order["OrderId"] for order in page}
                orders |= {arn: named[arn] for arn in wanted & named.keys()}
    return orders


async def read_linked(stack: "Stack", arn: str, order_id: str | None) -> Linked:
    """Return what is stored now about the order of an execution, and the case of the order, or of the execution."""
    order = {} if order_id is None else await _stored(stack, order_id)
    key = order_id or execution_case_id(arn)
    case = await stored_case(stack, key) if is_key(key) else None
    if case and (merged := case.get("MergedInto")) and is_key(str(merged)):
        case = await stored_case(stack, str(merged))
    return Linked(
        order_id or _of_case(case),
        None if order.get("Status") is None else str(order["Status"]),
        bool(order) and order.get("ExecutionArn") not in {None, arn},
        None if case is None else str(case["CaseId"]),
        None if case is None else str(case.get("State", "")) or None,
        _reasons(arn, case or {}),
    )


def _reasons(arn: str, case: dict[str, Any]) -> tuple[str, ...]:
    try:
        return tuple(map(str, escalation_reasons(arn, case)))
    except (AttributeError, TypeError):  # The case was edited in the table.
        return ()


async def _stored(stack: "Stack", order_id: str) -> dict[str, Any]:
    if not is_key(order_id):
        return {}
    request = {"TableName": stack.names.order_table, "Key": to_item({"OrderId": order_id})}
    item = (await stack.dynamodb.call("get_item", **request, ConsistentRead=True)).get("Item")
    return shown_order(item) if item else {}


def _of_case(case: dict[str, Any] | None) -> str | None:
    order_id = (case or {}).get("OrderId")
    return order_id if isinstance(order_id, str) else None
