"""Messages of a dead-letter queue, held to be looked at: SQS shows a message only to who takes it away from others."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workers.cli.errors import SDK_ERRORS
from workers.cli.output import note

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# Long enough to extend ten thousand in batches; short enough for what a killed command held to be back soon.
HOLD_S = 60
MAX_HELD = 10_000
MAX_BATCH = 10  # SQS: messages per receive, entries per batch.
MAX_REPEATED = 3  # Receives in a row that bring nothing new, only what SQS delivers twice.


class Hold:
    """
    Holds what it receives, for the length of a block; what is left in the end is visible to others again at once.

    Where the process is killed, that is so after `HOLD_S` at most.
    """

    def __init__(self, sqs: "SQSClient", queue_url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._sqs = sqs
        self._url = queue_url
        self._clock = clock
        self._receipts: dict[str, str] = {}
        self._until: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._change(list(self._receipts), 0)
        except SDK_ERRORS:
            note(f"orders: the messages that were looked at are back in {HOLD_S} seconds at the latest")

    def __len__(self) -> int:
        return len(self._receipts)

    def received(self) -> Iterator[Mapping[str, Any]]:
        """Yield the messages of the queue, each once, until there are no more or `MAX_HELD` are held."""
        repeated = 0
        while len(self) < MAX_HELD and repeated < MAX_REPEATED:
            held = set(self._receipts)
            with ThreadPoolExecutor(1) as thread:  # Left only with the answer, after Ctrl-C too: it is ours to return.
                messages = thread.submit(self._receive).result()
            if not messages:
                return
            new = [each for each in messages if each["MessageId"] not in held]
            repeated = 0 if new else repeated + 1
            self.keep()
            yield from new

    def _receive(self) -> "Sequence[MessageTypeDef]":
        asked_at = self._clock()
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=MAX_BATCH,
            VisibilityTimeout=HOLD_S,
            WaitTimeSeconds=1,  # Asks all of SQS's servers; without it some messages are not found.
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        for each in messages:
            self._receipts[each["MessageId"]] = each["ReceiptHandle"]
            self._until[each["MessageId"]] = asked_at + HOLD_S
        return messages

    def keep(self) -> None:
        """Extend what is held and runs out soon."""
        soon = self._clock() + HOLD_S / 2
        self._change([each for each, until in self._until.items() if until < soon], HOLD_S)

    def holds(self, message_id: str) -> bool:
        """Tell whether nobody else can have the message now."""
        return self._until.get(message_id, 0.0) > self._clock()

    def delete(self, message_id: str) -> None:
        """Remove the message from its queue for good."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=self._receipts[message_id])
        del self._receipts[message_id], self._until[message_id]

    def _change(self, message_ids: Iterable[str], timeout_s: int) -> None:
        for batch in _batches(message_ids):
            asked_at = self._clock()
            answer = self._sqs.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(n), "ReceiptHandle": self._receipts[each], "VisibilityTimeout": timeout_s}
                    for n, each in enumerate(batch)
                ],
            )
            for entry in answer.get("Successful", []):
                self._until[batch[int(entry["Id"])]] = asked_at + timeout_s
            for entry in answer.get("Failed", []):  # Somebody else has it, or has removed it.
                self._until.pop(batch[int(entry["Id"])], None)


def _batches(message_ids: Iterable[str]) -> Iterator[list[str]]:
    ids = iter(message_ids)
    while batch := list(itertools.islice(ids, MAX_BATCH)):
        yield batch
