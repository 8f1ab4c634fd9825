"""The messages that are waiting in the queues, and their dead letters."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.consumer.pause import Person
from workers.operations.pauses import described, read_pause
from workers.operations.sdk_errors import SDK_ERRORS

if TYPE_CHECKING:
    from workers.operations.stack import Queue, Stack
    from workers.operations.status import QueueStatus

PAUSE_FIELDS = ("paused", "paused_since_at", "paused_by", "paused_note")
_WINDOW = timedelta(minutes=15)  # SQS reports once a minute, and a few minutes late.


@dataclass(frozen=True, slots=True)
class Depth:
    """The state of a queue. The numbers of messages are SQS's approximate counts; what is unknown is None."""

    queue: str
    depth: int
    in_flight: int
    delayed: int
    oldest_s: int | None
    dead_letter_queue: str
    dead_letters: int
    oldest_dead_letter_s: int | None
    paused: bool | None = None
    paused_since_at: str | None = None
    paused_by: str | None = None
    paused_note: str | None = None


async def queue_depths(stack: "Stack", names: Sequence[str] = ()) -> list[Depth]:
    """
    Return the depths of the queues called *names*, by default of our two, without receiving a message.

    Raises:
        OperationError: A queue or its dead-letter queue does not exist.
    """
    known = stack.names.queues
    return await asyncio.gather(*(_depth(stack, known.get(name, name)) for name in names or known))


async def _depth(stack: "Stack", given: str) -> Depth:
    queue = await stack.queue(given)
    try:
        pause = await read_pause_fields(stack, queue)
    except SDK_ERRORS:  # Without access to the tags, the rest is still useful.
        pause = {}
    return replace(
        await queue_depth(stack, queue),
        **pause,
        oldest_s=await oldest_s(stack, queue, queue.name),
        oldest_dead_letter_s=await oldest_s(stack, queue, queue.dead_letter_queue),
    )


async def read_pause_fields(stack: "Stack", queue: "Queue") -> dict[str, Any]:
    """Return the fields of a queue that say whether and by whom it is paused."""
    person = await read_pause(stack, queue.url)
    if person is None:
        return {"paused": False}
    since = clock.rfc_3339(person.since) if person.since else None
    return dict(zip(PAUSE_FIELDS, (True, since, person.actor, person.note), strict=True))


def paused_text(queue: "Depth | QueueStatus") -> str:
    """Return what a table says about the pause of a queue."""
    if not queue.paused:
        return "unknown" if queue.paused is None else "no"
    return described(Person(queue.paused_by, queue.paused_since_at, queue.paused_note))


async def queue_depth(stack: "Stack", queue: "Queue") -> Depth:
    """Return the numbers of messages of *queue*, without ages."""
    dead_letters = await stack.attributes(queue.dead_letter_url)
    return Depth(
        queue=queue.name,
        depth=_number(queue.attributes, ""),
        in_flight=_number(queue.attributes, "NotVisible"),
        delayed=_number(queue.attributes, "Delayed"),
        oldest_s=None,
        dead_letter_queue=queue.dead_letter_queue,
        dead_letters=total_messages(dead_letters),
        oldest_dead_letter_s=None,
    )


def total_messages(attributes: Mapping[str, str]) -> int:
    """Return how many messages a queue has, approximately: visible, in flight and delayed."""
    return sum(_number(attributes, state) for state in ("", "NotVisible", "Delayed"))


def _number(attributes: Mapping[str, str], state: str) -> int:
    return int(attributes.get(f"ApproximateNumberOfMessages{state}", 0))


async def oldest_s(stack: "Stack", queue: "Queue", name: str) -> int | None:
    """
    Return the age of the oldest message, from CloudWatch's newest data point; None if it is unknown.

    *name* is that of *queue* or of its dead-letter queue, which is in the same account.
    """
    now = stack.now()
    try:
        if not await stack.owns(queue):  # Or the answer could be about another queue of this name.
            return None
        answer: Any = await stack.cloudwatch.call(
            "get_metric_statistics",
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": name}],
            StartTime=now - _WINDOW,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )
    except SDK_ERRORS:  # Without CloudWatch, or access to it, the rest is still useful.
        return None
    newest = max(answer["Datapoints"], key=lambda point: point["Timestamp"], default=None)
    return None if newest is None else round(newest["Maximum"])
