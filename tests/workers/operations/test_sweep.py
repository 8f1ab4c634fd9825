"""Starting the sweep, and reading what it did."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.workers.operations.fakes import FakeClient, fake_stack, refused
from tests.workers.operations.test_stuck import MACHINE, SWEEP
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import ClientError
from workers.operations.sweep import Sweep, follow, newest, start

ARN = SWEEP.replace(":stateMachine:", ":execution:") + ":s-1"
AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
OUTPUT = {
    "Deferred": None,
    "LimitSeconds": 21600,
    "QueueAgeSeconds": 42,
    "Before": "2026-11-22T05:59:18.000Z",
    "Stuck": 1,
    "Escalated": ["001"],
    "More": False,
}


def stepfunctions(*described: dict[str, Any], runs: int = 1) -> FakeClient:
    answers = iter(described)
    return FakeClient(
        start_execution=lambda **_: {"executionArn": ARN},
        list_executions=lambda **_: {"executions": [{"executionArn": ARN}][:runs]},
        describe_execution=lambda **_: {"startDate": AT, **next(answers)},
    )


async def test_a_sweep_is_followed_to_its_end() -> None:
    running = {"status": "RUNNING"}
    ended = {"status": "SUCCEEDED", "stopDate": AT, "output": json.dumps(OUTPUT)}
    client, slept = stepfunctions(running, running, ended), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    stack = fake_stack(MACHINE, stepfunctions=client)
    arn = await start(stack)
    assert client.requests == [("start_execution", {"stateMachineArn": SWEEP, "input": "{}"})]
    sweep = await follow(stack, arn, sleep)
    assert sweep == Sweep(
        execution_arn=ARN,
        status="SUCCEEDED",
        started_at="2026-11-22T12:00:00.000000Z",
        ended_at="2026-11-22T12:00:00.000000Z",
        limit_s=21600,
        queue_age_s=42,
        received_before_at="2026-11-22T05:59:18.000Z",
        escalated=["001"],
        more=False,
    )
    assert (sweep.has_looked, slept) == (True, [1.0, 1.0])


@pytest.mark.parametrize("missing", [1, 30, 31])
async def test_a_sweep_that_aws_does_not_know_everywhere_yet_is_waited_for(missing: int) -> None:
    ended = {"status": "SUCCEEDED", "output": json.dumps(OUTPUT)}
    answers: Any = iter([*[refused("ExecutionDoesNotExist")] * missing, ended])

    def describe(**_: Any) -> Any:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return {"startDate": AT, **answer}

    async def sleep(_: float) -> None: ...

    following = follow(fake_stack(MACHINE, stepfunctions=FakeClient(describe_execution=describe)), ARN, sleep)
    if missing <= 30:
        assert (await following).has_looked
    else:
        with pytest.raises(ClientError, match="ExecutionDoesNotExist"):
            await following


@pytest.mark.parametrize(
    ("described", "error"),
    [
        (
            {"status": "FAILED", "error": "SweepFailed", "cause": "The orders could not be read."},
            "The orders could not",
        ),
        ({"status": "TIMED_OUT", "error": "States.Timeout"}, "States.Timeout"),
        ({"status": "ABORTED"}, ""),
    ],
)
async def test_a_sweep_that_failed_has_an_error_and_no_result(described: dict[str, Any], error: str) -> None:
    sweep = await newest(fake_stack(MACHINE, stepfunctions=stepfunctions(described)))
    assert sweep is not None
    assert (sweep.error or "").startswith(error)
    assert (sweep.has_looked, sweep.escalated, sweep.more) == (False, None, None)


async def test_without_a_sweep_there_is_none_to_show() -> None:
    client = stepfunctions(runs=0)
    assert await newest(fake_stack(MACHINE, stepfunctions=client)) is None
    assert client.requests == [("list_executions", {"stateMachineArn": SWEEP, "maxResults": 1})]


async def test_another_error_is_raised_at_once() -> None:
    def refuse(**_: Any) -> Any:
        raise refused("AccessDeniedException")

    stack = fake_stack(MACHINE, stepfunctions=FakeClient(start_execution=refuse, describe_execution=refuse))
    with pytest.raises(ClientError, match="AccessDenied"):
        await start(stack)
    with pytest.raises(ClientError, match="AccessDenied"):
        await follow(stack, ARN)


async def test_a_deferred_sweep_has_not_looked() -> None:
    output = json.dumps(OUTPUT | {"Deferred": "OUTAGE", "Escalated": []})
    sweep = await newest(fake_stack(MACHINE, stepfunctions=stepfunctions({"status": "SUCCEEDED", "output": output})))
    assert sweep is not None
    assert (sweep.deferred, sweep.has_looked) == ("OUTAGE", False)


async def test_a_pipeline_without_a_sweep_is_named() -> None:
    def missing(**_: Any) -> Any:
        raise refused("StateMachineDoesNotExist")

    with pytest.raises(OperationError, match=r"^there is no state machine p-StuckOrderSweep: deploy the pipeline of"):
        await start(fake_stack(MACHINE, stepfunctions=FakeClient(start_execution=missing)))
