"""Looks at dead letters: the console's process holds the letters for as long as a person uses a look."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from workers.console.audit import Person
from workers.console.console import report
from workers.console.feeds import Explain
from workers.console.kept import Kept, new_id
from workers.operations.actions import Action, ActionReport, FoundLetters, HeldQueue, Outcome, act, find, held_queue
from workers.operations.dead_letters import DeadLetter, Selection
from workers.operations.sdk_errors import SDK_ERRORS
from workers.operations.stack import Stack

MAX_LETTERS: Final = 1_000
MAX_OPEN: Final = 8
MAX_KEPT, KEPT_S = 50, 3_600.0
IDLE_S: Final = 300.0
EXTEND_S: Final = 10.0
STOP_S: Final = 15.0  # How long a stop of the console waits for the letters that are being worked on.
_INTERNAL: Final = "an internal error; the console's log has it"


class LookState(StrEnum):
    LOOKING = "looking"
    HELD = "held"
    ENDED = "ended"


@dataclass(slots=True)
class LetterJob:
    """An action on a fixed set of letters of a look: *name* is `replay`, `discard` or `edit`."""

    name: str
    action: Action
    person: Person
    letters: Sequence[DeadLetter]
    rate: float
    id: str = field(default_factory=new_id)
    report: ActionReport = field(default_factory=ActionReport)
    warnings: list[str] = field(default_factory=list)
    originals: Sequence[DeadLetter] = ()  # Of an edit.
    problem: str | None = None
    stopped: bool = False
    ended: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def is_planned(self) -> bool:
        return self.task is None

    @property
    def running(self) -> asyncio.Task[None] | None:
        return None if self.ended else self.task

    @property
    def is_running(self) -> bool:
        return self.running is not None

    @property
    def not_tried(self) -> Sequence[DeadLetter]:
        return self.letters[len(self.report.outcomes) :]

    @property
    def outcome(self) -> str:
        counts = [
            (self.report.done, self.action.past),
            (self.report.problems, "failed"),
            (len(self.not_tried), "not tried"),
        ]
        return ", ".join(f"{number} {name}" for number, name in counts if number) or "nothing to do"


@dataclass(slots=True)
class Look:
    """
    The dead letters of a queue that a person looks at. *given* names the queue as a command does; *queue* in addresses.

    Nobody else sees the letters meanwhile. They are let go after `IDLE_S` without use, and when the person says so.
    """

    given: str
    queue: str
    id: str = field(default_factory=new_id)
    state: LookState = LookState.LOOKING
    why_ended: str | None = None
    looked_at: int = 0
    found: FoundLetters | None = None
    warnings: list[str] = field(default_factory=list)
    jobs: dict[str, LetterJob] = field(default_factory=dict)
    used_s: float = 0.0
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self.state is not LookState.ENDED

    @property
    def can_act(self) -> bool:
        """Whether the letters are held, and not about to be let go."""
        return self.state is LookState.HELD and not self.leaving.is_set()

    @property
    def is_acting(self) -> bool:
        return any(job.is_running for job in self.jobs.values())

    @property
    def letters(self) -> list[DeadLetter]:
        """The letters that are still here: those that nothing was done with, and that nothing is being done with."""
        if self.found is None or not self.is_open:
            return []
        taken = {
            outcome.letter.id for job in self.jobs.values() for outcome in job.report.outcomes if _is_gone(outcome)
        }
        taken |= {letter.id for job in self.jobs.values() if job.is_running for letter in job.letters}
        return [letter for letter in self.found.letters if letter.id not in taken]

    @property
    def let_go_at(self) -> str:
        """When the letters are let go if the look is not used any more."""
        left = self.used_s + IDLE_S - asyncio.get_running_loop().time()
        return f"{datetime.now(UTC) + timedelta(seconds=left):%H:%M:%S} UTC"

    def selected(self, ids: Sequence[str]) -> list[DeadLetter]:
        wanted = set(ids)
        return [letter for letter in self.letters if letter.id in wanted]


def _is_gone(outcome: Outcome) -> bool:
    return outcome.problem is None or outcome.result not in {"failed", "not tried"}


class Looks:
    """The looks of the console's process."""

    def __init__(self) -> None:
        self._looks = Kept[Look](MAX_KEPT, KEPT_S, busy=lambda look: look.is_open)

    @property
    def open(self) -> list[Look]:
        return [look for look in self._looks if look.is_open]

    def of_queue(self, queue: str) -> Look | None:
        """Return the look at *queue* that is open: a second one would find nothing."""
        return next((look for look in self.open if look.queue == queue and not look.leaving.is_set()), None)

    def get(self, look_id: str) -> Look | None:
        """Return a look, which counts as a use of it."""
        look = self._looks.get(look_id)
        if look is not None:
            look.used_s = asyncio.get_running_loop().time()
        return look

    def start(self, stack: Stack, look: Look, explain: Explain) -> None:
        look.used_s = asyncio.get_running_loop().time()
        self._looks.add(look.id, look)
        look.task = asyncio.create_task(_hold(stack, look, explain), name="console-look")
        look.task.add_done_callback(lambda _: _end(look))

    async def close(self) -> None:
        """Finish the letters that are being worked on, and let go of all others."""
        jobs = [job for look in self.open for job in look.jobs.values() if job.is_running]
        for job in jobs:
            stop(job)
        await _end_of([job.task for job in jobs])
        looks = self.open
        for look in looks:
            leave(look, "the console was stopped")
        await _end_of([look.task for look in looks])


async def _end_of(tasks: Sequence[asyncio.Task[None] | None]) -> None:
    running = [task for task in tasks if task is not None]
    if running:
        _, late = await asyncio.wait(running, timeout=STOP_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def leave(look: Look, why: str) -> None:
    """Let the letters go, once the action on them that is running has ended."""
    look.why_ended = look.why_ended or why
    look.leaving.set()
    if look.state is LookState.LOOKING and look.task is not None:
        look.task.cancel()


def stop(job: LetterJob) -> None:
    """Let *job* finish the letter it is working on, and start no other."""
    if job.running is not None and not job.stopped:
        job.stopped = True
        job.running.cancel()


def start(look: Look, job: LetterJob, explain: Explain, ended: Callable[[], None]) -> None:
    """Begin the action, unless it has begun before, or the letters are not held any more."""
    if not job.is_planned or look.found is None or not look.can_act:
        return
    job.task = asyncio.create_task(_act(look.found.source, job, explain), name="console-letters")

    def end(_: asyncio.Task[None]) -> None:
        job.ended = True
        look.used_s = asyncio.get_running_loop().time()
        ended()

    job.task.add_done_callback(end)


async def _act(source: HeldQueue, job: LetterJob, explain: Explain) -> None:
    try:
        await act(FoundLetters(source, list(job.letters), len(job.letters)), job.action, job.report, rate=job.rate)
    except Exception as error:  # noqa: BLE001 - its page says it.
        job.problem = await _explained(error, explain)


async def _hold(stack: Stack, look: Look, explain: Explain) -> None:
    def progress(number: int) -> None:
        look.looked_at += number

    try:
        async with held_queue(stack, look.given, warn=look.warnings.append) as source:
            look.found = await find(source, Selection(), MAX_LETTERS, progress=progress)
            look.state = LookState.HELD
            look.ready.set()
            await _until_left(look, source)
    except Exception as error:  # noqa: BLE001 - its page says it.
        look.why_ended = await _explained(error, explain)


async def _until_left(look: Look, source: HeldQueue) -> None:
    loop = asyncio.get_running_loop()
    while not look.leaving.is_set() or look.is_acting:
        with contextlib.suppress(*SDK_ERRORS):  # AWS may be back before the hold has run out.
            await source.hold.extend()
        if loop.time() - look.used_s > IDLE_S and not look.is_acting:
            leave(look, f"it was not used for {IDLE_S / 60:.0f} minutes")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EXTEND_S):
                await _left_and_done(look)


async def _left_and_done(look: Look) -> None:
    await look.leaving.wait()
    for job in list(look.jobs.values()):
        if job.running is not None:
            await asyncio.wait([job.running])


def _end(look: Look) -> None:
    """Forget the bodies of the letters; what was done with each is still shown."""
    look.state, look.found = LookState.ENDED, None
    for job in look.jobs.values():
        job.letters, job.originals = [replace(letter, body="") for letter in job.letters], ()
        job.report.outcomes = [replace(each, letter=replace(each.letter, body="")) for each in job.report.outcomes]
    look.ready.set()


async def _explained(error: Exception, explain: Explain) -> str:
    text = await explain(error)
    if text is None:
        report(error)
    return text or _INTERNAL
