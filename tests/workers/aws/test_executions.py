import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.aws.sdk_fakes import FakeSdk, refusal
from workers.aws.executions import Executions
from workers.errors import OutageError

STATE_MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:Orders"
ORDER = {"OrderId": "001", "Name": "Zo\u00eb"}


def executions(*answers: Any) -> tuple[Executions, FakeSdk]:
    client: Any = FakeSdk(start_execution=[*answers])
    return Executions(client, STATE_MACHINE), client


async def test_an_execution_is_started_with_the_order_as_its_input() -> None:
    started, client = executions({"executionArn": "arn:started"})
    assert await started.start("one", ORDER) == "arn:started"
    assert client.requests == [
        ("start_execution", {"stateMachineArn": STATE_MACHINE, "name": "one", "input": json.dumps(ORDER)})
    ]


async def test_an_execution_that_exists_is_not_started_again() -> None:
    started, _ = executions(refusal("ExecutionAlreadyExists"))
    arn = "arn:aws:states:us-east-1:000000000000:execution:Orders:one"
    assert await started.start("one", ORDER) == started.arn("one") == arn


@pytest.mark.parametrize("code", ["InvalidExecutionInput", "InvalidName", "ValidationException"])
async def test_a_refused_execution_is_the_fault_of_its_request(code: str) -> None:
    started, _ = executions(refusal(code))
    with pytest.raises(ClientError, match=code):
        await started.start("one", ORDER)


async def test_throttling_is_an_outage() -> None:
    started, _ = executions(refusal("ThrottlingException"))
    with pytest.raises(OutageError):
        await started.start("one", ORDER)
