"""Compares the orders of a file with the order table: an OrderId that was used before may be another order's."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.domain.ids import execution_name
from workers.domain.orders import OrderStatus
from workers.domain.submissions import recorded_fields, submission_name, submission_number
from workers.operations.order_files import Record
from workers.operations.order_table import get_orders
from workers.operations.retries import Retries

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_LOOKS = 4
LOOK_S = 1.0
FINAL = frozenset({OrderStatus.FULFILLED, OrderStatus.CANCELLED})
_OTHER_ID = "; a new order needs an OrderId of its own"


async def read_orders_by_id(stack: "Stack", order_ids: Iterable[str], retries: Retries) -> dict[str, dict[str, Any]]:
    """Return the stored orders by OrderId; missing orders are left out."""
    async with aclosing(get_orders(stack, order_ids, retries=retries)) as pages:
        return {item["OrderId"]: item async for page in pages for item in page}


async def submitted_before(
    stack: "Stack", records: Sequence[Record], number: int, retries: Retries, *, look_s: float = LOOK_S
) -> dict[str, dict[str, Any]]:
    """
    Return the stored orders, by OrderId, of records whose submission *number* was started before.

    The execution of that submission may still be about to record its order. So it looks again, for a few seconds, at
    orders that are missing, and at those that differ and that this execution may start over.
    """
    looked_at, found = {record.order_id: record for record in records}, dict[str, dict[str, Any]]()
    for look in range(MAX_LOOKS):
        if look:
            await asyncio.sleep(look_s)
        items = await read_orders_by_id(stack, looked_at, retries)
        found |= items
        looked_at = {
            order_id: record
            for order_id, record in looked_at.items()
            if order_id not in items or await _may_change(stack, record, items[order_id], number)
        }
        if not looked_at:
            break
    return found


async def taken_orders(
    stack: "Stack", records: Sequence[Record], number: int, retries: Retries
) -> dict[str, dict[str, Any]]:
    """
    Return the stored orders, by OrderId, that the workflow would not start over for submission *number*.

    They are final, or in progress in another execution. A missing or ESCALATED order can be started.
    """
    items = await read_orders_by_id(stack, (record.order_id for record in records), retries)
    taken = dict[str, dict[str, Any]]()
    for order_id, item in items.items():
        arn = await stack.execution_arn(submission_name(order_id, number))
        in_progress = item.get("Status") == OrderStatus.RECEIVED and item.get("ExecutionArn") != arn
        if in_progress or item.get("Status") in FINAL:
            taken[order_id] = item
    return taken


async def _may_change(stack: "Stack", record: Record, item: Mapping[str, Any], number: int) -> bool:
    """Return whether the execution of submission *number* may still replace a stored order that differs."""
    arn = await stack.execution_arn(submission_name(record.order_id, number))
    return (
        item.get("Status") == OrderStatus.ESCALATED
        and item.get("ExecutionArn") != arn
        and bool(differing_fields(record, item))
    )


def started_at(item: Mapping[str, Any]) -> datetime | None:
    """Return the start of the execution that recorded a stored order, if it is known."""
    try:
        return clock.parse(str(item.get("StartedAt")))
    except ValueError:
        return None


def is_erased(item: Mapping[str, Any]) -> bool:
    """Return whether only the marker of an erased order is left."""
    return "ErasedAt" in item


def differing_fields(record: Record, item: Mapping[str, Any]) -> list[str]:
    """
    Return the fields in which a stored order differs from *record*, as far as the table can tell.

    Of the card number it holds only the last four digits, or, if it does not have 16 digits, nothing. Of an erased
    order it holds no field.
    """
    if is_erased(item):
        return []
    return [field for field, value in recorded_fields(record.fields()).items() if str(item.get(field, "")) != value]


def described(record: Record, item: Mapping[str, Any], number: int) -> str:
    """Return the state of a stored order, how it differs from *record*, and what to do; without any values."""
    if is_erased(item):  # Only its marker is left, which cannot be compared.
        return f"the stored order was {item.get('Status')}, and was erased at {item['ErasedAt']}{_OTHER_ID}"
    status, fields = item.get("Status"), differing_fields(record, item)
    name = execution_name(str(item.get("ExecutionArn", "")))
    # A later submission than this one, a resubmission from a case, or another system.
    of = f", recorded by execution {name}," if fields and name != submission_name(record.order_id, number) else ""
    differs = f" and differs in {', '.join(fields)}" if fields else ""
    if status == OrderStatus.ESCALATED:
        following = max(number, submission_number(record.order_id, name) or 0) + 1
        hint = f"; to start this one in its place, use --submission {following}"
    elif status == OrderStatus.RECEIVED:
        hint = f", in progress; see `orders show {record.order_id}`"
    else:
        hint = _OTHER_ID if fields else "; if this is a new order, it needs an OrderId of its own"
    return f"the stored order{of} is {status}{differs}{hint}"
