"""`orders queues`: what waits in the queues, and what was given up."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from workers.cli.errors import SDK_ERRORS
from workers.cli.output import print_json, print_table
from workers.cli.stack import pass_old_stack
from workers.operations.ages import format_age as written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.cli.stack import Stack

_WINDOW = timedelta(minutes=15)  # SQS reports once a minute, and a few minutes late.


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as a person sees it. Numbers are SQS's approximate ones; ages are None where nobody knows them."""

    queue: str
    depth: int
    in_flight: int
    delayed: int
    oldest_s: int | None
    dead_letter_queue: str
    dead_letters: int
    oldest_dead_letter_s: int | None


@click.command(
    "queues",
    short_help="Show what waits in the queues and behind them.",
    epilog="""\b
Examples:
  orders queues
  orders queues --json | jq '.[] | select(.dead_letters > 0)'""",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, for scripts.")
@pass_old_stack
def command(stack: "Stack", *, as_json: bool) -> None:
    """
    Show what waits in the queues, and what was given up.

    Depth is how many messages wait; those in flight are in a worker's hands; dead letters are in the queue behind.
    The numbers are SQS's approximate ones. The age of the oldest message is CloudWatch's, a few minutes old; `-` where
    CloudWatch knows none, as on a local AWS. No message is received.
    """
    names = (stack.names.order_fulfillment_queue, stack.names.escalation_queue)
    with ThreadPoolExecutor(len(names)) as pool:
        depths = list(pool.map(lambda name: _depth(stack, name), names))
    if as_json:
        print_json([asdict(each) for each in depths])
        return
    headings = ("queue", "depth", "in flight", "delayed", "oldest", "dead letters", "oldest dead")
    rows = [
        (
            each.queue,
            each.depth,
            each.in_flight,
            each.delayed,
            written(each.oldest_s),
            each.dead_letters,
            written(each.oldest_dead_letter_s),
        )
        for each in depths
    ]
    print_table(headings, rows, right=headings[1:])


def _depth(stack: "Stack", name: str) -> Depth:
    queue = stack.queue(name)
    behind = stack.attributes(queue.dead_letter_url)
    return Depth(
        queue=name,
        depth=_number(queue.attributes, ""),
        in_flight=_number(queue.attributes, "NotVisible"),
        delayed=_number(queue.attributes, "Delayed"),
        oldest_s=_oldest(stack, name),
        dead_letter_queue=queue.dead_letter_queue,
        dead_letters=sum(_number(behind, which) for which in ("", "NotVisible", "Delayed")),
        oldest_dead_letter_s=_oldest(stack, queue.dead_letter_queue),
    )


def _number(attributes: "Mapping[str, str]", which: str) -> int:
    return int(attributes.get(f"ApproximateNumberOfMessages{which}", 0))


def _oldest(stack: "Stack", queue: str) -> int | None:
    """Return the age of the oldest message in seconds, as CloudWatch heard of it last."""
    now = stack.now()
    try:
        answer = stack.cloudwatch.get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=now - _WINDOW,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
    except SDK_ERRORS:  # Without it, or without leave to ask it, the rest is worth showing.
        return None
    newest = max(answer["Datapoints"], key=lambda each: each["Timestamp"], default=None)
    return None if newest is None else round(newest["Maximum"])
