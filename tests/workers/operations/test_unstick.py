"""What is sent about an order that hangs, and when nothing is."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, fake_stack, refused
from workers.aws.items import from_item, to_item
from workers.consumer.message import Message
from workers.contracts import decode_escalation, decode_fulfillment
from workers.domain.reasons import Reason
from workers.operations.errors import OperationError
from workers.operations.unstick import escalate, read_to_escalate, requeue

ARN = f"{EXECUTION}:one"
VERIFIED = ("Update the order table", "Are details Proper", "Put message in Queue")
SENT = (*VERIFIED, "Put message in OrderFulfillment Queue")
ESCALATE = "escalate it with `orders escalate`; a resubmission from its case then verifies it"


class Aws:
    """One order, perhaps with a case, its execution, and the queues. `sent`: the queue and the body of each message."""

    def __init__(
        self, status: str | None = "RECEIVED", case: dict[str, Any] | None = None, *, arn: str | None = ARN
    ) -> None:
        self.items = {"CaseId": case, "OrderId": None if status is None else {"OrderId": "001", "Status": status}}
        if arn is not None and status is not None:
            self.items["OrderId"] = {**(self.items["OrderId"] or {}), "ExecutionArn": arn}
        self.states: Sequence[str] = SENT
        self.end: str | None = "ExecutionSucceeded"
        self.age = timedelta(minutes=10)
        self.error: str | None = None
        self.waiting = "0"
        self.sent: list[tuple[str, str]] = []
        self.stack = fake_stack(
            dynamodb=FakeClient(get_item=self._get_item),
            stepfunctions=FakeClient(get_execution_history=self._history),
            sqs=FakeClient(
                get_queue_url=lambda QueueName: {"QueueUrl": QueueName},  # noqa: N803 - AWS's name.
                get_queue_attributes=self._attributes,
                send_message=self._send,
            ),
        )

    def _get_item(self, *, Key: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        ((name, _),) = from_item(Key).items()
        item = self.items[name]
        return {} if item is None else {"Item": to_item(item)}

    def _history(self, *, executionArn: str, includeExecutionData: bool) -> Iterator[Any]:  # noqa: N803
        assert (executionArn, includeExecutionData) == (ARN, False)
        if self.error is not None:
            raise refused(self.error, "GetExecutionHistory")
        at = NOW - self.age
        events: list[dict[str, Any]] = [{"type": "ExecutionStarted", "timestamp": at}]
        for state in self.states:
            entered = {"stateEnteredEventDetails": {"name": state}}
            events.append({"type": "TaskStateEntered", "timestamp": at} | entered)
        yield {"events": events + ([{"type": self.end, "timestamp": at}] if self.end else [])}

    def _attributes(self, **_: Any) -> dict[str, Any]:
        policy = {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ"}'}
        return {"Attributes": policy | {"ApproximateNumberOfMessages": self.waiting}}

    def _send(self, *, QueueUrl: str, MessageBody: str) -> dict[str, Any]:  # noqa: N803
        self.sent.append((QueueUrl, MessageBody))
        return {"MessageId": "m-1"}

    async def refusal(self, work: Any) -> str:
        with pytest.raises(OperationError) as raised:
            await work
        assert self.sent == []
        return str(raised.value)


async def test_the_message_of_a_verified_order_is_sent_again() -> None:
    aws = Aws()
    aws.waiting = "3"
    sent = await requeue(aws.stack, "001")
    assert (sent.order_id, sent.queue, sent.message_id, sent.waiting) == ("001", "OrderFulfillmentQueue", "m-1", 3)
    ((queue, body),) = aws.sent
    request = decode_fulfillment(Message(id="m-1", receipt_handle="r", body=body, receive_count=1))
    assert queue == "OrderFulfillmentQueue"
    # As resubmitted: an earlier submission may have left a case open, which the end of the order closes.
    assert (request.order_id, request.execution_arn, request.resubmitted) == ("001", ARN, True)


@pytest.mark.parametrize("end", ["ExecutionFailed", "ExecutionAborted", "ExecutionTimedOut", None])
async def test_an_execution_that_came_as_far_as_sending_has_verified_its_order(end: str | None) -> None:
    aws = Aws()
    aws.end = end
    await requeue(aws.stack, "001")
    assert len(aws.sent) == 1


@pytest.mark.parametrize(
    "states", [(), VERIFIED[:1], VERIFIED[:2], VERIFIED, (*VERIFIED, "Put message in Escalation Queue")]
)
async def test_an_order_that_was_not_verified_is_not_sent(states: Sequence[str]) -> None:
    aws = Aws()
    aws.states, aws.end = states, "ExecutionAborted"
    last = f" after {states[-1]!r}" if states else ""
    assert await aws.refusal(requeue(aws.stack, "001")) == (
        f"order 001 is not sent to a worker: its execution ended{last} as ABORTED without a message to a worker;"
        f" {ESCALATE}"
    )


async def test_an_order_whose_execution_is_gone_is_not_sent() -> None:
    expected = (
        "order 001 is not sent to a worker: its execution has no history, or no longer, so nothing shows that it was"
        f" verified; {ESCALATE}"
    )
    gone = Aws()
    gone.error = "ExecutionDoesNotExist"
    assert await gone.refusal(requeue(gone.stack, "001")) == expected
    unnamed = Aws(arn=None)
    assert await unnamed.refusal(requeue(unnamed.stack, "001")) == expected


async def test_a_history_that_may_not_be_read_is_no_reason_to_send() -> None:
    aws = Aws()
    aws.error = "AccessDeniedException"
    assert "do not allow GetExecutionHistory" in await aws.refusal(requeue(aws.stack, "001"))


async def test_a_running_execution_is_waited_for() -> None:
    aws = Aws()
    aws.states, aws.end = VERIFIED, None
    assert await aws.refusal(requeue(aws.stack, "001")) == (
        "order 001 is not sent to a worker: its execution one is still running; wait"
    )
    assert await aws.refusal(read_to_escalate(aws.stack, "001")) == (
        "the execution one of order 001 is still running; wait"
    )
    aws.age = timedelta(hours=1)  # It was killed with its local AWS: nothing runs for that long.
    assert "as RUNNING without a message" in await aws.refusal(requeue(aws.stack, "001"))
    assert await read_to_escalate(aws.stack, "001") == (aws.items["OrderId"], None)


@pytest.mark.parametrize("status", ["ESCALATED", "FULFILLED", "CANCELLED", "edited"])
async def test_only_a_received_order_is_sent(status: str) -> None:
    aws = Aws(status)
    assert await aws.refusal(requeue(aws.stack, "001")) == (
        f"order 001 is {status}: no worker is to fulfill it; `orders show 001` says what to do"
    )


@pytest.mark.parametrize("order_id", ["002", "", "4929123412345678", "x" * 3000])
async def test_an_unknown_order_is_named_but_never_a_card_number(order_id: str) -> None:
    aws = Aws(None)
    for work in (requeue, read_to_escalate):
        text = await aws.refusal(work(aws.stack, order_id))
        assert text.startswith("there is no order ")
        assert "4929" not in text


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED", "edited"])
async def test_a_final_order_is_not_escalated(status: str) -> None:
    aws = Aws(status, {"CaseId": "001", "State": "OPEN", "Reasons": ["INVALID_PRICE"]})
    assert await aws.refusal(read_to_escalate(aws.stack, "001")) == (
        f"order 001 is {status}: only an order that is RECEIVED can be escalated"
    )


@pytest.mark.parametrize(
    ("status", "state", "reasons"),
    [
        ("RECEIVED", None, None),
        ("RECEIVED", "OPEN", None),  # Its case is about an earlier execution.
        ("ESCALATED", None, None),
        ("ESCALATED", "RESOLVED", None),
        ("ESCALATED", "OPEN", ["INVALID_PRICE"]),
    ],
)
async def test_an_order_with_an_open_case_of_its_own_is_left_alone(
    status: str, state: str | None, reasons: list[str] | None
) -> None:
    aws = Aws(status, None if state is None else {"CaseId": "001", "State": state, "Reasons": ["INVALID_PRICE"]})
    assert await read_to_escalate(aws.stack, "001") == (aws.items["OrderId"], reasons)


async def test_a_case_that_a_person_has_resolved_is_not_opened_again() -> None:
    aws = Aws("ESCALATED", {"CaseId": "001", "State": "RESOLVED", "ExecutionArns": [ARN]})
    assert await aws.refusal(read_to_escalate(aws.stack, "001")) == (
        "the case of order 001 is resolved, and what follows is not recorded yet; if that stays so,"
        " `orders show 001` says how to submit it again"
    )


async def test_an_escalation_is_bound_to_the_execution_and_says_who_and_why() -> None:
    aws = Aws()
    order, _ = await read_to_escalate(aws.stack, "001")
    sent = await escalate(aws.stack, order, "ada", "lost 4929 1234 1234 5678\ud800")
    ((queue, body),) = aws.sent
    found = decode_escalation(Message(id="m-1", receipt_handle="r", body=body, receive_count=1))
    assert (sent.queue, queue) == ("EscalationQueue", "EscalationQueue")
    assert (found.order_id, found.execution_arn, found.reasons) == ("001", ARN, (Reason.ORDER_STUCK,))
    assert (found.source, found.detail) == (None, "Escalated by ada: lost ****\ufffd")
    assert "Source" not in json.loads(body)


async def test_an_order_without_an_execution_is_escalated_without_one() -> None:
    aws = Aws(arn=None)
    order, _ = await read_to_escalate(aws.stack, "001")
    await escalate(aws.stack, order, "ada", "lost")
    assert "ExecutionArn" not in json.loads(aws.sent[0][1])
