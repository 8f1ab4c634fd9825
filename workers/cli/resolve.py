"""`orders escalations resolve`: a person settles a case."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from workers.cli.output import CliError, note, print_json
from workers.cli.stack import pass_old_stack
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order
from workers.domain.resolutions import Action, Request, ResolutionError, plan_resolution
from workers.domain.submissions import improper_fields, malformed_fields
from workers.operations.text import clean

if TYPE_CHECKING:
    from workers.cli.stack import Stack
    from workers.escalation.resolver import Resolver

MAX_INPUT_BYTES = 1_000  # Of standard input: a card number has 16 digits, in groups maybe.
# The corrections, by option and by field.
_OPTIONS = {"OrderId": "--order-id", "Name": "--name", "ItemName": "--item-name", "Price": "--price"}
_PROPER = {"Price": "a price above 0 with at most two decimals", "CC": "a card number of 16 digits"}


@click.command(
    "resolve",
    short_help="Settle a case: resubmit, fulfill or cancel.",
    epilog="""\b
Examples:
  orders escalations resolve 002 resubmit --price 80000 --actor ada --note "price was a typo"
  orders escalations resolve 005 fulfill --shipment-id S-4711 --actor ada --note "sent by courier"
  orders escalations resolve 003 cancel --actor ada --note "customer has left" --yes
  vault read ... | orders escalations resolve 003 resubmit --card-number-stdin --yes --actor ada --note "new card\"""",
)
@click.argument("case_id", metavar="CASE_ID")
@click.argument("action", type=click.Choice([each.value for each in Action]))
@click.option("--actor", required=True, metavar="NAME", help="Who settles it. Kept on the case.")
@click.option("--note", "text", required=True, metavar="TEXT", help="Why, and why like that. Kept on the case.")
@click.option("--shipment-id", metavar="ID", help="fulfill: how it was shipped.")
@click.option("--price", metavar="PRICE", help="resubmit: the right price.")
@click.option("--name", metavar="TEXT", help="resubmit: the right Name.")
@click.option("--item-name", metavar="TEXT", help="resubmit: the right ItemName.")
@click.option("--order-id", metavar="ID", help="resubmit: the OrderId, where the case knows none.")
@click.option("--card-number-stdin", is_flag=True, help="resubmit: read the card number from standard input.")
@click.option("--yes", is_flag=True, help="Do not ask before acting.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object with what was done, for scripts.")
@pass_old_stack
def resolve_command(
    stack: "Stack",
    /,
    *,
    case_id: str,
    action: str,
    actor: str,
    text: str,
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
    Settle a case, in one of three ways.

    \b
    resubmit  the corrected order starts over, as a new execution of the workflow
    fulfill   the order is FULFILLED, with the shipment id that is given; no provider is called
    cancel    the order is CANCELLED; where the case has no order, the case is closed

    To resubmit takes the whole order: what is not corrected by an option is taken from the table. The card number is
    nowhere to be read back. It is asked for, hidden, or read from standard input: never give it as an argument, where
    the shell's history and the list of processes show it.

    Interrupted at any moment, the same command by the same actor ends as if it had run once. Of two people at once one
    is told who was first.
    """  # noqa: D301 - click's mark for lines to be left as they are.
    corrections = {"OrderId": order_id, "Name": name, "ItemName": item_name, "Price": price}
    request = _request(Action(action), actor, text, shipment_id)
    given = {field: value for field, value in corrections.items() if value is not None}
    if request.action is not Action.RESUBMIT and (given or card_number_stdin):
        raise click.UsageError(f"{action} takes no correction of the order: that is for resubmit")
    if not yes and (card_number_stdin or not sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask on: --yes acts without asking")
    from workers.cli.cases import read_case  # noqa: PLC0415 - the SDK takes a while to import.

    case, order = read_case(stack, case_id)
    if not _done_before(case, request):
        corrected = None
        if request.action is Action.RESUBMIT:
            corrected = _corrected(case, order, given, from_stdin=card_number_stdin)
        if not yes:
            _ask(case, order, request, corrected)
        _resolve(stack, case_id, request, corrected)
        case, _ = read_case(stack, case_id)
    _report(case, request, as_json=as_json)


def _request(action: Action, actor: str, text: str, shipment_id: str | None) -> Request:
    if shipment_id is not None and action is not Action.FULFILL:
        raise click.UsageError(f"{action} takes no shipment id: that is for fulfill")
    try:
        return Request(action=action, actor=actor, note=text, shipment_id=shipment_id)
    except ResolutionError as error:
        raise click.UsageError(str(error)) from None


def _done_before(case: Case, request: Request) -> bool:
    """
    Tell whether this was done before, by the same person.

    Raises:
        CliError: Somebody else has settled the case, or this person in another way.
    """
    if case.state is CaseState.OPEN:
        return False
    last = case.resolution_of(case.episode)
    try:
        plan_resolution(case, None, replace(request, execution_arn=None if last is None else last.execution_arn), "")
    except ResolutionError as error:
        raise CliError(str(error)) from None
    return True


def _corrected(case: Case, order: Order | None, given: Mapping[str, str], *, from_stdin: bool) -> dict[str, str]:
    """Return the order to resubmit: as it is in the table, but for what is *given*, and with the card number."""
    known = {"OrderId": case.order_id}
    if order is not None:
        known |= {"Name": order.name, "ItemName": order.item_name, "Price": order.price}
    fields = {field: value for field, value in (known | dict(given)).items() if isinstance(value, str)}
    missing = [option for field, option in _OPTIONS.items() if field not in fields]
    if missing:
        where = f"order {case.order_id} is not in the table" if case.order_id else "the case knows no order"
        raise click.UsageError(f"{where}: to resubmit it give {', '.join(missing)}")
    # The card number is asked for last, when nothing else can be wrong.
    _check(fields | {"CC": "0" * 16})
    corrected = fields | {"CC": _card_number(from_stdin=from_stdin)}
    _check(corrected)
    return corrected


def _check(order: Mapping[str, str]) -> None:
    if wrong := malformed_fields(order):
        raise click.UsageError(f"malformed: {', '.join(wrong)}")
    for field in improper_fields(order):
        correct = f"; give the right one with {_OPTIONS[field]}" if field in _OPTIONS else ""
        raise click.UsageError(f"{field} must be {_PROPER[field]}{correct}")


def _card_number(*, from_stdin: bool) -> str:
    """Return the card number, without the spaces and dashes that people group it with."""
    if from_stdin:
        if sys.stdin.isatty():
            raise click.UsageError("standard input is a terminal: without --card-number-stdin it is asked for, hidden")
        text = sys.stdin.buffer.read(MAX_INPUT_BYTES).decode(errors="replace")
    elif sys.stdin.isatty():
        text = click.prompt("Card number (not shown)", hide_input=True, err=True)
    else:
        raise click.UsageError("there is no terminal to ask for the card number on: --card-number-stdin reads it")
    return str(text).strip().replace(" ", "").replace("-", "")


def _ask(case: Case, order: Order | None, request: Request, corrected: Mapping[str, str] | None) -> None:
    """Show what is going to happen, and go on only if that is meant."""
    note(f"Case {case.case_id}, episode {case.episode}: {', '.join(case.reasons)}")
    note(f"  order     {'not in the table' if order is None else f'{order.order_id}, {order.status}'}")
    for field, value in (corrected or {}).items():
        if field == "CC":
            note(f"  {field:<9} ends in {value[-4:]}")
        else:
            before = None if order is None else {"Name": order.name, "ItemName": order.item_name, "Price": order.price}
            was = (before or {}).get(field, value)
            note(f"  {field:<9} {value}" + (f" (was {was})" if was != value else ""))
    if request.shipment_id is not None:
        note(f"  shipment  {request.shipment_id}")
    note(f"  by        {request.actor}: {request.note}")
    if not click.confirm(clean(f"{request.action.capitalize()}?"), err=True):
        raise CliError("nothing was done")


def _resolve(stack: "Stack", case_id: str, request: Request, corrected: Mapping[str, str] | None) -> None:
    from workers.cli.cases import with_resolver  # noqa: PLC0415 - see above.

    async def work(resolver: "Resolver") -> None:
        if corrected is None:
            await resolver.resolve(case_id, request)
        else:
            await resolver.resubmit(case_id, corrected, request)

    with_resolver(stack, work)


def _report(case: Case, request: Request, *, as_json: bool) -> None:
    """Say what was done; it may have been another process of the same person that did it."""
    actor = request.record(0, "").actor
    mine = (each for each in reversed(case.resolutions) if (each.action, each.actor) == (request.action, actor))
    last = next(mine, None)
    if as_json:
        print_json(
            {
                "case_id": case.case_id,
                "order_id": case.order_id,
                "state": case.state,
                "episode": case.episode,
                "action": request.action,
                "actor": actor,
                "at": last and last.at,
                "execution_arn": last and last.execution_arn,
                "shipment_id": last and last.shipment_id,
            }
        )
        return
    how = "" if last is None else f" by {last.actor} at {last.at[:19].replace('T', ' ')}"
    if last is not None and last.execution_arn is not None:
        how += f", as execution {last.execution_arn.rpartition(':')[2]}"
    click.echo(clean(f"Case {case.case_id}: {request.action}{how}"))
    if case.state is CaseState.OPEN:
        click.echo(clean(f"It is open: {', '.join(case.reasons)} (episode {case.episode})"))
