"""Resolves many cases for `orders escalations resolve`: shows what would be done, asks, does it and reports each."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from workers.cli.output import CliError, note, print_json, progress, results
from workers.cli.running import run
from workers.cli.tables import print_table
from workers.domain.resolutions import Action, Request
from workers.domain.text import clean
from workers.operations.decisions import Decision, read_card_numbers, read_decisions
from workers.operations.resolve import InvalidOrderError

if TYPE_CHECKING:
    from workers.operations.resolve_many import Plan, Step
    from workers.operations.stack import Stack

MANY = 100  # From how many cases on progress is printed without a terminal.
MAX_FILE_BYTES = 64 * 1024 * 1024
REPEAT = "repeat the command to do the rest: what is done is not done again"


def from_file(
    stack: "Stack", path: str, actor: str, text: str | None, cards_fd: int | None, *, yes: bool, as_json: bool
) -> None:
    """Carry out the decisions of the file *path*; `-` is standard input."""
    is_stdin = path == "-"
    name = "standard input" if is_stdin else clean(path)
    with click.open_file(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise CliError(f"{name} is longer than {MAX_FILE_BYTES // 1024 // 1024} MB: divide it")
    decisions, unused = read_decisions(name, content, actor=actor, note=text, cards_allowed=is_stdin)
    if unused:
        note(f"columns that are not used: {', '.join(unused)}")
    resolve(stack, decisions, cards_fd, is_stdin_free=not is_stdin, yes=yes, as_json=as_json)


def selected(
    stack: "Stack",
    case_ids: Sequence[str],
    criteria: Mapping[str, Any],
    request: Request,
    corrections: Mapping[str, str],
    *,
    cards_fd: int | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Carry out one decision about the named cases, or about the open ones that *criteria* select."""
    if criteria:
        from workers.operations.cases import Selection, read_open_cases  # noqa: PLC0415 - the SDK takes a while to import.
        from workers.operations.windows import Window  # noqa: PLC0415

        options = dict(criteria)
        window = Window.of(stack.now(), options.pop("since", None), None)
        found = run(stack, read_open_cases(stack, Selection(window=window, **options)))
        case_ids = [case.case_id for case in found.selected]
        for case_id in found.unreadable:
            note(f"orders: case {case_id} cannot be read: it was edited in the table")
    decisions = [Decision(case_id, request, corrections) for case_id in dict.fromkeys(case_ids)]
    resolve(stack, decisions, cards_fd, is_stdin_free=True, yes=yes, as_json=as_json)


def resolve(
    stack: "Stack",
    decisions: Sequence[Decision],
    cards_fd: int | None,
    *,
    is_stdin_free: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """
    Carry out *decisions*. Standard input can be asked for confirmation and card numbers if it *is_stdin_free*.

    Raises:
        CliError: Not everything is done.
    """
    from workers.operations.resolve_many import Plan, carry_out, plan  # noqa: PLC0415 - the SDK takes a while to import.

    can_ask = is_stdin_free and sys.stdin.isatty()
    with progress("reading cases", len(decisions), always=len(decisions) >= MANY) as advance:
        planned = run(stack, plan(stack, decisions, progress=advance)) if decisions else Plan()
    _add_card_numbers(planned, cards_fd)
    if planned.open:
        if not yes and not can_ask:
            raise click.UsageError("there is no terminal to ask for confirmation: use --yes")
        if any(step.needs_card_number for step in planned.open) and not can_ask:
            raise click.UsageError("there is no terminal to ask for the card numbers: use --card-numbers-fd")
        if not yes:
            _confirm(planned)
        _ask_for_card_numbers(planned)
        number = len(planned.open)
        try:
            with progress("resolving", number, always=number >= MANY) as advance:
                run(stack, carry_out(stack, planned, progress=advance), interrupted=lambda: _interrupted(planned))
        except Exception:  # Whatever has ended it, what was done before is reported.
            if len(planned.open) < number:
                with results():
                    _print(planned, as_json=as_json)
            raise
    with results():
        _report(planned, as_json=as_json)


def _add_card_numbers(planned: "Plan", cards_fd: int | None) -> None:
    """Read the card numbers from a file descriptor, before anything is asked or done."""
    if cards_fd is None:
        return
    steps = {step.decision.case_id: step for step in planned.steps if step.needs_card_number}
    known = {step.decision.case_id for step in planned.steps if step.decision.request.action is Action.RESUBMIT}
    try:
        with os.fdopen(cards_fd, "rb", closefd=False) as file:
            numbers = read_card_numbers(file.read(MAX_FILE_BYTES), known)
    except OSError as error:
        raise click.UsageError(f"--card-numbers-fd {cards_fd} cannot be read: {error.strerror}") from None
    for case_id, step in steps.items():
        if case_id not in numbers:
            step.problem = f"--card-numbers-fd {cards_fd} has no card number for it"
            continue
        try:
            step.add_card_number(numbers[case_id])
        except InvalidOrderError as error:
            step.problem = str(error)


def _confirm(planned: "Plan") -> None:
    rows = [_planned_row(step) for step in planned.steps]
    print_table(
        ("case", "order", "name", "item", "price", "action", "note"),
        rows,
        text=("name", "item", "action", "note"),
        err=True,
    )
    number, left_out = len(planned.open), len(planned.steps) - len(planned.open)
    question = f"Resolve {number} {'case' if number == 1 else 'cases'}" + (f" ({left_out} not)" if left_out else "")
    if not click.confirm(f"{question}?", err=True):
        raise CliError("nothing was done")


def _planned_row(step: "Step") -> tuple[object, ...]:
    request, order = step.decision.request, step.order
    corrected = step.corrected or {}
    action = request.action.value + (f" as {request.shipment_id}" if request.shipment_id else "")
    if step.problem is not None:
        action = f"nothing: {step.problem}"
    elif step.unchanged:
        action = "nothing: done before"
    price = None if order is None else order.price
    if "Price" in corrected and corrected["Price"] != price:
        price = f"{corrected['Price']} (was {price})" if price else corrected["Price"]
    return (
        step.decision.case_id,
        None if order is None else order.status,
        corrected.get("Name", order and order.name),
        corrected.get("ItemName", order and order.item_name),
        price,
        action,
        request.note,
    )


def _ask_for_card_numbers(planned: "Plan") -> None:
    """Ask for each card number that is missing. A case whose number is left empty is left out."""
    for step in planned.open:
        while step.needs_card_number:
            named = clean(f"Card number for {step.decision.case_id} (not shown; empty: leave it out)")
            text = str(click.prompt(named, hide_input=True, err=True, default="", show_default=False))
            if not text.strip():
                step.problem = "no card number was given"
                break
            try:
                step.add_card_number(text)
            except InvalidOrderError as error:
                note(f"orders: {error}")


def _summary(planned: "Plan") -> str:
    counts = [(planned.count(outcome), outcome) for outcome in ("resolved", "unchanged", "failed", "not tried")]
    return ", ".join(f"{number} {outcome}" for number, outcome in counts if number or outcome == "resolved")


def _interrupted(planned: "Plan") -> str:
    """Say what an interruption has left."""
    return f"interrupted: {_summary(planned)}" + (f"; {REPEAT}" if planned.is_worth_repeating else "")


def _report(planned: "Plan", *, as_json: bool) -> None:
    _print(planned, as_json=as_json)
    note(_summary(planned) if planned.steps else "no open case matches: nothing was done")
    if planned.is_worth_repeating:
        raise CliError(f"not everything is done; {REPEAT}")
    if failed := planned.count("failed"):
        raise CliError(f"{failed} failed: the problem of each is above")


def _print(planned: "Plan", *, as_json: bool) -> None:
    if as_json:
        print_json([_document(step) for step in planned.steps])
    elif planned.steps:
        rows = [
            (step.decision.case_id, step.decision.request.action, step.outcome, step.problem) for step in planned.steps
        ]
        print_table(("case", "action", "outcome", "problem"), rows, text=("problem",))


def _document(step: "Step") -> dict[str, Any]:
    request = step.decision.request
    return {
        "case_id": step.decision.case_id,
        "order_id": step.order.order_id if step.order else step.case and step.case.order_id,
        "action": request.action,
        "actor": request.record(0, "").actor,
        "outcome": step.outcome,
        "problem": step.problem,
    }
