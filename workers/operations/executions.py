"""Reads the history of executions: their states and ends, never their data, which holds card numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code, translate
from workers.domain.ids import execution_name
from workers.domain.text import clean
from workers.errors import AccessDeniedError
from workers.operations.ages import seconds_since
from workers.operations.sdk_errors import ClientError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

RUNNING, SUCCEEDED, FAILED = "RUNNING", "SUCCEEDED", "FAILED"
# States of the order workflow.
VERIFY = "Are details Proper"
TO_FULFILLMENT, TO_ESCALATION = "Put message in OrderFulfillment Queue", "Put message in Escalation Queue"
# The state machine's timeout is 15 minutes. A local AWS that is killed leaves executions that never end.
MAX_RUNNING_S = 3_600.0
_GONE = {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}  # The last two mean that it is not an ARN.
_ENDS = {
    "ExecutionSucceeded": SUCCEEDED,
    "ExecutionFailed": FAILED,
    "ExecutionAborted": "ABORTED",
    "ExecutionTimedOut": "TIMED_OUT",
}
DUPLICATE_ORDER = "DuplicateOrder"
_REDRIVEN = "ExecutionRedriven"
_MEANINGS = {DUPLICATE_ORDER: " (the stored order is unchanged)"}


@dataclass(frozen=True, slots=True)
class Step:
    """An event of an execution and its time, in RFC 3339."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Execution:
    """The known part of an execution; *problem* says why the rest is not known, *error* why it failed."""

    arn: str
    status: str | None = None
    states: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    problem: str | None = None
    error: str | None = None

    @property
    def name(self) -> str:
        return execution_name(self.arn)

    @property
    def started_at(self) -> str | None:
        return self.steps[0].at if self.steps else None

    @property
    def ended_at(self) -> str | None:
        return self.steps[-1].at if self.steps and self.status != RUNNING else None

    @property
    def end(self) -> str | None:
        """How it ended, in words, or that it is running; None if that is not known."""
        return self.steps[-1].text if self.steps and self.status != RUNNING else self.status

    def is_running(self, now: datetime) -> bool:
        """Return whether it may still change its order."""
        age_s = seconds_since(self.steps[-1].at, now) if self.steps else None
        return self.status == RUNNING and (age_s is None or age_s < MAX_RUNNING_S)

    @property
    def reached_fulfillment(self) -> bool:
        """Return whether it is known to have come as far as sending its order to a worker: it was verified."""
        return TO_FULFILLMENT in self.states

    @property
    def may_have_sent_to_fulfillment(self) -> bool:
        """Return whether it sent its order to the fulfillment queue, as far as is known."""
        if self.status is None or self.status == RUNNING:
            return True
        return self.status == SUCCEEDED and self.states[-1:] == (TO_FULFILLMENT,)

    @property
    def has_recorded(self) -> bool:
        """Return whether it recorded the order: it went on after it."""
        return VERIFY in self.states


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
    status, failure, states, steps = RUNNING, None, list[str](), list[Step]()
    for event in events:
        if event["type"] in _ENDS:
            status, failure = _ENDS[event["type"]], _error(event)
        elif event["type"] == _REDRIVEN:
            status, failure = RUNNING, None
        if entered := event.get("stateEnteredEventDetails"):
            states.append(clean(entered["name"]))
        if text := _text(event, states):
            steps.append(Step(_time(event["timestamp"]), text))
    return Execution(arn, status, tuple(states), tuple(steps), error=failure)


def _text(event: Mapping[str, Any], states: list[str]) -> str | None:
    """Return an event in words; None if it is not shown. Errors are only named: a cause may quote another service."""
    kind: str = event["type"]
    error = _error(event)
    named = f": {error}" if error else ""
    if kind in {"ExecutionStarted", _REDRIVEN}:
        return kind.removeprefix("Execution").lower()
    if kind in _ENDS:
        return f"{_ENDS[kind]}{named}{_MEANINGS.get(error or '', '')}"
    if "stateEnteredEventDetails" in event:
        return f"entered {states[-1]}"
    if kind.endswith(("Failed", "TimedOut")):
        return f"an attempt at {states[-1] if states else 'a state'} failed{named}"
    return None


def _error(event: Mapping[str, Any]) -> str | None:
    details = (value for value in event.values() if isinstance(value, dict))
    return next((clean(value["error"]) for value in details if value.get("error")), None)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
