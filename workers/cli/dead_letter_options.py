"""The options of `orders dead-letters`."""

import math
from collections.abc import Callable
from typing import Any

import click

from workers.cli.choices import ReasonText
from workers.cli.options import dry_run_option, json_option, limit_option, older_than_option, order_option, yes_option
from workers.cli.searching import since_option, until_option
from workers.cli.tables import wide_option
from workers.operations.hold import MAX_HELD

DEFAULT_LIMIT, DEFAULT_RATE = 1_000, 10.0


def _a_number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if math.isnan(value):  # It passes the range check: nan is neither below nor above any limit.
        raise click.BadParameter("nan is not a number of messages")
    return value


SELECTION = (
    click.option(
        "--reason",
        type=ReasonText(),
        metavar="REASON",
        help="Only with this reason, such as UNDECODABLE_MESSAGE, or this part of its text.",
    ),
    order_option("dead letters about"),
    older_than_option("the message was first received"),
    since_option,
    until_option,
    click.option(
        "--id",
        "ids",
        multiple=True,
        metavar="MESSAGE_ID",
        help="Only the dead letter with this id or original id. Can be repeated.",
    ),
    limit_option(
        f"dead letters of a queue are selected, up to {MAX_HELD}",
        type=click.IntRange(1, MAX_HELD),
        default=DEFAULT_LIMIT,
        show_default=True,
    ),
    wide_option,
    json_option("an array"),
)
ACTION = (
    yes_option,
    dry_run_option,
    click.option("--execute", is_flag=True, hidden=True),  # What `--yes` was called before.
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
