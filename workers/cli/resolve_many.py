"""Resolves many cases for `orders escalations resolve`: shows what would be done, asks, does it and reports each."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
MAX_FILE_MB = 64
MAX_FILE_BYTES = MAX_FILE_MB * 1024 * 1024
REPEAT = "repeat the command to do the rest: what is done is not done again"
NONE = "no open case matches: nothing was done"
# How each outcome is called, in the order of a summary; what comes first is always in it.
Words = Mapping[str, str]
AS_IT_IS: Words = {outcome: outcome for outcome in ("resolved", "unchanged", "failed", "not tried")}
WOULD: Words = {"not tried": "would be resolved", "unchanged": "unchanged", "failed": "would fail"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How cases are resolved: where the card numbers are read from, whether to ask or only to show, what is printed."""

    cards_fd: int | None
    yes: bool
    dry: bool
    as_json: bool


def from_file(stack: "Stack", path: str, actor: str, text: str | None, form: Form) -> None:
    """Carry out the decisions of the file *path*; `-` is standard input."""
    is_stdin = path == "-"
    name = "standard input" if is_stdin else clean(path)
    with click.open_file(path, "rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise CliError(f"{name} is longer than {MAX_FILE_MB} MB: divide it")
    decisions, unused = read_decisions(name, content, actor=actor, note=text, cards_allowed=is_stdin)
    if unused:
        note(f"columns that are not used: {', '.join(unused)}")
    resolve(stack, decisions, form, is_stdin_free=not is_stdin)


def selected(
    stack: "Stack",
    case_ids: Sequence[str],
    criteria: Mapping[str, Any],
    request: Request,
    corrections: Mapping[str, str],
    *,
    form: Form,
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
    resolve(stack, decisions, form, is_stdin_free=True)


def resolve(stack: "Stack", decisions: Sequence[Decision], form: Form, *, is_stdin_free: bool) -> None:
    """
    Carry out *decisions*. Standard input can be asked for confirmation and card numbers if it *is_stdin_free*.

    Raises:
        CliError: Not everything is done.
    """
    from workers.operations.resolve_many import Plan, plan  # noqa: PLC0415 - the SDK takes a while to import.

    can_ask = is_stdin_free and sys.stdin.isatty()
    with progress("reading cases", len(decisions), always=len(decisions) >= MANY) as advance:
        planned = run(stack, plan(stack, decisions, progress=advance)) if decisions else Plan()
    _add_card_numbers(planned, form.cards_fd)
    if form.dry:
        _show(planned, as_json=form.as_json)
        return
    if planned.open:
        if not form.yes and not can_ask:
            raise click.UsageError("there is no terminal to ask for confirmation: use --yes, or --dry-run")
        if any(step.needs_card_number for step in planned.open) and not can_ask:
            raise click.UsageError("there is no terminal to ask for the card numbers: use --card-numbers-fd")
        if not form.yes:
            _confirm(planned)
        _ask_for_card_numbers(planned)
        _carry_out(stack, planned, as_json=form.as_json)
    with results():
        _report(planned, as_json=form.as_json)


def _carry_out(stack: "Stack", planned: "Plan", *, as_json: bool) -> None:
    from workers.operations.resolve_many import carry_out  # noqa: PLC0415 - the SDK takes a while to import.

    number = len(planned.open)
    try:
        with progress("resolving", number, always=number >= MANY) as advance:
            run(stack, carry_out(stack, planned, progress=advance), interrupted=lambda: _interrupted(planned))
    except Exception:  # Whatever has ended it, what was done before is reported.
        if len(planned.open) < number:
            with results():
                _print(planned, as_json=as_json)
        raise


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


def _show(planned: "Plan", *, as_json: bool) -> None:
    """
    Show what would be done.

    Raises:
        CliError: Something would fail.
    """
    if as_json:
        print_json([_document(step, WOULD) for step in planned.steps])
    elif planned.steps:
        _print_planned(planned)
    note(f"{_summary(planned, WOULD)}; this was a dry run: nothing was changed" if planned.steps else NONE)
    _fail(planned, WOULD)


def _print_planned(planned: "Plan", *, err: bool = False) -> None:
    rows = [_planned_row(step) for step in planned.steps]
    columns = ("case", "order", "name", "item", "price", "action", "note")
    print_table(columns, rows, text=("name", "item", "action", "note"), err=err)


def _confirm(planned: "Plan") -> None:
    _print_planned(planned, err=True)
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
            else:
                _add_card_number(step, text)


def _add_card_number(step: "Step", text: str) -> None:
    try:
        step.add_card_number(text)
    except InvalidOrderError as error:
        note(f"orders: {error}")


def _summary(planned: "Plan", words: Words = AS_IT_IS) -> str:
    first = next(iter(words))
    counts = [(planned.count(outcome), outcome) for outcome in words]
    return ", ".join(f"{number} {words[outcome]}" for number, outcome in counts if number or outcome == first)


def _interrupted(planned: "Plan") -> str:
    """Say what an interruption has left."""
    return f"interrupted: {_summary(planned)}" + (f"; {REPEAT}" if planned.is_worth_repeating else "")


def _report(planned: "Plan", *, as_json: bool) -> None:
    _print(planned, as_json=as_json)
    note(_summary(planned) if planned.steps else NONE)
    if planned.is_worth_repeating:
        raise CliError(f"not everything is done; {REPEAT}")
    _fail(planned)


def _fail(planned: "Plan", words: Words = AS_IT_IS) -> None:
    if failed := planned.count("failed"):
        raise CliError(f"{failed} {words['failed']}: the problem of each is above")


def _print(planned: "Plan", *, as_json: bool) -> None:
    if as_json:
        print_json([_document(step) for step in planned.steps])
    elif planned.steps:
        rows = [
            (step.decision.case_id, step.decision.request.action, step.outcome, step.problem) for step in planned.steps
        ]
        print_table(("case", "action", "outcome", "problem"), rows, text=("problem",))


def _document(step: "Step", words: Words = AS_IT_IS) -> dict[str, Any]:
    request = step.decision.request
    return {
        "case_id": step.decision.case_id,
        "order_id": step.order.order_id if step.order else step.case and step.case.order_id,
        "action": request.action,
        "actor": request.record(0, "").actor,
        "outcome": words[step.outcome],
        "problem": step.problem,
    }
