"""`orders escalations`: lists, shows and resolves escalation cases."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from workers.cli.ages import Age
from workers.cli.output import note, print_json
from workers.cli.resolve import resolve_command
from workers.cli.running import run
from workers.cli.tables import print_table
from workers.domain.cases import Case
from workers.domain.orders import Order
from workers.domain.reasons import Reason, Severity
from workers.operations.ages import format_age, seconds_since

if TYPE_CHECKING:
    from workers.operations.stack import Stack


class ReasonName(click.ParamType[str]):
    """A reason, in upper or lower case."""

    name = "reason"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        reason = value.upper()
        if reason not in list(Reason):
            self.fail(f"{value!r} must be one of {', '.join(Reason)}", param, ctx)
        return reason


@click.group("escalations", short_help="List, show and resolve escalation cases.")
def command() -> None:
    """
    List, show and resolve escalation cases.

    A case is open until a person resolves it, or its resubmitted order is fulfilled. If its order is known, the case
    has the order's id.
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
    type=click.Choice([severity.value for severity in Severity], case_sensitive=False),
    help="Only cases of this severity.",
)
@click.option(
    "--reason",
    type=ReasonName(),
    metavar="REASON",
    help="Only cases with this reason, such as INVALID_PRICE.",
)
@click.option(
    "--older-than", type=Age(), metavar="AGE", help="Only cases opened longer ago than this: 90s, 10m, 2h, 3d."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show only the first N.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of the complete cases, for scripts.")
@click.pass_obj
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
    List the open cases: the most severe first, and the oldest first within a severity.

    The status is that of the order now. If it is FULFILLED or CANCELLED, only the case is left: resolve it with close.

    The age is that of the current episode: when a resolved case is opened again, a new episode begins.
    """
    # The SDK takes a while to import.
    from workers.operations.cases import OpenCases, Selection, read_open_cases, read_orders  # noqa: PLC0415

    async def read() -> tuple[OpenCases, dict[str, Order]]:
        found = await read_open_cases(stack, Selection(severity=severity, reason=reason, older_than=older_than))
        return found, await read_orders(stack, found.selected[:limit])

    found, orders = run(stack, read())
    shown = [(case, orders.get(case.order_id or "")) for case in found.selected[:limit]]
    if as_json:
        print_json([_document(case, order) for case, order in shown])
    elif shown:
        print_table(
            ("case", "severity", "reasons", "age", "episode", "order", "status", "source", "attempts"),
            [_row(case, order, stack.now()) for case, order in shown],
            right=("age", "episode", "attempts"),
            text=("reasons",),
        )
    note(_summary(len(shown), len(found.selected), found.total))
    for case_id in found.unreadable:
        note(f"orders: case {case_id} cannot be read: it was edited in the table")


@command.command(
    "show",
    short_help="Show everything about one case.",
    epilog="""\b
Examples:
  orders escalations show 002
  orders escalations show message-8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --json""",
)
@click.argument("case_id", metavar="CASE_ID")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for scripts.")
@click.pass_obj
def show_command(stack: "Stack", /, *, case_id: str, as_json: bool) -> None:
    """Show everything about one case: its messages, notifications, resolutions and ids."""
    from workers.cli.case_view import print_case  # noqa: PLC0415 - as in `list_command`.
    from workers.operations.cases import read_case  # noqa: PLC0415

    case, order = run(stack, read_case(stack, case_id))
    if as_json:
        print_json(_document(case, order))
    else:
        print_case(case, order, stack.now())


def _document(case: Case, order: Order | None) -> dict[str, Any]:
    from workers.operations.documents import case_document, order_now  # noqa: PLC0415 - as in `list_command`.

    return case_document(case) | {"order_now": order_now(order)}


def _row(case: Case, order: Order | None, now: datetime) -> tuple[object, ...]:
    return (
        case.case_id,
        case.severity,
        ", ".join(case.reasons),
        format_age(seconds_since(case.opened_at, now)),
        case.episode,
        case.order_id,
        None if order is None else order.status,
        ", ".join(case.sources) or None,
        case.attempts,
    )


def _summary(shown: int, selected: int, total: int) -> str:
    if not total:
        return "no case is open"
    of = f" of {selected} matching" if shown < selected else ""
    return f"{shown} shown{of}; {total} {'case is' if total == 1 else 'cases are'} open"


command.add_command(resolve_command)
