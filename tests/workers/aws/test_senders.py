import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from botocore.exceptions import ClientError

from tests.workers.aws.sdk_fakes import FakeSdk, refusal
from workers.aws.senders import SqsDeadLetters, SqsEscalations, SqsReminders
from workers.aws.sqs import SqsQueue
from workers.consumer.message import Message
from workers.contracts import OutgoingEscalation, Reminder
from workers.domain.reasons import Reason, Source
from workers.errors import OutageError, UndecodableError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient


async def test_an_escalation_is_sent_in_the_form_of_its_contract(sqs: "SQSClient", queue: SqsQueue) -> None:
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


async def test_a_dead_letter_is_a_verbatim_copy_with_its_reason(sqs: "SQSClient", queue: SqsQueue) -> None:
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


async def test_a_dead_letter_keeps_to_ten_attributes(sqs: "SQSClient", queue: SqsQueue) -> None:
    message = Message(id="m0", receipt_handle="r", body="x", attributes=attributes(10))
    await SqsDeadLetters(sqs, queue.url, source="queue").send(message, reason="why", error=UndecodableError("why"))
    (received,) = await queue.receive(10)
    assert sorted(received.attributes) == [
        *(f"A{n}" for n in range(8)),
        *("OriginMessageId", "Reason"),
    ]


class Refusing:
    """A client of SQS that refuses the first *refusals* sends; the local AWS never refuses one."""

    def __init__(self, code: str, refusals: int) -> None:
        self._code = code
        self._refusals = refusals
        self.sent: list[dict[str, Any]] = []

    async def send_message(self, **request: Any) -> None:
        self.sent.append(request)
        if len(self.sent) <= self._refusals:
            raise ClientError({"Error": {"Code": self._code, "Message": "prose"}}, "SendMessage")


@pytest.mark.parametrize("code", ["InvalidParameterValue", "MessageTooLong"])
async def test_a_dead_letter_refused_with_our_attributes_is_sent_without(code: str) -> None:
    sqs: Any = Refusing(code, refusals=1)
    message = Message(id="m0", receipt_handle="r", body="x", attributes=attributes(1))
    with structlog.testing.capture_logs() as logs:
        await SqsDeadLetters(sqs, "url", source="queue").send(message, reason="why")
    assert set(sqs.sent[0]["MessageAttributes"]) > set(attributes(1))
    assert sqs.sent[1:] == [{"QueueUrl": "url", "MessageBody": "x", "MessageAttributes": attributes(1)}]
    assert logs == [{"event": "dead_letter.sent_without_reason", "log_level": "warning", "reason": "why", "code": code}]


@pytest.mark.parametrize(
    ("code", "refusals", "sends", "expected"),
    [("InvalidParameterValue", 2, 2, ClientError), ("RequestThrottled", 1, 1, OutageError)],
)
async def test_a_dead_letter_is_sent_again_once_and_only_if_refused(
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


async def test_escalations_and_reminders_are_sent_to_their_queue() -> None:
    sqs: Any = FakeSdk(send_message=[{}, {}])
    escalation = OutgoingEscalation(
        order_id="001", reasons=(Reason.ORDER_NOT_FOUND,), source=Source.FULFILLMENT, detail="No."
    )
    reminder = Reminder(CaseId="001", Episode=1, Tries=2)
    await SqsEscalations(sqs, "url").send(escalation)
    await SqsReminders(sqs, "url").send(reminder, delay_s=900)
    assert sqs.requests_of("send_message") == [
        {"QueueUrl": "url", "MessageBody": escalation.body()},
        {"QueueUrl": "url", "MessageBody": reminder.body(), "DelaySeconds": 900},
    ]


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (SqsEscalations, OutgoingEscalation(order_id="001", reasons=(), source=Source.FULFILLMENT, detail="No.")),
        (SqsReminders, Reminder(CaseId="001", Episode=1, Tries=2)),
    ],
)
async def test_a_message_that_sqs_refuses_is_at_fault_itself(sender: Any, message: Any) -> None:
    sqs = FakeSdk(send_message=[refusal("InvalidMessageContents"), refusal("RequestThrottled")])
    more = {"delay_s": 1} if sender is SqsReminders else {}
    for expected in (ClientError, OutageError):
        with pytest.raises(expected):
            await sender(sqs, "url").send(message, **more)


@pytest.mark.parametrize(
    ("original", "details"),
    [
        (8, []),
        (7, ["OriginQueue"]),
        (6, ["OriginQueue", "FirstReceivedAt"]),
        (5, ["OriginQueue", "FirstReceivedAt", "ErrorClass"]),
    ],
)
async def test_our_details_take_the_room_that_original_attributes_leave(original: int, details: list[str]) -> None:
    sqs: Any = FakeSdk(send_message=[{}])
    message = Message(id="m0", receipt_handle="r", body="x", attributes=attributes(original))
    await SqsDeadLetters(sqs, "url", source="queue").send(message, reason="why", error=UndecodableError("why"))
    (request,) = sqs.requests_of("send_message")
    assert list(request["MessageAttributes"]) == ["Reason", "OriginMessageId", *attributes(original), *details]


async def test_a_dead_letter_without_an_error_names_no_class() -> None:
    sqs: Any = FakeSdk(send_message=[{}])
    message = Message(id="m0", receipt_handle="r", body="x", first_received_at_s=1_800_000_000.25)
    await SqsDeadLetters(sqs, "url", source="queue").send(message, reason="why")
    assert sqs.requests_of("send_message") == [
        {
            "QueueUrl": "url",
            "MessageBody": "x",
            "MessageAttributes": {
                "Reason": {"DataType": "String", "StringValue": "why"},
                "OriginMessageId": {"DataType": "String", "StringValue": "m0"},
                "OriginQueue": {"DataType": "String", "StringValue": "queue"},
                "FirstReceivedAt": {"DataType": "String", "StringValue": "2027-01-15T08:00:00.250000Z"},
            },
        }
    ]


async def test_our_reason_replaces_an_original_attribute_of_that_name() -> None:
    sqs: Any = FakeSdk(send_message=[{}])
    own = {"Reason": {"DataType": "String", "StringValue": "theirs"}, "OriginQueue": {"DataType": "Number"}}
    message = Message(id="m0", receipt_handle="r", body="x", attributes=own)
    await SqsDeadLetters(sqs, "url", source="queue").send(message, reason="ours")
    (request,) = sqs.requests_of("send_message")
    assert request["MessageAttributes"]["Reason"]["StringValue"] == "ours"
    assert request["MessageAttributes"]["OriginQueue"] == {"DataType": "Number"}


async def test_a_reason_from_other_code_is_masked_and_cut() -> None:
    sqs: Any = FakeSdk(send_message=[{}])
    message = Message(id="m0", receipt_handle="r", body="x")
    await SqsDeadLetters(sqs, "url", source="queue").send(message, reason="card 4929 1234 1234 5678" + "x" * 5_000)
    (request,) = sqs.requests_of("send_message")
    assert request["MessageAttributes"]["Reason"]["StringValue"] == "card ****" + "x" * 991
