from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from workers.operations.executions import Execution, Step, read_execution
from workers.operations.stack import Stack

ARN = "arn:aws:states:us-east-1:000000000000:execution:Orders:one"
AT = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=2)))


def stack(events: list[dict[str, Any]], code: str | None = None) -> Stack:
    """Return a stack with this history of one execution, a page for each event; or one that refuses to return it."""

    def history(**request: Any) -> Iterator[dict[str, Any]]:
        assert request == {"executionArn": ARN, "includeExecutionData": False}
        if code is not None:
            raise refused(code, "GetExecutionHistory")
        for event in events:
            yield {"events": [event | {"timestamp": AT}]}

    return fake_stack(stepfunctions=FakeClient(get_execution_history=history))


async def test_an_execution_has_its_states_failed_attempts_and_end() -> None:
    history: list[dict[str, Any]] = [
        {"type": "ExecutionStarted", "executionStartedEventDetails": {"roleArn": "arn"}},
        {"type": "TaskStateEntered", "stateEnteredEventDetails": {"name": "Are details\x1b Proper"}},
        {"type": "TaskScheduled", "taskScheduledEventDetails": {"resource": "invoke"}},
        {"type": "TaskTimedOut", "taskTimedOutEventDetails": {"error": "States.Timeout"}},
        {"type": "TaskFailed", "taskFailedEventDetails": {"error": "Lambda.Down", "cause": "a secret"}},
        {"type": "ExecutionFailed", "executionFailedEventDetails": {"error": "WorkflowFailed", "cause": "a secret"}},
    ]
    execution = await read_execution(stack(history), ARN)
    at = "2026-11-22T10:00:00.000Z"
    state = "Are details\ufffd Proper"
    assert execution == Execution(
        ARN,
        "FAILED",
        (state,),
        (
            Step(at, "started"),
            Step(at, f"entered {state}"),
            Step(at, f"an attempt at {state} failed: States.Timeout"),
            Step(at, f"an attempt at {state} failed: Lambda.Down"),
            Step(at, "FAILED: WorkflowFailed"),
        ),
    )
    assert AT.astimezone(UTC).hour == 10


async def test_an_execution_without_an_end_is_running() -> None:
    execution = await read_execution(stack([{"type": "ExecutionStarted"}]), ARN)
    assert execution is not None
    assert (execution.status, execution.name) == ("RUNNING", "one")


@pytest.mark.parametrize("code", ["ExecutionDoesNotExist", "InvalidArn"])
async def test_an_execution_that_aws_no_longer_keeps_is_none(code: str) -> None:
    assert await read_execution(stack([], code), ARN) is None


async def test_missing_permission_is_the_problem_of_the_execution() -> None:
    execution = await read_execution(stack([], "AccessDeniedException"), ARN)
    assert execution == Execution(
        ARN, problem="these credentials do not allow GetExecutionHistory (AccessDeniedException)"
    )


async def test_any_other_error_is_raised() -> None:
    with pytest.raises(ClientError):
        await read_execution(stack([], "InternalError"), ARN)
