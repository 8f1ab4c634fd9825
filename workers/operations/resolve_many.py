"""Resolves many cases, a few at once: a fixed set, of which each is reported."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from workers import clock
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order
from workers.domain.resolutions import Action
from workers.errors import WorkerError, plain_name
from workers.operations.cells import cell_of, text_of
from workers.operations.concurrency import in_parallel
from workers.operations.decisions import Decision
from workers.operations.errors import OperationError
from workers.operations.progress import Progress, unreported
from workers.operations.resolve import (
    InvalidOrderError,
    corrected_order,
    is_done,
    opened_resolver,
    problem_of,
    resolve_with,
    with_card_number,
)
from workers.operations.sdk_errors import SDK_ERRORS, explained

if TYPE_CHECKING:
    from workers.escalation.resolver import Resolver
    from workers.operations.stack import Stack

RESOLVED_AT_ONCE = 8
MAX_FAILURES = 5  # Of AWS, in a row. After these, the next case would probably fail too.


@dataclass(slots=True)
class Step:
    """
    What is to be done about a case, and then what was done.

    *order* is the order as it is stored, *corrected* the one to resubmit, without its card number. *problem* says why
    nothing is or was done; *unchanged* that it was done before; *can_repeat* that the same may succeed later.
    """

    decision: Decision
    case: Case | None = None
    order: Order | None = None
    corrected: dict[str, str] | None = None
    problem: str | None = None
    unchanged: bool = False
    is_resolved: bool = False
    can_repeat: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it is still to be done."""
        return self.problem is None and not self.unchanged and not self.is_resolved

    @property
    def about(self) -> str:
        """The order it is about, or the case if that has none."""
        order_id = (self.corrected or {}).get("OrderId") or (self.case and self.case.order_id)
        return order_id or self.decision.case_id

    @property
    def needs_card_number(self) -> bool:
        return self.is_open and self.corrected is not None and "CC" not in self.corrected

    @property
    def outcome(self) -> str:
        if self.is_resolved:
            return "resolved"
        if self.unchanged:
            return "unchanged"
        return "failed" if self.problem is not None else "not tried"

    def add_card_number(self, text: str) -> None:
        """
        Complete the order to resubmit.

        Raises:
            InvalidOrderError: *text* is not a card number.
        """
        if self.corrected is not None:
            self.corrected = with_card_number(self.corrected, text)


@dataclass(slots=True)
class Plan:
    """The steps, in order. `carry_out` updates them, so they are right after an interruption, too."""

    steps: list[Step] = field(default_factory=list)

    @property
    def open(self) -> list[Step]:
        return [step for step in self.steps if step.is_open]

    @property
    def is_worth_repeating(self) -> bool:
        """Whether the same command may do what it has not done now."""
        return any(step.can_repeat or step.outcome == "not tried" for step in self.steps)

    def count(self, outcome: str) -> int:
        return sum(step.outcome == outcome for step in self.steps)


async def plan(stack: "Stack", decisions: Sequence[Decision], *, progress: Progress = unreported) -> Plan:
    """Look at each case and its order, and return what would be done. Nothing is changed."""
    from workers.operations.cases import read_cases  # noqa: PLC0415 - the SDK takes a while to import.

    now = clock.written(stack.now())
    found = await read_cases(stack, [decision.case_id for decision in decisions], progress=progress)
    return Plan([_planned(decision, found[decision.case_id], now) for decision in decisions])


def _planned(decision: Decision, found: tuple[Case, Order | None] | OperationError, now: str) -> Step:
    step, request = Step(decision), decision.request
    if isinstance(found, OperationError):
        step.problem = str(found)
        return step
    step.case, step.order = found
    try:
        step.unchanged = is_done(step.case, request)
        if step.case.state is CaseState.OPEN:
            step.problem = problem_of(step.case, step.order, request, now)
            if step.problem is None and request.action is Action.RESUBMIT:
                step.corrected = corrected_order(step.case, step.order, _changes(step.order, decision.corrections))
                if decision.card_number is not None:
                    step.add_card_number(decision.card_number)
    except InvalidOrderError as error:
        named = f" (correct {', '.join(error.correct)})" if error.correct else ""
        step.problem = f"{error}{named}"
    except OperationError as error:
        step.problem = str(error)
    return step


def _changes(order: Order | None, corrections: Mapping[str, str]) -> dict[str, str]:
    """Return *corrections* without the values that a list shows of *order*: in a list, some characters are replaced."""
    stored = {} if order is None else {"Name": order.name, "ItemName": order.item_name, "Price": order.price}
    shown = {field: text_of(cell_of(value)) for field, value in stored.items()}
    return {field: value for field, value in corrections.items() if value != shown.get(field)}


async def carry_out(stack: "Stack", planned: Plan, *, progress: Callable[[int], None] = unreported) -> None:
    """
    Do the steps that are open, a few at once; those about the same order one after the other.

    A step that fails does not stop the next ones, unless AWS has failed for several in a row.

    If it is cancelled, it finishes the cases it is working on and does not start another. Repeating all of it does only
    what is left.
    """
    failures, stop = 0, asyncio.Event()
    turns = defaultdict[str, asyncio.Lock](asyncio.Lock)
    async with opened_resolver(stack) as resolver:

        async def work(step: Step) -> None:
            nonlocal failures
            async with turns[step.about]:
                if stop.is_set():
                    return
                failed = await _carry_out(stack, resolver, step)
            failures = failures + 1 if failed else 0
            if failures == MAX_FAILURES:
                stop.set()
            progress(1)

        async with aclosing(in_parallel(work, planned.open, at_most=RESOLVED_AT_ONCE, stop=stop)) as done:
            async for _ in done:
                pass


async def _carry_out(stack: "Stack", resolver: "Resolver", step: Step) -> bool:
    """Do a step. Return whether AWS failed, so that the next one may fail, too."""
    seen = step.case.episode if step.case is not None else None
    try:
        request = replace(step.decision.request, episode=seen)
        await resolve_with(resolver, step.decision.case_id, request, step.corrected)
    except OperationError as error:
        step.problem = str(error)
    except (*SDK_ERRORS, WorkerError) as error:
        step.problem, step.can_repeat = await explained(error, stack) or plain_name(error), True
    except asyncio.CancelledError:
        step.problem, step.can_repeat = "interrupted: it may be resolved or not", True
        raise
    else:
        step.is_resolved = True
    return step.can_repeat
