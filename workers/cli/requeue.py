"""`orders requeue`: sends the message of an order to the fulfillment workers again."""

from typing import TYPE_CHECKING

import click

from workers.cli.options import json_option, order_argument
from workers.cli.output import print_json, print_line, results
from workers.cli.paused import note_pause
from workers.cli.running import run

if TYPE_CHECKING:
    from workers.operations.stack import Stack
    from workers.operations.unstick import Sent


@click.command(
    "requeue",
    epilog="""\b
Examples:
  orders requeue 001""",
)
@order_argument
@json_option("an object with what was sent")
@click.pass_obj
def command(stack: "Stack", *, order_id: str, as_json: bool) -> None:
    """
    Send the message of the RECEIVED order ORDER_ID to the OrderFulfillmentQueue again, because it is lost.

    If the first message was not lost, nothing is done twice: the order is fulfilled once, and the provider gets the
    same idempotency key.

    The command first reads the history of the order's execution, without its data. If the execution never reached the
    state that sends the message, nothing has verified the order, and the command refuses: use `orders escalate`.
    """
    from workers.operations.unstick import requeue  # noqa: PLC0415 - the SDK takes a while to import.

    sent = run(stack, requeue(stack, order_id))
    with results():
        _report(sent, as_json=as_json)
    note_pause(stack, stack.names.order_fulfillment_queue)


def _report(sent: "Sent", *, as_json: bool) -> None:
    if as_json:
        print_json({"order_id": sent.order_id, "changed": True, "queue": sent.queue, "message_id": sent.message_id})
        return
    print_line(f"Order {sent.order_id}: its message was sent to {sent.queue} again ({sent.message_id})")
    if sent.waiting:
        print_line(f"About {sent.waiting} messages are there already. If its own is one of them, that does no harm")
