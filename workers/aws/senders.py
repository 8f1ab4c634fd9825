"""Sends messages to queues: escalations, reminders, dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import ClientError

from workers import clock
from workers.aws.errors import error_code, translated
from workers.consumer.message import Message

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

    from workers.contracts import OutgoingEscalation, Reminder


log = structlog.get_logger(__name__)

MAX_ATTRIBUTES = 10  # SQS: message attributes per message.


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
            log.warning("dead_letter.sent_without_reason", reason=reason, code=error_code(refusal))
            await self._send(message.body, message.attributes)

    async def _send(self, body: str, attributes: Mapping[str, Any]) -> None:
        with translated():
            await self.sqs.send_message(QueueUrl=self.url, MessageBody=body, MessageAttributes=attributes)


def _text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}
