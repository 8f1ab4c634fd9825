"""A dead letter as an operator may see it, and the selection of dead letters."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from workers import clock
from workers.bodies import object_of, order_id_of
from workers.dead_letters import DeadLetterAttribute
from workers.domain.ids import message_case_id
from workers.domain.orders import is_order_id
from workers.domain.reasons import Reason
from workers.domain.text import clean
from workers.errors import UndecodableError, plain_name
from workers.operations.ages import seconds_since
from workers.operations.windows import Window

REDRIVEN = "moved by SQS's own redrive: delivered too often"
UNKNOWN = "not given"
MAX_BODY_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """
    A message of a dead-letter queue.

    `attributes` has the sender's message attributes, without those that workers add. Times are RFC 3339.
    """

    queue: str
    id: str
    body: str
    attributes: Mapping[str, Any]
    reason: str
    error: str | None  # In words; the stored attribute has the name of a class.
    order_id: str | None
    execution_arn: str | None
    origin_message_id: str | None
    first_received_at: str | None
    sent_at: str | None
    trace_header: str | None = None  # AWS X-Ray's. The copy that is sent again keeps it, as it keeps the attributes.
    source: str | None = None  # The name of the queue that it came from, if it is known.
    receive_count: int | None = None  # How often it was received from the dead-letter queue.
    is_ours: bool = True  # It came from a queue of our workers, which open cases.

    @classmethod
    def of(cls, queue: str, received: Mapping[str, Any], *, ours: bool = True) -> "DeadLetter":
        """
        Return the dead letter of a message that was received from *queue* with all its attributes.

        *ours* is false for a queue with messages of another kind: such a body may have an OrderId, but is none.
        """
        system: Mapping[str, str] = received.get("Attributes", {})
        attributes: Mapping[str, Any] = received.get("MessageAttributes", {})
        labeled = {DeadLetterAttribute.REASON, DeadLetterAttribute.ORIGIN_MESSAGE_ID} <= attributes.keys()
        added = set(DeadLetterAttribute) if labeled else set[DeadLetterAttribute]()
        labels = {name: _text(attributes, name) for name in added}
        error_class = labels.get(DeadLetterAttribute.ERROR_CLASS)
        order_id, execution_arn = _subject(received["Body"], bare=ours)
        return cls(
            queue=queue,
            id=received["MessageId"],
            body=received["Body"],
            attributes={
                name: {key: item for key, item in value.items() if item not in ([], None)}
                for name, value in attributes.items()
                if name not in added
            },
            reason=labels.get(DeadLetterAttribute.REASON)
            or (REDRIVEN if "DeadLetterQueueSourceArn" in system else UNKNOWN),
            error=None if error_class is None else plain_name(error_class),
            order_id=order_id,
            execution_arn=execution_arn,
            origin_message_id=labels.get(DeadLetterAttribute.ORIGIN_MESSAGE_ID),
            first_received_at=labels.get(DeadLetterAttribute.FIRST_RECEIVED_AT),
            sent_at=_time(system.get("SentTimestamp")),
            trace_header=system.get("AWSTraceHeader"),
            source=labels.get(DeadLetterAttribute.ORIGIN_QUEUE)
            or system.get("DeadLetterQueueSourceArn", "").rpartition(":")[2]
            or None,
            receive_count=_number(system.get("ApproximateReceiveCount")),
            is_ours=ours,
        )

    @property
    def undecodable(self) -> bool:
        return self.reason.startswith(Reason.UNDECODABLE_MESSAGE)

    @property
    def case_id(self) -> str | None:
        """The id of the case that a worker opened for it: workers open a case for each message they cannot decode."""
        if not (self.is_ours and self.undecodable) or self.origin_message_id is None:
            return None
        return message_case_id(self.origin_message_id)

    @property
    def at(self) -> str | None:
        """When the message was first received or, if that is unknown, when it was sent."""
        known = (clock.rfc_3339(at) for at in (self.first_received_at, self.sent_at))
        return next((at for at in known if at is not None), None)

    def age_s(self, now: datetime) -> float | None:
        """Return the seconds since then."""
        return seconds_since(self.at, now)

    def is_older(self, now: datetime, age: timedelta) -> bool:
        """Return whether it is longer ago than *age*; a letter without a time is not."""
        age_s = self.age_s(now)
        return age_s is not None and age_s > age.total_seconds()

    @property
    def excerpt(self) -> str:
        """The start of its body, masked and safe for a terminal."""
        shown = clean(self.body)
        return shown if len(shown) <= MAX_BODY_CHARS else f"{shown[:MAX_BODY_CHARS]}... ({len(self.body)} characters)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Selects dead letters. The default is all of them."""

    reason: str | None = None
    order_id: str | None = None
    older_than: timedelta | None = None
    window: Window = field(default_factory=Window)
    ids: Sequence[str] = ()

    def includes(self, letter: DeadLetter, now: datetime) -> bool:
        return (
            (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.order_id is None or self.order_id == letter.order_id)
            and (not self.ids or letter.id in self.ids or letter.origin_message_id in self.ids)
            and self.window.includes(letter.at or "")
            and (self.older_than is None or letter.is_older(now, self.older_than))
        )


def oldest_first(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return *letters*, the oldest first. Those of an unknown age come last."""
    return sorted(letters, key=lambda letter: (letter.at is None, letter.at or ""))


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    text: str | None = attributes.get(name, {}).get("StringValue")
    return text


def _subject(body: str, *, bare: bool) -> tuple[str | None, str | None]:
    """Return the OrderId and the ExecutionArn of a message: fields of a JSON object, or, if *bare*, a bare OrderId."""
    fields = object_of(body)
    if fields is None and not bare:
        return None, None
    if fields is None:
        try:
            fields = {"OrderId": order_id_of(body)}
        except UndecodableError:
            return None, None
    order_id, arn = fields.get("OrderId"), fields.get("ExecutionArn")
    return (
        order_id if isinstance(order_id, str) and is_order_id(order_id) else None,
        arn if isinstance(arn, str) else None,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _time(milliseconds: str | None) -> str | None:
    """Return a time that SQS gave, in the workers' format."""
    return None if milliseconds is None else clock.at(int(milliseconds) / 1000)
