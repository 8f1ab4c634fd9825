"""`orders queues`: the messages in the queues, and their dead letters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from workers.cli.choices import QueueName
from workers.cli.options import json_option
from workers.cli.output import print_json
from workers.cli.running import run
from workers.cli.tables import print_table, wide_option
from workers.operations.ages import format_age
from workers.operations.queues import paused_text, queue_depths

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@click.command(
    "queues",
    short_help="Show the queues and their dead-letter queues.",
    epilog="""\b
Examples:
  orders queues
  orders queues Returns
  orders queues --json | jq '.[] | select(.dead_letters > 0)'""",
)
@click.argument("queues", type=QueueName(), metavar="[QUEUE]...", nargs=-1)
@wide_option
@json_option("an array")
@click.pass_obj
def command(stack: "Stack", *, queues: Sequence[str], wide: bool, as_json: bool) -> None:
    """
    Show how many messages are in the queues and in their dead-letter queues.

    Without QUEUE, these are the queues of the stack. A QUEUE may be any queue with a dead-letter queue, for example
    that of a worker of your own.

    DEPTH counts the messages that are waiting, IN FLIGHT those that workers are handling. The numbers are SQS's
    approximate ones. The age of the oldest message comes from CloudWatch, a few minutes late; it is `-` if CloudWatch
    has none, as on a local AWS. PAUSED is shown if a queue is paused: `orders workers`. No message is received.
    """
    depths = run(stack, queue_depths(stack, queues))
    if as_json:
        print_json(depths)
        return
    headings = ["queue", "depth", "in flight", "delayed", "oldest", "dead letters", "oldest dead"]
    right = headings[1:]
    shows_pauses = any(queue.paused for queue in depths)
    rows = [
        [
            queue.queue,
            queue.depth,
            queue.in_flight,
            queue.delayed,
            format_age(queue.oldest_s),
            queue.dead_letters,
            format_age(queue.oldest_dead_letter_s),
            *([paused_text(queue)] if shows_pauses else []),
        ]
        for queue in depths
    ]
    print_table([*headings, "paused"] if shows_pauses else headings, rows, right=right, wide=wide)
