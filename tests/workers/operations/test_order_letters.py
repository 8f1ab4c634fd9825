import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.workers.operations.fakes import EXECUTION, refused
from tests.workers.operations.queue_fakes import FakeQueue
from workers.domain.submissions import submission_name
from workers.errors import FatalError
from workers.operations.errors import OperationError
from workers.operations.names import Names
from workers.operations.order_letters import MAX_LOOKED_AT, Search, Subject, search
from workers.operations.stack import Queue

if TYPE_CHECKING:
    from workers.operations.stack import Stack

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NAMES = Names("Orders", "Cases", "Fulfillment", "Escalation", "Machine")
EMPTY = FakeQueue()


def stack_of(fulfillment: FakeQueue, escalation: FakeQueue = EMPTY) -> "Stack":
    """Return a stack whose two dead-letter queues are these."""
    queues = {"dlq-Fulfillment": fulfillment, "dlq-Escalation": escalation}

    async def queue(name: str) -> Queue:
        counts = {"ApproximateNumberOfMessages": "3", "ApproximateNumberOfMessagesNotVisible": "4"}
        return Queue(name, f"url-{name}", counts, f"{name}DLQ", f"dlq-{name}")

    async def attributes(url: str) -> dict[str, str]:
        answer: dict[str, dict[str, str]] = await queues[url].call("get_queue_attributes", QueueUrl=url)
        return answer["Attributes"]

    async def call(operation: str, **request: Any) -> Any:
        return await queues[request["QueueUrl"]].call(operation, **request)

    async def owns(queue: Queue) -> bool:
        return queue.name == "Fulfillment"

    async def ages(operation: str, **request: Any) -> Any:
        assert (operation, request["MetricName"]) == ("get_metric_statistics", "ApproximateAgeOfOldestMessage")
        return {"Datapoints": [{"Timestamp": NOW, "Maximum": 90.0}]}

    return cast(
        "Stack",
        SimpleNamespace(
            sqs=SimpleNamespace(call=call),
            cloudwatch=SimpleNamespace(call=ages),
            queue=queue,
            attributes=attributes,
            owns=owns,
            names=NAMES,
            now=lambda: NOW,
        ),
    )


def queue_of(**bodies: str | dict[str, Any]) -> FakeQueue:
    queue = FakeQueue(*bodies)
    for message_id, body in bodies.items():
        queue.parts[message_id] = {"Body": body if isinstance(body, str) else json.dumps(body)}
    return queue


def found(searched: Search) -> list[str]:
    return [letter.id for letter in searched.letters]


async def test_dead_letters_are_found_by_order_execution_and_message() -> None:
    fulfillment = queue_of(
        bare="001",
        padded="\ufeff 001\n",
        contract={"OrderId": "001", "ExecutionArn": f"{EXECUTION}:one"},
        other="002",
        undecodable="no order at all",
        mentions={"OrderId": "002", "Detail": "001"},
    )
    escalation = queue_of(
        notice={"OrderId": None, "ExecutionArn": f"{EXECUTION}:one"},
        submitted={"ExecutionArn": f"{EXECUTION}:{submission_name('001', 7)}"},
        another={"ExecutionArn": f"{EXECUTION}:{submission_name('002', 7)}"},
        absorbed="{}",
    )
    subject = Subject("001", {f"{EXECUTION}:one"}, {"absorbed"})
    first, second = await search(stack_of(fulfillment, escalation), subject)
    assert sorted(found(first)) == ["bare", "contract", "padded"]
    assert sorted(found(second)) == ["absorbed", "notice", "submitted"]
    assert (first.looked_at, first.approximate_count, first.gap) == (6, 6, None)
    assert (first.choice, first.waiting, first.oldest_s) == ("fulfillment", 7, 90)
    assert len(fulfillment.visible) == 6, "all are visible again"


async def test_the_dead_letter_of_a_case_without_an_order_is_found() -> None:
    queue = queue_of(lost="no order at all", other="no order either")
    for message_id in ("lost", "other"):
        queue.parts[message_id]["MessageAttributes"] = {
            "Reason": {"StringValue": "UNDECODABLE_MESSAGE: no", "DataType": "String"},
            "OriginMessageId": {"StringValue": f"m-{message_id}", "DataType": "String"},
        }
    first, _ = await search(stack_of(queue), Subject("message-m-lost"))
    assert found(first) == ["lost"]


async def test_an_empty_queue_is_not_received_from() -> None:
    queue = FakeQueue()
    first, _ = await search(stack_of(queue), Subject("001"))
    assert (first.letters, first.gap, queue.calls) == ((), None, ["get_queue_attributes"])


async def test_letters_are_the_oldest_first_and_those_of_an_unknown_age_last() -> None:
    queue, now_ms = queue_of(unknown="001", young="001", old="001"), int(NOW.timestamp() * 1000)
    queue.parts["young"]["Attributes"] = {"SentTimestamp": str(now_ms + 500)}  # By SQS's clock.
    queue.parts["old"]["Attributes"] = {"SentTimestamp": str(now_ms - 500)}
    first, _ = await search(stack_of(queue), Subject("001"))
    assert found(first) == ["old", "young", "unknown"]


async def test_an_empty_queue_has_no_oldest_message() -> None:
    stack = stack_of(EMPTY)
    queue = await stack.queue("Fulfillment")

    async def empty(name: str) -> Queue:
        return replace(queue, name=name, attributes={})

    stack.queue = empty  # type: ignore[method-assign]
    first, _ = await search(stack, Subject("001"))
    assert (first.waiting, first.oldest_s) == (0, None)


async def test_only_so_many_letters_are_looked_at() -> None:
    queue = FakeQueue(*(f"{n:04}" for n in range(MAX_LOOKED_AT + 30)))
    first, _ = await search(stack_of(queue), Subject(f"{MAX_LOOKED_AT + 20:04}"))
    assert (first.letters, first.looked_at, first.approximate_count) == ((), MAX_LOOKED_AT, MAX_LOOKED_AT + 30)
    assert first.gap == "looked at 500 of about 530; there may be others of this order"
    assert not queue.hidden


@pytest.mark.parametrize("error", [None, OperationError("no"), refused("AccessDenied", "ReceiveMessage", 403)])
async def test_a_queue_is_shown_by_its_name_however_it_is_named(error: Exception | None) -> None:
    stack, known = stack_of(EMPTY), stack_of(EMPTY).queue
    stack.names = Names("Orders", "Cases", "http://x/111122223333/Fulfillment", "Escalation", "Machine")

    async def queue(name: str) -> Queue:
        if error is not None:
            raise error
        return await known(name.rpartition("/")[2])

    stack.queue = queue  # type: ignore[method-assign]
    assert [searched.queue for searched in await search(stack, Subject("001"))] == ["Fulfillment", "Escalation"]


async def test_letters_are_looked_at_for_a_limited_time() -> None:
    seconds = itertools.count()
    queue = FakeQueue(*(f"{n:03}" for n in range(100)), batch=1)
    first, _ = await search(stack_of(queue), Subject("000"), now_s=lambda: float(next(seconds)))
    assert (found(first), first.looked_at, first.gap is None) == (["000"], 5, False)


async def test_letters_that_another_consumer_holds_are_not_looked_at() -> None:
    queue = FakeQueue("001")
    queue.counts = {"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesNotVisible": "5"}
    first, _ = await search(stack_of(queue), Subject("001"))
    assert (found(first), first.looked_at, first.approximate_count) == (["001"], 1, 6)
    assert first.gap is not None


def failing(error: Exception) -> "Stack":
    stack = stack_of(EMPTY, queue_of(one="001"))

    async def queue(name: str, known: Callable[[str], Any] = stack.queue) -> Queue:
        if name == "Fulfillment":
            raise error
        return cast("Queue", await known(name))

    stack.queue = queue  # type: ignore[method-assign]
    return stack


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (OperationError("there is no queue Fulfillment"), "there is no queue Fulfillment"),
        (
            FatalError("the AWS SDK cannot make calls: Invalid endpoint"),
            "the AWS SDK cannot make calls: Invalid endpoint",
        ),
        (
            refused("AccessDenied", "ReceiveMessage", 403),
            "these credentials do not allow ReceiveMessage (AccessDenied)",
        ),
    ],
)
async def test_a_queue_that_cannot_be_read_is_said_and_the_other_is_read(error: Exception, problem: str) -> None:
    first, second = await search(failing(error), Subject("001"))
    assert (first.problem, first.gap, first.waiting, first.letters) == (problem, problem, None, ())
    assert found(second) == ["one"]


async def test_an_sqs_that_does_not_answer_is_not_waited_for() -> None:
    queue = queue_of(one="001")
    queue.pause("get_queue_attributes")
    first, second = await search(stack_of(queue, queue), Subject("001"), max_answer_s=0)
    assert [found.problem for found in (first, second)] == ["SQS has not answered within 0 seconds"] * 2


async def test_letters_that_could_not_be_made_visible_are_said() -> None:
    queue = queue_of(one="001")
    queue.refused.add("change_message_visibility_batch")
    first, _ = await search(stack_of(queue), Subject("001"))
    assert found(first) == ["one"]
    assert first.problem is not None
    assert "visible again in 60 seconds" in first.problem


async def test_letters_are_only_counted_if_nobody_wants_to_look() -> None:
    queue = FakeQueue("m-1")
    found, _ = await search(stack_of(queue), Subject("1"), look=False)
    assert (found.letters, found.looked_at, found.approximate_count) == ((), 0, 1)
    assert "receive_message" not in queue.calls
    assert found.gap == "looked at 0 of about 1; there may be others of this order"
