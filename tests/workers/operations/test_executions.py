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
        error="WorkflowFailed",
    )
    assert AT.astimezone(UTC).hour == 10


async def test_an_execution_without_an_end_is_running() -> None:
    execution = await read_execution(stack([{"type": "ExecutionStarted"}]), ARN)
    assert execution is not None
    assert (execution.status, execution.name) == ("RUNNING", "one")


@pytest.mark.parametrize("code", ["ExecutionDoesNotExist", "InvalidArn", "ValidationException"])
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


@pytest.mark.parametrize(
    ("kind", "error", "status", "text"),
    [
        ("ExecutionSucceeded", None, "SUCCEEDED", "SUCCEEDED"),
        ("ExecutionFailed", "DuplicateOrder", "FAILED", "FAILED: DuplicateOrder (the stored order is unchanged)"),
        ("ExecutionAborted", None, "ABORTED", "ABORTED"),
        ("ExecutionTimedOut", "States.Timeout", "TIMED_OUT", "TIMED_OUT: States.Timeout"),
        ("TaskFailed", "Lambda.\x1bDown", "RUNNING", "an attempt at a state failed: Lambda.\ufffdDown"),
        ("LambdaFunctionTimedOut", None, "RUNNING", "an attempt at a state failed"),
    ],
)
async def test_an_event_is_a_status_and_a_step(kind: str, error: str | None, status: str, text: str) -> None:
    event = {"type": kind, "previousEventId": 1, "details": {} if error is None else {"error": error}}
    execution = await read_execution(stack([event]), ARN)
    ended_with = error if status in {"FAILED", "TIMED_OUT"} else None
    assert execution == Execution(ARN, status, (), (Step("2026-11-22T10:00:00.000Z", text),), error=ended_with)


async def test_times_have_milliseconds() -> None:
    at = datetime(2026, 11, 22, 10, 0, 1, 123456, tzinfo=UTC)
    pages = [{"events": [{"type": "ExecutionStarted", "timestamp": at}]}]
    fake = fake_stack(stepfunctions=FakeClient(get_execution_history=lambda **_: pages))
    execution = await read_execution(fake, ARN)
    assert execution is not None
    assert execution.steps == (Step("2026-11-22T10:00:01.123Z", "started"),)


async def test_the_states_of_an_execution_are_in_their_order() -> None:
    history: list[dict[str, Any]] = [
        {"type": "PassStateEntered", "stateEnteredEventDetails": {"name": name}} for name in ("A", "B", "A", "C")
    ]
    execution = await read_execution(stack([*history, {"type": "TaskFailed"}]), ARN)
    assert execution is not None
    assert execution.states == ("A", "B", "A", "C")
    entered = ["entered A", "entered B", "entered A", "entered C"]
    assert [step.text for step in execution.steps] == [*entered, "an attempt at C failed"]


async def test_an_internal_error_is_raised_as_it_is() -> None:
    def history(**_: Any) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await read_execution(fake_stack(stepfunctions=FakeClient(get_execution_history=history)), ARN)


async def test_an_execution_that_was_redriven_is_running_again() -> None:
    history = [{"type": kind} for kind in ("ExecutionStarted", "ExecutionFailed", "ExecutionRedriven")]
    execution = await read_execution(stack(history), ARN)
    assert execution is not None
    assert (execution.status, [step.text for step in execution.steps]) == ("RUNNING", ["started", "FAILED", "redriven"])
    assert (execution.ended_at, execution.end) == (None, "RUNNING")


async def test_an_execution_has_a_start_and_an_end() -> None:
    history: list[dict[str, Any]] = [
        {"type": "ExecutionStarted", "timestamp": AT},
        {"type": "PassStateEntered", "stateEnteredEventDetails": {"name": "A"}, "timestamp": AT + timedelta(seconds=1)},
        {"type": "ExecutionAborted", "timestamp": AT + timedelta(seconds=2)},
    ]
    aws = FakeClient(get_execution_history=lambda **_: [{"events": history}])
    execution = await read_execution(fake_stack(stepfunctions=aws), ARN)
    assert execution is not None
    times = execution.started_at, execution.ended_at
    assert (times, execution.end) == (("2026-11-22T10:00:00.000Z", "2026-11-22T10:00:02.000Z"), "ABORTED")


def test_an_execution_that_is_not_known_has_neither() -> None:
    unknown = Execution(ARN, problem="does not exist, or no longer")
    assert (unknown.started_at, unknown.ended_at, unknown.end) == (None, None, None)


TO_FULFILLMENT = ("Update the order table", "Are details Proper", "Put message in OrderFulfillment Queue")


@pytest.mark.parametrize(
    ("execution", "sent"),
    [
        (Execution(ARN, "SUCCEEDED", TO_FULFILLMENT), True),
        (Execution(ARN, "FAILED", TO_FULFILLMENT), False),
        (Execution(ARN, "FAILED", (*TO_FULFILLMENT, "Put failed order in Escalation Queue")), False),
        (Execution(ARN, "SUCCEEDED", ("Put message in Escalation Queue",)), False),
        (Execution(ARN, "RUNNING", ("Are details Proper",)), True),
        (Execution(ARN, problem="unknown"), True),
    ],
)
def test_an_execution_has_sent_its_order_only_if_that_was_its_end(execution: Execution, *, sent: bool) -> None:
    assert execution.may_have_sent_to_fulfillment is sent


@pytest.mark.parametrize(
    ("execution", "runs"),
    [
        (Execution(ARN, "RUNNING", (), (Step("2026-11-22T11:55:00.000Z", "started"),)), True),
        (Execution(ARN, "RUNNING", (), (Step("2026-11-22T11:00:00.000Z", "started"),)), False),
        (Execution(ARN, "RUNNING", (), (Step("2026-11-22T11:00:00.001Z", "started"),)), True),
        (
            Execution(ARN, "RUNNING", (), (Step("2026-11-22T10:00:00.000Z", "a"), Step("2026-11-22T11:50:00Z", "b"))),
            True,
        ),
        (Execution(ARN, "RUNNING", (), (Step("yesterday", "started"),)), True),
        (Execution(ARN, "RUNNING"), True),
        (Execution(ARN, "FAILED", (), (Step("2026-11-22T11:55:00.000Z", "FAILED"),)), False),
    ],
)
def test_an_execution_runs_until_its_time_is_over(execution: Execution, *, runs: bool) -> None:
    assert execution.is_running(datetime(2026, 11, 22, 12, tzinfo=UTC)) is runs


@pytest.mark.parametrize(
    ("states", "reached", "recorded"),
    [(TO_FULFILLMENT, True, True), (TO_FULFILLMENT[:2], False, True), (TO_FULFILLMENT[:1], False, False)],
)
def test_an_execution_has_done_what_comes_before_the_states_that_it_entered(
    states: tuple[str, ...], *, reached: bool, recorded: bool
) -> None:
    execution = Execution(ARN, "FAILED", states)
    assert (execution.reached_fulfillment, execution.has_recorded) == (reached, recorded)
