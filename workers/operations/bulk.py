"""Intakes: executions of BulkOrderIntake, which starts the order workflow for each row of a file; and their reports."""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.errors import error_code
from workers.domain.ids import execution_arn, execution_name
from workers.domain.text import clean
from workers.operations.concurrency import in_parallel
from workers.operations.errors import OperationError
from workers.operations.executions import RUNNING, SUCCEEDED
from workers.operations.names import DEFAULT_STATE_MACHINE
from workers.operations.sdk_errors import ClientError
from workers.threads import in_thread

if TYPE_CHECKING:
    from workers.operations.stack import Stack

INTAKE = "BulkOrderIntake"  # The state machine, in the stack of DEFAULT_STATE_MACHINE and with the same prefix.
BUCKET_TAG = "OrderIntakeBucket"  # Of that state machine. deploy/pipeline.yaml sets it.
SUBMITTED = "submitted/"  # Files of `orders submit --bulk` are there, those of others elsewhere.
FILE_REFUSED = "FileRefused"  # The error of an intake, as the next ones.
ROWS_NOT_STARTED, EVERY_ROW_REJECTED = "RowsNotStarted", "EveryRowRejected"
STARTED_BEFORE = "already_started"  # An outcome of a row.
_CONCURRENCY = 10
_UNKNOWN = {"ResourceNotFound", "ResourceNotFoundException", "StateMachineDoesNotExist"}
_GONE = {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}
# A name that Step Functions allows.
_NAME = re.compile(r'[^\s<>{}\[\]?*"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}')
_WITH_COUNTS = {ROWS_NOT_STARTED, EVERY_ROW_REJECTED}  # It has done all it could.
_NO_OBJECT = {"NoSuchKey", "404", "NoSuchBucket"}
# What the report counts, by its name in the report.
_COUNTS = {
    "started": "Started",
    "already_started": "AlreadyStarted",
    "rejected": "Rejected",
    "not_started": "NotStarted",
    "unreported": "Unreported",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stack's intakes are: the ARN of their state machine, and the bucket of their files."""

    arn: str
    bucket: str


@dataclass(frozen=True, slots=True)
class Intake:
    """
    An intake, and how far it is.

    *file* is the key of a file that was dropped, None of one of `orders submit --bulk`.
    *rows* and *done* are known from its map run, None before there is one. The counts are those of its report, None
    until it has ended. *unreported* counts rows of *rejected*, *already_started* and *not_started* which the report
    does not list. *error* says why it failed.
    """

    intake: str
    execution_arn: str
    status: str
    started_at: str
    ended_at: str | None = None
    error: str | None = None
    rows: int | None = None
    done: int | None = None
    started: int | None = None
    already_started: int | None = None
    rejected: int | None = None
    not_started: int | None = None
    unreported: int | None = None
    file: str | None = None

    @property
    def is_running(self) -> bool:
        return self.status == RUNNING

    @property
    def has_counts(self) -> bool:
        """Whether it has come to its end, whatever became of its rows."""
        return self.started is not None

    @property
    def to_report(self) -> int:
        """How many rows the report is about: those that were not started now."""
        return sum(filter(None, (self.already_started, self.rejected, self.not_started)))

    @property
    def known(self) -> int:
        """How many rows have an outcome."""
        return (self.started or 0) + self.to_report

    @property
    def unknown(self) -> int:
        """How many rows have no outcome: AWS itself ended their part of the intake."""
        return max(self.rows - self.known, 0) if self.has_counts and self.rows is not None else 0

    @property
    def is_complete(self) -> bool:
        """Whether every row was started, now or before."""
        return self.status == SUCCEEDED and not (self.rejected or self.not_started or self.unknown)


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """A row that an intake did not start, and why; *fields* are the malformed ones. It has no values."""

    row: int
    outcome: str
    fields: Sequence[str] = ()


async def intake_arn(stack: "Stack") -> str:
    """Return the ARN of the stack's intake. Its name follows from that of the order workflow."""
    arn = await stack.state_machine_arn()
    if not arn.endswith(DEFAULT_STATE_MACHINE):
        name = clean(arn.rpartition(":")[2])
        raise OperationError(
            f"STATE_MACHINE is {name}: only of a name that ends in {DEFAULT_STATE_MACHINE} the intake is known"
        )
    return arn.removesuffix(DEFAULT_STATE_MACHINE) + INTAKE


async def find_place(stack: "Stack") -> Place:
    """
    Return where the stack's intakes are.

    Raises:
        OperationError: The stack has no intake.
    """
    arn = await intake_arn(stack)
    async with _known(arn):
        answer = await stack.stepfunctions.call("list_tags_for_resource", resourceArn=arn)
    bucket = next((tag["value"] for tag in answer["tags"] if tag["key"] == BUCKET_TAG), None)
    if bucket is None:
        raise OperationError(f"the state machine {INTAKE} has no tag {BUCKET_TAG}: deploy the stack again")
    return Place(arn, bucket)


async def list_intakes(stack: "Stack", limit: int) -> list[Intake]:
    """Return the latest intakes, the newest first. AWS keeps them for 90 days."""
    arn = await intake_arn(stack)
    found = list[str]()
    async with _known(arn), aclosing(_executions(stack, arn)) as executions:
        async for execution in executions:
            found.append(execution)
            if len(found) == limit:
                break
    described = in_parallel(partial(_described, stack), found, at_most=_CONCURRENCY)
    async with aclosing(described) as intakes:
        return [intake async for intake in intakes if intake is not None]


async def _executions(stack: "Stack", arn: str) -> AsyncGenerator[str, None]:
    async for page in stack.stepfunctions.pages("list_executions", stateMachineArn=arn):
        for execution in page["executions"]:
            yield execution["executionArn"]


async def find_intake(stack: "Stack", name: str) -> Intake | None:
    """Return an intake by the name of its execution, or by its ARN; None if there is none."""
    name = execution_name(name)
    if not _NAME.fullmatch(name):
        return None
    return await _described(stack, execution_arn(await intake_arn(stack), name))


async def _described(stack: "Stack", arn: str) -> Intake | None:
    try:
        answer = await stack.stepfunctions.call("describe_execution", executionArn=arn)
    except ClientError as error:
        if error_code(error) in _GONE:
            return None
        raise
    rows, done = await _progress(stack, arn)
    stopped = answer.get("stopDate")
    return Intake(
        execution_name(arn),
        arn,
        answer["status"],
        clock.written(answer["startDate"]),
        None if stopped is None else clock.written(stopped),
        clean(answer["error"]) if answer.get("error") else None,
        rows,
        done,
        file=_dropped_file(answer),
        **_counts(answer),
    )


def _dropped_file(answer: Mapping[str, Any]) -> str | None:
    """Return the key in the input of an execution that a dropped file has started."""
    given = json.loads(answer.get("input") or "{}")
    key = given.get("Key") if isinstance(given, Mapping) else None
    return clean(key) if isinstance(key, str) and not key.startswith(SUBMITTED) else None


def _counts(answer: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of an execution that has come to its end: its output, or the cause of its error."""
    if answer["status"] == SUCCEEDED:
        report = json.loads(answer["output"])
    elif answer.get("error") in _WITH_COUNTS:
        report = json.loads(answer["cause"])
    else:
        return {}
    return {name: int(report.get(key, 0)) for name, key in _COUNTS.items()}


async def _progress(stack: "Stack", arn: str) -> tuple[int | None, int | None]:
    """Return how many rows the file has, and how many of them are done."""
    runs = (await stack.stepfunctions.call("list_map_runs", executionArn=arn))["mapRuns"]
    if not runs:
        return None, None
    # A Map that is tried again has several: the latest one counts.
    latest = max(runs, key=lambda run: run["startDate"])
    counts = (await stack.stepfunctions.call("describe_map_run", mapRunArn=latest["mapRunArn"]))["itemCounts"]
    return counts["total"], counts["total"] - counts["pending"] - counts["running"]


async def reported_rows(stack: "Stack", bucket: str, name: str) -> AsyncGenerator[ReportedRow, None]:
    """Yield the rows that an intake did not start, in the order of the file. They are kept for a day."""

    async def read(key: str) -> list[Mapping[str, Any]]:
        try:
            return list(json.loads(await _read_object(stack, bucket, key))["Rows"])
        except ClientError as error:
            if error_code(error) in _NO_OBJECT:  # Its day is over.
                return []
            raise

    # The names of the parts have the numbers of their first rows, with zeros in front.
    keys = _keys(stack, bucket, f"reports/{name}/rows/")
    async with aclosing(in_parallel(read, keys, at_most=_CONCURRENCY)) as parts:
        async for part in parts:
            for row in part:
                yield ReportedRow(int(row["Row"]), str(row["Outcome"]), tuple(map(str, row.get("Fields", ()))))


async def _keys(stack: "Stack", bucket: str, prefix: str) -> AsyncIterator[str]:
    async for page in stack.s3.pages("list_objects_v2", Bucket=bucket, Prefix=prefix):
        for content in page.get("Contents", ()):
            yield content["Key"]


async def _read_object(stack: "Stack", bucket: str, key: str) -> Any:
    answer = await stack.s3.call("get_object", Bucket=bucket, Key=key)
    return await in_thread(answer["Body"].read)


@asynccontextmanager
async def _known(arn: str) -> AsyncIterator[None]:
    """Say that the stack has no intake, if a call finds no state machine."""
    try:
        yield
    except ClientError as error:
        if error_code(error) not in _UNKNOWN:
            raise
        name = arn.rpartition(":")[2]
        raise OperationError(
            f"there is no state machine {name}: deploy the stack, or update it to this version"
        ) from None
