"""Sends messages to queues: escalations, reminders, dead letters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from botocore.exceptions import ClientError

from workers import clock
from workers.aws.errors import SEND_FAULTS, ask, error_code
from workers.aws.outgoing import sqs_message, string_attribute
from workers.consumer.message import Message
from workers.dead_letters import DeadLetterAttribute
from workers.domain.cards import mask

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

    from workers.contracts import OrderFinished, OutgoingEscalation, Reminder


log = structlog.get_logger(__name__)

MAX_ATTRIBUTES = 10  # SQS: message attributes per message.


@dataclass(frozen=True, slots=True)
class SqsEscalations:
    """Sends escalations, and reports of the end of an order, to the escalation queue."""

    sqs: "SQSClient"
    url: str

    async def send(self, message: "OutgoingEscalation | OrderFinished") -> None:
        await ask(self.sqs.send_message, SEND_FAULTS, **sqs_message(self.url, message.body()))


@dataclass(frozen=True, slots=True)
class SqsReminders:
    """Sends what is to be handled later to the escalation queue."""

    sqs: "SQSClient"
    url: str

    async def send(self, message: "Reminder | OutgoingEscalation", *, delay_s: int) -> None:
        await ask(self.sqs.send_message, SEND_FAULTS, **sqs_message(self.url, message.body(), delay_s=delay_s))


@dataclass(frozen=True, slots=True)
class SqsDeadLetters:
    """
    A dead-letter queue. Unlike after SQS's own redrive, each copy says why it is there (`DeadLetterAttribute`).

    - SQS allows ten attributes. `Reason` and `OriginMessageId` come first, then up to eight attributes of the original
      message, then our details.
    - Attributes count toward a message's size. If SQS refuses the copy with our attributes, it is sent without them.
    """

    sqs: "SQSClient"
    url: str
    source: str

    async def send(self, message: Message, *, reason: str, error: Exception | None = None) -> None:
        try:
            await self._send(message.body, self._attributes(message, reason, error))
        except ClientError as refusal:
            log.warning("dead_letter.sent_without_reason", reason=reason, code=error_code(refusal))
            await self._send(message.body, message.attributes)

    def _attributes(self, message: Message, reason: str, error: Exception | None) -> dict[str, Any]:
        """Return the copy's attributes, the most important first: reason and origin, the original ones, our details."""
        labels = {DeadLetterAttribute.REASON: mask(reason), DeadLetterAttribute.ORIGIN_MESSAGE_ID: message.id}
        details = {
            DeadLetterAttribute.ORIGIN_QUEUE: self.source,
            DeadLetterAttribute.FIRST_RECEIVED_AT: clock.at(message.first_received_at_s),
        }
        if error is not None:
            details[DeadLetterAttribute.ERROR_CLASS] = type(error).__name__
        attributes: dict[str, Any] = {name.value: string_attribute(value) for name, value in labels.items()}
        for name, value in [
            *message.attributes.items(),
            *((name.value, string_attribute(value)) for name, value in details.items()),
        ]:
            if len(attributes) < MAX_ATTRIBUTES:
                attributes.setdefault(name, value)
        return attributes

    async def _send(self, body: str, attributes: Mapping[str, Any]) -> None:
        await ask(self.sqs.send_message, SEND_FAULTS, **sqs_message(self.url, body, attributes))
