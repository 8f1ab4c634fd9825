"""A message, as the handler of your own worker gets it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A message of a queue, as its sender sent it.

    - `id` stays the same for all deliveries of a message: it is a good idempotency key.
    - `body` is the text of the message, `attributes` its message attributes: text, or bytes if their type is Binary.
    - `receive_count` is how often SQS has delivered it, including this time. Stops and crashes also cause deliveries.
    - `sent_at` is when SQS accepted it, `first_received_at` when it was first delivered, in UTC.

    Everything but the body has a default, so that a test can write `Message(body="...")`.
    """

    id: str = "00000000-0000-0000-0000-000000000000"
    body: str
    attributes: Mapping[str, str | bytes] = field(default_factory=dict)
    receive_count: int = 1
    sent_at: datetime = field(default_factory=_now)
    first_received_at: datetime = field(default_factory=_now)
