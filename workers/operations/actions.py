"""Finds dead letters, and replays or discards exactly those that were found."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.aws.outgoing import sqs_message
from workers.errors import plain_name
from workers.operations.concurrency import finish
from workers.operations.dead_letters import DeadLetter, Selection, oldest_first
from workers.operations.errors import OperationError
from workers.operations.hold import Hold
from workers.operations.progress import Progress, Warn, unreported
from workers.operations.queues import total_messages
from workers.operations.sdk_errors import SDK_ERRORS, explained

if TYPE_CHECKING:
    from workers.operations.stack import Queue, Stack

MAX_FAILURES = 5  # In a row. After these, the next letter would probably fail too.


@dataclass(frozen=True, slots=True)
class HeldQueue:
    """A queue whose dead letters are held while they are looked at. `approximate_count` is SQS's own count."""

    stack: "Stack"
    queue: "Queue"
    hold: Hold
    approximate_count: int


@dataclass(frozen=True, slots=True)
class FoundLetters:
    """The selected dead letters of a queue, oldest first. `seen` counts all that were looked at. All are still held."""

    source: HeldQueue
    letters: list[DeadLetter]
    seen: int
    limit: int | None = None  # Reached: others may match, too.

    @property
    def is_complete(self) -> bool:
        """Whether all dead letters of the queue were looked at, as far as SQS counts them."""
        return self.gap is None

    @property
    def gap(self) -> str | None:
        """Why dead letters may be missing; None if all were looked at."""
        if self.seen >= self.source.approximate_count:
            return None
        if self.limit is not None:
            return f"it ended after {self.limit} (--limit)"
        return "another consumer has received the others, or SQS's count is late"

    @property
    def approximate_count(self) -> int:
        """About how many dead letters the queue has."""
        return max(self.source.approximate_count, self.seen)


@dataclass(frozen=True, slots=True)
class Action:
    """What to do with a dead letter: run `before_deletion`, if any, then delete it. `past` is the past participle."""

    verb: str
    past: str
    before_deletion: Callable[[DeadLetter], Awaitable[object]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of an action for one letter; `problem` says why it was not done completely."""

    letter: DeadLetter
    result: str
    problem: str | None = None


@dataclass(slots=True)
class ActionReport:
    """What an action has done so far. `act` updates it after each letter, so it is correct after a cancellation too."""

    action: Action | None = None  # None until `act` begins.
    total: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def done(self) -> int:
        return len(self.outcomes) - self.problems

    @property
    def problems(self) -> int:
        return sum(outcome.problem is not None for outcome in self.outcomes)


DISCARD = Action("discard", "discarded")


def replay_to(source: HeldQueue) -> Action:
    """Return the action that sends dead letters back to the queue they came from, as they were sent."""

    async def send(letter: DeadLetter) -> None:
        message = sqs_message(source.queue.url, letter.body, letter.attributes, trace_header=letter.trace_header)
        await source.stack.sqs.call("send_message", **message)

    return Action("replay", "replayed", send)


@contextlib.asynccontextmanager
async def held_queue(stack: "Stack", name: str, *, warn: Warn = unreported) -> AsyncIterator[HeldQueue]:
    """
    Yield the queue *name*, ready for `find`. At the end, the dead letters that remain become visible again.

    Raises:
        OperationError: The queue does not exist.
    """
    queue = await stack.queue(name)
    count = total_messages(await stack.attributes(queue.dead_letter_url))
    async with Hold(stack.sqs, queue.dead_letter_url, warn=warn) as hold:
        yield HeldQueue(stack, queue, hold, count)


class _Sources:
    """
    Says whether a dead letter came from the queue that was named: several queues may share a dead-letter queue.

    A letter of a queue that is gone, or of unknown origin, is taken for one of this queue.
    """

    def __init__(self, source: HeldQueue) -> None:
        self._stack, self._queue = source.stack, source.queue
        self._known: dict[str | None, bool] = {None: True, source.queue.name: True}

    async def __call__(self, letter: DeadLetter) -> bool:
        if letter.source is not None and letter.source not in self._known:
            try:
                other = await self._stack.queue(letter.source)
            except (OperationError, ValueError):
                self._known[letter.source] = True
            else:
                self._known[letter.source] = other.dead_letter_url != self._queue.dead_letter_url
        return self._known[letter.source]


async def find(source: HeldQueue, selection: Selection, limit: int, *, progress: Progress = unreported) -> FoundLetters:
    """Look at dead letters until *limit* of them are selected. The letters stay held as long as *source* does."""
    now, letters, looked_at = source.stack.now(), list[DeadLetter](), 0
    is_of_queue = _Sources(source)
    async with contextlib.aclosing(source.hold.messages()) as messages:
        async for message in messages:
            progress(1)
            looked_at += 1
            ours = source.queue.worker is not None
            letter = DeadLetter.of(source.queue.dead_letter_queue, message, ours=ours)
            if selection.includes(letter, now) and await is_of_queue(letter):
                letters.append(letter)
            if len(letters) >= limit:
                break
    return FoundLetters(source, oldest_first(letters), looked_at, limit if len(letters) >= limit else None)


def dry_run(found: FoundLetters, action: Action) -> list[Outcome]:
    """Return what `act` would do."""
    return [Outcome(letter, f"would be {action.past}") for letter in found.letters]


async def act(
    found: FoundLetters, action: Action, report: ActionReport, *, rate: float, progress: Progress = unreported
) -> None:
    """
    Act on every letter found, at most *rate* a second. The outcomes are in *report*.

    If it is cancelled, it finishes the letter it is working on and does not start another.
    """
    report.action, report.total = action, len(found.letters)
    failures, next_at = 0, time.monotonic()
    for letter in found.letters:
        if failures >= MAX_FAILURES:
            report.outcomes.append(Outcome(letter, "not tried", f"the {MAX_FAILURES} before it failed"))
            continue
        await asyncio.sleep(next_at - time.monotonic())
        next_at = time.monotonic() + 1 / rate
        await finish(_act_on(found.source, letter, action, report))
        failures = failures + 1 if report.outcomes[-1].problem else 0
        progress(1)


async def _act_on(source: HeldQueue, letter: DeadLetter, action: Action, report: ActionReport) -> None:
    report.outcomes.append(await _outcome(source, letter, action))


async def _outcome(source: HeldQueue, letter: DeadLetter, action: Action) -> Outcome:
    try:
        await source.hold.extend()
        if not source.hold.holds(letter.id):
            return Outcome(letter, "skipped", "it could not be held: another receiver may have it now")
        if action.before_deletion is not None:
            await action.before_deletion(letter)
    except SDK_ERRORS as error:
        return await _failed(source, letter, "failed", error)
    try:
        held = await source.hold.delete(letter.id)
    except SDK_ERRORS as error:
        result = f"{action.past}, not removed" if action.before_deletion else "failed"
        return await _failed(source, letter, result, error)
    if not held:
        return Outcome(letter, f"{action.past}, removal uncertain", "its hold ran out meanwhile: look for it again")
    return Outcome(letter, action.past)


async def _failed(source: HeldQueue, letter: DeadLetter, result: str, error: Exception) -> Outcome:
    return Outcome(letter, result, await explained(error, source.stack) or plain_name(error))
