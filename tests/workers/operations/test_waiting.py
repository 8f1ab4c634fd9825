import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.workers.operations.fakes import EXECUTION, FakeClient, fake_stack
from workers.aws.items import to_item
from workers.domain.submissions import submission_name
from workers.operations import waiting
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
    task = asyncio.create_task(
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
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [Ended("1", "FULFILLED")]


async def test_an_order_recorded_while_its_execution_is_looked_at_ends_with_its_status() -> None:
    polls = [{}, {"1": recorded("1", "FULFILLED")}]
    assert await wait(stack(polls, {arn("1"): "SUCCEEDED"}), "1") == [Ended("1", "FULFILLED")]


async def test_an_order_whose_execution_has_ended_is_waited_for_until_it_has_ended_too() -> None:
    polls = [{}, {"1": recorded("1", "RECEIVED")}, {"1": recorded("1", "FULFILLED")}]
    assert await wait(stack(polls, {arn("1"): "SUCCEEDED"}), "1") == [Ended("1", "FULFILLED")]


async def test_an_order_without_a_record_is_waited_for_while_its_execution_runs() -> None:
    polls = [{}, {}, {}, {"1": recorded("1", "CANCELLED")}]
    assert await wait(stack(polls), "1") == [Ended("1", "CANCELLED")]


async def test_an_order_of_another_execution_is_waited_for_while_its_own_runs() -> None:
    other = {"ExecutionArn": f"{EXECUTION}:other", "Status": "FULFILLED"}
    polls = [{"1": other}, {"1": other}, {"1": recorded("1", "ESCALATED")}]
    assert await wait(stack(polls), "1") == [Ended("1", "ESCALATED")]


async def test_only_an_escalated_order_ends_with_reasons() -> None:
    polls = [{"1": recorded("1", "FULFILLED", Reasons=["INVALID_PRICE"])}]
    assert await wait(stack(polls), "1") == [Ended("1", "FULFILLED")]


async def test_at_most_ten_executions_are_read_per_poll_and_never_their_data() -> None:
    order_ids = [str(n) for n in range(25)]
    failed = stack([], {arn(order_id): "FAILED" for order_id in order_ids})
    reads, client = list[int](), cast("Any", failed.stepfunctions)
    ended: list[Ended] = []
    await wait_for_orders(
        failed, order_ids, ended, submission=1, poll_s=0, progress=lambda _: reads.append(len(client.requests))
    )
    assert reads == [10, 20, 25]
    assert sorted(each.order_id for each in ended) == sorted(order_ids)
    assert {request["includedData"] for _, request in client.requests} == {"METADATA_ONLY"}


@pytest.mark.parametrize(("given", "waits_s"), [({}, [1, 1]), ({"poll_s": 7}, [7, 7])])
async def test_it_waits_between_polls_and_not_after_the_last(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], waits_s: list[float]
) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    monkeypatch.setattr(waiting, "asyncio", SimpleNamespace(sleep=sleep))
    polls = [{"1": recorded("1", "RECEIVED")}] * 2 + [{"1": recorded("1", "FULFILLED")}]
    await wait_for_orders(stack(polls), ["1"], [], submission=1, **given)
    assert slept == waits_s
