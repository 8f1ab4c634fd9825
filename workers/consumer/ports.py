"""What the consumer needs from outside; `workers.aws` has the adapters for SQS."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.consumer.message import Acknowledged, DeadLettered, Message

# Messages per request. SQS API reference: MaxNumberOfMessages of ReceiveMessage, and the entries of
# DeleteMessageBatch and ChangeMessageVisibilityBatch.
MAX_BATCH = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one entry of a batch was refused. A lost receipt stays lost; anything else is worth another try."""

    code: str
    receipt_lost: bool


class Queue(Protocol):
    """A queue with visibility timeouts. Every call raises `OutageError` where another try later may succeed."""

    @property
    def name(self) -> str: ...

    @property
    def visibility_timeout_s(self) -> int:
        """For how long a received message is hidden from others, in seconds."""

    async def receive(self, limit: int) -> Sequence[Message]:
        """Wait for up to *limit* messages; an empty answer is normal."""

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        """Delete up to ten messages; the answer has one place per handle, None where it was accepted."""

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        """Make up to ten messages, by receipt handle, visible again in so many seconds; the answer as in `delete`."""


class Handler(Protocol):
    """
    What is done with a message.

    Raises `TransientError` (or anything unforeseen) to have the message released with backoff, `OutageError` to have it
    held until what it needs is back.
    """

    async def handle(self, message: Message) -> Acknowledged | DeadLettered: ...

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        """
        Settle a message that was delivered too often: it may be what crashes workers, or was in flight when one did.

        Called for one message at a time.
        """
