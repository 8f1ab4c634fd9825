"""`orders list`: the open orders, or those that a search finds."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from workers import clock
from workers.cli.choices import StatusName
from workers.cli.options import limit_option, older_than_option
from workers.cli.output import note, progress
from workers.cli.rows import CsvRows, JsonRows, Rows
from workers.cli.running import run
from workers.cli.searching import Form, counted, length, matching, note_incomplete, note_not_indexed, search_options
from workers.cli.tables import print_table
from workers.domain.orders import OrderStatus
from workers.operations.ages import format_age, seconds_since
from workers.operations.documents import ORDER_FIELDS, order_document
from workers.operations.listing import FINAL, OPEN, OrderListing, Selection
from workers.operations.windows import Moment, Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_LIMIT = 1_000_000
_STATUSES = (*OPEN, *FINAL)


@click.command(
    "list",
    epilog="""\b
Examples:
  orders list
  orders list --status ESCALATED --older-than 2h
  orders list --stuck
  orders list --status FULFILLED --since 1d
  orders list --name lovelace --since 30d
  orders list --status CANCELLED --since 2026-11-01 --until 2026-12-01 --csv
  orders list --json --limit 50 | jq -r '.[].order_id'""",
)
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=StatusName(),
    metavar="STATUS",
    help="Only orders with this status: RECEIVED, ESCALATED, FULFILLED or CANCELLED. Can be repeated.",
)
@click.option("--stuck", is_flag=True, help="Only orders that the sweep would escalate: RECEIVED for too long.")
@older_than_option("the order got its status")
@search_options("Only if the actor's name contains this: who cancelled the order, or resolved its case.")
@limit_option("orders, the first ones", type=click.IntRange(1, MAX_LIMIT))
@click.pass_obj
def command(
    stack: "Stack",
    /,
    *,
    statuses: Sequence[str],
    stuck: bool,
    older_than: timedelta | None,
    since: Moment | None,
    until: Moment | None,
    limit: int | None,
    as_json: bool,
    as_csv: bool,
    wide: bool,
    **parts: Any,
) -> None:
    """
    List the open orders, or find orders of any status.

    An open order is RECEIVED (the workflow or a worker has it) or ESCALATED (a person must resolve its case). FULFILLED
    and CANCELLED orders are final. Without --status, the open orders are listed; with a time, a text or a reason, those
    of any status: the open ones, oldest first, then the final ones, newest first.

    An order's time and age are those of its status. Final orders are read from a window of time: the last 7 days, if
    --since does not say otherwise. Texts are searched in what was read, in upper or lower case. A table is bounded: at
    most 100,000 orders are read, and 1,000 shown. --csv and --json have all.

    --stuck lists what the next sweep would escalate: see `orders sweep`. If no order counts as stuck for now, because
    messages of unknown age wait, or because of an outage, the command says so, and the exit code is 1.

    Not listed are orders that became final before the workers were updated to this version, erased ones, and orders
    that their execution has not recorded yet or has refused as malformed: use `orders show`, and for the refused ones
    `orders escalations list`.

    The list comes from an index that is slightly behind; each order is then read from the table. So the orders shown
    are current, but one that has just changed may be missing.
    """
    if stuck:
        if statuses or older_than or since or until:
            raise click.UsageError(
                "--stuck has a status and times of its own: leave out --status, --older-than, --since and --until"
            )
        statuses, until = [OrderStatus.RECEIVED], _stuck_before(stack)
    chosen = [OrderStatus(status) for status in statuses]
    form, selection = Form(as_json, as_csv, wide), Selection(window=Window.of(stack.now(), since, until), **parts)
    finds = bool(
        selection.searches or since or (until and not stuck) or [status for status in chosen if status in FINAL]
    )
    selection = replace(
        selection,
        statuses=chosen or (_STATUSES if finds else OPEN),
        window=selection.window.older_than(stack.now(), older_than),
    )
    limits = {"limit": form.limit(limit), "max_read": form.max_read} if finds else {"limit": limit, "max_read": None}
    rows: Rows | _Table = (
        JsonRows() if as_json else CsvRows(ORDER_FIELDS) if as_csv else _Table(stack.now(), detailed=finds, wide=wide)
    )
    with progress("reading", None) as advance:
        listing = OrderListing(stack, selection, **limits, progress=advance)
        run(stack, _print(listing, rows))
    rows.end()
    if finds:
        _note_summary(listing, selection)
    elif form.is_table and not listing.found.matched:
        note("no matching open orders")


def _stuck_before(stack: "Stack") -> datetime:
    from workers.operations.stuck import read_rule  # noqa: PLC0415 - the SDK takes a while to import.

    return run(stack, read_rule(stack)).before(stack.now())


async def _print(listing: OrderListing, rows: "Rows | _Table") -> None:
    async with aclosing(listing.orders()) as orders:
        async for order in orders:
            rows.add(order_document(order))


class _Table:
    """A table for a person. With *detailed*, it says whose orders they are, and what of."""

    def __init__(self, now: datetime, *, detailed: bool, wide: bool) -> None:
        self._now = now
        self._detailed = detailed
        self._wide = wide
        self._rows: list[tuple[object, ...]] = []

    def add(self, order: dict[str, Any]) -> None:
        since = order["updated_at"]
        whose = (order["name"], order["item_name"]) if self._detailed else ()
        self._rows.append(
            (
                order["order_id"],
                order["status"],
                format_age(seconds_since(since, self._now)),
                None if since is None else clock.shown(since),
                *whose,
                order["attempts"],
                ", ".join(order["reasons"]) or None,
            )
        )

    def end(self) -> None:
        whose = ("name", "item") if self._detailed else ()
        headings = ("order", "status", "age", "since", *whose, "attempts", "reasons")
        if self._rows:
            print_table(
                headings, self._rows, right=("age", "attempts"), text=("name", "item", "reasons"), wide=self._wide
            )


def _note_summary(listing: OrderListing, selection: Selection) -> None:
    """Say how much was read and found, whether that is all, and what no list has."""
    found = listing.found
    final, is_open = bool(selection.final), any(status in OPEN for status in selection.statuses)
    if final:
        days = length(listing.length_s)
        everything = is_open and selection.window.since is None
        noun, scope = "order", f", the open ones and the final ones of {days}" if everything else f" of {days}"
    else:
        noun, scope = "open order", ""
    note(f"read {counted(found.read, noun)}{scope}, {matching(found)}")
    note_incomplete(found, "order")
    if final and not found.is_limited and not found.is_cut:
        note_not_indexed(found, listing.window, "orders that became final")
