import asyncio
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from botocore.exceptions import ClientError

from tests.support import DeployedStack
from workers.aws.sqs import (
    QueueAttributes,
    SqsDeadLetters,
    SqsEscalations,
    SqsQueue,
    SqsReminders,
    describe_queue,
    queue_url,
)
from workers.consumer.message import Message
from workers.consumer.ports import Refusal
from workers.contracts import OutgoingEscalation, Reminder
from workers.domain.escalations import Reason, Source
from workers.errors import FatalError, OutageError, UndecodableError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient


@pytest.fixture
async def url(sqs: "SQSClient") -> str:
    """Return the URL of an empty queue of the test's own."""
    return (await sqs.create_queue(QueueName=f"sqs-{uuid.uuid4().hex}"))["QueueUrl"]


@pytest.fixture
def queue(sqs: "SQSClient", url: str) -> SqsQueue:
    return SqsQueue(name="queue", url=url, visibility_timeout_s=30, wait_s=0, receiving=sqs, sqs=sqs)


async def test_a_queue_is_described_by_its_name(stack: DeployedStack, sqs: "SQSClient") -> None:
    name = stack.outputs["OrderFulfillmentQueueName"]
    assert await describe_queue(sqs, name) == QueueAttributes(
        url=stack.order_fulfillment_queue_url,
        visibility_timeout_s=60,
        dead_letter_queue=stack.outputs["OrderFulfillmentDLQName"],
        max_receive_count=20,
    )


async def test_a_missing_queue_is_one_clear_line(sqs: "SQSClient") -> None:
    with pytest.raises(FatalError, match=r"^there is no queue NoSuchQueue: deploy the stack, or "):
        await queue_url(sqs, "NoSuchQueue")
    with pytest.raises(FatalError, match=r"^there is no queue NoSuchQueue: "):
        await describe_queue(sqs, "NoSuchQueue")


async def test_a_queue_without_a_dead_letter_queue_is_one_clear_line(sqs: "SQSClient", url: str) -> None:
    name = url.rpartition("/")[2]
    with pytest.raises(FatalError, match=rf"^queue {name} has no dead-letter queue \(RedrivePolicy\)$"):
        await describe_queue(sqs, name)


async def test_a_message_is_received_with_all_that_is_known_of_it(sqs: "SQSClient", queue: SqsQueue) -> None:
    before_s = time.time() - 1
    sent = await sqs.send_message(
        QueueUrl=queue.url,
        MessageBody="Zo\u00eb",
        MessageAttributes={
            "Text": {"DataType": "String", "StringValue": "x"},
            "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
        },
    )
    (message,) = await queue.receive(10)
    assert (message.id, message.body, message.receive_count) == (sent["MessageId"], "Zo\u00eb", 1)
    assert message.attributes == {
        "Text": {"DataType": "String", "StringValue": "x"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    assert before_s < message.sent_at_s <= message.first_received_at_s < time.time() + 1
    await queue.change_visibility([(message.receipt_handle, 0)])
    (again,) = await queue.receive(10)
    assert (again.id, again.receive_count) == (message.id, 2)
    assert again.receipt_handle != message.receipt_handle


async def test_no_more_messages_are_received_than_asked_for(sqs: "SQSClient", queue: SqsQueue) -> None:
    for n in range(5):
        await sqs.send_message(QueueUrl=queue.url, MessageBody=str(n))
    assert len(await queue.receive(3)) == 3
    assert len(await queue.receive(10)) == 2
    assert list(await queue.receive(10)) == []


async def test_the_answers_of_a_batch_stand_where_their_entries_do(sqs: "SQSClient", queue: SqsQueue) -> None:
    for n in range(2):
        await sqs.send_message(QueueUrl=queue.url, MessageBody=str(n))
    first, second = (message.receipt_handle for message in await queue.receive(10))
    lost = Refusal("ReceiptHandleIsInvalid", receipt_lost=True)
    assert await queue.change_visibility([("no-such-receipt", 5), (first, 5)]) == [lost, None]
    assert await queue.delete([first, "no-such-receipt", second]) == [None, lost, None]
    assert list(await queue.receive(10)) == []


async def test_a_deleted_queue_is_fatal(sqs: "SQSClient", queue: SqsQueue) -> None:
    await sqs.delete_queue(QueueUrl=queue.url)
    with pytest.raises(FatalError, match=r"^ReceiveMessage: the queue does not exist$"):
        await queue.receive(10)


async def test_an_escalation_is_sent_as_its_contract_says(sqs: "SQSClient", queue: SqsQueue) -> None:
    escalation = OutgoingEscalation(
        order_id="001", reasons=(Reason.ORDER_NOT_FOUND,), source=Source.FULFILLMENT, detail="No order."
    )
    await SqsEscalations(sqs, queue.url).send(escalation)
    (received,) = await queue.receive(10)
    assert json.loads(received.body) == {
        "OrderId": "001",
        "Reasons": ["ORDER_NOT_FOUND"],
        "Source": "fulfillment",
        "Detail": "No order.",
    }


def attributes(count: int) -> dict[str, Any]:
    return {f"A{n}": {"DataType": "String", "StringValue": str(n)} for n in range(count)}


async def test_a_dead_letter_is_a_verbatim_copy_that_says_why_it_is_there(sqs: "SQSClient", queue: SqsQueue) -> None:
    body = '{"OrderId": "\u5f20\u4f1f"\n'
    own = {
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00"},
        "Number": {"DataType": "Number", "StringValue": "5"},
    }
    message = Message(id="m0", receipt_handle="r", body=body, first_received_at_s=1_800_000_000.25, attributes=own)
    dead_letters = SqsDeadLetters(sqs, queue.url, source="OrderFulfillmentQueue")
    await dead_letters.send(message, reason="UNDECODABLE_MESSAGE: why", error=UndecodableError("why"))
    (received,) = await queue.receive(10)
    assert received.body == body
    assert received.attributes == own | {
        "Reason": {"DataType": "String", "StringValue": "UNDECODABLE_MESSAGE: why"},
        "OriginMessageId": {"DataType": "String", "StringValue": "m0"},
        "OriginQueue": {"DataType": "String", "StringValue": "OrderFulfillmentQueue"},
        "FirstReceivedAt": {"DataType": "String", "StringValue": "2027-01-15T08:00:00.250000Z"},
        "ErrorClass": {"DataType": "String", "StringValue": "UndecodableError"},
    }


async def test_a_dead_letter_has_no_more_attributes_than_sqs_allows(sqs: "SQSClient", queue: SqsQueue) -> None:
    message = Message(id="m0", receipt_handle="r", body="x", attributes=attributes(10))
    await SqsDeadLetters(sqs, queue.url, source="queue").send(message, reason="why", error=UndecodableError("why"))
    (received,) = await queue.receive(10)
    assert sorted(received.attributes) == [
        *(f"A{n}" for n in range(8)),
        *("OriginMessageId", "Reason"),
    ]


class Refusing:
    """An SQS that refuses the first sends, which the emulator never does."""

    def __init__(self, code: str, refusals: int) -> None:
        self._code = code
        self._refusals = refusals
        self.sent: list[dict[str, Any]] = []

    async def send_message(self, **request: Any) -> None:
        self.sent.append(request)
        if len(self.sent) <= self._refusals:
            raise ClientError({"Error": {"Code": self._code, "Message": "prose"}}, "SendMessage")


@pytest.mark.parametrize("code", ["InvalidParameterValue", "MessageTooLong"])
async def test_a_dead_letter_that_is_refused_with_our_attributes_goes_as_it_came(code: str) -> None:
    sqs: Any = Refusing(code, refusals=1)
    message = Message(id="m0", receipt_handle="r", body="x", attributes=attributes(1))
    with structlog.testing.capture_logs() as logs:
        await SqsDeadLetters(sqs, "url", source="queue").send(message, reason="why")
    assert set(sqs.sent[0]["MessageAttributes"]) > set(attributes(1))
    assert sqs.sent[1:] == [{"QueueUrl": "url", "MessageBody": "x", "MessageAttributes": attributes(1)}]
    assert logs == [{"event": "dead_letter.unlabelled", "log_level": "warning", "reason": "why", "code": code}]


@pytest.mark.parametrize(
    ("code", "refusals", "sends", "expected"),
    [("InvalidParameterValue", 2, 2, ClientError), ("RequestThrottled", 1, 1, OutageError)],
)
async def test_a_dead_letter_is_sent_again_once_and_only_where_the_request_was_refused(
    code: str, refusals: int, sends: int, expected: type[Exception]
) -> None:
    sqs: Any = Refusing(code, refusals)
    with pytest.raises(expected):
        await SqsDeadLetters(sqs, "url", source="queue").send(
            Message(id="m0", receipt_handle="r", body="x"), reason="why"
        )
    assert len(sqs.sent) == sends


async def test_a_reminder_is_received_after_its_delay(sqs: "SQSClient", queue: SqsQueue) -> None:
    reminder = Reminder(CaseId="001", Episode=1, Tries=2)
    await SqsReminders(sqs, queue.url).send(reminder, delay_s=1)
    assert await queue.receive(10) == []
    await asyncio.sleep(1.2)
    assert [message.body for message in await queue.receive(10)] == [reminder.body()]
