"""Holds messages of a dead-letter queue: SQS shows a message only to a receiver that hides it from all others."""

import itertools
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workers.consumer.elapsed import elapsed_s
from workers.consumer.ports import MAX_BATCH
from workers.operations.concurrency import finish
from workers.operations.progress import Warn, unreported
from workers.operations.sdk_errors import SDK_ERRORS

if TYPE_CHECKING:
    from workers.aws.sdk.blocking import AsyncClient

# Long enough to extend ten thousand messages in batches. Short enough that the messages of a killed command are soon
# visible again.
HOLD_S = 60
MAX_HELD = 10_000
MAX_REPEATED = 3  # Receives in a row with nothing but messages that SQS delivered before.


class Hold:
    """
    Holds the messages it receives during an `async with`. At the end, the messages that remain become visible again.

    They also become visible after an error or a cancellation. If the process is killed, SQS makes them visible after
    `HOLD_S` at most. *warn* is called if the messages could not be made visible.

    A message's hold may run out (measured with *now_s*), for example while the machine is suspended. Then its receipt
    is not used any more, because another receiver may have the message. SQS usually accepts an old receipt: it would
    extend the message or make it visible although the other receiver has it.
    """

    def __init__(
        self,
        sqs: "AsyncClient",
        queue_url: str,
        *,
        warn: Warn = unreported,
        now_s: Callable[[], float] = elapsed_s,
    ) -> None:
        self._sqs = sqs
        self._url = queue_url
        self._warn = warn
        self._now_s = now_s
        self._receipts: dict[str, str] = {}
        self._held_until: dict[str, float] = {}
        self._seen: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await finish(self._change_visibility(list(self._receipts), 0))
        except SDK_ERRORS:
            self._warn(f"the messages that were looked at are visible again in {HOLD_S} seconds at the latest")

    def __len__(self) -> int:
        """Return how many messages it has held so far."""
        return len(self._seen)

    async def messages(self) -> AsyncGenerator[Mapping[str, Any], None]:
        """Yield the messages of the queue, each once, until it has no more or `MAX_HELD` were received."""
        repeated = 0
        while len(self) < MAX_HELD and repeated < MAX_REPEATED:
            # Wait for the response even when cancelled: its messages must be made visible again.
            messages = await finish(self._receive())
            if not messages:
                return
            new = {message["MessageId"]: message for message in messages if message["MessageId"] not in self._seen}
            self._seen.update(new)
            repeated = 0 if new else repeated + 1
            await self.extend()
            for message in new.values():
                yield message

    async def _receive(self) -> list[Mapping[str, Any]]:
        held_until = self._now_s() + HOLD_S
        answer = await self._sqs.call(
            "receive_message",
            QueueUrl=self._url,
            MaxNumberOfMessages=MAX_BATCH,
            VisibilityTimeout=HOLD_S,
            WaitTimeSeconds=1,  # A long poll asks all of SQS's servers; a short poll misses messages.
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages: list[Mapping[str, Any]] = answer.get("Messages", [])
        for message in messages:
            self._receipts[message["MessageId"]] = message["ReceiptHandle"]
            self._held_until[message["MessageId"]] = held_until
        return messages

    async def extend(self) -> None:
        """Extend the hold of the messages whose hold ends within half of `HOLD_S`."""
        due = self._now_s() + HOLD_S / 2
        await self._change_visibility([held for held, until in self._held_until.items() if until < due], HOLD_S)

    def holds(self, message_id: str) -> bool:
        """Return whether the message is still hidden from all others."""
        return self._held_until.get(message_id, -math.inf) > self._now_s()

    async def delete(self, message_id: str) -> bool:
        """
        Delete the message from its queue for good; return whether it was held until then.

        If it was not, another receiver may have it, and SQS may have accepted the request without effect.
        """
        await self._sqs.call("delete_message", QueueUrl=self._url, ReceiptHandle=self._receipts[message_id])
        held = self.holds(message_id)
        del self._receipts[message_id]
        self._held_until.pop(message_id, None)
        return held

    async def _change_visibility(self, message_ids: Iterable[str], timeout_s: int) -> None:
        """Change the visibility timeout of those messages that are still held when their batch is sent."""
        for waiting in _batches(message_ids):
            batch = [message_id for message_id in waiting if self.holds(message_id)]
            if not batch:
                continue
            held_until = self._now_s() + timeout_s
            entries = [
                {"Id": str(n), "ReceiptHandle": self._receipts[message_id], "VisibilityTimeout": timeout_s}
                for n, message_id in enumerate(batch)
            ]
            # Wait for the response even when cancelled: an extension must not arrive after the end of the hold.
            answer = await finish(
                self._sqs.call("change_message_visibility_batch", QueueUrl=self._url, Entries=entries)
            )
            for entry in answer.get("Successful", []):
                message_id = batch[int(entry["Id"])]
                if self.holds(message_id):  # Otherwise the request may have come too late, although SQS accepted it.
                    self._held_until[message_id] = held_until
            for entry in answer.get("Failed", []):  # Another receiver has the message, or has deleted it.
                self._held_until.pop(batch[int(entry["Id"])], None)


def _batches(message_ids: Iterable[str]) -> Iterator[list[str]]:
    ids = iter(message_ids)
    while batch := list(itertools.islice(ids, MAX_BATCH)):
        yield batch
