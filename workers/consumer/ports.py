"""What the consumer needs from outside: a queue and a handler."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from workers.consumer.message import Acknowledged, DeadLettered, Message

# Messages per request. SQS API reference: MaxNumberOfMessages of ReceiveMessage, and the entries of
# DeleteMessageBatch and ChangeMessageVisibilityBatch.
MAX_BATCH = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one entry of a batch was refused. A lost receipt stays lost; anything else may succeed on another try."""

    code: str
    receipt_lost: bool


class Queue(Protocol):
    """
    A queue with visibility timeouts, such as SQS.

    Calls raise `OutageError` if a later try may succeed, `AccessDeniedError` if access is refused, and `FatalError` if
    the queue is gone.
    """

    @property
    def name(self) -> str: ...

    @property
    def visibility_timeout_s(self) -> int:
        """How many seconds a received message stays invisible to other consumers. Each `receive` requests that."""

    @property
    def wait_s(self) -> float:
        """How many seconds a `receive` waits for messages, unless it is given less."""

    async def receive(self, limit: int, max_wait_s: int | None = None) -> Sequence[Message]:
        """
        Wait for messages and return up to *limit* of them, often none.

        *limit* is at most `MAX_BATCH`. The wait ends after *max_wait_s* seconds, or after the queue's own wait if that
        is shorter.
        """

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        """Delete up to `MAX_BATCH` messages. Returns one item per handle, in order: None if the delete was accepted."""

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        """
        Make up to `MAX_BATCH` messages visible again, each after its own time.

        *entries* are pairs of receipt handle and seconds from now. Returns the same as `delete`.
        """


class Lines(Protocol):
    """The output of the log. What a message must not be acknowledged without is written before it is acknowledged."""

    @property
    def is_full(self) -> bool:
        """Whether the output takes no more lines for now: nothing should be received."""

    async def wait_for_room(self) -> None:
        """Wait until the output takes lines again."""

    def awaits(self, message_id: str) -> bool:
        """Return whether an important line about the message is not written yet."""

    async def is_written(self, message_id: str) -> bool:
        """Wait until these lines are written. Returns False if they will never be: the output is closed."""


class Handler(Protocol):
    """
    Handles messages.

    - Returns when it is done with a message, which is then deleted.
    - Raises `OutageError` if a service that every message needs is down: the message is held, and handled again later.
    - Raises `TransientError`, or any unexpected exception, to release the message with backoff.
    - Raises `FatalError` to end the consumer.

    A call is cancelled when it takes too long, when the message's receipt is lost, or when a stop runs out of time.
    """

    async def handle(self, message: Message) -> Acknowledged | DeadLettered: ...

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        """
        Handle a message that was delivered more than `max_deliveries` times.

        The message may be crashing workers, or may only have been in flight when a worker crashed or stopped. Called
        for one message at a time. The handler counts the call before anything else, so that a message that crashes
        workers is given up in the end.
        """

    async def take_back(self, message: Message) -> None:
        """Undo the count of the last `give_up` call, because a stop or an outage ended it. May raise any error."""
