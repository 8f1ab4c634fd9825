"""Looks for dead letters and acts on them, for the commands of `orders dead-letters`."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workers.cli.dead_letter_confirm import ask, must_ask
from workers.cli.dead_letter_edit import ctrl_c_for_editor
from workers.cli.dead_letter_view import outcome_document, print_letters, summary
from workers.cli.output import CliError, InterruptedCommandError, note, print_json, progress, results
from workers.cli.running import run
from workers.operations.actions import (
    Action,
    ActionReport,
    FoundLetters,
    HeldQueue,
    Outcome,
    act,
    dry_run,
    find,
    held_queue,
)
from workers.operations.dead_letters import DeadLetter, Selection
from workers.operations.letter_edits import Editing, edited, replay_edited
from workers.operations.windows import Moment, Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an action is done and printed."""

    wide: bool
    as_json: bool
    rate: float
    dry: bool


def selection_of(stack: "Stack", *, since: Moment | None, until: Moment | None, **parts: Any) -> Selection:
    return Selection(window=Window.of(stack.now(), since, until), **parts)


def missing(ids: Sequence[str], letters: Sequence[DeadLetter]) -> Iterator[str]:
    """Name the ids that a person has given and that select no dead letter."""
    known = {name for letter in letters for name in (letter.id, letter.origin_message_id)}
    if missing := [name for name in dict.fromkeys(ids) if name not in known]:
        yield f"no dead letter found with the id {', '.join(missing)}"


def fail(problems: Sequence[str]) -> None:
    """
    Report what was not done.

    Raises:
        CliError: Something was not.
    """
    if problems:
        raise CliError("; ".join(problems))


def queue_name(stack: "Stack", queue: str) -> str:
    return stack.names.queues.get(queue, queue)


def warn(text: str) -> None:
    note(f"orders: {text}")


async def look(stack: "Stack", names: Sequence[str], selection: Selection, limit: int) -> list[FoundLetters]:
    """Find the dead letters of several queues. They all stay held until the last queue has been searched."""
    async with contextlib.AsyncExitStack() as held:
        return [
            await _find(await held.enter_async_context(held_queue(stack, name, warn=warn)), selection, limit)
            for name in names
        ]


async def _find(source: HeldQueue, selection: Selection, limit: int) -> FoundLetters:
    with progress(f"Looking at {source.queue.dead_letter_queue}", source.approximate_count) as advance:
        return await find(source, selection, limit, progress=advance)


def act_on(
    stack: "Stack",
    queue: str,
    action_for: Callable[[FoundLetters], Action],
    editing: Editing | None = None,
    *,
    yes: bool,
    execute: bool,
    dry_run: bool,
    deletes: bool = False,
    limit: int,
    ids: Sequence[str],
    rate: float,
    wide: bool,
    as_json: bool,
    since: Moment | None,
    until: Moment | None,
    **criteria: Any,
) -> None:
    """Select dead letters, show them and ask, if that is needed, and act on exactly those that were shown."""
    form = Form(wide=wide, as_json=as_json, rate=rate, dry=dry_run)
    selection = selection_of(stack, ids=tuple(ids), since=since, until=until, **criteria)
    deletes_all = deletes and selection == Selection()
    if editing is None and must_ask(yes=yes, execute=execute, only_look=dry_run, deletes_all=deletes_all):
        (found,) = run(stack, look(stack, [queue_name(stack, queue)], selection, limit))
        action = action_for(found)
        if not found.letters:
            _print_outcomes(found, [], form, now=stack.now())
            fail([*missing(ids, [])])
            return
        ask(found, action, stack.now(), wide=form.wide)
        shown = [letter.id for letter in found.letters]  # They are visible again: others may take them meanwhile.
        selection, limit, ids, action_for = Selection(ids=shown), len(shown), [*ids, *shown], lambda _: action
    _carry_out(stack, queue, selection, action_for, ids, editing=editing, limit=limit, form=form)


def _carry_out(
    stack: "Stack",
    queue: str,
    selection: Selection,
    action_for: Callable[[FoundLetters], Action],
    ids: Sequence[str],
    *,
    editing: Editing | None,
    limit: int,
    form: Form,
) -> None:
    """Find dead letters, act on them and print the outcomes. If it is a dry run, only print what would be done."""
    report = ActionReport()
    looked_at: Sequence[DeadLetter] = ()

    async def work() -> FoundLetters:
        nonlocal looked_at
        async with held_queue(stack, queue_name(stack, queue), warn=warn) as source:
            found = await _find(source, selection, limit)
            looked_at = found.letters
            if editing is not None:
                with ctrl_c_for_editor():
                    originals, found = found, await edited(found, editing)
                action = replay_edited(source, originals, editing, warn)
            else:
                action = action_for(found)
            if form.dry:
                report.outcomes += dry_run(found, action)
                return found
            count, name = len(found.letters), source.queue.dead_letter_queue
            note(f"{count} dead {'letter' if count == 1 else 'letters'} of {name} to be {action.past}")
            with progress(f"{action.verb.capitalize()}ing", count) as advance:
                await act(found, action, report, rate=form.rate, progress=advance)
            return found

    def interrupted() -> str:
        if report.action is None:
            return "interrupted; the command can be repeated"
        done = f"{report.done} of {report.total} dead letters {report.action.past}"
        return f"interrupted: {done}; the command can be repeated"

    try:
        found = run(stack, work(), interrupted=interrupted)
    except InterruptedCommandError:
        if report.outcomes:
            with results():
                _print_table(report.outcomes, form, now=stack.now())
        raise
    with contextlib.nullcontext() if form.dry else results():
        _print_outcomes(found, report.outcomes, form, now=stack.now())
    count = len(report.outcomes)
    failed = [f"{report.problems} of {count} dead letters failed; the command can be repeated"]
    fail([*(failed if report.problems else []), *missing(ids, looked_at)])


def _print_outcomes(found: FoundLetters, outcomes: Sequence[Outcome], form: Form, *, now: datetime) -> None:
    """Show what was done with each dead letter, and how many there are."""
    _print_table(outcomes, form, now=now)
    note(summary(found))
    if form.dry and outcomes:
        note("This was a dry run: nothing was changed")


def _print_table(outcomes: Sequence[Outcome], form: Form, *, now: datetime) -> None:
    if form.as_json:
        print_json([outcome_document(outcome, now) for outcome in outcomes])
    elif outcomes:
        rows = [
            (outcome.letter, f"{outcome.result}: {outcome.problem}" if outcome.problem else outcome.result)
            for outcome in outcomes
        ]
        print_letters(rows, "outcome", now, wide=form.wide)
