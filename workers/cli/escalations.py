"""`orders escalations`: what people have to settle, and how they do."""

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from workers.cli.ages import Age
from workers.cli.output import note, print_json, print_table
from workers.cli.resolve import resolve_command
from workers.cli.stack import pass_old_stack
from workers.domain.cases import Case
from workers.domain.reasons import Reason, Severity
from workers.operations.ages import format_age as written
from workers.operations.ages import seconds_since as since

if TYPE_CHECKING:
    from workers.aws.cases import DynamoCases
    from workers.aws.orders import DynamoOrders
    from workers.cli.stack import Stack


class OneReason(click.ParamType[str]):
    """A reason, in letters of either case; told as they are written everywhere."""

    name = "reason"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        reason = value.upper()
        if reason not in [each.value for each in Reason]:
            self.fail(f"{value!r} is none of {', '.join(Reason)}", param, ctx)
        return reason


@click.group("escalations", short_help="List, show and resolve escalation cases.")
def command() -> None:
    """
    List, show and resolve escalation cases.

    A case is open until a person settles it. Its id is the order's, where the order is known.
    """


@command.command(
    "list",
    short_help="List the open cases.",
    epilog="""\b
Examples:
  orders escalations list
  orders escalations list --severity critical --older-than 1h
  orders escalations list --reason INVALID_PRICE --json | jq -r '.[].case_id'""",
)
@click.option(
    "--severity",
    type=click.Choice([each.value for each in Severity], case_sensitive=False),
    help="Cases of this severity.",
)
@click.option(
    "--reason",
    type=OneReason(),
    metavar="REASON",
    help="Cases with this reason, such as INVALID_PRICE.",
)
@click.option("--older-than", type=Age(), metavar="AGE", help="Cases opened longer ago: 90s, 10m, 2h, 3d.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show the first N of them.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the cases, whole, for scripts.")
@pass_old_stack
def list_command(
    stack: "Stack",
    /,
    *,
    severity: str | None,
    reason: str | None,
    older_than: timedelta | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """
    List the open cases: the gravest first, and of these the oldest.

    The age is that of the current episode: a case that was settled and is opened again starts a new one.
    """
    from workers.cli.cases import with_tables  # noqa: PLC0415 - the SDK takes a while to import.

    async def read(_orders: "DynamoOrders", cases: "DynamoCases") -> tuple[list[Case], list[str]]:
        return await cases.open_cases()

    found, unreadable = with_tables(stack, read)
    now = stack.now()
    ages = {each.case_id: since(each.opened_at, now) for each in found}
    wanted = [
        each
        for each in found
        if (severity is None or each.severity == severity)
        and (reason is None or reason in each.reasons)
        and (older_than is None or (ages[each.case_id] or 0.0) > older_than.total_seconds())
    ]
    wanted.sort(key=lambda each: each.opened_at)
    wanted.sort(key=lambda each: list(Severity).index(each.severity), reverse=True)
    shown = wanted[:limit]
    if as_json:
        print_json([asdict(each) for each in shown])
    elif shown:
        print_table(
            ("case", "severity", "reasons", "age", "episode", "order", "source", "attempts"),
            [
                (
                    each.case_id,
                    each.severity,
                    ", ".join(each.reasons),
                    written(ages[each.case_id]),
                    each.episode,
                    each.order_id,
                    ", ".join(each.sources) or None,
                    each.attempts,
                )
                for each in shown
            ],
            right=("age", "episode", "attempts"),
        )
    note(_summary(len(shown), len(wanted), len(found)))
    for case_id in unreadable:
        note(f"orders: case {case_id} cannot be read: somebody has edited it in the table")


@command.command(
    "show",
    short_help="Show one case whole.",
    epilog="""\b
Examples:
  orders escalations show 002
  orders escalations show message-8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --json""",
)
@click.argument("case_id", metavar="CASE_ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for scripts.")
@pass_old_stack
def show_command(stack: "Stack", /, *, case_id: str, as_json: bool) -> None:
    """Show one case whole: what was said, whom it was sent to and when, how it was settled, and all ids."""
    from workers.cli.case_view import show_case  # noqa: PLC0415 - see above.
    from workers.cli.cases import read_case  # noqa: PLC0415

    case, order = read_case(stack, case_id)
    if as_json:
        print_json(asdict(case) | {"order_now": None if order is None else asdict(order)})
    else:
        show_case(case, order, stack.now())


def _summary(shown: int, wanted: int, total: int) -> str:
    if not total:
        return "no case is open"
    others = f", of {wanted} like that" if shown < wanted else ""
    return f"{shown} shown{others}; {total} {'case is' if total == 1 else 'cases are'} open"


command.add_command(resolve_command)
