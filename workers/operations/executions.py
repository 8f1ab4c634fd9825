"""Reads the history of executions: their states and ends, never their data, which holds card numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code, translate
from workers.domain.ids import execution_name
from workers.errors import AccessDeniedError
from workers.operations.sdk_errors import ClientError
from workers.operations.text import clean

if TYPE_CHECKING:
    from workers.operations.stack import Stack

RUNNING = "RUNNING"
_GONE = {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}  # The last two mean that it is not an ARN.
_ENDS = {
    "ExecutionSucceeded": "SUCCEEDED",
    "ExecutionFailed": "FAILED",
    "ExecutionAborted": "ABORTED",
    "ExecutionTimedOut": "TIMED_OUT",
}
_MEANINGS = {"DuplicateOrder": " (the stored order is unchanged)"}


@dataclass(frozen=True, slots=True)
class Step:
    """An event of an execution and its time, in RFC 3339."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Execution:
    """The known part of an execution; *problem* says why the rest is not known."""

    arn: str
    status: str | None = None
    states: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    problem: str | None = None

    @property
    def name(self) -> str:
        return execution_name(self.arn)


async def read_execution(stack: "Stack", arn: str) -> Execution | None:
    """Return an execution; None if it does not exist, or no longer. AWS keeps executions for 90 days."""
    pages = stack.stepfunctions.pages("get_execution_history", executionArn=arn, includeExecutionData=False)
    try:
        events = [event async for page in pages for event in page["events"]]
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
        if text := _text(event, states):
            steps.append(Step(_time(event["timestamp"]), text))
    return Execution(arn, status, tuple(states), tuple(steps))


def _text(event: Mapping[str, Any], states: list[str]) -> str | None:
    """Return an event in words; None if it is not shown. Errors are only named: a cause may quote another service."""
    kind: str = event["type"]
    details = (value for value in event.values() if isinstance(value, dict))
    error = next((value["error"] for value in details if value.get("error")), None)
    named = f": {clean(error)}" if error else ""
    if kind == "ExecutionStarted":
        return "started"
    if kind in _ENDS:
        return f"{_ENDS[kind]}{named}{_MEANINGS.get(error or '', '')}"
    if "stateEnteredEventDetails" in event:
        return f"entered {states[-1]}"
    if kind.endswith(("Failed", "TimedOut")):
        return f"an attempt at {states[-1] if states else 'a state'} failed{named}"
    return None


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
