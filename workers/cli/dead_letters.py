"""`orders dead-letters`: what the workers or SQS have given up, to be read, replayed or discarded."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from workers.cli.ages import Age
from workers.cli.dead_letter import DeadLetter, Wanted
from workers.cli.dead_letter_work import Doing, Found, Outcome, act, find
from workers.cli.hold import MAX_HELD
from workers.cli.output import CliError, note, print_json, print_table
from workers.cli.stack import pass_old_stack
from workers.operations.ages import format_age as written

if TYPE_CHECKING:
    from workers.cli.stack import Stack

DEFAULT_LIMIT, DEFAULT_RATE = 1_000, 10.0
_QUEUES = ("fulfillment", "escalation")


def _a_number(_ctx: click.Context, _param: click.Parameter, value: float) -> float:
    if math.isnan(value):  # Neither below nor above any range.
        raise click.BadParameter("nan is not a number of messages")
    return value


_SELECTION = (
    click.option("--reason", metavar="TEXT", help="Those with this text in their reason, such as UNDECODABLE."),
    click.option("--order", "order_id", metavar="ID", help="Those about this order."),
    click.option("--older-than", type=Age(), metavar="AGE", help="Those first received longer ago: 90s, 10m, 2h, 3d."),
    click.option("--id", "ids", multiple=True, metavar="ID", help="By its id, or the one it had before. Repeatable."),
    click.option(
        "--limit",
        type=click.IntRange(1, MAX_HELD),
        default=DEFAULT_LIMIT,
        show_default=True,
        metavar="N",
        help=f"N of them at most, up to {MAX_HELD}.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print a JSON array, for scripts."),
)
_ACTION = (
    click.option("--execute", is_flag=True, help="Do it. Without this, only what would be done is shown."),
    click.option(
        "--rate",
        type=click.FloatRange(0.1, 1000),
        callback=_a_number,
        default=DEFAULT_RATE,
        show_default=True,
        metavar="N",
        help="N messages a second at most, 0.1 to 1000.",
    ),
)
_Command = Callable[..., Any]


def _with(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    def decorated(function: _Command) -> _Command:
        for option in reversed(options):
            function = option(function)
        return function

    return decorated


@click.group("dead-letters", short_help="List, replay or discard what was given up.")
def command() -> None:
    """
    List, replay or discard dead letters: messages that no worker could handle.

    SQS has no way to look at a message without taking it. So these commands receive messages, hold them invisible to
    others, and make those that they leave alone visible again when they end, however they end; after `kill -9` they
    are back within a minute. A listing is a sample: what somebody else holds at that moment is not in it.

    SQS's own redrive (StartMessageMoveTask, "Start DLQ redrive" in the console) moves a whole queue inside AWS: up to
    500 messages a second with nobody watching, but no choice among them, no trial run, no word about each. It leaves
    the workers' attributes on them; and what a worker has moved here it takes back only to a destination that is named.
    Prefer it for very many messages that should all go back, after an outage say.
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
@click.argument("queue", type=click.Choice(_QUEUES), required=False)
@click.option("--bodies", is_flag=True, help="Show how each message begins, masked. It may hold anything.")
@_with(*_SELECTION)
@pass_old_stack
def list_command(
    stack: "Stack", /, *, queue: str | None, bodies: bool, as_json: bool, limit: int, **wanted: Any
) -> None:
    """
    Show dead letters of one queue, or of both: the oldest first.

    The reason is what a worker gave; SQS gives none. A message that could not be decoded has opened a case as well.
    """
    now = stack.now()
    with ExitStack() as held:
        found = [
            find(stack, _name(stack, each), held, Wanted(**wanted), limit) for each in ([queue] if queue else _QUEUES)
        ]
    letters = sorted((each for one in found for each in one.letters), key=lambda each: -(each.age_s(now) or 0.0))
    if as_json:
        print_json([_document(stack, each) | ({"body": each.excerpt} if bodies else {}) for each in letters])
    elif letters:
        _print(stack, [(each, each.excerpt) for each in letters], "body" if bodies else None)
    for one in found:
        note(_summary(one))


@command.command(
    "replay",
    short_help="Send dead letters back to where they came from.",
    epilog="""\b
Examples:
  orders dead-letters replay fulfillment --order 001
  orders dead-letters replay fulfillment --order 001 --execute
  orders dead-letters replay escalation --older-than 1h --rate 50 --execute""",
)
@click.argument("queue", type=click.Choice(_QUEUES))
@_with(*_SELECTION, *_ACTION)
@pass_old_stack
def replay_command(
    stack: "Stack", /, *, queue: str, as_json: bool, limit: int, rate: float, execute: bool, **wanted: Any
) -> None:
    """
    Send dead letters back to the queue they came from, to be handled anew: body and attributes as they were sent.

    A dry run, unless --execute is given. What was selected then is fixed before the first is sent. Each is removed
    from the dead-letter queue only after its queue has taken it. Interrupted in between, a message is in both queues:
    repeating the command sends it twice, which changes nothing, as every change of an order is conditional.

    A message that could not be decoded comes back as it is, and opens a second case: correct what sent it, and discard
    it here.
    """
    with ExitStack() as held:
        found = find(stack, _name(stack, queue), held, Wanted(**wanted), limit)

        def send(letter: DeadLetter) -> None:
            stack.sqs.send_message(
                QueueUrl=found.queue.url, MessageBody=letter.body, MessageAttributes=dict(letter.attributes)
            )

        if returning := sum(each.undecodable for each in found.letters):
            note(f"{returning} of them could not be decoded: as they are, they will be back here")
        outcomes = _done(stack, found, Doing("replay", "replayed", send), rate if execute else None)
    _report(stack, found, outcomes, as_json=as_json)


@command.command(
    "discard",
    short_help="Delete dead letters for good.",
    epilog="""\b
Examples:
  orders dead-letters discard fulfillment --reason UNDECODABLE
  orders dead-letters discard fulfillment --id 8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --execute""",
)
@click.argument("queue", type=click.Choice(_QUEUES))
@_with(*_SELECTION, *_ACTION)
@pass_old_stack
def discard_command(
    stack: "Stack", /, *, queue: str, as_json: bool, limit: int, rate: float, execute: bool, **wanted: Any
) -> None:
    """
    Delete dead letters for good. There is no way back.

    A dry run, unless --execute is given. What was selected then is fixed before the first is deleted. Repeating the
    command is safe. A case that is open on the message stays open: `orders escalations resolve` closes it.
    """
    with ExitStack() as held:
        found = find(stack, _name(stack, queue), held, Wanted(**wanted), limit)
        outcomes = _done(stack, found, Doing("discard", "discarded"), rate if execute else None)
    _report(stack, found, outcomes, as_json=as_json)


def _name(stack: "Stack", queue: str) -> str:
    return stack.names.order_fulfillment_queue if queue == "fulfillment" else stack.names.escalation_queue


def _done(stack: "Stack", found: Found, doing: Doing, rate: float | None) -> list[Outcome]:
    """Act on what was found, at that *rate*; or only say what would be done."""
    if rate is None:
        return [Outcome(each, f"would be {doing.done}") for each in found.letters]
    count = len(found.letters)
    note(f"{count} dead {'letter' if count == 1 else 'letters'} of {found.queue.dead_letter_queue} to be {doing.done}")
    return act(stack, found, doing, rate=rate)


def _report(stack: "Stack", found: Found, outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """
    Show what became of each message.

    Raises:
        CliError: Something could not be done.
    """
    if as_json:
        print_json(
            [
                _document(stack, each.letter)
                | {"outcome": each.said}
                | ({"problem": each.problem} if each.problem else {})
                for each in outcomes
            ]
        )
    elif outcomes:
        rows = [(each.letter, f"{each.said}: {each.problem}" if each.problem else each.said) for each in outcomes]
        _print(stack, rows, "outcome")
    note(_summary(found))
    if any(each.said.startswith("would be") for each in outcomes):
        note("This was a dry run: nothing was changed. --execute does it")
    bad = sum(each.problem is not None for each in outcomes)
    if bad:
        raise CliError(f"{bad} of {len(outcomes)} dead letters could not be dealt with; the command can be repeated")


def _print(stack: "Stack", rows: Sequence[tuple[DeadLetter, str]], last: str | None) -> None:
    now = stack.now()
    headings = ["queue", "id", "age", "order", "reason", "error", "case", *([last] if last else [])]
    print_table(
        headings,
        [
            (
                each.queue,
                each.id,
                written(each.age_s(now)),
                each.order_id,
                each.reason,
                each.error_class,
                each.case_id,
                *([text] if last else []),
            )
            for each, text in rows
        ],
        right=("age",),
    )


def _document(stack: "Stack", letter: DeadLetter) -> dict[str, Any]:
    age_s = letter.age_s(stack.now())
    return {
        "queue": letter.queue,
        "id": letter.id,
        "origin_message_id": letter.origin_message_id,
        "reason": letter.reason,
        "error_class": letter.error_class,
        "order_id": letter.order_id,
        "case_id": letter.case_id,
        "first_received_at": letter.first_received_at,
        "sent_at": letter.sent_at,
        "age_s": None if age_s is None else round(age_s),
    }


def _summary(found: Found) -> str:
    name = found.queue.dead_letter_queue
    if not found.about:
        return f"{name}: no dead letters"
    return (
        f"{name}: {len(found.letters)} selected of {found.seen} looked at, of about {found.about} dead letters."
        " A listing is a sample: what others hold just now is not in it"
    )
