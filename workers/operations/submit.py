"""Submits orders: starts exactly one execution of the workflow for each."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from workers.operations.ledger import Entry, Ledger, State
from workers.operations.order_record import Record
from workers.operations.progress import Progress, Warn, unreported
from workers.operations.records import BadRecord
from workers.operations.retries import Retries
from workers.operations.sdk_errors import SDK_ERRORS, ClientError, explained
from workers.operations.stored_orders import (
    LOOK_S,
    Item,
    described,
    differing_fields,
    is_erased,
    is_taken,
    started_at,
    stored_orders,
    submitted_before,
)

if TYPE_CHECKING:
    from workers.operations.stack import Stack

# If a call takes 50 ms, the default makes as many calls a second as StartExecution sustains in most regions.
DEFAULT_CONCURRENCY, MAX_CONCURRENCY = 10, 100
MAX_SUBMISSION = 999_999
MAX_SHOWN = 100  # Records with a problem, of each kind.
SAFE = "repeating the command is safe: it submits nothing twice"

# Errors that concern only one record. Any other error concerns all records.
_REFUSED = {"InvalidExecutionInput", "InvalidName", "ValidationException"}
# AWS's servers may differ by this much in their clocks.
CLOCK_TOLERANCE = timedelta(seconds=1)


@dataclass(slots=True)
class Problems:
    """The records with a problem of one kind: how many, and the first `MAX_SHOWN` of them."""

    count: int = 0
    shown: list[BadRecord] = field(default_factory=list)

    def add(self, record: BadRecord) -> bool:
        """Count a record, and return whether to show it."""
        self.count += 1
        if self.count > MAX_SHOWN:
            return False
        self.shown.append(record)
        return True


@dataclass(slots=True)
class Summary:
    """The outcome of the files' records, so far."""

    submitted: int = 0
    already_submitted: int = 0
    bad: Problems = field(default_factory=Problems)
    failed: Problems = field(default_factory=Problems)
    different: Problems = field(default_factory=Problems)  # Another order was submitted under the same OrderId.

    @property
    def complete(self) -> bool:
        """Whether all records so far were submitted, now or before."""
        return not (self.bad.count or self.failed.count or self.different.count)

    def __str__(self) -> str:
        different = f", {self.different.count} different" if self.different.count else ""
        return (
            f"{self.submitted} submitted, {self.already_submitted} already submitted, "
            f"{self.bad.count} bad, {self.failed.count} failed{different}"
        )


class Submission:
    """Submits good records once. `summary` is up to date at any moment, also after a cancellation."""

    def __init__(
        self,
        stack: "Stack",
        ledger: Ledger,
        records: Callable[[], Iterable[Record]],
        summary: Summary,
        *,
        number: int,
        retries: Retries | None = None,
        warn: Warn = unreported,
        failed: Callable[[BadRecord], None] = unreported,
    ) -> None:
        """
        Prepare the *number*-th submission of *records*, which are those in *ledger*.

        *failed* is called with the first records that AWS refuses, and with the first that differ from the stored
        order. The *ledger* has all of them.
        """
        self.summary = summary
        self.intake: str | None = None  # The name of the intake that starts the orders, if there is one.
        self._stack = stack
        self._ledger = ledger
        self._records = records
        self._number = number
        self._retries = retries or Retries(warn=warn)
        self._warn = warn
        self._failed = failed

    def so_far(self) -> str:
        """Return the outcome so far, with a note that repeating is safe."""
        return f"{self.summary} of {len(self._ledger) + self.summary.bad.count}; {SAFE}"

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
            if self._number > 1:
                await self._find_taken(progress)
            await self._start(concurrency, progress)
            await self._compare(look_s)
        except OperationError as error:
            raise OperationError(f"{error} ({self.so_far()})") from error
        except SDK_ERRORS as error:
            raise OperationError(f"{await explained(error, self._stack)} ({self.so_far()})") from error

    async def _start(self, concurrency: int, progress: Progress) -> None:
        """Start the orders that can be started, and add what becomes of each to the ledger and to the summary."""
        started = in_parallel(self._submit, self._startable(), at_most=concurrency, stop=self._retries.stop)
        async with contextlib.aclosing(started):
            async for _ in started:
                progress(1)

    async def _find_taken(self, progress: Progress) -> None:
        """Find the orders that this submission may not start, and compare them at once."""
        erased = _Counted()
        async with contextlib.aclosing(stored_orders(self._stack, self._ledger.entries(), self._retries)) as found:
            async for entry, item in found:
                if item is None or not await is_taken(self._stack, entry, item, self._number):
                    continue
                self._ledger.mark(entry.order_id, State.TAKEN)
                self.summary.already_submitted += 1
                self._check_same(entry, item)
                if is_erased(item):
                    erased.add(entry)
                progress(1)
        self._warn_not_compared(erased, "erased")

    def _startable(self) -> Iterator[Record]:
        if self._number == 1:
            return iter(self._records())
        return (record for record in self._records() if State.TAKEN not in self._ledger.state(record.order_id))

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
                asked_at = self._first_asked(metadata, began_s) if repeated else None
                self._ledger.mark(record.order_id, State.EXISTING, asked_at=asked_at)
                self.summary.already_submitted += 1
            elif code in _REFUSED:
                self._not_submitted(self.summary.failed, record, f"Step Functions refused it ({code})")
            else:
                raise
        else:
            self._ledger.mark(record.order_id, started_at=answer["startDate"])
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
        """Compare the records that were submitted before with the stored orders."""
        missing, erased = _Counted(), _Counted()
        found = submitted_before(self._stack, self._existing, self._number, self._retries, look_s=look_s)
        async with contextlib.aclosing(found):
            async for entry, item in found:
                self._ledger.unmark(entry.order_id, State.EXISTING)
                if item is None:
                    missing.add(entry)
                    continue
                if is_erased(item):
                    erased.add(entry)
                same, since = self._check_same(entry, item), entry.asked_at
                if same and since is not None and await self._is_ours(entry, item, since):
                    self.summary.already_submitted -= 1
                    self.summary.submitted += 1
        self._warn_not_compared(missing, "not in the table")
        self._warn_not_compared(erased, "erased")

    def _existing(self) -> Iterator[Entry]:
        return self._ledger.entries(having=State.EXISTING)

    def _check_same(self, entry: Entry, item: Item) -> bool:
        """Return whether a record that counts as submitted before equals its stored order; report it if not."""
        same = not differing_fields(entry, item)
        if not same:
            self.summary.already_submitted -= 1
            problem = f"skipped: {described(entry, item, self._number)}"
            self._not_submitted(self.summary.different, entry, problem)
        return same

    def _warn_not_compared(self, orders: "_Counted", why: str) -> None:
        if orders.first is not None:
            place = f"{orders.first.file}:{orders.first.line}"
            count = "an order" if orders.count == 1 else f"{orders.count} orders"
            self._warn(
                f"not compared: {count} submitted before but {why}, the first in {place}; "
                f"`orders show {orders.first.order_id}` shows what became of it"
            )

    async def _is_ours(self, entry: Entry, item: Item, since: datetime) -> bool:
        """Return whether a stored order was recorded by an execution that this command started."""
        arn = await self._stack.execution_arn(submission_name(entry.order_id, self._number))
        recorded_at = started_at(item)
        return item.get("ExecutionArn") == arn and recorded_at is not None and recorded_at >= since

    def _not_submitted(self, where: Problems, record: Record | Entry, problem: str) -> None:
        self._ledger.mark(record.order_id, State.NOT_SUBMITTED, problem=problem)
        failed = BadRecord(record.line, problem, record.order_id, record.file)
        if where.add(failed):
            self._failed(failed)


@dataclass(slots=True)
class _Counted:
    """How many orders there are of a kind, and the first of them."""

    count: int = 0
    first: Entry | None = None

    def add(self, entry: Entry) -> None:
        self.first = self.first or entry
        self.count += 1
