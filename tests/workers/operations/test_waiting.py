import asyncio
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, Waits, fake_stack, refused
from workers import clock
from workers.aws.items import to_item
from workers.domain.submissions import recorded_fields, submission_name
from workers.operations import waiting
from workers.operations.ledger import Entry, State, marks_of
from workers.operations.retries import Retries
from workers.operations.stack import Stack
from workers.operations.waiting import Ended, wait_for_orders


def arn(order_id: str) -> str:
    return f"{EXECUTION}:{submission_name(order_id, 1)}"


def entry(order_id: str, **known: Any) -> Entry:
    order = {"Name": "Ada", "ItemName": "Bicycle", "Price": "1", "CC": "4929123412345678"}
    return Entry(order_id, "orders.csv", 1, marks_of(recorded_fields(order)), **known)


def stack(
    polls: list[dict[str, Any]], executions: dict[str, str] | None = None, errors: dict[str, str] | None = None
) -> Stack:
    """
    Return a stack whose order table has the next of these contents with every read: attributes by OrderId.

    *executions* are the states of executions, by ARN, *errors* those with which they failed; others run.
    """
    states = iter(polls)
    current: dict[str, Any] = {}

    def batch_get_item(*, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        nonlocal current
        current = next(states, current)
        ((name, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {name: [to_item({"OrderId": key, **current[key]}) for key in ids if key in current]}}

    def history(executionArn: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        details = {"error": error} if (error := (errors or {}).get(executionArn)) else {}
        yield {"events": [{"type": "ExecutionFailed", "timestamp": NOW, "executionFailedEventDetails": details}]}

    return fake_stack(
        dynamodb=FakeClient(batch_get_item=batch_get_item),
        stepfunctions=FakeClient(
            describe_execution=lambda executionArn, **_: {  # noqa: N803
                "status": (executions or {}).get(executionArn, "RUNNING"),
                "startDate": NOW,
            },
            get_execution_history=history,
        ),
    )


def recorded(order_id: str, status: str, **more: Any) -> dict[str, Any]:
    return {"ExecutionArn": arn(order_id), "Status": status, **more}


async def wait(stack: Stack, *orders: str | Entry, **options: Any) -> list[Ended]:
    ended: list[Ended] = []
    entries = [order if isinstance(order, Entry) else entry(order) for order in orders]
    await wait_for_orders(stack, entries, ended, submission=1, poll_s=0, **options)
    return ended


async def test_orders_are_polled_until_each_has_ended() -> None:
    polls = [
        {"1": recorded("1", "RECEIVED"), "2": recorded("2", "FULFILLED")},
        {"1": recorded("1", "ESCALATED", Reasons=["INVALID_PRICE"])},
    ]
    assert await wait(stack(polls), "1", "2") == [Ended("2", "FULFILLED"), Ended("1", "ESCALATED", ("INVALID_PRICE",))]


async def test_an_order_that_its_execution_never_recorded_ends_with_the_execution() -> None:
    problem = "its execution ended as {} and recorded no order"
    assert await wait(stack([], {arn("1"): "ABORTED"}), "1") == [
        Ended("1", "execution ABORTED", problem=problem.format("ABORTED"))
    ]
    failed = stack([], {arn("1"): "FAILED"}, {arn("1"): "WorkflowFailed"})
    assert await wait(failed, "1") == [
        Ended("1", "execution FAILED", ("WorkflowFailed",), problem=problem.format("FAILED (WorkflowFailed)"))
    ]


OTHER = {
    "ExecutionArn": f"{EXECUTION}:other",
    "Name": "Ada",
    "ItemName": "Bicycle",
    "Price": "1",
    "CC": "************5678",
    "Status": "FULFILLED",
    "StartedAt": clock.written(NOW - timedelta(hours=1)),
}
LATER = clock.written(NOW + timedelta(seconds=1))


@pytest.mark.parametrize("started_at", [OTHER["StartedAt"], LATER])
async def test_an_order_that_the_workflow_refuses_as_a_duplicate_is_not_taken_for_fulfilled(started_at: str) -> None:
    refused_one = stack(
        [{"1": OTHER | {"StartedAt": started_at, "Price": "2"}}], {arn("1"): "FAILED"}, {arn("1"): "DuplicateOrder"}
    )
    problem = (
        "the workflow refused it as a duplicate: the stored order, recorded by execution other, is FULFILLED and "
        "differs in Price; a new order needs an OrderId of its own"
    )
    assert await wait(refused_one, "1") == [Ended("1", "REFUSED", ("DuplicateOrder",), problem=problem)]


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
async def test_a_thousand_refused_submissions_need_no_execution_read_if_the_orders_are_final(status: str) -> None:
    order_ids = [str(n) for n in range(1000)]
    final = stack([dict.fromkeys(order_ids, OTHER | {"Status": status})])
    ended = await wait(final, *(entry(order_id, started_at=NOW) for order_id in order_ids))
    assert {order.outcome for order in ended} == {"REFUSED"}
    assert len(ended) == 1000
    assert cast("Any", final.stepfunctions).requests == []


async def test_an_order_of_which_no_execution_was_started_ends_with_its_state() -> None:
    in_progress = OTHER | {"Status": "RECEIVED"}
    polls = [
        {"1": OTHER, "2": in_progress, "3": in_progress, "4": recorded("4", "FULFILLED")},
        {"2": OTHER | {"Status": "ESCALATED", "Reasons": ["INVALID_PRICE"]}},
    ]
    waited = stack(polls)
    assert await wait(waited, *(entry(order_id, state=State.TAKEN) for order_id in "1234")) == [
        Ended("1", "FULFILLED", other_submission=True),
        Ended("4", "FULFILLED"),
        Ended("2", "ESCALATED", ("INVALID_PRICE",), other_submission=True),
        Ended("3", "not found", other_submission=True, problem="the stored order is gone"),
    ]
    assert cast("Any", waited.stepfunctions).requests == []


@pytest.mark.parametrize(
    "item",
    [
        {"StartedAt": clock.written(NOW)},  # Perhaps this execution was first, and the other has started it over.
        {"StartedAt": "unknown"},
        {"Status": "ESCALATED"},
        {"Status": "RECEIVED"},
    ],
)
async def test_otherwise_its_execution_says_whether_a_submission_was_refused(item: dict[str, Any]) -> None:
    refused_one = stack([{"1": OTHER | item}], {arn("1"): "FAILED"}, {arn("1"): "DuplicateOrder"})
    (order,) = await wait(refused_one, entry("1", started_at=NOW))
    assert order.outcome == "REFUSED"
    assert len(cast("Any", refused_one.stepfunctions).requests) == 2


async def test_a_refused_submission_has_ended_although_the_stored_order_has_not() -> None:
    in_progress = stack([{"1": OTHER | {"Status": "RECEIVED"}}], {arn("1"): "FAILED"}, {arn("1"): "DuplicateOrder"})
    problem = "the workflow refused it as a duplicate: the stored order is RECEIVED, in progress; see `orders show 1`"
    assert await wait(in_progress, "1") == [Ended("1", "REFUSED", ("DuplicateOrder",), problem=problem)]


@pytest.mark.parametrize(
    ("status", "error", "started_at"),
    [("SUCCEEDED", None, LATER), ("SUCCEEDED", None, OTHER["StartedAt"]), ("FAILED", "EscalationNotSent", LATER)],
)
async def test_an_order_that_a_later_execution_has_started_over_ends_as_resubmitted(
    status: str, error: str | None, started_at: str
) -> None:
    errors = {arn("1"): error} if error else {}
    other = OTHER | {"StartedAt": started_at}
    polls = [{"1": other | {"Status": "RECEIVED"}}] * 3 + [{"1": other}]
    assert await wait(stack(polls, {arn("1"): status}, errors), "1") == [Ended("1", "FULFILLED", resubmitted=True)]


@pytest.mark.parametrize(
    "item",
    [
        OTHER,
        {name: value for name, value in OTHER.items() if name != "StartedAt"},
        OTHER | {"StartedAt": clock.written(NOW)},
    ],
)
async def test_a_failed_execution_is_not_taken_for_the_order_of_an_earlier_one(item: dict[str, Any]) -> None:
    for error, named in ((None, ""), ("WorkflowFailed", " (WorkflowFailed)")):
        failed = stack([{"1": item}], {arn("1"): "FAILED"}, {arn("1"): error} if error else {})
        problem = f"its execution ended as FAILED{named} and recorded no order"
        assert await wait(failed, "1") == [Ended("1", "execution FAILED", (error,) if error else (), problem=problem)]


async def test_an_execution_that_is_not_known_yet_counts_as_running() -> None:
    answers = iter([refused("ExecutionDoesNotExist", "DescribeExecution")] * 3)

    def describe_execution(**_: Any) -> dict[str, Any]:
        if (error := next(answers, None)) is not None:
            raise error
        return {"status": "FAILED", "startDate": NOW}

    fake = stack([], {}, {arn("1"): "WorkflowFailed"})
    cast("Any", fake.stepfunctions).operations["describe_execution"] = describe_execution
    assert [order.outcome for order in await wait(fake, "1")] == ["execution FAILED"]


async def test_an_execution_that_stays_unknown_ends_its_order_and_no_other() -> None:
    def describe_execution(**_: Any) -> None:
        raise refused("ExecutionDoesNotExist", "DescribeExecution")

    fake = stack([{"2": recorded("2", "FULFILLED")}])
    cast("Any", fake.stepfunctions).operations["describe_execution"] = describe_execution
    assert await wait(fake, "1", "2", missing_s=0) == [
        Ended("2", "FULFILLED"),
        Ended("1", "execution not found", problem="its execution was not found"),
    ]
    assert waiting.MISSING_S == 60


async def test_any_other_refusal_to_describe_an_execution_is_an_error() -> None:
    def describe_execution(**_: Any) -> None:
        raise refused("AccessDeniedException", "DescribeExecution")

    fake = stack([])
    cast("Any", fake.stepfunctions).operations["describe_execution"] = describe_execution
    with pytest.raises(ClientError, match="AccessDeniedException"):
        await wait(fake, "1")


@pytest.mark.parametrize("operation", ["describe_execution", "get_execution_history"])
async def test_throttled_reads_are_retried(operation: str) -> None:
    fake = stack([], {arn("1"): "FAILED"}, {arn("1"): "WorkflowFailed"})
    operations = cast("Any", fake.stepfunctions).operations
    throttled, real = iter([refused("ThrottlingException", operation)] * 5), operations[operation]

    def throttling(**request: Any) -> Any:
        if (error := next(throttled, None)) is not None:
            raise error
        return real(**request)

    operations[operation] = throttling
    warnings: list[str] = []
    (order,) = await wait(fake, "1", retries=Retries(backoff=Waits(), warn=warnings.append))
    assert order.reasons == ("WorkflowFailed",)
    assert len(warnings) == 1


async def test_a_cancelled_wait_has_reported_the_ended_orders() -> None:
    ended: list[Ended] = []
    one_ended = asyncio.Event()
    task = asyncio.create_task(
        wait_for_orders(
            stack([{"1": recorded("1", "FULFILLED"), "2": recorded("2", "RECEIVED")}]),
            map(entry, ["1", "2"]),
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

    def described() -> int:
        return [operation for operation, _ in client.requests].count("describe_execution")

    ended: list[Ended] = []
    await wait_for_orders(
        failed, map(entry, order_ids), ended, submission=1, poll_s=0, progress=lambda _: reads.append(described())
    )
    assert reads == [10, 20, 25]
    assert sorted(each.order_id for each in ended) == sorted(order_ids)
    for operation, request in client.requests:
        without_data = {"describe_execution": ("includedData", "METADATA_ONLY")}
        name, value = without_data.get(operation, ("includeExecutionData", False))
        assert request[name] == value


@pytest.mark.parametrize(("given", "waits_s"), [({}, [1, 1]), ({"poll_s": 7}, [7, 7])])
async def test_it_waits_between_polls_and_not_after_the_last(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], waits_s: list[float]
) -> None:
    slept: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)

    monkeypatch.setattr(waiting, "asyncio", SimpleNamespace(sleep=sleep))
    polls = [{"1": recorded("1", "RECEIVED")}] * 2 + [{"1": recorded("1", "FULFILLED")}]
    await wait_for_orders(stack(polls), [entry("1")], [], submission=1, **given)
    assert slept == waits_s


async def test_only_so_many_orders_are_waited_for_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 3)
    order_ids = [str(n) for n in range(8)]
    taken = list[str]()
    asked = list[int]()

    def entries() -> Iterator[Entry]:
        for order_id in order_ids:
            taken.append(order_id)
            yield entry(order_id)

    def batch_get_item(*, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        ((table, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        asked.append(len(ids))
        assert len(taken) <= 3 + len(ended)
        first = {"OrderId": ids[0], **recorded(ids[0], "FULFILLED")}
        return {"Responses": {table: [to_item(first)]}}

    running = FakeClient(describe_execution=lambda **_: {"status": "RUNNING", "startDate": NOW})
    ended: list[Ended] = []
    slow = fake_stack(dynamodb=FakeClient(batch_get_item=batch_get_item), stepfunctions=running)
    await wait_for_orders(slow, entries(), ended, submission=1, poll_s=0)
    assert [order.order_id for order in ended] == order_ids
    assert max(asked) == 3


async def test_orders_that_have_ended_long_ago_are_read_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WAITING", 4)
    order_ids = [str(n) for n in range(7)]
    final = {order_id: recorded(order_id, "FULFILLED") for order_id in order_ids}
    slow = final | {"0": recorded("0", "RECEIVED")}
    ended: list[Ended] = []
    # A pause would never end.
    work = wait_for_orders(stack([slow, slow, final]), map(entry, order_ids), ended, submission=1, poll_s=1e9)
    await asyncio.wait_for(work, timeout=60)
    assert len(ended) == 7


async def test_there_is_a_pause_unless_half_of_the_orders_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[int] = []

    async def sleep(_: float) -> None:
        slept.append(len(ended))

    monkeypatch.setattr(waiting, "MAX_WAITING", 4)
    monkeypatch.setattr(waiting, "asyncio", SimpleNamespace(sleep=sleep))
    final = {order_id: recorded(order_id, "FULFILLED") for order_id in "123456"}
    running = {order_id: recorded(order_id, "RECEIVED") for order_id in "3456"}
    ended: list[Ended] = []
    polls = [{**final, **running}, {**final, "4": running["4"], "5": running["5"], "6": running["6"]}, final]
    await wait_for_orders(stack(polls), map(entry, "123456"), ended, submission=1)
    assert ([order.order_id for order in ended], slept) == ([*"123456"], [3])
