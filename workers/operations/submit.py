"""Submits orders: starts exactly one execution of the workflow for each."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from workers.aws.errors import error_code, translate
from workers.backoff import Backoff
from workers.domain.submissions import submission_name
from workers.errors import OutageError
from workers.operations.concurrency import in_parallel
from workers.operations.errors import OperationError
from workers.operations.order_files import Record
from workers.operations.progress import Progress, Warn, unreported
from workers.operations.records import BadRecord
from workers.operations.sdk_errors import SDK_ERRORS, UNREACHABLE, ClientError, ResponseParserError, explained

if TYPE_CHECKING:
    from workers.operations.stack import Stack

# If a call takes 50 ms, the default makes as many calls a second as StartExecution sustains in most regions.
DEFAULT_CONCURRENCY, MAX_CONCURRENCY = 10, 100
MAX_SUBMISSION = 999_999
# Unreadable responses that are tolerated before the first readable one: more than are in flight by default.
MAX_UNREADABLE = 50
MAX_RETRY_S = 300.0
SAFE = "repeating the command is safe: it submits nothing twice"

# Errors that concern only one record. Any other error concerns all records.
_REFUSED = {"InvalidExecutionInput", "InvalidName", "ValidationException"}
_RETRIED = {"ExecutionLimitExceeded"}
_BACKOFF = Backoff(base_s=0.2, cap_s=20.0)


@dataclass(slots=True)
class Summary:
    """The outcome of a file's records, so far."""

    submitted: int = 0
    already_submitted: int = 0
    bad: list[BadRecord] = field(default_factory=list)
    failed: list[BadRecord] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.submitted} submitted, {self.already_submitted} already submitted, "
            f"{len(self.bad)} bad, {len(self.failed)} failed"
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
        backoff: Backoff = _BACKOFF,
        warn: Warn = unreported,
        failed: Callable[[BadRecord], None] = unreported,
    ) -> None:
        """Prepare the *number*-th submission of *records*. *failed* is called with each record that AWS refuses."""
        self.summary = summary
        self._stack = stack
        self._records = records
        self._number = number
        self._backoff = backoff
        self._warn = warn
        self._failed = failed
        self._stop = asyncio.Event()
        self._throttled = False
        self._unreadable = 0

    def so_far(self) -> str:
        """Return the outcome so far, with a note that repeating is safe."""
        return f"{self.summary} of {len(self._records) + len(self.summary.bad)}; {SAFE}"

    async def run(self, *, concurrency: int = DEFAULT_CONCURRENCY, progress: Progress = unreported) -> None:
        """
        Submit the records. A cancellation waits for the requests in flight.

        Raises:
            OperationError: An error that concerns all records; the text has the outcome so far.
        """
        try:
            await self._stack.state_machine_arn()  # Looked up once, before the calls start.
            started = in_parallel(self._submit, self._records, at_most=concurrency, stop=self._stop)
            async with contextlib.aclosing(started):
                async for _ in started:
                    progress(1)
        except SDK_ERRORS as error:
            raise OperationError(f"{await explained(error, self._stack)} ({self.so_far()})") from error

    async def _submit(self, record: Record) -> None:
        try:
            await self._start(record)
        except ClientError as error:
            code = error_code(error)
            if code == "ExecutionAlreadyExists":
                self.summary.already_submitted += 1
            elif code in _REFUSED:
                failed = BadRecord(record.line, f"Step Functions refused it ({code})", record.order_id)
                self.summary.failed.append(failed)
                self._failed(failed)
            else:
                raise
        else:
            self.summary.submitted += 1

    async def _start(self, record: Record) -> None:
        give_up_at = time.monotonic() + MAX_RETRY_S
        for attempt in count(1):
            try:
                await self._stack.stepfunctions.call(
                    "start_execution",
                    stateMachineArn=await self._stack.state_machine_arn(),
                    name=submission_name(record.order_id, self._number),
                    input=record.text,
                )
            except SDK_ERRORS as error:
                if not self._is_transient(error) or time.monotonic() >= give_up_at:
                    raise
                self._report_throttling(error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), self._backoff.wait_s(attempt))
                if self._stop.is_set():
                    raise
            else:
                return

    def _report_throttling(self, error: Exception) -> None:
        if not self._throttled:
            self._throttled = True
            code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
            self._warn(f"StartExecution: {code}; continuing more slowly")

    def _is_transient(self, error: Exception) -> bool:
        """
        Return whether AWS will take the same request later: it throttles us, or has an outage.

        Before the first success, an unreachable endpoint means that the environment is wrong, and more than
        `MAX_UNREADABLE` unreadable responses mean that the endpoint is not AWS.
        """
        if isinstance(error, ClientError):
            return error_code(error) in _RETRIED or type(translate(error)) is OutageError
        succeeded = self.summary.submitted + self.summary.already_submitted > 0
        if isinstance(error, ResponseParserError):
            self._unreadable += 1
            return succeeded or self._unreadable <= MAX_UNREADABLE
        return succeeded and isinstance(error, UNREACHABLE)
