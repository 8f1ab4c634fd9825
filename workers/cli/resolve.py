"""`orders escalations resolve`: resolves a case as a person has decided."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.output import CliError, note, print_json, print_line
from workers.cli.running import run
from workers.domain.cases import Case, CaseState
from workers.domain.ids import execution_name
from workers.domain.orders import Order
from workers.domain.resolutions import Action, Request, ResolutionError
from workers.operations.resolve import (
    IncompleteOrderError,
    InvalidOrderError,
    corrected_order,
    is_done,
    last_resolution,
    resolve_case,
    with_card_number,
)
from workers.operations.text import clean

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_INPUT_BYTES = 1_000  # Limit for standard input. A card number has only 16 digits, perhaps in groups.
# The options that correct a field of the order.
_OPTIONS = {"OrderId": "--order-id", "Name": "--name", "ItemName": "--item-name", "Price": "--price"}


@click.command(
    "resolve",
    short_help="Resolve a case: resubmit, fulfill or cancel its order, or close it.",
    epilog="""\b
Examples:
  orders escalations resolve 002 resubmit --price 80000 --actor ada --note "price was a typo"
  orders escalations resolve 005 fulfill --shipment-id S-4711 --actor ada --note "sent by courier"
  orders escalations resolve 003 cancel --actor ada --note "customer has left" --yes
  orders escalations resolve 006 close --actor ada --note "fulfilled from the corrected file" --yes
  vault read ... | orders escalations resolve 003 resubmit --card-number-stdin --yes --actor ada --note "new card\"""",
)
@click.argument("case_id", metavar="CASE_ID")
@click.argument("action", type=click.Choice([action.value for action in Action]))
@click.option("--actor", metavar="NAME", help="Who resolves the case. Stored on it. Required.")
@click.option("--note", "text", metavar="TEXT", help="Reason. Stored on the case. Required.")
@click.option("--shipment-id", metavar="ID", help="fulfill: the id of the shipment.")
@click.option("--price", metavar="PRICE", help="resubmit: the correct price.")
@click.option("--name", metavar="TEXT", help="resubmit: the correct Name.")
@click.option("--item-name", metavar="TEXT", help="resubmit: the correct ItemName.")
@click.option("--order-id", metavar="ID", help="resubmit: the OrderId, if the case has none.")
@click.option("--card-number-stdin", is_flag=True, help="resubmit: read the card number from standard input.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with what was done, for scripts.")
@click.pass_obj
def resolve_command(
    stack: "Stack",
    /,
    *,
    case_id: str,
    action: str,
    actor: str | None,
    text: str | None,
    shipment_id: str | None,
    price: str | None,
    name: str | None,
    item_name: str | None,
    order_id: str | None,
    card_number_stdin: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Resolve a case in one of four ways.

    \b
    resubmit  the corrected order starts again, in a new execution of the workflow
    fulfill   the order becomes FULFILLED, with the given shipment id; no provider is called
    cancel    the order becomes CANCELLED; a case without an order is only closed
    close     the order stays as it is: for a case whose order is final, in progress, or unknown

    resubmit needs the whole order. Fields that no option corrects are taken from the table. The table does not have the
    card number: resubmit asks for it at a hidden prompt, or reads it from standard input. Never give it as an argument:
    the shell's history and the list of processes would show it.

    If the command is interrupted, repeat it: the same command by the same actor ends as if it had run once, and says if
    it has changed nothing. If two people act at once, the second is told who was first.
    """  # noqa: D301 - the backslash-b tells click not to wrap the lines below it.
    options = {"OrderId": order_id, "Name": name, "ItemName": item_name, "Price": price}
    corrections = {field: value for field, value in options.items() if value is not None}
    request = _request(Action(action), actor, text, shipment_id)
    if request.action is not Action.RESUBMIT and (corrections or card_number_stdin):
        raise click.UsageError(f"{action} does not correct the order: only resubmit does")
    from workers.operations.cases import read_case  # noqa: PLC0415 - the SDK takes a while to import.

    case, order = run(stack, read_case(stack, case_id))
    repeated = is_done(case, request)
    if not repeated:
        if not yes and (card_number_stdin or not sys.stdin.isatty()):
            raise click.UsageError("there is no terminal to ask for confirmation: use --yes")
        corrected = None
        if request.action is Action.RESUBMIT:
            corrected = _corrected(case, order, corrections, from_stdin=card_number_stdin)
        if not yes:
            _confirm(case, order, request, corrected)

        async def resolve_and_read() -> Case:
            await resolve_case(stack, case_id, request, corrected)
            return (await read_case(stack, case_id))[0]

        case = run(stack, resolve_and_read())
    _report(case, request, repeated=repeated, as_json=as_json)


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


def _corrected(case: Case, order: Order | None, corrections: Mapping[str, str], *, from_stdin: bool) -> dict[str, str]:
    """Return the order to resubmit. Check the other fields first, then ask for the card number."""
    try:
        fields = corrected_order(case, order, corrections)
        return with_card_number(fields, _card_number(from_stdin=from_stdin))
    except InvalidOrderError as error:
        raise _usage_error(error) from None


def _usage_error(error: InvalidOrderError) -> click.UsageError:
    options = ", ".join(_OPTIONS[field] for field in error.correct if field in _OPTIONS)
    if isinstance(error, IncompleteOrderError):
        return click.UsageError(f"{error}: to resubmit it, give {options}")
    return click.UsageError(f"{error}; correct it with {options}" if options else str(error))


def _card_number(*, from_stdin: bool) -> str:
    """Read the card number, from standard input or from a hidden prompt."""
    if from_stdin:
        if sys.stdin.isatty():
            raise click.UsageError("standard input is a terminal: leave out --card-number-stdin to get a hidden prompt")
        return sys.stdin.buffer.read(MAX_INPUT_BYTES).decode(errors="replace")
    if sys.stdin.isatty():
        return str(click.prompt("Card number (not shown)", hide_input=True, err=True))
    raise click.UsageError("there is no terminal to ask for the card number: use --card-number-stdin")


def _confirm(case: Case, order: Order | None, request: Request, corrected: Mapping[str, str] | None) -> None:
    """
    Show what is going to be done and ask for confirmation.

    Raises:
        CliError: The answer was no.
    """
    note(f"Case {case.case_id}, episode {case.episode}: {', '.join(case.reasons)}")
    note(f"  order     {'not in the table' if order is None else f'{order.order_id}, {order.status}'}")
    stored = {} if order is None else {"Name": order.name, "ItemName": order.item_name, "Price": order.price}
    for field, value in (corrected or {}).items():
        if field == "CC":
            note(f"  {field:<9} ends in {value[-4:]}")
        else:
            before = stored.get(field, value)
            note(f"  {field:<9} {value}" + (f" (was {before})" if before != value else ""))
    if request.shipment_id is not None:
        note(f"  shipment  {request.shipment_id}")
    note(f"  by        {request.actor}: {request.note}")
    if not click.confirm(clean(f"{request.action.capitalize()}?"), err=True):
        raise CliError("nothing was done")


def _report(case: Case, request: Request, *, repeated: bool, as_json: bool) -> None:
    """Print what was done, now or, if the command is *repeated*, before."""
    last = last_resolution(case, request)
    if as_json:
        print_json(
            {
                "case_id": case.case_id,
                "changed": not repeated,
                "order_id": case.order_id,
                "state": case.state,
                "episode": case.episode,
                "action": request.action,
                "actor": request.record(0, "").actor,
                "at": last and last.at,
                "execution_arn": last and last.execution_arn,
                "shipment_id": last and last.shipment_id,
            }
        )
        return
    how = "" if last is None else f" by {last.actor} at {clock.shown(last.at)}"
    if last is not None and last.execution_arn is not None:
        how += f", as execution {execution_name(last.execution_arn)}"
    print_line(f"Case {case.case_id}: {request.action}{how}")
    if repeated:
        print_line(f"Nothing was changed: that was done before. `orders show {case.case_id}` says what came of it")
    if case.state is CaseState.OPEN:
        print_line(f"It is open: {', '.join(case.reasons)} (episode {case.episode})")
