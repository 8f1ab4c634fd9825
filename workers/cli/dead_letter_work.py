"""Finds dead letters, and acts on just those that were found."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.cli.dead_letter import DeadLetter, Wanted
from workers.cli.errors import SDK_ERRORS, explained
from workers.cli.hold import Hold
from workers.cli.output import InterruptedCommandError, progress

if TYPE_CHECKING:
    from workers.cli.stack import Queue, Stack

MAX_FAILURES = 5  # In a row: the next one would fail as well.
_NUMBERS = ("", "NotVisible", "Delayed")


@dataclass(frozen=True, slots=True)
class Found:
    """What was selected of the dead letters of a queue, out of how many that were looked at, and are about there."""

    queue: "Queue"
    hold: Hold
    letters: list[DeadLetter]
    seen: int
    about: int


@dataclass(frozen=True, slots=True)
class Doing:
    """What is done about a dead letter: `first`, where there is something to do before it is removed."""

    name: str
    done: str
    first: Callable[[DeadLetter], object] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    letter: DeadLetter
    said: str
    problem: str | None = None


def find(stack: "Stack", name: str, held: ExitStack, wanted: Wanted, limit: int) -> Found:
    """Hold the dead letters of the queue *name* until *held* is closed; return those *wanted*, the oldest first."""
    queue = stack.queue(name)
    attributes = stack.attributes(queue.dead_letter_url)
    about = sum(int(attributes.get(f"ApproximateNumberOfMessages{which}", 0)) for which in _NUMBERS)
    hold = held.enter_context(Hold(stack.sqs, queue.dead_letter_url))
    now, letters = stack.now(), list[DeadLetter]()
    with progress(f"Looking at {queue.dead_letter_queue}", about) as advance:
        for received in hold.received():
            advance(1)
            letter = DeadLetter.of(queue.dead_letter_queue, received)
            if wanted.includes(letter, now):
                letters.append(letter)
            if len(letters) >= limit:
                break
    letters.sort(key=lambda each: -(each.age_s(now) or 0.0))
    return Found(queue, hold, letters, len(hold), max(about, len(hold)))


def act(stack: "Stack", found: Found, doing: Doing, *, rate: float) -> list[Outcome]:
    """
    Do that about every message found, at most *rate* a second; return what became of each.

    Raises:
        InterruptedCommandError: Ctrl-C. It says how many were done.
    """
    outcomes, failed, next_at = list[Outcome](), 0, time.monotonic()
    try:
        with progress(f"{doing.name.capitalize()}ing", len(found.letters)) as advance:
            for letter in found.letters:
                if failed >= MAX_FAILURES:
                    outcomes.append(Outcome(letter, "not tried", f"{MAX_FAILURES} before it have failed"))
                    continue
                time.sleep(max(0.0, next_at - time.monotonic()))
                next_at = time.monotonic() + 1 / rate
                outcomes.append(_act_on(stack, found.hold, letter, doing))
                failed = failed + 1 if outcomes[-1].problem else 0
                advance(1)
    except KeyboardInterrupt:
        done = sum(each.problem is None for each in outcomes)
        raise InterruptedCommandError(
            f"interrupted: {done} of {len(found.letters)} dead letters {doing.done}; the command can be repeated"
        ) from None
    return outcomes


def _act_on(stack: "Stack", hold: Hold, letter: DeadLetter, doing: Doing) -> Outcome:
    try:
        hold.keep()
        if not hold.holds(letter.id):
            return Outcome(letter, "skipped", "it could not be held: somebody else may have it by now")
        if doing.first is not None:
            doing.first(letter)
    except SDK_ERRORS as error:
        return Outcome(letter, "failed", explained(error, stack))
    try:
        hold.delete(letter.id)
    except SDK_ERRORS as error:
        said = f"{doing.done}, not removed" if doing.first else "failed"
        return Outcome(letter, said, explained(error, stack))
    return Outcome(letter, doing.done)
