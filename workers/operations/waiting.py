"""Waits for submitted orders to end: fulfilled, escalated or cancelled, or refused by the workflow."""

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code
from workers.domain.orders import OrderStatus
from workers.domain.submissions import submission_name
from workers.operations.executions import DUPLICATE_ORDER, FAILED, RUNNING, SUCCEEDED, read_execution
from workers.operations.ledger import Entry, State
from workers.operations.progress import Progress, unreported
from workers.operations.retries import Retries
from workers.operations.sdk_errors import ClientError
from workers.operations.stored_orders import FINAL, described, read_orders_by_id, started_at

if TYPE_CHECKING:
    from workers.operations.stack import Stack

POLL_S = 1.0
MAX_WAITING = 10_000
MAX_EXECUTIONS = 10  # Read per poll: AWS allows far fewer reads of executions than of orders.
# How long DescribeExecution, which is eventually consistent, may not know an execution that was started.
MISSING_S = 60.0
REFUSED = "REFUSED"
NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True)
class Ended:
    """
    What became of a submission.

    *outcome* is the order's status if this submission recorded it, `REFUSED` if the workflow refused this submission as
    a duplicate, or the status of an execution that recorded nothing. *resubmitted* means that a later execution has
    started the order over since; *other_submission* that the order was final or in progress already, so that this
    submission was not started. *problem* says why this submission has not recorded the order.
    """

    order_id: str
    outcome: str
    reasons: Sequence[str] = ()
    resubmitted: bool = False
    other_submission: bool = False
    problem: str | None = None


async def wait_for_orders(
    stack: "Stack",
    entries: Iterable[Entry],
    ended: list[Ended],
    *,
    submission: int,
    poll_s: float = POLL_S,
    missing_s: float = MISSING_S,
    retries: Retries | None = None,
    progress: Progress = unreported,
) -> None:
    """
    Wait until the orders of submission number *submission* have ended.

    Each order is added to *ended* once it has ended, so after a cancellation *ended* has those that ended before. At
    most `MAX_WAITING` orders are looked at in turn.
    """
    wait = _Wait(stack, submission, retries or Retries(), time.monotonic() + missing_s)
    waiting, left = dict[str, _Submitted](), iter(entries)
    while True:
        for entry in islice(left, MAX_WAITING - len(waiting)):
            arn = await stack.execution_arn(submission_name(entry.order_id, submission))
            waiting[entry.order_id] = _Submitted(entry, arn)
        if not waiting:
            return
        found = await wait.find_ended(waiting)
        for order in found:
            del waiting[order.order_id]
        ended += found
        progress(len(found))
        if waiting and len(found) < MAX_WAITING // 2:
            await asyncio.sleep(poll_s)


@dataclass(frozen=True, slots=True)
class _Submitted:
    entry: Entry
    arn: str

    @property
    def is_taken(self) -> bool:
        """Return whether another submission has taken the order: this one has no execution."""
        return State.TAKEN in self.entry.state

    def recorded(self, item: Mapping[str, Any]) -> bool:
        """Return whether the stored order is that of this submission."""
        return item.get("ExecutionArn") == self.arn

    def is_too_late(self, item: Mapping[str, Any]) -> bool:
        """
        Return whether the workflow refuses this submission for certain: an earlier execution's order is final.

        This spares reading the execution, of which AWS allows only a few a second.
        """
        recorded_at = started_at(item)
        final = item.get("Status") in FINAL
        return (
            final
            and recorded_at is not None
            and self.entry.started_at is not None
            and recorded_at < self.entry.started_at
        )


@dataclass(frozen=True, slots=True)
class _Execution:
    status: str
    started_at: datetime | None = None

    def is_older_than(self, item: Mapping[str, Any]) -> bool:
        """Return whether a later execution recorded this stored order."""
        recorded_at = started_at(item)
        return recorded_at is not None and self.started_at is not None and recorded_at > self.started_at


@dataclass(frozen=True, slots=True)
class _Wait:
    """Looks at the orders once, and at some of their executions. Until *missing_until* an unknown execution runs."""

    stack: "Stack"
    number: int
    retries: Retries
    missing_until: float

    async def find_ended(self, waiting: Mapping[str, _Submitted]) -> list[Ended]:
        items = await read_orders_by_id(self.stack, waiting, self.retries)
        found, unsure = list[Ended | None](), list[str]()
        for order_id, submitted in waiting.items():
            item = items.get(order_id)
            if submitted.is_taken and item is None:  # It has just been erased or has expired.
                found.append(Ended(order_id, NOT_FOUND, other_submission=True, problem="the stored order is gone"))
            elif item is not None and (submitted.is_taken or submitted.recorded(item)):
                order = _ended(item)
                found.append(order and replace(order, other_submission=not submitted.recorded(item)))
            elif item is not None and submitted.is_too_late(item):
                found.append(self._refused(submitted, item))
            else:
                # Not recorded yet, or never; refused as a duplicate; or recorded by another execution.
                unsure.append(order_id)
        sample = random.sample(unsure, min(len(unsure), MAX_EXECUTIONS))
        executions = {order_id: await self._execution(waiting[order_id].arn) for order_id in sample}
        over = {order_id: execution for order_id, execution in executions.items() if execution.status != RUNNING}
        # These executions have ended. If their order is still missing now, it stays missing.
        items = await read_orders_by_id(self.stack, over, self.retries)
        for order_id, execution in over.items():
            found.append(await self._outcome(waiting[order_id], execution, items.get(order_id)))
        return [order for order in found if order is not None]

    async def _execution(self, arn: str) -> _Execution:
        describe = partial(
            self.stack.stepfunctions.call, "describe_execution", executionArn=arn, includedData="METADATA_ONLY"
        )
        try:
            answer = await self.retries.run("DescribeExecution", describe)
        except ClientError as error:
            if error_code(error) != "ExecutionDoesNotExist":
                raise
            return _Execution(RUNNING if time.monotonic() < self.missing_until else NOT_FOUND)
        return _Execution(str(answer["status"]), answer["startDate"])

    async def _outcome(
        self, submitted: _Submitted, execution: _Execution, item: Mapping[str, Any] | None
    ) -> Ended | None:
        """Return what became of a submission whose execution has ended; None if its order has not ended."""
        entry, status = submitted.entry, execution.status
        if item is not None and submitted.recorded(item):
            return _ended(item)
        error = await self._error(submitted.arn) if status == FAILED else None
        if item is not None and error == DUPLICATE_ORDER:
            return self._refused(submitted, item)
        if item is not None and (status == SUCCEEDED or execution.is_older_than(item)):
            order = _ended(item)
            return order and replace(order, resubmitted=True)
        problem = f"its execution ended as {status}{f' ({error})' if error else ''} and recorded no order"
        if status == NOT_FOUND:
            problem = "its execution was not found"
        return Ended(entry.order_id, f"execution {status}", (error,) if error else (), problem=problem)

    def _refused(self, submitted: _Submitted, item: Mapping[str, Any]) -> Ended:
        problem = f"the workflow refused it as a duplicate: {described(submitted.entry, item, self.number)}"
        return Ended(submitted.entry.order_id, REFUSED, (DUPLICATE_ORDER,), problem=problem)

    async def _error(self, arn: str) -> str | None:
        execution = await self.retries.run("GetExecutionHistory", lambda: read_execution(self.stack, arn))
        return None if execution is None else execution.error


def _ended(item: Mapping[str, Any]) -> Ended | None:
    """Return how an order has ended; None if it has not."""
    if item.get("Status") == OrderStatus.RECEIVED:
        return None
    reasons = item.get("Reasons", ()) if item.get("Status") == OrderStatus.ESCALATED else ()
    return Ended(item["OrderId"], str(item.get("Status")), tuple(map(str, reasons)))
