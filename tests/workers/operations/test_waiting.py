import asyncio
from typing import Any

import pytest

from tests.workers.operations.fakes import EXECUTION, FakeClient, fake_stack
from workers.aws.items import to_item
from workers.domain.submissions import submission_name
from workers.operations.stack import Stack
from workers.operations.waiting import Ended, wait_for_orders


def arn(order_id: str) -> str:
    return f"{EXECUTION}:{submission_name(order_id, 1)}"


def stack(polls: list[dict[str, Any]], executions: dict[str, str] | None = None) -> Stack:
    """Return a stack whose order table has the next of these contents with every read: attributes by OrderId."""
    states = iter(polls)
    current: dict[str, Any] = {}

    def batch_get_item(*, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        nonlocal current
        current = next(states, current)
        ((name, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {name: [to_item({"OrderId": key, **current[key]}) for key in ids if key in current]}}

    return fake_stack(
        dynamodb=FakeClient(batch_get_item=batch_get_item),
        stepfunctions=FakeClient(
            describe_execution=lambda executionArn, **_: {"status": (executions or {}).get(executionArn, "RUNNING")}  # noqa: N803
        ),
    )


def recorded(order_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {"ExecutionArn": arn(order_id), "Status": status, **more}


async def wait(stack: Stack, *order_ids: str) -> list[Ended]:
    ended: list[Ended] = []
    await wait_for_orders(stack, order_ids, ended, submission=1, poll_s=0)
    return ended


async def test_orders_are_polled_until_each_has_ended() -> None:
    polls = [
        {"1": recorded("1", "RECEIVED"), "2": recorded("2", "FULFILLED")},
        {"1": recorded("1", "ESCALATED", Reasons=["INVALID_PRICE"])},
    ]
    assert await wait(stack(polls), "1", "2") == [Ended("2", "FULFILLED"), Ended("1", "ESCALATED", ("INVALID_PRICE",))]


async def test_an_order_that_its_execution_never_recorded_ends_with_the_execution() -> None:
    assert await wait(stack([], {arn("1"): "FAILED"}), "1") == [Ended("1", "execution FAILED")]


async def test_an_order_recorded_by_another_execution_ends_with_its_status() -> None:
    other = {"ExecutionArn": f"{EXECUTION}:other", "Status": "CANCELLED"}
    assert await wait(stack([{"1": other}], {arn("1"): "FAILED"}), "1") == [Ended("1", "CANCELLED")]


async def test_a_cancelled_wait_has_reported_the_ended_orders() -> None:
    ended: list[Ended] = []
    one_ended = asyncio.Event()
    waiting = asyncio.create_task(
        wait_for_orders(
            stack([{"1": recorded("1", "FULFILLED"), "2": recorded("2", "RECEIVED")}]),
            ["1", "2"],
            ended,
            submission=1,
            poll_s=1000,
            progress=lambda done: one_ended.set() if done else None,
        )
    )
    await one_ended.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert ended == [Ended("1", "FULFILLED")]
