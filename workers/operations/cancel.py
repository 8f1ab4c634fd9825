"""Cancels an order that is not fulfilled yet."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.errors import CONDITION_FAILED, error_code
from workers.aws.items import from_item, to_item
from workers.aws.status_index import STATUS_KEY, status_key
from workers.domain.cases import CaseState
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason
from workers.domain.resolutions import Request
from workers.domain.text import clean
from workers.operations.documents import texts
from workers.operations.errors import OperationError
from workers.operations.order_table import is_key
from workers.operations.resolve import resolve_case
from workers.operations.retention import read_retention
from workers.operations.sdk_errors import ClientError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_TRIES = 5  # An order changes its status once or twice while it is read and written.


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What `cancel_order` has done. `was` is the status before; `order` the item before, in plain values."""

    order_id: str
    was: OrderStatus
    order: Mapping[str, Any]
    closed_case: bool
    still_open: Sequence[str] = ()  # The reasons of a case that was not closed.


async def read_to_cancel(stack: "Stack", order_id: str) -> dict[str, Any]:
    """
    Return an order that can be cancelled, or is cancelled already.

    Raises:
        OperationError: It does not exist, or it is fulfilled.
    """
    found = await _item(stack, stack.names.order_table, "OrderId", order_id) if is_key(order_id) else None
    if found is None:
        name = clean(order_id)
        if is_key(order_id) and await open_case(stack, order_id) is not None:
            cancel = f"`orders escalations resolve {shlex.quote(name)} cancel --actor NAME --note TEXT`"
            raise OperationError(
                f"there is no order {name!r} in the table, but its case is open; to close it: {cancel}"
            )
        raise OperationError(f"there is no order {name!r} in the table; `orders show {name}` tells if it is on its way")
    if found.get("Status") == OrderStatus.FULFILLED:
        shipment = f" by shipment {clean(found['ShipmentId'])}" if "ShipmentId" in found else ""
        raise OperationError(f"order {order_id} is FULFILLED{shipment}: it is too late to cancel it")
    if found.get("Status") not in set(OrderStatus):
        raise OperationError(f"order {order_id} cannot be read: it was edited in the table")
    return found


async def cancel_order(stack: "Stack", order_id: str, request: Request) -> Cancelled:
    """
    Cancel an order, and close its case if one is open. Repeating an interrupted call finishes it.

    - A `RECEIVED` order is changed in one conditional write. Its message is then superseded; if a worker is shipping
      it at this moment, that worker escalates the shipment that it cannot record.
    - An `ESCALATED` order is cancelled together with its case, as by `orders escalations resolve`. If no case is open
      (its resubmission has not recorded it), one conditional write cancels it, too.

    Raises:
        OperationError: The order does not exist, is fulfilled, or keeps changing.
    """
    for _ in range(MAX_TRIES):
        order = await read_to_cancel(stack, order_id)
        status, at = OrderStatus(order["Status"]), clock.written(stack.now())
        if status is OrderStatus.RECEIVED and not await _cancel(stack, order, request, at):
            continue  # It has changed since it was read.
        reasons = await open_case(stack, order_id)
        if status is OrderStatus.ESCALATED and reasons is None and not await _cancel(stack, order, request, at):
            continue
        # A shipment that is reported while the order is cancelled, or later, is for a person to look at.
        unrecorded = status is not OrderStatus.ESCALATED and Reason.UNRECORDED_SHIPMENT in (reasons or ())
        closes = reasons is not None and not unrecorded
        if closes:
            await _close(stack, order_id, request)
        return Cancelled(order_id, status, order, closes, () if closes or reasons is None else reasons)
    raise OperationError(f"others are changing order {order_id} now; try again")


async def _close(stack: "Stack", order_id: str, request: Request) -> None:
    """Cancel the open case, and its order if that is `ESCALATED`."""
    try:
        await resolve_case(stack, order_id, request, None)
    except OperationError:
        # A resubmission that was interrupted is finished first, in the name of its actor. That closes the case, too.
        order = await read_to_cancel(stack, order_id)
        if order["Status"] != OrderStatus.CANCELLED or await open_case(stack, order_id) is not None:
            raise


async def open_case(stack: "Stack", order_id: str) -> Sequence[str] | None:
    """Return the reasons of the order's case if it is open."""
    case = await case_of_order(stack, order_id)
    return texts(case.get("Reasons")) if case is not None and case.get("State") == CaseState.OPEN else None


async def case_of_order(stack: "Stack", order_id: str) -> dict[str, Any] | None:
    """Return the stored case of an order."""
    return await _item(stack, stack.names.escalation_table, "CaseId", order_id)


async def _cancel(stack: "Stack", order: Mapping[str, Any], request: Request, at: str) -> bool:
    """Cancel an order; return False if its status or execution has changed since it was read."""
    expires_at = (await read_retention(stack)).expires_at(at)
    record = request.record(0, at)
    bound = "ExecutionArn = :execution" if "ExecutionArn" in order else "attribute_not_exists(ExecutionArn)"
    values = {
        ":cancelled": OrderStatus.CANCELLED,
        ":before": order["Status"],
        ":execution": order.get("ExecutionArn"),
        ":at": at,
        ":key": status_key(OrderStatus.CANCELLED, order["OrderId"], at),
        ":by": record.actor,
        ":note": record.note,
        ":expires": expires_at,
    }
    # Only if nothing has escalated it. Otherwise its message ended before.
    since = ", CancelledAt = :at" if order["Status"] == OrderStatus.RECEIVED else ""
    expires = "" if expires_at is None else ", ExpiresAt = :expires"
    try:
        await stack.dynamodb.call(
            "update_item",
            TableName=stack.names.order_table,
            Key=to_item({"OrderId": order["OrderId"]}),
            UpdateExpression=f"SET #Status = :cancelled, UpdatedAt = :at, {STATUS_KEY} = :key, CancelledBy = :by,"
            f" CancelNote = :note{since}{expires}",
            ConditionExpression=f"#Status = :before AND {bound}",
            ExpressionAttributeNames={"#Status": "Status"},
            ExpressionAttributeValues=to_item(values),
        )
    except ClientError as error:
        if error_code(error) != CONDITION_FAILED:
            raise
        return False
    return True


async def _item(stack: "Stack", table: str, key: str, value: str) -> dict[str, Any] | None:
    found = await stack.dynamodb.call("get_item", TableName=table, Key=to_item({key: value}), ConsistentRead=True)
    return from_item(found["Item"]) if "Item" in found else None
