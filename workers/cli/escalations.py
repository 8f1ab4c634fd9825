"""`orders escalations`: lists, shows and resolves escalation cases."""

from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import json_option, limit_option, older_than_option, severity_option, source_option
from workers.cli.output import print_json
from workers.cli.resolve import resolve_command
from workers.cli.running import run
from workers.cli.searching import Form, search_options
from workers.domain.cases import CaseState
from workers.operations.groups import GROUPS
from workers.operations.windows import Moment, Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@click.group("escalations", short_help="List, show and resolve escalation cases.")
def command() -> None:
    """
    List, show and resolve escalation cases.

    A case is open until a person resolves it, or its resubmitted order is fulfilled. If its order is known, the case
    has the order's id.
    """


@command.command(
    "list",
    short_help="List the open or the resolved cases.",
    epilog="""\b
Examples:
  orders escalations list
  orders escalations list --severity critical --older-than 1h
  orders escalations list --by reason
  orders escalations list --reason INVALID_PRICE --json | jq -r '.[].case_id'
  orders escalations list --state resolved --since 1d --actor ada
  orders escalations list --state resolved --since 30d --csv""",
)
@click.option(
    "--state",
    type=click.Choice(["open", "resolved"], case_sensitive=False),
    default="open",
    show_default=True,
    help="Only cases in this state.",
)
@severity_option
@source_option
@click.option(
    "--by",
    type=click.Choice(GROUPS, case_sensitive=False),
    help="Count the open cases in groups instead.",
)
@older_than_option("the case was opened (or resolved)")
@search_options("Only if the actor's name contains this: someone who resolved the case.")
@limit_option("cases, the first ones", type=click.IntRange(1))
@click.pass_obj
def list_command(
    stack: "Stack",
    /,
    *,
    state: str,
    since: Moment | None,
    until: Moment | None,
    limit: int | None,
    by: str | None,
    as_json: bool,
    as_csv: bool,
    wide: bool,
    **criteria: Any,
) -> None:
    """
    List the open cases, or the resolved ones.

    Open cases are sorted by severity, then by age, the oldest first; resolved ones by time, the newest first.

    The status is that of the order now. If it is FULFILLED or CANCELLED, only an open case is left: resolve it with
    close. Times and ages are those of the current episode: when a resolved case is opened again, a new episode begins.
    Those of a resolved case are of its resolution.

    Resolved cases are read from a window of time: the last 7 days, if --since does not say otherwise. Texts are
    searched in what was read, in upper or lower case. A table is bounded: at most 100,000 resolved cases are read, and
    1,000 shown. --csv and --json have all. Not listed are cases that were resolved before the workers were
    updated to this version, and cases that were merged into another.
    """
    from workers.cli.case_list import print_groups, print_open, print_resolved  # noqa: PLC0415 - the SDK takes a while to import.
    from workers.operations.cases import Selection  # noqa: PLC0415

    selection = Selection(window=Window.of(stack.now(), since, until), **criteria)
    form = Form(as_json, as_csv, wide)
    if by is not None:
        if state != CaseState.OPEN.lower() or as_csv or limit is not None:
            raise click.UsageError("--by counts open cases: --state, --limit and --csv do not go with it")
        print_groups(stack, selection, by, as_json=as_json)
        return
    print_cases = print_open if state == CaseState.OPEN.lower() else print_resolved
    print_cases(stack, selection, form, limit)


@command.command(
    "show",
    short_help="Show everything about one case.",
    epilog="""\b
Examples:
  orders escalations show 002
  orders escalations show message-8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --json""",
)
@click.argument("case_id", metavar="CASE_ID")
@click.option("--wide", is_flag=True, help="One line per row, however narrow the terminal is, and whole ARNs.")
@json_option("an object")
@click.pass_obj
def show_command(stack: "Stack", /, *, case_id: str, as_json: bool, wide: bool) -> None:
    """Show everything about one case: its messages, notifications, resolutions and ids."""
    from workers.cli.case_view import print_case  # noqa: PLC0415 - as in `list_command`.
    from workers.operations.cases import read_case  # noqa: PLC0415
    from workers.operations.documents import case_document, order_now  # noqa: PLC0415

    case, order = run(stack, read_case(stack, case_id))
    if as_json:
        print_json(case_document(case) | {"order_now": order_now(order)})
    else:
        print_case(case, order, stack.now(), wide=wide)


command.add_command(resolve_command)
