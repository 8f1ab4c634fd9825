"""What can be done about one order: cancel it, send its message again, or escalate it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web

from workers.console.addresses import path
from workers.console.audit import Person
from workers.console.pages.acting import Act, Subject, do, show
from workers.domain.orders import OrderStatus
from workers.domain.resolutions import Action, Request
from workers.operations.cancel import cancel_order, open_case, read_to_cancel
from workers.operations.pauses import pause_warning
from workers.operations.stack import Stack
from workers.operations.unstick import escalate, read_to_escalate, read_to_requeue, requeue

routes: Final = web.RouteTableDef()


async def _to_cancel(stack: Stack, order_id: str) -> Subject:
    order = await read_to_cancel(stack, order_id)
    reasons = await open_case(stack, order_id)
    nothing = "It is CANCELLED already: nothing was changed" if order["Status"] == OrderStatus.CANCELLED else None
    return Subject(_facts(order) | {"Open case": ", ".join(reasons or ()) or "none"}, _seen(order), nothing)


async def _cancel(stack: Stack, order_id: str, person: Person) -> Sequence[str]:
    request = Request(action=Action.CANCEL, actor=person.actor, note=person.note)
    done = await cancel_order(stack, order_id, request)
    lines = [f"The order is CANCELLED; it was {done.was}"]
    if done.closed_case:
        lines.append("Its case is closed")
    if done.still_open:
        lines.append(f"Its case is open: {', '.join(done.still_open)}")
    if done.was is OrderStatus.RECEIVED and done.order.get("Attempts"):
        lines.append(
            f"Its shipment was tried {done.order['Attempts']} times and failed. If a failure was a timeout,"
            " ask the provider"
        )
    return lines


async def _to_requeue(stack: Stack, order_id: str) -> Subject:
    order = await read_to_requeue(stack, order_id)
    return Subject(_facts(order), _seen(order))


async def _requeue(stack: Stack, order_id: str, _: Person) -> Sequence[str]:
    sent = await requeue(stack, order_id)
    lines = [f"Its message was sent to {sent.queue} again ({sent.message_id})"]
    if sent.waiting:
        lines.append(f"About {sent.waiting} messages are there already. If its own is one of them, that does no harm")
    return [*lines, *await _warning(stack, stack.names.order_fulfillment_queue)]


async def _to_escalate(stack: Stack, order_id: str) -> Subject:
    order, reasons = await read_to_escalate(stack, order_id)
    nothing = None if reasons is None else f"It is escalated already, and its case is open: {', '.join(reasons)}"
    return Subject(_facts(order), _seen(order), nothing)


async def _escalate(stack: Stack, order_id: str, person: Person) -> Sequence[str]:
    order, _ = await read_to_escalate(stack, order_id)
    sent = await escalate(stack, order, person.actor, person.note)
    return [
        f"It is escalated as ORDER_STUCK ({sent.message_id})",
        "Its case is there as soon as a worker has handled that message",
        *await _warning(stack, stack.names.escalation_queue),
    ]


async def _warning(stack: Stack, queue: str) -> list[str]:
    warning = await pause_warning(stack, queue)
    return [] if warning is None else [warning]


def _facts(order: Mapping[str, Any]) -> dict[str, Any]:
    names = {"Status": "Status", "Name": "Name", "ItemName": "Item", "Price": "Price", "Attempts": "Attempts"}
    return {label: order[name] for name, label in names.items() if name in order}


def _seen(order: Mapping[str, Any]) -> str:
    """Return what changes with every change of an order."""
    return f"{order.get('Status')} {order.get('UpdatedAt')}"


ACTS: Final = {
    act.name: act
    for act in (
        Act(
            "cancel",
            "Cancel the order",
            "The order becomes CANCELLED, which is final, and its case is closed if one is open. No worker ships it any"
            " more; a shipment that is under way at this moment is escalated.",
            _to_cancel,
            _cancel,
            is_final=True,
        ),
        Act(
            "requeue",
            "Send its message again",
            "The order's message is sent to the workers again, because it is lost. If it was not lost, nothing is done"
            " twice: the order is fulfilled once.",
            _to_requeue,
            _requeue,
        ),
        Act(
            "escalate",
            "Escalate the order",
            "The order is escalated as ORDER_STUCK: a worker opens a case and notifies people. For an order that is"
            " RECEIVED, whose execution has ended, and that no worker finishes.",
            _to_escalate,
            _escalate,
            note_required=True,
        ),
    )
}


@routes.get("/orders/{id}/{act:cancel|requeue|escalate}")
async def order_form(request: web.Request) -> web.Response:
    act, order_id = ACTS[request.match_info["act"]], request.match_info["id"]
    return await show(request, act, order_id, _to_order(order_id))


@routes.post("/orders/{id}/{act:cancel|requeue|escalate}")
async def order_action(request: web.Request) -> web.Response:
    act, order_id = ACTS[request.match_info["act"]], request.match_info["id"]
    return await do(request, act, order_id, _to_order(order_id))


def _to_order(order_id: str) -> dict[str, str]:
    return {"Orders": "/orders", order_id: path("orders", order_id)}
