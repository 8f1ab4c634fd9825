"""Resolves one case for `orders escalations resolve`: shows it, asks, resolves it and reports it."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.output import CliError, note, print_json, print_line, results
from workers.cli.running import run
from workers.domain.cases import Case, CaseState
from workers.domain.ids import execution_name
from workers.domain.orders import Order
from workers.domain.resolutions import Action, Request
from workers.domain.text import clean
from workers.operations.resolve import (
    IncompleteOrderError,
    InvalidOrderError,
    corrected_order,
    is_done,
    last_resolution,
    resolve_case,
    with_card_number,
)

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_INPUT_BYTES = 1_000  # Limit for standard input. A card number has only 16 digits, perhaps in groups.
# The options that correct a field of the order.
_OPTIONS = {"OrderId": "--order", "Name": "--name", "ItemName": "--item", "Price": "--price"}


def resolve(
    stack: "Stack",
    case_id: str,
    request: Request,
    corrections: Mapping[str, str],
    *,
    from_stdin: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Resolve a case. The card number is read from standard input if *from_stdin*, else asked for."""
    from workers.operations.cases import read_case  # noqa: PLC0415 - the SDK takes a while to import.

    case, order = run(stack, read_case(stack, case_id))
    repeated = is_done(case, request)
    if not repeated:
        seen = replace(request, episode=case.episode)
        if not yes and (from_stdin or not sys.stdin.isatty()):
            raise click.UsageError("there is no terminal to ask for confirmation: use --yes")
        corrected = None
        if request.action is Action.RESUBMIT:
            corrected = _corrected(case, order, corrections, from_stdin=from_stdin)
        if not yes:
            _confirm(case, order, request, corrected)

        async def resolve_and_read() -> Case:
            await resolve_case(stack, case_id, seen, corrected)
            return (await read_case(stack, case_id))[0]

        case = run(stack, resolve_and_read())
    with results():
        _report(case, request, repeated=repeated, as_json=as_json)


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
