"""`orders dead-letters`: lists, replays and discards messages that no worker could handle."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from workers.cli.dead_letter_options import ACTION, QUEUES, SELECTION, with_options
from workers.cli.dead_letter_view import letter_document, outcome_document, print_letters, summary
from workers.cli.output import CliError, InterruptedCommandError, note, print_json, progress, results
from workers.cli.running import run
from workers.operations.actions import (
    DISCARD,
    Action,
    ActionReport,
    FoundLetters,
    HeldQueue,
    act,
    dry_run,
    find,
    held_queue,
    replay_to,
)
from workers.operations.dead_letters import DeadLetter, Selection

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@click.group("dead-letters", short_help="List, replay or discard messages that no worker could handle.")
def command() -> None:
    """
    List, replay or discard dead letters: messages that no worker could handle.

    SQS shows a message only to a consumer that receives it, and hides it from all others meanwhile. So these commands
    receive the messages that they look at. When they end, also after an error or Ctrl-C, they make the remaining ones
    visible again. After `kill -9`, the messages become visible by themselves within a minute. A list is a sample: it
    does not show messages that another consumer has received.

    SQS's own redrive (StartMessageMoveTask, "Start DLQ redrive" in the console) moves a whole queue inside AWS, up to
    500 messages a second. It cannot select messages, has no dry run, and does not report on single messages. It leaves
    the workers' attributes on the messages, and needs an explicit destination for messages that a worker has moved
    here. Prefer it if very many messages should all go back, for example after an outage.
    """


@command.command(
    "list",
    short_help="Show dead letters: why, how old, which order.",
    epilog="""\b
Examples:
  orders dead-letters list
  orders dead-letters list fulfillment --reason UNDECODABLE --older-than 1h
  orders dead-letters list --json | jq -r '.[].order_id'""",
)
@click.argument("queue", type=click.Choice(QUEUES), required=False)
@click.option("--bodies", is_flag=True, help="Show the start of each message, masked. It may contain anything.")
@with_options(*SELECTION)
@click.pass_obj
def list_command(
    stack: "Stack",
    /,
    *,
    queue: str | None,
    bodies: bool,
    as_json: bool,
    limit: int,
    ids: Sequence[str],
    **selection: Any,
) -> None:
    """
    Show dead letters of one queue or of both, the oldest first.

    The reason comes from the worker; messages that SQS itself moved have none. A message that could not be decoded also
    has a case. An --id that is not found is named, and the exit code is 1.
    """
    names = [_name(stack, choice) for choice in ([queue] if queue else QUEUES)]
    found = run(stack, _look(stack, names, Selection(ids=ids, **selection), limit))
    now = stack.now()
    letters = sorted(
        (letter for part in found for letter in part.letters), key=lambda letter: -(letter.age_s(now) or 0.0)
    )
    if as_json:
        print_json([letter_document(letter, now) | {"body": letter.excerpt if bodies else None} for letter in letters])
    elif letters:
        print_letters([(letter, letter.excerpt) for letter in letters], "body" if bodies else None, now)
    for part in found:
        note(summary(part))
    _fail([*_missing(ids, letters)])


@command.command(
    "replay",
    short_help="Send dead letters back to the queue they came from.",
    epilog="""\b
Examples:
  orders dead-letters replay fulfillment --order 001
  orders dead-letters replay fulfillment --order 001 --execute
  orders dead-letters replay escalation --older-than 1h --rate 50 --execute""",
)
@click.argument("queue", type=click.Choice(QUEUES))
@with_options(*SELECTION, *ACTION)
@click.pass_obj
def replay_command(stack: "Stack", /, *, queue: str, **options: Any) -> None:
    """
    Send dead letters back to the queue they came from: body and attributes as they were sent.

    A dry run unless --execute is given. An --id that is not found is named, and the exit code is 1. The selection is
    complete before the first message is sent. Each is removed
    from the dead-letter queue only after its queue has accepted it. If the command is killed in between, the message is
    in both queues, and repeating the command sends it again. That is harmless: every change to an order is conditional.

    A message that could not be decoded comes back unchanged and opens a second case: fix the sender, and discard the
    message here.
    """

    def action(found: FoundLetters) -> Action:
        if undecodable := sum(letter.undecodable for letter in found.letters):
            note(f"{undecodable} of them could not be decoded and will come back here")
        return replay_to(found.source)

    _act(stack, queue, action, **options)


@command.command(
    "discard",
    short_help="Delete dead letters for good.",
    epilog="""\b
Examples:
  orders dead-letters discard fulfillment --reason UNDECODABLE
  orders dead-letters discard fulfillment --id 8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --execute""",
)
@click.argument("queue", type=click.Choice(QUEUES))
@with_options(*SELECTION, *ACTION)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_obj
def discard_command(stack: "Stack", /, *, queue: str, yes: bool, **options: Any) -> None:
    """
    Delete dead letters for good. This cannot be undone.

    A dry run unless --execute is given. It asks before it deletes all of them, without --reason, --order, --older-than
    or --id. An --id that is not found is named, and the exit code is 1. The selection is complete before the first
    message is deleted. The command can be repeated safely. An open case about the message stays open: `orders
    escalations resolve` closes it.
    """
    everything = not any(options[name] for name in ("reason", "order_id", "older_than", "ids"))
    if options["execute"] and everything and not yes:
        _confirm_all(_name(stack, queue))
    _act(stack, queue, lambda _: DISCARD, **options)


def _missing(ids: Sequence[str], letters: Sequence[DeadLetter]) -> Iterator[str]:
    """Name the ids that a person has given and that select no dead letter."""
    known = {name for letter in letters for name in (letter.id, letter.origin_message_id)}
    if missing := [name for name in dict.fromkeys(ids) if name not in known]:
        yield f"no dead letter found with the id {', '.join(missing)}"


def _fail(problems: Sequence[str]) -> None:
    """
    Report what was not done.

    Raises:
        CliError: Something was not.
    """
    if problems:
        raise CliError("; ".join(problems))


def _confirm_all(queue: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "there is no terminal to ask whether to delete all: use --yes, or --reason, --order, --older-than or --id"
        )
    if not click.confirm(f"Delete all dead letters of {queue} for good?", err=True):
        raise CliError("nothing was deleted")


def _name(stack: "Stack", queue: str) -> str:
    return stack.names.order_fulfillment_queue if queue == "fulfillment" else stack.names.escalation_queue


def _warn(text: str) -> None:
    note(f"orders: {text}")


async def _look(stack: "Stack", names: Sequence[str], selection: Selection, limit: int) -> list[FoundLetters]:
    """Find the dead letters of several queues. They all stay held until the last queue has been searched."""
    async with contextlib.AsyncExitStack() as held:
        return [
            await _find(await held.enter_async_context(held_queue(stack, name, warn=_warn)), selection, limit)
            for name in names
        ]


async def _find(source: HeldQueue, selection: Selection, limit: int) -> FoundLetters:
    with progress(f"Looking at {source.queue.dead_letter_queue}", source.approximate_count) as advance:
        return await find(source, selection, limit, progress=advance)


def _act(
    stack: "Stack",
    queue: str,
    action_for: Callable[[FoundLetters], Action],
    *,
    as_json: bool,
    limit: int,
    rate: float,
    execute: bool,
    ids: Sequence[str],
    **selection: Any,
) -> None:
    """Find dead letters, act on them and print the outcomes. Without *execute*, only print what would be done."""
    report = ActionReport()

    async def work() -> FoundLetters:
        async with held_queue(stack, _name(stack, queue), warn=_warn) as source:
            found = await _find(source, Selection(ids=ids, **selection), limit)
            action = action_for(found)
            if not execute:
                report.outcomes += dry_run(found, action)
                return found
            count, name = len(found.letters), source.queue.dead_letter_queue
            note(f"{count} dead {'letter' if count == 1 else 'letters'} of {name} to be {action.past}")
            with progress(f"{action.verb.capitalize()}ing", count) as advance:
                await act(found, action, report, rate=rate, progress=advance)
            return found

    def interrupted() -> str:
        if report.action is None:
            return "interrupted; the command can be repeated"
        done = f"{report.done} of {report.total} dead letters {report.action.past}"
        return f"interrupted: {done}; the command can be repeated"

    try:
        found = run(stack, work(), interrupted=interrupted)
    except InterruptedCommandError:
        if as_json and report.outcomes:
            with results():
                print_json([outcome_document(outcome, stack.now()) for outcome in report.outcomes])
        raise
    with results() if execute else contextlib.nullcontext():
        _print_outcomes(found, report, dry=not execute, as_json=as_json, now=stack.now())
    count = len(report.outcomes)
    failed = [f"{report.problems} of {count} dead letters failed; the command can be repeated"]
    _fail([*(failed if report.problems else []), *_missing(ids, found.letters)])


def _print_outcomes(found: FoundLetters, report: ActionReport, *, dry: bool, as_json: bool, now: datetime) -> None:
    """Show what was done with each letter."""
    outcomes = report.outcomes
    if as_json:
        print_json([outcome_document(outcome, now) for outcome in outcomes])
    elif outcomes:
        rows = [
            (outcome.letter, f"{outcome.result}: {outcome.problem}" if outcome.problem else outcome.result)
            for outcome in outcomes
        ]
        print_letters(rows, "outcome", now)
    note(summary(found))
    if dry and outcomes:
        note("This was a dry run: nothing was changed. Use --execute to do it")
