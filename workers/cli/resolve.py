"""`orders escalations resolve`: resolves a case as a person has decided."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from workers.cli import resolve_many, resolve_one
from workers.cli.choices import completions
from workers.cli.options import (
    dry_run_option,
    json_option,
    note_option,
    older_than_option,
    reason_option,
    severity_option,
    source_option,
    yes_option,
)
from workers.cli.people import ACTOR_VARIABLE, actor_option
from workers.cli.searching import since_option
from workers.domain.resolutions import Action, Request, ResolutionError
from workers.operations.windows import Moment

if TYPE_CHECKING:
    from workers.operations.stack import Stack


def _actions(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the action where a case may be named, too: ids are not completed."""
    return completions(list(Action), incomplete)


@click.command(
    "resolve",
    short_help="Resolve cases: resubmit, fulfill or cancel their orders, or close them.",
    epilog="""\b
Examples:
  orders escalations resolve 002 resubmit --price 80000 --actor ada --note "price was a typo"
  orders escalations resolve 005 fulfill --shipment-id S-4711 --actor ada --note "sent by courier"
  orders escalations resolve 003 cancel --actor ada --note "customer has left" --yes
  vault read ... | orders escalations resolve 003 resubmit --card-number-stdin --yes --actor ada --note "new card"

Many at once:
  orders escalations resolve 007 008 009 cancel --note "test orders"
  orders escalations resolve cancel --reason INVALID_PRICE --older-than 2d --note "never corrected" --dry-run
  orders escalations resolve cancel --reason INVALID_PRICE --older-than 2d --note "never corrected" --yes
  orders escalations resolve --from cases.csv --note "as decided on Monday\"""",
)
@click.argument("case_ids", nargs=-1, metavar="[CASE_ID]...", shell_complete=_actions)
@click.argument("action", required=False, type=click.Choice([action.value for action in Action], case_sensitive=False))
@actor_option("on the case", required=True)
@note_option("on the case. Required, except with --from")
@click.option("--shipment-id", metavar="SHIPMENT_ID", help="fulfill: the id of the shipment.")
@click.option("--price", metavar="PRICE", help="resubmit: the correct price.")
@click.option("--name", metavar="TEXT", help="resubmit: the correct Name.")
@click.option("--item", "--item-name", "item_name", metavar="TEXT", help="resubmit: the correct ItemName.")
@click.option(
    "--order", "--order-id", "order_id", metavar="ORDER_ID", help="resubmit: the OrderId, if the case has none."
)
@click.option("--card-number-stdin", is_flag=True, help="resubmit: read the card number from standard input.")
@click.option(
    "--card-numbers-fd",
    type=click.IntRange(3),
    metavar="N",
    help="resubmit: read lines with a case's id, a comma and its card number from this file descriptor.",
)
@click.option(
    "--from",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE|-",
    help="A CSV file with a decision for each case.",
)
@severity_option
@reason_option
@source_option
@older_than_option("the case was opened")
@since_option
@yes_option
@dry_run_option
@json_option("what was done, an object for one CASE_ID, else an array; with --dry-run an array")
@click.pass_obj
def resolve_command(
    stack: "Stack",
    /,
    *,
    case_ids: tuple[str, ...],
    action: str | None,
    actor: str | None,
    text: str | None,
    shipment_id: str | None,
    price: str | None,
    name: str | None,
    item_name: str | None,
    order_id: str | None,
    card_number_stdin: bool,
    card_numbers_fd: int | None,
    file: str | None,
    severity: str | None,
    reason: str | None,
    source: str | None,
    older_than: timedelta | None,
    since: Moment | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """
    Resolve one or many cases in one of four ways.

    \b
    resubmit  the corrected order starts again, in a new execution of the workflow
    fulfill   the order becomes FULFILLED, with the given shipment id; no provider is called
    cancel    the order becomes CANCELLED; a case without an order is only closed
    close     the order stays as it is: for a case whose order is final, in progress, or unknown

    The cases are those that are named, or all open ones that the options select, or those of a file. The command shows
    what it is about to do, and asks; --dry-run only shows it, and needs no card number. It then acts on exactly these
    cases, reports each, and goes on after a failure.

    resubmit needs the whole order. Fields that no option corrects are taken from the table. The table does not have the
    card number: resubmit asks for it at a hidden prompt, for each case, or reads it from standard input or from a file
    descriptor. Never give it as an argument: the shell's history and the list of processes would show it.

    \b
    A file has the columns case_id and action, and any of note, shipment_id, order_id, name, item_name and price.
    Lines without an action are left out. It may have a column cc only if it is standard input.

    If the command is interrupted, repeat it: the same command by the same actor ends as if it had run once, and says if
    it has changed nothing. If two people act at once, the second is told who was first.
    """  # noqa: D301 - the backslash-b tells click not to wrap the lines below it.
    options = {"OrderId": order_id, "Name": name, "ItemName": item_name, "Price": price}
    corrections = {field: value for field, value in options.items() if value is not None}
    selected = {"severity": severity, "reason": reason, "source": source, "older_than": older_than, "since": since}
    criteria = {option: value for option, value in selected.items() if value is not None}
    _check_choice(case_ids, action, file, criteria)
    form = resolve_many.Form(cards_fd=card_numbers_fd, yes=yes, dry=dry_run, as_json=as_json)
    if file is not None:
        if corrections or shipment_id is not None or card_number_stdin:
            raise click.UsageError("--from takes corrections, shipment ids and card numbers from the file")
        resolve_many.from_file(stack, file, _actor(actor), text, form)
        return
    request = _request(Action(str(action)), actor, text, shipment_id)
    if request.action is not Action.RESUBMIT and (corrections or card_number_stdin or card_numbers_fd is not None):
        raise click.UsageError(f"{action} does not correct the order: only resubmit does")
    is_one = len(case_ids) == 1 and card_numbers_fd is None
    if is_one and not dry_run:
        (case_id,) = case_ids
        resolve_one.resolve(
            stack, case_id, request, corrections, from_stdin=card_number_stdin, yes=yes, as_json=as_json
        )
        return
    if card_number_stdin and not is_one:
        raise click.UsageError("--card-number-stdin is for one case: use --card-numbers-fd")
    if ("OrderId" in corrections or shipment_id is not None) and not is_one:
        raise click.UsageError("several cases cannot have the same order or shipment id: use --from")
    resolve_many.selected(stack, case_ids, criteria, request, corrections, form=form)


def _check_choice(
    case_ids: Sequence[str], action: str | None, file: str | None, criteria: Mapping[str, object]
) -> None:
    """Check that the cases are named in one way."""
    if file is not None and (action is not None or criteria):
        raise click.UsageError("--from has the cases and actions: name no others")
    if file is None and action is None:
        raise click.UsageError(f"missing the action: {', '.join(Action)}")
    if case_ids and criteria:
        raise click.UsageError("name the cases, or select them with options, but not both")
    if file is None and not case_ids and not criteria:
        raise click.UsageError("which cases? Name them, select them with an option such as --reason, or use --from")


def _actor(actor: str | None) -> str:
    if actor is None:
        raise click.UsageError(f"missing --actor NAME (or ${ACTOR_VARIABLE}): stored on the case")
    return actor


def _request(action: Action, actor: str | None, text: str | None, shipment_id: str | None) -> Request:
    if actor is None or text is None:  # Both at once: click would name one after the other.
        missing = [option for option, value in (("--actor NAME", actor), ("--note TEXT", text)) if value is None]
        raise click.UsageError(f"missing {' and '.join(missing)}: stored on the case")
    if shipment_id is not None and action is not Action.FULFILL:
        raise click.UsageError(f"{action} takes no shipment id: only fulfill does")
    try:
        return Request(action=action, actor=actor, note=text, shipment_id=shipment_id)
    except ResolutionError as error:
        raise click.UsageError(str(error)) from None
