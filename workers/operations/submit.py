"""Submits orders: starts exactly one execution of the workflow for each."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code
from workers.consumer.elapsed import elapsed_s
from workers.domain.submissions import submission_name
from workers.operations.concurrency import in_parallel
from workers.operations.errors import OperationError
from workers.operations.order_files import Record
from workers.operations.progress import Progress, Warn, unreported
from workers.operations.records import BadRecord
from workers.operations.retries import Retries
from workers.operations.sdk_errors import SDK_ERRORS, ClientError, explained
from workers.operations.stored_orders import (
    LOOK_S,
    described,
    differing_fields,
    is_erased,
    started_at,
    submitted_before,
    taken_orders,
)

if TYPE_CHECKING:
    from workers.operations.stack import Stack

# If a call takes 50 ms, the default makes as many calls a second as StartExecution sustains in most regions.
DEFAULT_CONCURRENCY, MAX_CONCURRENCY = 10, 100
MAX_SUBMISSION = 999_999
SAFE = "repeating the command is safe: it submits nothing twice"

# Errors that concern only one record. Any other error concerns all records.
_REFUSED = {"InvalidExecutionInput", "InvalidName", "ValidationException"}
# AWS's servers may differ by this much in their clocks.
CLOCK_TOLERANCE = timedelta(seconds=1)


@dataclass(slots=True)
class Summary:
    """The outcome of a file's records, so far."""

    submitted: int = 0
    already_submitted: int = 0
    bad: list[BadRecord] = field(default_factory=list)
    failed: list[BadRecord] = field(default_factory=list)
    different: list[BadRecord] = field(default_factory=list)  # Another order was submitted under the same OrderId.

    @property
    def complete(self) -> bool:
        """Whether all records so far were submitted, now or before."""
        return not (self.bad or self.failed or self.different)

    def __str__(self) -> str:
        different = f", {len(self.different)} different" if self.different else ""
        return (
            f"{self.submitted} submitted, {self.already_submitted} already submitted, "
            f"{len(self.bad)} bad, {len(self.failed)} failed{different}"
        )


class Submission:
    """Submits the good records of a file once. `summary` is up to date at any moment, also after a cancellation."""

    def __init__(
        self,
        stack: "Stack",
        records: Sequence[Record],
        summary: Summary,
        *,
        number: int,
        retries: Retries | None = None,
        warn: Warn = unreported,
        failed: Callable[[BadRecord], None] = unreported,
    ) -> None:
        """
        Prepare the *number*-th submission of *records*.

        *failed* is called with each record that AWS refuses, and with each that differs from the stored order.
        """
        self.summary = summary
        self.started: dict[str, datetime] = {}  # When executions have started, by OrderId, as far as AWS has said so.
        # The OrderIds that this submission cannot start: their order is final, or in progress in another execution.
        self.taken: set[str] = set()
        self._stack = stack
        self._records = records
        self._number = number
        self._retries = retries or Retries(warn=warn)
        self._warn = warn
        self._failed = failed
        # The OrderIds whose execution exists already. If this command repeated its request, with the time of the first
        # one: an execution that was started later is its own, and only the response was lost.
        self._repeated: dict[str, datetime | None] = {}

    def so_far(self) -> str:
        """Return the outcome so far, with a note that repeating is safe."""
        return f"{self.summary} of {len(self._records) + len(self.summary.bad)}; {SAFE}"

    async def run(
        self, *, concurrency: int = DEFAULT_CONCURRENCY, look_s: float = LOOK_S, progress: Progress = unreported
    ) -> None:
        """
        Submit the records, then compare those that were submitted before with the stored orders.

        A later submission than the first may start only ESCALATED or missing orders, so it looks at the table first.
        A cancellation waits for the requests in flight. *look_s* is the time between two looks at the table.

        Raises:
            OperationError: An error that concerns all records; the text has the outcome so far.
        """
        try:
            await self._stack.state_machine_arn()  # Looked up once, before the calls start.
            records = self._records if self._number == 1 else await self._without_taken(progress)
            started = in_parallel(self._submit, records, at_most=concurrency, stop=self._retries.stop)
            async with contextlib.aclosing(started):
                async for _ in started:
                    progress(1)
            await self._compare(look_s)
        except SDK_ERRORS as error:
            raise OperationError(f"{await explained(error, self._stack)} ({self.so_far()})") from error

    async def _without_taken(self, progress: Progress) -> list[Record]:
        """Return the records that this submission may start; report the others, which are compared at once."""
        taken = await taken_orders(self._stack, self._records, self._number, self._retries)
        self.taken.update(taken)
        records = [record for record in self._records if record.order_id in taken]
        for record in records:
            self.summary.already_submitted += 1
            self._check_same(record, taken[record.order_id])
        self._warn_erased(records, taken)
        progress(len(records))
        return [record for record in self._records if record.order_id not in taken]

    async def _submit(self, record: Record) -> None:
        failures: list[Exception] = []
        began_s = elapsed_s()
        start = partial(
            self._stack.stepfunctions.call,
            "start_execution",
            stateMachineArn=await self._stack.state_machine_arn(),
            name=submission_name(record.order_id, self._number),
            input=record.text,
        )
        try:
            answer = await self._retries.run("StartExecution", start, failed=failures.append)
        except ClientError as error:
            code = error_code(error)
            if code == "ExecutionAlreadyExists":
                metadata = error.response.get("ResponseMetadata", {})
                repeated = bool(failures) or metadata.get("RetryAttempts", 0) > 0
                self._repeated[record.order_id] = self._first_asked(metadata, began_s) if repeated else None
                self.summary.already_submitted += 1
            elif code in _REFUSED:
                self._not_submitted(self.summary.failed, record, f"Step Functions refused it ({code})")
            else:
                raise
        else:
            self.started[record.order_id] = answer["startDate"]
            # AWS also answers like this if an execution of this name and input is still running.
            if answer["startDate"] < self._first_asked(answer["ResponseMetadata"], began_s):
                self.summary.already_submitted += 1
            else:
                self.summary.submitted += 1

    def _first_asked(self, metadata: Mapping[str, Any], began_s: float) -> datetime:
        """
        Return when a request began, by AWS's clock: this machine's clock may be wrong.

        *metadata* is that of its response, *began_s* its start on `elapsed_s`. The result is early by up to a second,
        as an HTTP date has no fractions, and by `CLOCK_TOLERANCE`.
        """
        try:
            answered = parsedate_to_datetime(metadata["HTTPHeaders"]["date"]).replace(tzinfo=UTC)  # HTTP dates are GMT.
        except (KeyError, ValueError):
            answered = self._stack.now()
        return answered - timedelta(seconds=elapsed_s() - began_s) - CLOCK_TOLERANCE

    async def _compare(self, look_s: float) -> None:
        """Compare the records that were submitted before with the stored orders, in the order of the file."""
        records = [record for record in self._records if record.order_id in self._repeated]
        stored = await submitted_before(self._stack, records, self._number, self._retries, look_s=look_s)
        for record in records:
            item, since = stored.get(record.order_id), self._repeated[record.order_id]
            if item is None:
                continue
            if self._check_same(record, item) and since is not None and await self._is_ours(record, item, since):
                self.summary.already_submitted -= 1
                self.summary.submitted += 1
        missing = [record for record in records if record.order_id not in stored]
        self._warn_not_compared(missing, "not in the table")
        self._warn_erased(records, stored)

    def _check_same(self, record: Record, item: Mapping[str, Any]) -> bool:
        """Return whether a record that counts as submitted before equals its stored order; report it if not."""
        if not differing_fields(record, item):
            return True
        self.summary.already_submitted -= 1
        self._not_submitted(self.summary.different, record, f"skipped: {described(record, item, self._number)}")
        return False

    def _warn_erased(self, records: Sequence[Record], stored: Mapping[str, Mapping[str, Any]]) -> None:
        erased = [record for record in records if is_erased(stored.get(record.order_id, {}))]
        self._warn_not_compared(erased, "erased")

    def _warn_not_compared(self, records: Sequence[Record], why: str) -> None:
        if records:
            orders = "an order" if len(records) == 1 else f"{len(records)} orders"
            self._warn(
                f"not compared: {orders} submitted before but {why}, the first in line {records[0].line}; "
                f"`orders show {records[0].order_id}` shows what became of it"
            )

    async def _is_ours(self, record: Record, item: Mapping[str, Any], since: datetime) -> bool:
        """Return whether a stored order was recorded by an execution that this command started."""
        arn = await self._stack.execution_arn(submission_name(record.order_id, self._number))
        recorded_at = started_at(item)
        return item.get("ExecutionArn") == arn and recorded_at is not None and recorded_at >= since

    def _not_submitted(self, where: list[BadRecord], record: Record, reason: str) -> None:
        failed = BadRecord(record.line, reason, record.order_id, record.file)
        where.append(failed)
        self._failed(failed)
