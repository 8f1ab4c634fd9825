"""`orders cancel`: cancels an order that is not fulfilled yet."""

import sys
from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.options import json_option, note_option, order_argument, yes_option
from workers.cli.output import CliError, note, print_json, print_line, results
from workers.cli.people import actor_option
from workers.cli.running import run
from workers.domain.orders import OrderStatus
from workers.domain.resolutions import Action, Request, ResolutionError
from workers.domain.text import clean

if TYPE_CHECKING:
    from workers.operations.cancel import Cancelled
    from workers.operations.stack import Stack


@click.command(
    "cancel",
    epilog="""\b
Examples:
  orders cancel 001
  orders cancel 001 --actor ada --note "customer has left" --yes""",
)
@order_argument
@note_option("with the order", default="no reason given")
@actor_option("with the order")
@yes_option
@json_option("an object with what was done")
@click.pass_obj
def command(stack: "Stack", *, order_id: str, text: str, actor: str, yes: bool, as_json: bool) -> None:
    """
    Cancel the order ORDER_ID. It becomes CANCELLED, and its case is closed if one is open.

    \b
    RECEIVED   no worker ships it any more: its message is acknowledged as superseded. If a worker is shipping it at
               this moment, that shipment is escalated as UNRECORDED_SHIPMENT.
    ESCALATED  the same as `orders escalations resolve ORDER_ID cancel`
    CANCELLED  nothing changes
    FULFILLED  it is too late: the command fails

    CANCELLED is final. If the command is interrupted, repeat it.
    """  # noqa: D301 - the backslash-b tells click not to wrap the lines below it.
    try:
        request = Request(action=Action.CANCEL, actor=actor, note=text)
    except ResolutionError as error:
        raise click.UsageError(str(error)) from None
    from workers.operations.cancel import cancel_order, open_case, read_to_cancel  # noqa: PLC0415 - the SDK takes a while to import.

    order = run(stack, read_to_cancel(stack, order_id))
    if not yes and order["Status"] != OrderStatus.CANCELLED:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for confirmation: use --yes")
        reasons = run(stack, open_case(stack, order_id))
        note(f"Order {order_id}: {order['Status']}" + (f", case open: {', '.join(reasons)}" if reasons else ""))
        for name in ("Name", "ItemName", "Price", "Attempts"):
            if name in order:
                note(f"  {name:<9} {order[name]}")
        if not click.confirm(clean(f"Cancel it, by {actor}: {text}?"), err=True):
            raise CliError("nothing was done")
    cancelled = run(stack, cancel_order(stack, order_id, request))
    with results():
        _report(cancelled, as_json=as_json)


def _report(cancelled: "Cancelled", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "order_id": cancelled.order_id,
                "changed": cancelled.was is not OrderStatus.CANCELLED,
                "status": OrderStatus.CANCELLED,
                "was": cancelled.was,
                "closed_case": cancelled.closed_case,
                "open_case": list(cancelled.still_open),
                "attempts": cancelled.order.get("Attempts", 0),
            }
        )
        return
    already = cancelled.was is OrderStatus.CANCELLED
    by = cancelled.order.get("CancelledBy")
    how = (
        f" since {clock.shown(str(cancelled.order.get('UpdatedAt')))}" + (f", by {by}" if by else "") if already else ""
    )
    print_line(f"Order {cancelled.order_id}: {'already CANCELLED' + how if already else 'CANCELLED'}")
    if cancelled.closed_case:
        print_line(f"Case {cancelled.order_id}: closed")
    if cancelled.still_open:
        print_line(f"Case {cancelled.order_id} is open: {', '.join(cancelled.still_open)}")
    if cancelled.was is OrderStatus.RECEIVED and cancelled.order.get("Attempts"):
        attempts = cancelled.order["Attempts"]
        print_line(f"Its shipment was tried {attempts} times and failed. If a failure was a timeout, ask the provider.")
