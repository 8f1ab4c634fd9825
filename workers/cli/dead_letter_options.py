"""The options of `orders dead-letters`."""

import math
from collections.abc import Callable
from typing import Any

import click

from workers.cli.ages import Age
from workers.cli.searching import When
from workers.cli.tables import wide_option
from workers.operations.hold import MAX_HELD

DEFAULT_LIMIT, DEFAULT_RATE = 1_000, 10.0
QUEUES = ("fulfillment", "escalation")


def _a_number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if math.isnan(value):  # It passes the range check: nan is neither below nor above any limit.
        raise click.BadParameter("nan is not a number of messages")
    return value


SELECTION = (
    click.option("--reason", metavar="TEXT", help="Only those with this text in their reason, such as UNDECODABLE."),
    click.option("--order", "order_id", metavar="ID", help="Only those about this order."),
    click.option(
        "--older-than",
        type=Age(),
        metavar="AGE",
        help="Only those first received longer ago than this: 90s, 10m, 2h, 3d.",
    ),
    click.option("--since", type=When(), metavar="TIME", help="Only those first received from this time on."),
    click.option("--until", type=When(), metavar="TIME", help="Only those first received before this time."),
    click.option(
        "--id", "ids", multiple=True, metavar="ID", help="Only the one with this id or original id. Repeatable."
    ),
    click.option(
        "--limit",
        type=click.IntRange(1, MAX_HELD),
        default=DEFAULT_LIMIT,
        show_default=True,
        metavar="N",
        help=f"Select at most N, up to {MAX_HELD}.",
    ),
    wide_option,
    click.option("--json", "as_json", is_flag=True, help="Print a JSON array, for scripts."),
)
ACTION = (
    click.option("--execute", is_flag=True, help="Do it. Without this, only show what would be done."),
    click.option(
        "--rate",
        type=click.FloatRange(0.1, 1000),
        callback=_a_number,
        default=DEFAULT_RATE,
        show_default=True,
        metavar="N",
        help="At most N messages a second, 0.1 to 1000.",
    ),
)
_Command = Callable[..., Any]


def with_options(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorated(function: _Command) -> _Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated
