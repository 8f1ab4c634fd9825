"""Says what a submission of checked files would do, from the order table. It starts nothing."""

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workers.domain.orders import OrderStatus
from workers.domain.submissions import IMPROPER_REASONS, submission_name
from workers.errors import plain_name
from workers.operations.ledger import Entry, Ledger, State
from workers.operations.progress import Progress, unreported
from workers.operations.records import BadRecord
from workers.operations.retries import Retries
from workers.operations.sdk_errors import SDK_ERRORS, explained
from workers.operations.stored_orders import Item, described, differing_fields, is_taken, stored_orders
from workers.operations.submit import MAX_SHOWN, Problems

if TYPE_CHECKING:
    from workers.operations.stack import Stack


Reasons = tuple[str, ...]


@dataclass(slots=True)
class Forecast:
    """
    What would become of the records of files.

    *to_start* has the orders that would be submitted, by the reasons to escalate them, *already_submitted* the others,
    by their status. *first_to_escalate* has the first `MAX_SHOWN` for each reason. *refusal* says why nothing of all
    this would happen. *not_compared* says why the order table could not be read: *to_start* then has all but
    *different*.
    """

    bad: Problems
    different: Problems = field(default_factory=Problems)
    to_start: Counter[Reasons] = field(default_factory=Counter)
    first_to_escalate: dict[Reasons, list[Entry]] = field(default_factory=dict)
    already_submitted: Counter[str] = field(default_factory=Counter)
    not_compared: str | None = None
    refusal: str | None = None

    @property
    def good(self) -> bool:
        """Whether all records were read and compared, and have no problem."""
        return not (self.bad.count or self.different.count or self.not_compared or self.refusal)

    def add_to_start(self, entry: Entry) -> None:
        """Add an order that would be submitted."""
        why = reasons(entry)
        self.to_start[why] += 1
        if why and len(first := self.first_to_escalate.setdefault(why, [])) < MAX_SHOWN:
            first.append(entry)


async def forecast(
    stack: "Stack",
    ledger: Ledger,
    found: Forecast,
    *,
    number: int,
    retries: Retries,
    different: Callable[[BadRecord], None] = unreported,
    progress: Progress = unreported,
) -> None:
    """
    Add to *found* what submission *number* would do with the orders of *ledger*.

    *different* is called with the first orders that differ from the stored ones. The ledger has all of them.
    """
    try:
        async with contextlib.aclosing(stored_orders(stack, ledger.entries(), retries)) as orders:
            async for entry, item in orders:
                progress(1)
                if item is None or await _would_start(stack, entry, item, number):
                    found.add_to_start(entry)
                elif differing_fields(entry, item):
                    problem = f"would be skipped: {described(entry, item, number)}"
                    ledger.mark(entry.order_id, State.NOT_SUBMITTED, problem=problem)
                    record = BadRecord(entry.line, problem, entry.order_id, entry.file)
                    if found.different.add(record):
                        different(record)
                else:
                    found.already_submitted[str(item.get("Status"))] += 1
    except SDK_ERRORS as error:
        found.not_compared = await explained(error, stack) or plain_name(error)
        for counted in (found.to_start, found.first_to_escalate, found.already_submitted):
            counted.clear()
        for entry in ledger.entries(lacking=State.NOT_SUBMITTED):
            found.add_to_start(entry)


async def _would_start(stack: "Stack", entry: Entry, item: Item, number: int) -> bool:
    """Return whether a submission would start a stored order over. A first one would not: it has started already."""
    if number == 1 or item.get("Status") != OrderStatus.ESCALATED or await is_taken(stack, entry, item, number):
        return False
    return item.get("ExecutionArn") != await stack.execution_arn(submission_name(entry.order_id, number))


def reasons(entry: Entry) -> Reasons:
    """Return the reasons for which the workflow would escalate an order."""
    return tuple(reason for field, reason in IMPROPER_REASONS.items() if field in entry.improper)
