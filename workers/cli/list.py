"""`orders list`: the open orders."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from workers.cli.ages import Age
from workers.cli.output import note, print_json, progress
from workers.cli.running import run
from workers.cli.tables import print_table
from workers.domain.orders import OrderStatus
from workers.operations.ages import format_age, seconds_since
from workers.operations.documents import order_document
from workers.operations.listing import OPEN, open_orders

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_LIMIT = 1_000_000


def _open_status(_ctx: click.Context, _param: click.Parameter, value: str | None) -> OrderStatus | None:
    if value is None:
        return None
    if value.upper() not in OPEN:
        raise click.BadParameter("only open orders are listed, RECEIVED or ESCALATED; the other statuses are final")
    return OrderStatus(value.upper())


@click.command(
    "list",
    epilog="""\b
Examples:
  orders list
  orders list --status ESCALATED --older-than 2h
  orders list --json --limit 50 | jq -r '.[].order_id'""",
)
@click.option(
    "--status",
    callback=_open_status,
    metavar="RECEIVED|ESCALATED",
    help="Only orders with this status.",
)
@click.option(
    "--older-than", type=Age(), metavar="AGE", help="Only orders whose status is older than this: 90s, 10m, 2h, 3d."
)
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), metavar="N", help="Only the oldest N.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the orders, for scripts.")
@click.pass_obj
def command(
    stack: "Stack",
    *,
    status: OrderStatus | None,
    older_than: timedelta | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """
    List the open orders, oldest first.

    An open order is RECEIVED (the workflow or a worker has it) or ESCALATED (a person must resolve its case). FULFILLED
    and CANCELLED orders are final and not listed: use `orders show`. Orders that their execution has not recorded yet,
    or has refused as malformed, are not listed either: `orders escalations list` shows the refused ones.

    The age is how long an order has had its status. The list comes from an index that is slightly behind; each order is
    then read from the table. So the orders shown are current, but one that has just changed may be missing.
    """
    with progress("reading", None) as advance:
        statuses = OPEN if status is None else (status,)
        orders = run(stack, open_orders(stack, statuses=statuses, older_than=older_than, limit=limit, progress=advance))
    if as_json:
        print_json([order_document(order) for order in orders])
        return
    now = stack.now()
    rows = [
        (
            order.get("OrderId"),
            order.get("Status"),
            format_age(seconds_since(order.get("UpdatedAt"), now)),
            str(order.get("UpdatedAt", "-"))[:19],
            order.get("Attempts", 0),
            ", ".join(map(str, order.get("Reasons", []))) or None,
        )
        for order in orders
    ]
    if not rows:
        note("no matching open orders")
    else:
        print_table(
            ("order", "status", "age", "since", "attempts", "reasons"),
            rows,
            right=("age", "attempts"),
            text=("reasons",),
        )
