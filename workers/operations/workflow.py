"""Reads the state machines of a stack: their definitions, and their recent executions."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code
from workers.operations.bulk import intake_arn
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import ClientError
from workers.operations.stuck import sweep_arn

if TYPE_CHECKING:
    from workers.operations.stack import Stack

STATUSES = ("RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED")
MAX_LISTED = 100  # Executions of each status: one request.
_MISSING = {"StateMachineDoesNotExist", "ResourceNotFound", "ResourceNotFoundException"}


class Kind(StrEnum):
    """The state machines of a stack."""

    ORDERS = "orders"
    INTAKE = "intake"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True)
class Machine:
    """A state machine as it is deployed now."""

    kind: Kind
    arn: str
    definition: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Listed:
    """An execution in a list; *ended* is None while it runs."""

    arn: str
    name: str
    status: str
    started: datetime
    ended: datetime | None = None

    @property
    def is_running(self) -> bool:
        return self.ended is None

    def took_s(self) -> float | None:
        return (self.ended - self.started).total_seconds() if self.ended else None


@dataclass(frozen=True, slots=True)
class Count:
    """How many executions have a status; *is_more*: there are more than were counted."""

    status: str
    number: int
    is_more: bool


@dataclass(frozen=True, slots=True)
class Recent:
    """The executions that were started last, by status the latest hundred; *runs* has the newest first."""

    runs: Sequence[Listed]
    counts: Sequence[Count]


async def machine_arn(stack: "Stack", kind: Kind) -> str:
    """
    Return the ARN that a state machine of the stack has.

    Raises:
        OperationError: It is not known, because the order workflow has a name of its own.
    """
    match kind:
        case Kind.ORDERS:
            return await stack.state_machine_arn()
        case Kind.INTAKE:
            return await intake_arn(stack)
        case Kind.SWEEP:
            return await sweep_arn(stack)


async def read_machine(stack: "Stack", kind: Kind) -> Machine:
    """
    Return a state machine with its definition.

    Raises:
        OperationError: There is none.
    """
    arn = await machine_arn(stack, kind)
    try:
        answer = await stack.stepfunctions.call("describe_state_machine", stateMachineArn=arn)
    except ClientError as error:
        _explain(error, arn)
        raise
    return Machine(kind, arn, read_definition(answer["definition"]))


async def read_recent(stack: "Stack", kind: Kind) -> Recent:
    """
    Return the recent executions of a state machine. AWS keeps them for 90 days after their end.

    Raises:
        OperationError: There is no such state machine.
    """
    arn = await machine_arn(stack, kind)

    async def read(status: str) -> tuple[list[Listed], bool]:
        answer = await stack.stepfunctions.call(
            "list_executions", stateMachineArn=arn, statusFilter=status, maxResults=MAX_LISTED
        )
        return [_listed(each) for each in answer["executions"]], bool(answer.get("nextToken"))

    try:
        answers = await asyncio.gather(*(read(status) for status in STATUSES))
    except ClientError as error:
        _explain(error, arn)
        raise
    # An execution that ended between two of the requests may be in both answers: its end counts.
    found = {run.arn: run for runs, _ in answers for run in runs}
    counts = [Count(status, len(runs), more) for status, (runs, more) in zip(STATUSES, answers, strict=True)]
    return Recent(sorted(found.values(), key=lambda run: run.started, reverse=True), counts)


def read_definition(text: str) -> dict[str, Any]:
    """Return the definition in *text*; an empty one if it is none."""
    try:
        definition = json.loads(text)
    except ValueError:
        return {}
    return definition if isinstance(definition, dict) else {}


def _listed(item: Mapping[str, Any]) -> Listed:
    ended = item.get("stopDate") if item["status"] != "RUNNING" else None
    return Listed(item["executionArn"], item["name"], item["status"], item["startDate"], ended)


def _explain(error: ClientError, arn: str) -> None:
    """Raise `OperationError` if *error* says that there is no such state machine."""
    if error_code(error) in _MISSING:
        name = arn.rpartition(":")[2]
        text = f"there is no state machine {name}: deploy the stack, or update it to this version"
        raise OperationError(text) from error
