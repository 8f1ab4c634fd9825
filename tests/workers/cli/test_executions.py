from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from workers.cli.executions import Execution, Step, read_execution
from workers.cli.stack import Stack

ARN = "arn:aws:states:us-east-1:000000000000:execution:Orders:one"
AT = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=2)))


def stack(events: list[dict[str, Any]], code: str | None = None) -> Stack:
    """Return a stack whose Step Functions know this history, a page for each event, or refuse to tell it."""

    def paginate(**request: Any) -> Iterator[dict[str, Any]]:
        assert request == {"executionArn": ARN, "includeExecutionData": False}
        if code is not None:
            raise ClientError({"Error": {"Code": code}}, "GetExecutionHistory")
        for event in events:
            yield {"events": [event | {"timestamp": AT}]}

    client = SimpleNamespace(get_paginator=lambda _: SimpleNamespace(paginate=paginate))
    return cast("Stack", SimpleNamespace(stepfunctions=client))


def test_an_execution_is_its_states_its_failed_tries_and_its_end() -> None:
    history: list[dict[str, Any]] = [
        {"type": "ExecutionStarted", "executionStartedEventDetails": {"roleArn": "arn"}},
        {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "Are details\x1b Proper"}},
        {"type": "TaskScheduled", "taskScheduledEventDetails": {"resource": "invoke"}},
        {"type": "TaskTimedOut", "taskTimedOutEventDetails": {"error": "States.Timeout"}},
        {"type": "TaskFailed", "taskFailedEventDetails": {"error": "Lambda.Down", "cause": "a secret"}},
        {"type": "ExecutionFailed", "executionFailedEventDetails": {"error": "WorkflowFailed", "cause": "a secret"}},
    ]
    execution = read_execution(stack(history), ARN)
    at = "2026-11-22T10:00:00.000Z"
    state = "Are details\ufffd Proper"
    assert execution == Execution(
        ARN,
        "FAILED",
        (state,),
        (
            Step(at, "started"),
            Step(at, f"entered {state}"),
            Step(at, f"a try of {state} failed: States.Timeout"),
            Step(at, f"a try of {state} failed: Lambda.Down"),
            Step(at, "FAILED: WorkflowFailed"),
        ),
    )
    assert AT.astimezone(UTC).hour == 10


def test_an_execution_without_an_end_is_running() -> None:
    execution = read_execution(stack([{"type": "ExecutionStarted"}]), ARN)
    assert execution is not None
    assert (execution.status, execution.name) == ("RUNNING", "one")


@pytest.mark.parametrize("code", ["ExecutionDoesNotExist", "InvalidArn"])
def test_an_execution_that_is_not_kept_any_more_is_none(code: str) -> None:
    assert read_execution(stack([], code), ARN) is None


def test_whoever_may_not_read_histories_is_told_so() -> None:
    execution = read_execution(stack([], "AccessDeniedException"), ARN)
    assert execution == Execution(
        ARN, problem="these credentials do not allow GetExecutionHistory (AccessDeniedException)"
    )


def test_any_other_error_is_one() -> None:
    with pytest.raises(ClientError):
        read_execution(stack([], "InternalError"), ARN)
