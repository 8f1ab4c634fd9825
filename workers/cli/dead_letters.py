"""`orders dead-letters`: lists, replays and discards messages that no worker could handle."""

import sys
from typing import TYPE_CHECKING, Any

import click

from workers.cli.choices import QUEUES, QueueName
from workers.cli.dead_letter_edit import edit_letter
from workers.cli.dead_letter_options import ACTION, SELECTION, with_options
from workers.cli.dead_letter_view import letter_document, print_letters, summary
from workers.cli.dead_letter_work import act_on, fail, look, missing, queue_name, selection_of
from workers.cli.options import note_option
from workers.cli.output import note, print_json
from workers.cli.paused import note_pause
from workers.cli.people import actor_option
from workers.cli.running import run
from workers.domain.resolutions import Action as Resolve
from workers.domain.resolutions import Request, ResolutionError
from workers.operations.actions import (
    DISCARD,
    Action,
    FoundLetters,
    replay_to,
)
from workers.operations.letter_edits import Editing

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@click.group("dead-letters", short_help="List, replay or discard messages that no worker could handle.")
def command() -> None:
    """
    List, replay or discard dead letters: messages that no worker could handle.

    SQS shows a message only to a consumer that receives it, and hides it from all others meanwhile. So these commands
    receive the messages that they look at. When they end, also after an error or Ctrl-C, they make the remaining ones
    visible again. After `kill -9`, the messages become visible by themselves within a minute. A list is incomplete if
    another consumer has received messages; then it says so.

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
  orders dead-letters list Returns
  orders dead-letters list --json | jq -r '.[].order_id'""",
)
@click.argument("queue", type=QueueName(), required=False)
@click.option("--bodies", is_flag=True, help="Show the start of each message, masked. It may contain anything.")
@with_options(*SELECTION)
@click.pass_obj
def list_command(
    stack: "Stack",
    /,
    *,
    queue: str | None,
    bodies: bool,
    wide: bool,
    as_json: bool,
    limit: int,
    **selection: Any,
) -> None:
    """
    Show dead letters of one queue, or of both queues of the stack, the oldest first.

    QUEUE may be any queue, for example that of a worker of your own, or its dead-letter queue. If several queues share
    a dead-letter queue, only the letters of QUEUE are shown.

    The reason comes from the worker; messages that SQS itself moved have none. A message that could not be decoded also
    has a case. An --id that is not found is named, and the exit code is 1.
    """
    names = [queue_name(stack, choice) for choice in ([queue] if queue else QUEUES)]
    found = run(stack, look(stack, names, selection_of(stack, **selection), limit))
    now = stack.now()
    letters = sorted(
        (letter for part in found for letter in part.letters), key=lambda letter: -(letter.age_s(now) or 0.0)
    )
    if as_json:
        print_json([letter_document(letter, now) | {"body": letter.excerpt if bodies else None} for letter in letters])
    elif letters:
        print_letters([(letter, letter.excerpt) for letter in letters], "body" if bodies else None, now, wide=wide)
    for part in found:
        note(summary(part))
    fail([*missing(selection["ids"], letters)])


@command.command(
    "replay",
    short_help="Send dead letters back to the queue they came from.",
    epilog="""\b
Examples:
  orders dead-letters replay fulfillment --order 001
  orders dead-letters replay fulfillment --order 001 --yes
  orders dead-letters replay escalation --older-than 1h --rate 50 --yes
  orders dead-letters replay fulfillment --id 8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --edit""",
)
@click.argument("queue", type=QueueName())
@with_options(*SELECTION, *ACTION)
@click.option("--edit", is_flag=True, help="Correct each message in $EDITOR before it is sent.")
@actor_option("on the message and its case")
@note_option("on the case of an edited message", default="no reason given")
@click.pass_obj
def replay_command(stack: "Stack", /, *, queue: str, edit: bool, actor: str, text: str, **options: Any) -> None:
    """
    Send dead letters back to the queue they came from: body and attributes as they were sent.

    The command shows what it is about to do, and asks. It then acts on exactly these dead letters. An --id that is not
    found is named, and the exit code is 1. Each is removed from the dead-letter queue only after its queue has accepted
    it. If the command is killed in between, the message is in both queues, and repeating the command sends it again.
    That is harmless: every change to an order is conditional.

    A message that could not be decoded comes back unchanged and opens a second case: fix the sender, and discard the
    message here. Or correct it with --edit: each message opens in $EDITOR, digits that look like a card number masked,
    and is sent only if a worker can decode it. The message gets the attributes EditedBy and EditedAt, and the case that
    a worker opened for it is closed. A message that you leave as it is stays here.

    For the queue of a worker of your own there are no cases, and only that worker knows what it can decode.
    """

    def action(found: FoundLetters) -> Action:
        if undecodable := sum(letter.undecodable for letter in found.letters):
            note(f"{undecodable} of them could not be decoded and will come back here")
        return replay_to(found.source)

    editing = _editing(actor, text, dry_run=options["dry_run"]) if edit else None
    note_pause(stack, queue_name(stack, queue))
    act_on(stack, queue, action, editing, **options)


def _editing(actor: str, text: str, *, dry_run: bool) -> Editing:
    """To edit a message is to confirm that it is sent."""
    if dry_run:
        raise click.UsageError("--edit and --dry-run exclude each other")
    if not sys.stdin.isatty():
        raise click.UsageError("--edit needs a terminal")
    try:
        Request(action=Resolve.CLOSE, actor=actor, note=text)
    except ResolutionError as error:
        raise click.UsageError(str(error)) from None
    return Editing(actor.strip(), text.strip(), edit_letter)


@command.command(
    "discard",
    short_help="Delete dead letters for good.",
    epilog="""\b
Examples:
  orders dead-letters discard fulfillment --reason UNDECODABLE
  orders dead-letters discard fulfillment --id 8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7 --yes""",
)
@click.argument("queue", type=QueueName())
@with_options(*SELECTION, *ACTION)
@click.pass_obj
def discard_command(stack: "Stack", /, *, queue: str, **options: Any) -> None:
    """
    Delete dead letters for good. This cannot be undone.

    The command shows what it is about to do, and asks. It then acts on exactly these dead letters. An --id that is not
    found is named, and the exit code is 1. The command can be repeated safely. An open case about the message stays
    open: `orders escalations resolve` closes it.
    """
    act_on(stack, queue, lambda _: DISCARD, deletes=True, **options)
