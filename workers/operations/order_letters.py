"""Looks for the dead letters of one order, in both dead-letter queues and for a limited time."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workers.domain.ids import execution_name
from workers.domain.submissions import submission_number
from workers.errors import FatalError, plain_name
from workers.operations.actions import HeldQueue, held_queue
from workers.operations.dead_letters import DeadLetter, oldest_first
from workers.operations.errors import OperationError
from workers.operations.queues import oldest_s, total_messages
from workers.operations.sdk_errors import SDK_ERRORS, explained
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from workers.operations.stack import Queue, Stack

MAX_LOOKED_AT = 500
MAX_LOOK_S = 5.0
MAX_ANSWER_S = 10.0  # For all requests about a queue: an SQS that does not answer costs minutes.


@dataclass(frozen=True, slots=True)
class Subject:
    """An order or case. Its dead letters name its id, one of its executions, or one of its messages."""

    key: str
    execution_arns: Collection[str] = ()
    message_ids: Collection[str] = ()

    def is_of(self, letter: DeadLetter) -> bool:
        arn = letter.execution_arn
        return (
            self.key in {letter.order_id, letter.case_id}
            or letter.id in self.message_ids
            or letter.origin_message_id in self.message_ids
            or (
                arn is not None
                and (arn in self.execution_arns or submission_number(self.key, execution_name(arn)) is not None)
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """
    The dead letters of an order in one dead-letter queue, and how many of the queue's letters were looked at.

    *choice* is the queue's name on the command line, *waiting* how many messages the queue itself has, approximately,
    and *oldest_s* the age of the oldest of these, in seconds, if it is known. If *problem* is not None, it says why the
    queue could not be read.
    """

    choice: str
    queue: str
    waiting: int | None = None
    oldest_s: int | None = None
    dead_letter_queue: str | None = None
    letters: tuple[DeadLetter, ...] = ()
    looked_at: int = 0
    approximate_count: int = 0
    problem: str | None = None

    @property
    def gap(self) -> str | None:
        """Why other dead letters of the order may be in the queue; None if all were looked at."""
        if self.problem is not None:
            return self.problem
        if self.looked_at >= self.approximate_count:
            return None
        looked_at = f"looked at {self.looked_at:,} of about {self.approximate_count:,}"
        return f"{looked_at}; there may be others of this order"


async def search(
    stack: "Stack",
    subject: Subject,
    *,
    now_s: Callable[[], float] = time.monotonic,
    max_answer_s: float = MAX_ANSWER_S,
    look: bool = True,
) -> tuple[Search, Search]:
    """
    Look for the dead letters of *subject* in the queues for fulfillment and for escalations, in this order.

    It looks at `MAX_LOOKED_AT` letters of each queue, for `MAX_LOOK_S`. A queue that SQS counts no letter in costs four
    requests and no wait. Others do not see the letters meanwhile; with *look* False, they are only counted.
    """
    names = stack.names

    async def limited(choice: str, name: str) -> Search:
        try:
            async with asyncio.timeout(max_answer_s):
                found, queue = await _search(stack, choice, name, subject if look else None, now_s)
        except TimeoutError:
            shown = QueueAddress.parse(name).name
            return Search(choice=choice, queue=shown, problem=f"SQS has not answered within {max_answer_s:g} seconds")
        if queue is None or not found.waiting:
            return found
        return replace(found, oldest_s=await oldest_s(stack, queue, queue.name))

    fulfillment, escalation = await asyncio.gather(
        limited("fulfillment", names.order_fulfillment_queue), limited("escalation", names.escalation_queue)
    )
    return fulfillment, escalation


async def _search(
    stack: "Stack", choice: str, name: str, subject: Subject | None, now_s: Callable[[], float]
) -> "tuple[Search, Queue | None]":
    """Return what was found, without the age of the oldest message, and the queue, if it could be read."""
    warnings, shown = list[str](), QueueAddress.parse(name).name
    try:
        async with held_queue(stack, name, warn=warnings.append) as source:
            letters = await _letters(source, subject, now_s) if subject and source.approximate_count else []
            looked_at = len(source.hold)
    except (OperationError, FatalError) as error:  # The queue does not exist, or the SDK's settings are wrong.
        return Search(choice=choice, queue=shown, problem=str(error)), None
    except SDK_ERRORS as error:
        return Search(choice=choice, queue=shown, problem=await explained(error, stack) or plain_name(error)), None
    found = Search(
        choice=choice,
        queue=shown,
        waiting=total_messages(source.queue.attributes),
        dead_letter_queue=source.queue.dead_letter_queue,
        letters=tuple(letters),
        looked_at=looked_at,
        approximate_count=max(source.approximate_count, looked_at),
        problem=warnings[0] if warnings else None,
    )
    return found, source.queue


async def _letters(source: HeldQueue, subject: Subject, now_s: Callable[[], float]) -> list[DeadLetter]:
    """Return the letters of *subject*, oldest first. They are visible again when *source* ends."""
    end_at, found = now_s() + MAX_LOOK_S, list[DeadLetter]()
    async with contextlib.aclosing(source.hold.messages()) as messages:
        async for message in messages:
            letter = DeadLetter.of(source.queue.dead_letter_queue, message)
            if subject.is_of(letter):
                found.append(letter)
            if len(source.hold) >= MAX_LOOKED_AT or now_s() >= end_at:
                break
    return oldest_first(found)
