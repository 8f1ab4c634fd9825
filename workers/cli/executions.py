"""Reads what executions of the workflow did: their states and ends, never their data, which holds card numbers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from workers.aws.errors import error_code, translate
from workers.errors import AccessDeniedError
from workers.operations.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.cli.stack import Stack

RUNNING = "RUNNING"
_GONE = {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}  # Or its ARN was never one.
_ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionAborted": "ABORTED",
    "ExecutionTimedOut": "TIMED_OUT",
}


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened in an execution, and when, in RFC 3339."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution as far as it may be told; *problem* says why there is no more of it."""

    arn: str
    status: str | None = None
    states: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    problem: str | None = None

    @property
    def name(self) -> str:
        return self.arn.rpartition(":")[2]


def read_execution(stack: "Stack", arn: str) -> Execution | None:
    """Return what the execution did; None where there is none, or none any more: AWS keeps them for 90 days."""
    pages = stack.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=arn, includeExecutionData=False
    )
    try:
        events = [event for page in pages for event in page["events"]]
    except ClientError as error:
        code = error_code(error)
        if code in _GONE:
            return None
        if isinstance(translate(error), AccessDeniedError):
            return Execution(arn, problem=f"these credentials do not allow GetExecutionHistory ({code})")
        raise
    status, states, steps = RUNNING, list[str](), list[Step]()
    for event in events:
        status = _ENDS.get(event["type"], status)
        if entered := event.get("stateEnteredEventDetails"):
            states.append(clean(entered["name"]))
        if text := _told(event, states):
            steps.append(Step(_written(event["timestamp"]), text))
    return Execution(arn, status, tuple(states), tuple(steps))


def _told(event: "Mapping[str, Any]", states: list[str]) -> str | None:
    """Return what an event says to a person. Of an error, its name: the cause may be a service's own text."""
    kind: str = event["type"]
    error = next((each["error"] for each in event.values() if isinstance(each, dict) and each.get("error")), None)
    named = f": {clean(error)}" if error else ""
    if kind == "ExecutionStarted":
        return "started"
    if kind in _ENDS:
        return f"{_ENDS[kind]}{named}"
    if "stateEnteredEventDetails" in event:
        return f"entered {states[-1]}"
    if kind.endswith(("Failed", "TimedOut")):
        return f"a try of {states[-1] if states else 'a state'} failed{named}"
    return None


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
