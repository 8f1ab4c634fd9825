"""`orders escalate`: escalates an order that hangs."""

import sys
from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.options import json_option, note_option, order_argument, yes_option
from workers.cli.output import CliError, note, print_json, print_line, results
from workers.cli.paused import note_pause
from workers.cli.people import actor_option
from workers.cli.running import run
from workers.domain.resolutions import MAX_ACTOR_CHARS, MAX_NOTE_CHARS
from workers.domain.text import clean

if TYPE_CHECKING:
    from workers.operations.stack import Stack


def _bounded(_ctx: click.Context, param: click.Parameter, value: str) -> str:
    limit = MAX_ACTOR_CHARS if param.name == "actor" else MAX_NOTE_CHARS
    if not 1 <= len(value.strip()) <= limit:
        raise click.BadParameter(f"must be 1 to {limit} characters")
    return value.strip()


@click.command(
    "escalate",
    epilog="""\b
Examples:
  orders escalate 001 --note "its message was deleted by hand"
  orders escalate 001 --actor ada --note "received two days ago" --yes""",
)
@order_argument
@note_option("on the case", required=True, callback=_bounded)
@actor_option("on the case", callback=_bounded)
@yes_option
@json_option("an object with what was done")
@click.pass_obj
def command(stack: "Stack", *, order_id: str, text: str, actor: str, yes: bool, as_json: bool) -> None:
    """
    Escalate the RECEIVED order ORDER_ID as ORDER_STUCK: its execution has ended, but no worker finishes it.

    The escalation worker opens a case and notifies people as for any other reason. A resubmission from the case runs
    the whole workflow again, which verifies the order. If the order's first message turns up later, it has no effect.

    An order that is already escalated, and whose case is open, stays as it is. An ESCALATED order without a case gets
    one.
    """
    from workers.operations.unstick import escalate, read_to_escalate  # noqa: PLC0415 - the SDK takes a while to import.

    order, reasons = run(stack, read_to_escalate(stack, order_id))
    if reasons is not None:
        _report(order_id, None, reasons, as_json=as_json)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask for confirmation: use --yes")
        note(f"Order {order_id}: {order['Status']} since {clock.shown(str(order.get('UpdatedAt')))}")
        if not click.confirm(clean(f"Escalate it, by {actor}: {text}?"), err=True):
            raise CliError("nothing was done")
    sent = run(stack, escalate(stack, order, actor, text))
    with results():
        _report(sent.order_id, sent.message_id, [], as_json=as_json)
    note_pause(stack, stack.names.escalation_queue)


def _report(order_id: str, message_id: str | None, reasons: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"order_id": order_id, "changed": message_id is not None, "message_id": message_id})
    elif message_id is None:
        print_line(f"Nothing was changed: order {order_id} is escalated, and its case is open: {', '.join(reasons)}")
    else:
        print_line(f"Order {order_id}: escalated as ORDER_STUCK ({message_id})")
        print_line(f"Its case is there as soon as a worker has handled that message: `orders show {order_id}`")
