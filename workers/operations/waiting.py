"""Waits for submitted orders to end: fulfilled, escalated or cancelled, or refused by the workflow."""

import asyncio
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.errors import error_code
from workers.domain.orders import OrderStatus
from workers.domain.submissions import submission_name
from workers.operations.executions import DUPLICATE_ORDER, FAILED, RUNNING, SUCCEEDED, read_execution
from workers.operations.order_files import Record
from workers.operations.progress import Progress, unreported
from workers.operations.retries import Retries
from workers.operations.sdk_errors import ClientError
from workers.operations.stored_orders import described, read_orders_by_id

if TYPE_CHECKING:
    from workers.operations.stack import Stack

POLL_S = 1.0
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
    started the order over since. *problem* says why this submission has not recorded the order.
    """

    order_id: str
    outcome: str
    reasons: Sequence[str] = ()
    resubmitted: bool = False
    problem: str | None = None


async def wait_for_orders(
    stack: "Stack",
    records: Iterable[Record],
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

    Each order is added to *ended* once it has ended, so after a cancellation *ended* has those that ended before.
    """
    wait = _Wait(stack, submission, retries or Retries(), time.monotonic() + missing_s)
    waiting = {
        record.order_id: _Submitted(record, await stack.execution_arn(submission_name(record.order_id, submission)))
        for record in records
    }
    while waiting:
        found = await wait.find_ended(waiting)
        for order in found:
            del waiting[order.order_id]
        ended += found
        progress(len(found))
        if waiting:
            await asyncio.sleep(poll_s)


@dataclass(frozen=True, slots=True)
class _Submitted:
    record: Record
    arn: str

    def recorded(self, item: Mapping[str, Any] | None) -> bool:
        """Return whether the stored order is that of this submission."""
        return item is not None and item.get("ExecutionArn") == self.arn


@dataclass(frozen=True, slots=True)
class _Execution:
    status: str
    started_at: datetime | None = None

    def is_older_than(self, item: Mapping[str, Any]) -> bool:
        """Return whether a later execution recorded this stored order."""
        return self.started_at is not None and "StartedAt" in item and clock.parse(item["StartedAt"]) > self.started_at


@dataclass(frozen=True, slots=True)
class _Wait:
    """Looks at the orders once, and at some of their executions. Until *missing_until* an unknown execution runs."""

    stack: "Stack"
    number: int
    retries: Retries
    missing_until: float

    async def find_ended(self, waiting: Mapping[str, _Submitted]) -> list[Ended]:
        items = await read_orders_by_id(self.stack, waiting, self.retries)
        ended = [
            order
            for order_id, submitted in waiting.items()
            if submitted.recorded(item := items.get(order_id)) and item and (order := _ended(item))
        ]
        # The other orders are not recorded yet, will never be, were refused as duplicates, or were recorded by another
        # execution.
        unsure = [order_id for order_id, submitted in waiting.items() if not submitted.recorded(items.get(order_id))]
        sample = random.sample(unsure, min(len(unsure), MAX_EXECUTIONS))
        executions = {order_id: await self._execution(waiting[order_id].arn) for order_id in sample}
        over = {order_id: execution for order_id, execution in executions.items() if execution.status != RUNNING}
        # These executions have ended. If their order is still missing now, it stays missing.
        items = await read_orders_by_id(self.stack, over, self.retries)
        for order_id, execution in over.items():
            if (order := await self._outcome(waiting[order_id], execution, items.get(order_id))) is not None:
                ended.append(order)
        return ended

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
        record, status = submitted.record, execution.status
        if item is not None and submitted.recorded(item):
            return _ended(item)
        error = await self._error(submitted.arn) if status == FAILED else None
        if item is not None and error == DUPLICATE_ORDER:
            problem = f"the workflow refused it as a duplicate: {described(record, item, self.number)}"
            return Ended(record.order_id, REFUSED, (DUPLICATE_ORDER,), problem=problem)
        if item is not None and (status == SUCCEEDED or execution.is_older_than(item)):
            order = _ended(item)
            return order and replace(order, resubmitted=True)
        problem = f"its execution ended as {status}{f' ({error})' if error else ''} and recorded no order"
        if status == NOT_FOUND:
            problem = "its execution was not found"
        return Ended(record.order_id, f"execution {status}", (error,) if error else (), problem=problem)

    async def _error(self, arn: str) -> str | None:
        execution = await self.retries.run("GetExecutionHistory", lambda: read_execution(self.stack, arn))
        return None if execution is None else execution.error


def _ended(item: Mapping[str, Any]) -> Ended | None:
    """Return how an order has ended; None if it has not."""
    if item.get("Status") == OrderStatus.RECEIVED:
        return None
    reasons = item.get("Reasons", ()) if item.get("Status") == OrderStatus.ESCALATED else ()
    return Ended(item["OrderId"], str(item.get("Status")), tuple(map(str, reasons)))
