"""Finishes an order that hangs in RECEIVED: sends its message to the workers again, or escalates it."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workers.aws.items import from_item, to_item
from workers.aws.outgoing import sqs_message
from workers.contracts import OutgoingEscalation
from workers.domain.cases import CaseState
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason
from workers.domain.text import clean
from workers.operations.cancel import case_of_order
from workers.operations.documents import texts
from workers.operations.errors import OperationError
from workers.operations.executions import Execution, read_execution
from workers.operations.order_table import is_key
from workers.operations.queues import total_messages

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@dataclass(frozen=True, slots=True)
class Sent:
    """
    A message that was sent about an order.

    `waiting` is about how many messages its queue had before: the order's earlier message may be among them.
    """

    order_id: str
    queue: str
    message_id: str
    waiting: int


async def read_to_requeue(stack: "Stack", order_id: str) -> dict[str, Any]:
    """
    Return an order whose message can be sent again.

    Only if the history of the order's execution shows that it has sent the message, and so has verified the order.

    Raises:
        OperationError: The order is not RECEIVED, or nothing shows that it was verified.
    """
    order = await _order(stack, order_id)
    status = order.get("Status")
    if status != OrderStatus.RECEIVED:
        show = f"`orders show {shlex.quote(order_id)}` says what to do"
        raise OperationError(f"order {order_id} is {clean(status)}: no worker is to fulfill it; {show}")
    arn = str(order.get("ExecutionArn", ""))
    execution = await read_execution(stack, arn) if arn else None
    if why := _not_verified(execution, stack.now()):
        raise OperationError(f"order {order_id} is not sent to a worker: {why}")
    return order


async def requeue(stack: "Stack", order_id: str) -> Sent:
    """
    Send the order's message to the OrderFulfillmentQueue again. If it was not lost, the order is still shipped once.

    Raises:
        OperationError: What `read_to_requeue` raises.
    """
    order = await read_to_requeue(stack, order_id)
    # It may have been resubmitted, so its case may be open. Then the worker reports that the order is finished.
    body = json.dumps({"OrderId": order_id, "ExecutionArn": str(order["ExecutionArn"]), "Resubmitted": True})
    return await _send(stack, stack.names.order_fulfillment_queue, order_id, body)


def _not_verified(execution: Execution | None, now: datetime) -> str | None:
    """Return why *execution* does not show that the order was verified; None if it does."""
    escalate = "escalate it with `orders escalate`; a resubmission from its case then verifies it"
    if execution is None:
        return f"its execution has no history, or no longer, so nothing shows that it was verified; {escalate}"
    if execution.problem is not None:
        return execution.problem
    if execution.reached_fulfillment:
        return None
    if execution.is_running(now):
        return f"its execution {execution.name} is still running; wait"
    last = f" after {execution.states[-1]!r}" if execution.states else ""
    return f"its execution ended{last} as {execution.status} without a message to a worker; {escalate}"


async def read_to_escalate(stack: "Stack", order_id: str) -> tuple[dict[str, Any], list[str] | None]:
    """
    Return an order that can be escalated, or is escalated already, and then the reasons of its open case.

    Raises:
        OperationError: The order does not exist, is final, its execution is still running, or its case is resolved.
    """
    order = await _order(stack, order_id)
    case = await case_of_order(stack, order_id) or {}
    status = order.get("Status")
    if status == OrderStatus.ESCALATED:
        if case.get("State") == CaseState.OPEN:
            return order, texts(case.get("Reasons"))
        if order.get("ExecutionArn") in texts(case.get("ExecutionArns")):
            # A message about the same execution would not open it again: a late one must not.
            submit = f"`orders show {shlex.quote(order_id)}` says how to submit it again"
            raise OperationError(
                f"the case of order {order_id} is resolved, and what follows is not recorded yet; if that stays so,"
                f" {submit}"
            )
    if status not in {OrderStatus.RECEIVED, OrderStatus.ESCALATED}:
        raise OperationError(f"order {order_id} is {clean(status)}: only an order that is RECEIVED can be escalated")
    arn = str(order.get("ExecutionArn", ""))
    execution = await read_execution(stack, arn) if arn else None
    if execution is not None and execution.is_running(stack.now()):
        raise OperationError(f"the execution {execution.name} of order {order_id} is still running; wait")
    return order, None


async def escalate(stack: "Stack", order: Mapping[str, Any], actor: str, why: str) -> Sent:
    """
    Escalate *order* as ORDER_STUCK, bound to its execution. The escalation worker opens its case and notifies people.

    The case tells who asked for it and why. Repeating it adds a message to the case.
    """
    message = OutgoingEscalation(
        order_id=order["OrderId"],
        reasons=(Reason.ORDER_STUCK,),
        source=None,
        detail=f"Escalated by {actor}: {why}",
        execution_arn=order.get("ExecutionArn"),
    )
    return await _send(stack, stack.names.escalation_queue, order["OrderId"], message.body())


async def _send(stack: "Stack", name: str, order_id: str, body: str) -> Sent:
    queue = await stack.queue(name)
    answer = await stack.sqs.call("send_message", **sqs_message(queue.url, body))
    return Sent(order_id, queue.name, str(answer["MessageId"]), total_messages(queue.attributes))


async def _order(stack: "Stack", order_id: str) -> dict[str, Any]:
    found: Mapping[str, Any] = {}
    if is_key(order_id):
        found = await stack.dynamodb.call(
            "get_item", TableName=stack.names.order_table, Key=to_item({"OrderId": order_id}), ConsistentRead=True
        )
    if "Item" not in found:
        name = clean(order_id)
        raise OperationError(f"there is no order {name!r} in the table; `orders show {name}` tells if it is on its way")
    return from_item(found["Item"])
