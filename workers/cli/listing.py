"""`orders list`: the orders that are open, from the index that holds just these."""

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from workers import clock
from workers.aws.items import from_item, to_item
from workers.aws.open_index import open_keys
from workers.cli.ages import Age
from workers.cli.order_table import AT_ONCE, get_orders
from workers.cli.output import note, print_json, print_table, progress
from workers.cli.stack import pass_old_stack
from workers.domain.orders import OrderStatus
from workers.operations.ages import format_age as written
from workers.operations.ages import seconds_since as since

if TYPE_CHECKING:
    from workers.cli.stack import Stack

OPEN = (OrderStatus.RECEIVED, OrderStatus.ESCALATED)
MAX_LIMIT = 1_000_000
_CENTURIES_AHEAD = "9999"  # Of every time that is written.


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """An entry of the index, by age."""

    updated_at: str
    order_id: str


def _open_status(_ctx: click.Context, _param: click.Parameter, value: str | None) -> OrderStatus | None:
    if value is None:
        return None
    if value.upper() not in OPEN:
        raise click.BadParameter("only open orders are listed, RECEIVED or ESCALATED; the others are final")
    return OrderStatus(value.upper())


@click.command(
    "list",
    epilog="""\b
Examples:
  orders list
  orders list --status ESCALATED --older-than 2h
  orders list --json --limit 50 | jq -r '.[].OrderId'""",
)
@click.option(
    "--status",
    callback=_open_status,
    metavar="RECEIVED|ESCALATED",
    help="Only orders of this status.",
)
@click.option(
    "--older-than", type=Age(), metavar="AGE", help="Only orders that got their status so long ago: 90s, 10m, 2h, 3d."
)
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), metavar="N", help="The oldest N only.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the orders, for scripts.")
@pass_old_stack
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

    Open are orders that are RECEIVED (the workflow or a worker has them) or ESCALATED (a person is to settle them).
    FULFILLED and CANCELLED orders are final and listed nowhere: `orders show` tells of each. An order whose execution
    has not recorded it yet, or refused it as malformed, is no order in the table: `orders escalations list` has those
    that were refused.

    The age is how long an order has had its status. The list comes from an index that is some moments behind; each
    order is then read as it is, so what is shown is true, but an order that changed just now may be missing.
    """
    before = _CENTURIES_AHEAD if older_than is None else clock.at((stack.now() - older_than).timestamp())
    statuses = OPEN if status is None else (status,)
    with progress("reading", None) as advance:
        # With a limit, not many more are read than shown.
        found = _open_orders(stack, statuses, before, advance, at_once=AT_ONCE if limit is None else 1)
        orders = list(islice(found, limit))
    if as_json:
        print_json(orders)
        return
    now = stack.now()
    rows = [
        (
            each.get("OrderId"),
            each.get("Status"),
            written(since(each.get("UpdatedAt"), now)),
            str(each.get("UpdatedAt", "-"))[:19],
            each.get("Attempts", 0),
            ", ".join(map(str, each.get("Reasons", []))) or None,
        )
        for each in orders
    ]
    if not rows:
        note("no such order is open")
    else:
        print_table(("order", "status", "age", "since", "attempts", "reasons"), rows, right=("age", "attempts"))


def _open_orders(
    stack: "Stack",
    statuses: Collection[OrderStatus],
    before: str,
    advance: Callable[[int], None],
    *,
    at_once: int,
) -> Iterator[dict[str, Any]]:
    """Yield the open orders that have been so since *before*, oldest first, each as it is now."""
    shards = [_shard(stack, key, before) for status in statuses for key in open_keys(status)]
    seen = set[str]()
    for page in get_orders(stack, _new(heapq.merge(*shards), seen), at_once=at_once):
        advance(len(page))
        # The index may be behind: in between an order can have ended, or have got the other status.
        yield from (each for each in page if each.get("Status") in statuses and str(each.get("UpdatedAt")) < before)


def _shard(stack: "Stack", key: str, before: str) -> Iterator[_Key]:
    pages = stack.dynamodb.get_paginator("query").paginate(
        TableName=stack.names.order_table,
        IndexName="OpenOrders",
        KeyConditionExpression="OpenKey = :key AND UpdatedAt < :before",
        ExpressionAttributeValues=to_item({":key": key, ":before": before}),
    )
    for page in pages:
        for item in map(from_item, page["Items"]):
            yield _Key(item["UpdatedAt"], item["OrderId"])


def _new(keys: Iterable[_Key], seen: set[str]) -> Iterator[str]:
    """Yield each order's id once: the index may have it under the status before as well."""
    for key in keys:
        if key.order_id not in seen:
            seen.add(key.order_id)
            yield key.order_id
