"""Cases that a person is resolving: what was planned for each, the work on them, and what came of it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from workers.console.audit import Person
from workers.console.console import report
from workers.console.feeds import Explain
from workers.console.kept import Kept, new_id
from workers.domain.cards import masked_card_number
from workers.domain.orders import Order
from workers.domain.resolutions import Action
from workers.operations.errors import OperationError
from workers.operations.resolve import InvalidOrderError
from workers.operations.resolve_many import Plan, Step, carry_out
from workers.operations.stack import Stack

MAX_CASES: Final = 500
MAX_JOBS, KEPT_S = 100, 3_600.0
MAX_RUNNING: Final = 4
STOP_S: Final = 15.0  # How long a stop of the console waits for the cases that are being worked on.
_CARD: Final = "CC"
_FIELDS: Final = {"OrderId": "Order", "Name": "Name", "ItemName": "Item", "Price": "Price"}
NEXT: Final = {
    Action.RESUBMIT: "A new execution of the workflow verifies the order again, as it is here. The case is closed.",
    Action.FULFILL: "The order becomes FULFILLED. No provider is called. The case is closed.",
    Action.CANCEL: "The order becomes CANCELLED, which is final. The case is closed.",
    Action.CLOSE: "Only the case is closed. The order stays as it is.",
}


class JobState(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    ENDED = "ended"


class CardError(Exception):
    """Card numbers are missing or wrong. `problems` has the texts by the position of the step; none has a digit."""

    def __init__(self, problems: Mapping[int, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Change:
    """A field as it is, and as it will be. Both are the same if it stays."""

    field: str
    before: str | None
    after: str | None


@dataclass(slots=True)
class Job:
    """
    A fixed set of cases with the episode that was seen of each, and what is done about them.

    Card numbers are in it only from the request that brings them until the work has ended. `endings` has the last four
    digits of those that were given, by the position of their step.
    """

    action: Action
    person: Person
    plan: Plan
    id: str = field(default_factory=new_id)
    state: JobState = JobState.PLANNED
    problem: str | None = None
    stopped: bool = False
    endings: dict[int, str] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        return self.state is JobState.RUNNING

    @property
    def running(self) -> asyncio.Task[None] | None:
        return self.task if self.is_running else None

    @property
    def done(self) -> int:
        return sum(step.outcome != "not tried" for step in self.plan.steps)

    @property
    def rest(self) -> list[Step]:
        """The steps that the same request may do when it is repeated."""
        return [step for step in self.plan.steps if step.can_repeat or step.is_open]

    @property
    def outcome(self) -> str:
        """What came of it in a few words: `9 resolved, 1 failed`."""
        names = ("resolved", "unchanged", "failed", "not tried")
        counts = [(self.plan.count(name), name) for name in names]
        return ", ".join(f"{number} {name}" for number, name in counts if number) or "nothing to do"

    def add_card_numbers(self, given: Mapping[int, str]) -> None:
        """
        Add card numbers, *given* by the position of their step. Of several steps, one without its number is left out.

        Raises:
            CardError: One is wrong or none is given. Then none is kept.
        """
        waiting = {n: step for n, step in enumerate(self.plan.steps) if step.needs_card_number}
        texts = {n: given.get(n, "").strip() for n in waiting}
        problems = {}
        for n, step in waiting.items():
            try:
                if texts[n]:
                    step.add_card_number(texts[n])
            except InvalidOrderError as error:
                problems[n] = str(error)
        if waiting and not any(texts.values()):
            problems = {next(iter(waiting)): "a card number is needed"}
        if problems:
            self.forget_card_numbers()
            raise CardError(problems)
        for n, step in waiting.items():
            if step.needs_card_number:
                step.problem, step.can_repeat = "no card number was given", True
            else:
                self.endings[n] = (step.corrected or {})[_CARD][-4:]

    def forget_card_numbers(self) -> None:
        for step in self.plan.steps:
            if step.corrected is not None:
                step.corrected.pop(_CARD, None)

    @property
    def needs_cards(self) -> bool:
        return any(step.needs_card_number for step in self.plan.steps)

    @staticmethod
    def stored_card(step: Step) -> str | None:
        """Return the card number of the order as it is stored: at most its last four digits."""
        return masked_card_number(step.order.cc) if step.order is not None and step.order.cc else None

    def next_of(self, step: Step) -> str:
        """Say what happens to *step*, or why nothing does."""
        if step.problem is not None:
            return step.problem
        return "It was done before: nothing is to be done." if step.unchanged else NEXT[self.action]


def changes(step: Step) -> list[Change]:
    """Return what a resolution changes, field by field, without the card number."""
    action, order = step.decision.request.action, step.order
    if action is Action.RESUBMIT:
        stored = stored_fields(order)
        corrected = step.corrected or {}
        listed = [
            Change(label, stored.get(name), corrected.get(name, stored.get(name))) for name, label in _FIELDS.items()
        ]
        return [*listed, Change("Status", None if order is None else order.status, "RECEIVED")]
    status = order.status if order is not None else None
    after = {Action.FULFILL: "FULFILLED", Action.CANCEL: "CANCELLED"}.get(action, status) if order else None
    shipment = step.decision.request.shipment_id
    of_shipment = [Change("Shipment", None if order is None else order.shipment_id, shipment)] if shipment else []
    return [Change("Status", status, after), *of_shipment]


def stored_fields(order: Order | None) -> dict[str, str | None]:
    """Return the fields of an order that a person can correct, as they are stored."""
    if order is None:
        return {}
    return {"OrderId": order.order_id, "Name": order.name, "ItemName": order.item_name, "Price": order.price}


class Jobs:
    """The jobs of the console's process. They go on when their pages are closed, and end orderly when it stops."""

    def __init__(self) -> None:
        self._jobs = Kept[Job](MAX_JOBS, KEPT_S, busy=lambda job: job.is_running)

    def add(self, job: Job) -> None:
        self._jobs.add(job.id, job)  # There is room: only few run at once.

    def get(self, job_id: str) -> Job | None:
        return self._jobs.get(job_id)

    @property
    def is_full(self) -> bool:
        return sum(job.is_running for job in self._jobs) >= MAX_RUNNING

    def start(self, job: Job, stack: Stack, explain: Explain, ended: Callable[[Job], None]) -> None:
        """Begin the work on a job that is planned."""
        job.state = JobState.RUNNING
        job.task = asyncio.create_task(_run(job, stack, explain), name="console-resolve")
        job.task.add_done_callback(lambda _: _end(job, ended))  # Also if it was cancelled before its first step.

    async def close(self) -> None:
        """Finish the cases that are being worked on; start no other."""
        tasks = [job.running for job in self._jobs if job.running is not None]
        for job in self._jobs:
            stop(job)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


def stop(job: Job) -> None:
    """Let *job* finish the cases it is working on, and start no other."""
    if job.running is not None and not job.stopped:
        job.stopped = True
        job.running.cancel()


async def _run(job: Job, stack: Stack, explain: Explain) -> None:
    try:
        await carry_out(stack, job.plan)
    except OperationError as error:
        job.problem = str(error)
    except Exception as error:  # noqa: BLE001 - its page says it.
        job.problem = await explain(error)
        if job.problem is None:
            report(error)
            job.problem = "an internal error; the console's log has it"


def _end(job: Job, ended: Callable[[Job], None]) -> None:
    job.forget_card_numbers()
    job.state = JobState.ENDED
    ended(job)
