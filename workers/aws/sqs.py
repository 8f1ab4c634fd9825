"""SQS: the queue a worker consumes, the one it escalates to, and the dead-letter queue."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import ClientError

from workers import clock
from workers.aws.errors import error_code, translated
from workers.consumer.message import Message
from workers.consumer.ports import Refusal
from workers.errors import FatalError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

    from workers.contracts import OutgoingEscalation, Reminder

log = structlog.get_logger(__name__)

MAX_ATTRIBUTES = 10  # SQS: message attributes per message.
# Codes of entries and requests that mean: this receipt handle will never work again.
_RECEIPT_LOST = {
    "AWS.SimpleQueueService.MessageNotInflight",
    "InvalidParameterValue",  # "The receipt handle has expired", or 12 hours have passed since the first receipt.
    "MessageNotInflight",
    "ReceiptHandleIsInvalid",
}


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """What a worker needs to know of its queue at the start. `max_receive_count` is SQS's own limit."""

    url: str
    visibility_timeout_s: int
    dead_letter_queue: str
    max_receive_count: int


async def queue_url(sqs: "SQSClient", name: str) -> str:
    """
    Return the URL of the queue called *name*.

    Raises:
        FatalError: It does not exist.
    """
    try:
        with translated():
            return (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
    except FatalError:
        raise FatalError(f"there is no queue {name}: deploy the stack, or correct the variable that names it") from None


async def describe_queue(sqs: "SQSClient", name: str) -> QueueAttributes:
    """
    Look a queue up by its name.

    Raises:
        FatalError: It does not exist, or has no dead-letter queue.
    """
    url = await queue_url(sqs, name)
    with translated():
        answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])
    attributes = answer.get("Attributes", {})
    if "RedrivePolicy" not in attributes:
        raise FatalError(f"queue {name} has no dead-letter queue (RedrivePolicy)")
    if int(attributes["VisibilityTimeout"]) < 1:
        raise FatalError(
            f"queue {name} hides no message while it is handled: its VisibilityTimeout is 0, must be above"
        )
    redrive: dict[str, Any] = json.loads(attributes["RedrivePolicy"])
    return QueueAttributes(
        url=url,
        visibility_timeout_s=int(attributes["VisibilityTimeout"]),
        dead_letter_queue=str(redrive["deadLetterTargetArn"]).rpartition(":")[2],
        max_receive_count=int(redrive["maxReceiveCount"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsQueue:
    """
    A `Queue` on SQS.

    Receives have a client, and so a connection pool, of their own: long polls must not keep other calls waiting.
    """

    name: str
    url: str
    visibility_timeout_s: int
    wait_s: int
    receiving: "SQSClient"
    sqs: "SQSClient"

    async def receive(self, limit: int) -> Sequence[Message]:
        with translated():
            answer = await self.receiving.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=self.wait_s,
                MessageSystemAttributeNames=[
                    "ApproximateReceiveCount",
                    "SentTimestamp",
                    "ApproximateFirstReceiveTimestamp",
                ],
                MessageAttributeNames=["All"],
            )
        return [_message(each) for each in answer.get("Messages", [])]

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        with translated():
            answer = await self.sqs.delete_message_batch(
                QueueUrl=self.url,
                # Positional ids: a message may be in a batch twice, with two receipts.
                Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(receipt_handles)],
            )
        return _refusals(answer, len(receipt_handles))

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        with translated():
            answer = await self.sqs.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": timeout_s}
                    for i, (handle, timeout_s) in enumerate(entries)
                ],
            )
        return _refusals(answer, len(entries))


@dataclass(frozen=True, slots=True)
class SqsEscalations:
    """The escalation queue, to send to."""

    sqs: "SQSClient"
    url: str

    async def send(self, escalation: "OutgoingEscalation") -> None:
        with translated():
            await self.sqs.send_message(QueueUrl=self.url, MessageBody=escalation.body())


@dataclass(frozen=True, slots=True)
class SqsReminders:
    """The escalation queue, to send reminders to."""

    sqs: "SQSClient"
    url: str

    async def send(self, reminder: "Reminder", *, delay_s: int) -> None:
        with translated():
            await self.sqs.send_message(QueueUrl=self.url, MessageBody=reminder.body(), DelaySeconds=delay_s)


@dataclass(frozen=True, slots=True)
class SqsDeadLetters:
    """
    A dead-letter queue. Says why a message is there, which SQS's own redrive does not.

    SQS takes ten attributes: `Reason` and `OriginMessageId` come first, then the sender's own, then our details. So of
    more than eight of the sender's, those after the eighth are left out. Attributes count towards a message's size:
    where SQS refuses it with ours, it goes as it came.
    """

    sqs: "SQSClient"
    url: str
    source: str

    async def send(self, message: Message, *, reason: str, error: Exception | None = None) -> None:
        ours = {"Reason": reason, "OriginMessageId": message.id}
        details = {"OriginQueue": self.source, "FirstReceivedAt": clock.at(message.first_received_at_s)}
        if error is not None:
            details["ErrorClass"] = type(error).__name__
        attributes: dict[str, Any] = {name: _text(value) for name, value in ours.items()}
        # What the sender gave goes before our details: of those, as many as there is room for.
        for name, value in [*message.attributes.items(), *((name, _text(value)) for name, value in details.items())]:
            if len(attributes) < MAX_ATTRIBUTES:
                attributes.setdefault(name, value)
        try:
            await self._send(message.body, attributes)
        except ClientError as refusal:
            log.warning("dead_letter.unlabelled", reason=reason, code=error_code(refusal))
            await self._send(message.body, message.attributes)

    async def _send(self, body: str, attributes: Mapping[str, Any]) -> None:
        with translated():
            await self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=attributes)


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def _message(received: Mapping[str, Any]) -> Message:
    system: Mapping[str, str] = received.get("Attributes", {})
    return Message(
        id=received["MessageId"],
        receipt_handle=received["ReceiptHandle"],
        body=received["Body"],
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        sent_at_s=int(system.get("SentTimestamp", 0)) / 1000,
        first_received_at_s=int(system.get("ApproximateFirstReceiveTimestamp", 0)) / 1000,
        attributes={
            name: {key: item for key, item in value.items() if item not in ([], None)}
            for name, value in received.get("MessageAttributes", {}).items()
        },
    )


def _refusals(answer: Mapping[str, Any], count: int) -> list[Refusal | None]:
    refusals: list[Refusal | None] = [Refusal("NoAnswer", receipt_lost=False)] * count
    for entry in answer.get("Successful", []):
        refusals[int(entry["Id"])] = None
    for entry in answer.get("Failed", []):
        refusals[int(entry["Id"])] = Refusal(entry["Code"], receipt_lost=entry["Code"] in _RECEIPT_LOST)
    return refusals
