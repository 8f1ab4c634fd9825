"""Submits orders in bulk: uploads them as one file, has an intake start them, and reads its report."""

import asyncio
import contextlib
import io
import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from workers import clock
from workers.domain.ids import letters
from workers.operations.bulk import (
    STARTED_BEFORE,
    SUBMITTED,
    Intake,
    Place,
    ReportedRow,
    find_intake,
    find_place,
    reported_rows,
)
from workers.operations.concurrency import finish
from workers.operations.errors import OperationError
from workers.operations.files.header import FIELDS
from workers.operations.ledger import Entry, State
from workers.operations.order_record import Record
from workers.operations.progress import Progress, unreported
from workers.operations.retries import Retries
from workers.operations.sdk_errors import SDK_ERRORS
from workers.operations.submit import SAFE, Submission

if TYPE_CHECKING:
    from workers.operations.stack import Stack

# These are 5,000 batches, whose counts fit into a state of the intake, whatever became of each order.
MAX_ROWS = 1_000_000
# S3: the parts of a multipart upload have at least 5 MiB each, except for the last one, and are at most 10,000.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
PART_BYTES = 5 * 1024 * 1024
POLL_S = 1.0
# A new execution is unknown to DescribeExecution for seconds at most.
MAX_UNKNOWN_POLLS = 120


class BulkSubmission(Submission):
    """
    A submission whose orders are started by an intake. Each has the same name as in any other submission.

    *intake* is its name once it was started: it then goes on without this command.
    """

    def __init__(
        self, *arguments: Any, begun: Callable[[str], None] = unreported, poll_s: float = POLL_S, **more: Any
    ) -> None:
        """Prepare it like any `Submission`. *begun* is called with the name of the intake once it is started."""
        super().__init__(*arguments, **more)
        self._begun = begun
        self._poll_s = poll_s
        self._seen: Intake | None = None
        self._asked: str | None = (
            None  # The name of an intake that may have been started, although AWS has not said so.
        )

    def so_far(self) -> str:
        """Return the outcome so far, with a note that repeating is safe."""
        if self.intake is None and self._asked is not None:
            return f"`orders bulk show {self._asked}` says if the intake was started; {SAFE}"
        if self.intake is None:
            return f"nothing was started; {SAFE}"
        seen = self._seen
        done = f"{seen.done} of {seen.rows} rows are done" if seen and seen.rows is not None else "no row is done yet"
        return f"intake {self.intake}: {done}, `orders bulk show {self.intake}` follows it; {SAFE}"

    async def _start(self, concurrency: int, progress: Progress) -> None:  # noqa: ARG002 - the stack's parameter bounds it.
        if len(self._ledger) > MAX_ROWS:
            raise OperationError(
                f"there are {len(self._ledger):,} orders, more than the {MAX_ROWS:,} of an intake: submit them in parts"
            )
        place = await find_place(self._stack)
        # It sorts by time. With more digits in a row, it could look like a card number.
        name = f"bulk-{self._stack.now():%Y%m%dT%H%M%S}-{letters(uuid4().hex, 8)}"
        key = f"{SUBMITTED}{name}.jsonl"
        rows = await self._upload(place, key)
        if not rows:
            return
        intake = await self._run_intake(place, name, key, progress)
        await self._take_report(place, intake, rows)

    async def _upload(self, place: Place, key: str) -> int:
        """Upload the orders that can be started as JSON lines, and return how many there are."""
        rows, part = 0, io.BytesIO()  # One buffer for all parts: it may be the largest of what is in memory.
        async with _Upload(self._stack, self._retries, place.bucket, key) as upload:
            for record in self._startable():
                part.write(_line(record))
                rows += 1
                if part.tell() >= PART_BYTES:
                    await upload.add(part)
            if rows:
                await upload.end(part)
        return rows

    async def _run_intake(self, place: Place, name: str, key: str, progress: Progress) -> Intake:
        """Start the intake, and wait until it has ended."""
        start = partial(
            self._stack.stepfunctions.call,
            "start_execution",
            stateMachineArn=place.arn,
            name=name,
            input=json.dumps({"Key": key, "Submission": self._number}),
        )

        def asked(_error: BaseException) -> None:
            self._asked = name

        # A repeated call finds the execution that the lost one started: its name and input are the same.
        try:
            await self._retries.run("StartExecution", start, failed=asked)
        except asyncio.CancelledError as error:
            asked(error)
            raise
        self.intake = name
        self._begun(name)
        done = unknown = 0
        while unknown < MAX_UNKNOWN_POLLS:
            seen = await self._retries.run("DescribeExecution", lambda: find_intake(self._stack, name))
            if seen is None:
                unknown += 1
            else:
                self._seen = seen
                progress((seen.done or 0) - done)
                done = seen.done or 0
                if not seen.is_running:
                    return seen
            await asyncio.sleep(self._poll_s)
        raise OperationError("the intake was started, but AWS does not show it")

    async def _take_report(self, place: Place, intake: Intake, rows: int) -> None:
        """Add the intake's report about *rows* orders to the ledger and to the summary."""
        if not intake.has_counts:
            raise OperationError(f"the intake ended as {intake.error or intake.status}")
        if unknown := max(rows - intake.known, 0) + (intake.unreported or 0):
            raise OperationError(f"the intake does not know what became of {unknown} of {rows} orders")
        started_at = clock.parse(intake.started_at)  # No later than that of each execution.
        async with contextlib.aclosing(reported_rows(self._stack, place.bucket, intake.intake)) as report:
            following, missing = await anext(report, None), intake.to_report
            for number, entry in enumerate(self._ledger.entries(lacking=State.TAKEN), 1):
                if following is not None and following.row == number:
                    self._take(entry, following)
                    following, missing = await anext(report, None), missing - 1
                else:
                    self._ledger.mark(entry.order_id, started_at=started_at)
                    self.summary.submitted += 1
        if missing > 0:  # This command slept for a day, for example.
            raise OperationError(f"{missing} rows of the intake's report are gone: it is kept for a day")

    def _take(self, entry: Entry, row: ReportedRow) -> None:
        if row.outcome == STARTED_BEFORE:
            self._ledger.mark(entry.order_id, State.EXISTING)
            self.summary.already_submitted += 1
        elif row.outcome == "rejected":
            self._not_submitted(self.summary.failed, entry, f"the intake rejected it ({', '.join(row.fields)})")
        else:
            self._not_submitted(self.summary.failed, entry, "Step Functions was too busy to start it")


def _line(record: Record) -> bytes:
    """Return an order as a line of JSON: its fields only, in ASCII, so that nothing in it looks like the line's end."""
    order = record.fields()
    return json.dumps({field: order[field] for field in FIELDS}, separators=(",", ":")).encode() + b"\n"


class _Upload:
    """
    An upload to S3 in parts, of which one at a time is in memory. A small one is a single request.

    A part is what was written into its buffer, which is at its start afterward.

    It is aborted if it fails; if this process is killed, S3 removes its parts after a day.
    """

    def __init__(self, stack: "Stack", retries: Retries, bucket: str, key: str) -> None:
        self._stack = stack
        self._retries = retries
        self._target = {"Bucket": bucket, "Key": key}
        self._id: str | None = None
        self._parts: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and self._id is not None:
            with contextlib.suppress(*SDK_ERRORS):
                await finish(self._call("AbortMultipartUpload", "abort_multipart_upload", UploadId=self._id))

    async def add(self, part: io.BytesIO) -> None:
        """Upload a part."""
        if self._id is None:
            self._id = (await self._call("CreateMultipartUpload", "create_multipart_upload"))["UploadId"]
        number = len(self._parts) + 1
        answer = await self._send(part, "UploadPart", "upload_part", UploadId=self._id, PartNumber=number)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})

    async def end(self, part: io.BytesIO) -> None:
        """Upload what is left; the object exists afterward."""
        if self._id is None:
            await self._send(part, "PutObject", "put_object")
            return
        if part.tell():
            await self.add(part)
        parts = {"Parts": self._parts}
        await self._call(
            "CompleteMultipartUpload", "complete_multipart_upload", UploadId=self._id, MultipartUpload=parts
        )

    async def _send(self, part: io.BytesIO, name: str, operation: str, **request: Any) -> Any:
        part.truncate()  # What is left of a longer part before.

        def send() -> Any:
            part.seek(0)  # Another try sends it from the start, too.
            return self._stack.s3.call(operation, **self._target, **request, Body=part)

        answer = await self._retries.run(name, send)
        part.seek(0)
        return answer

    async def _call(self, name: str, operation: str, **request: Any) -> Any:
        return await self._retries.run(name, partial(self._stack.s3.call, operation, **self._target, **request))
