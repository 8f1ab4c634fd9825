"""The stub's SQS: queues in memory, with visibility timeouts, long polls, short receives and duplicates."""

import asyncio
import hashlib
import json
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.bench.network import LOOPBACK, Sampler
from tests.bench.stub_errors import AwsError

ACCOUNT = "123456789012"
MAX_BATCH = 10  # SQS: entries per batch.
MAX_RECEIVE_COUNT = 20
VISIBILITY_TIMEOUT_S = 60
# As long as SQS's receipt handles, so that signing and parsing take as long as on AWS.
_PADDING = "AQEB" + "x" * 140


class Body(NamedTuple):
    """A message's body, the order that it is about, and its attributes as they were sent."""

    text: str
    order_id: str | None = None
    attributes: Mapping[str, Any] | None = None


@dataclass(slots=True, eq=False)
class Message:
    """
    One message. `received_at_s` is when the consumer got the first answer with it, in the loop's time.

    The receipts of its deliveries `first_receipt` to `receive_count` are valid. A duplicate has a receipt of its own.
    """

    id: str
    body: str
    order_id: str | None
    md5: str
    sent_at_ms: int
    receive_count: int = 0
    first_receipt: int = 0
    first_received_at_ms: int = 0
    received_at_s: float | None = None
    reappearing: asyncio.TimerHandle | None = None
    is_duplicated: bool = False  # It will be delivered once more, although it is in flight.
    attributes: Mapping[str, Any] | None = None  # Kept for who looks at the queue. A receive does not return them.


Answer = Callable[[dict[str, Any], Sequence[Message]], None]


@dataclass(slots=True, eq=False)
class Poll:
    """A receive that waits for messages."""

    request: Mapping[str, Any]
    answer: Answer
    expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Queue:
    """One standard queue. `backlog`, if set, supplies further messages."""

    name: str
    visibility_timeout_s: float = VISIBILITY_TIMEOUT_S
    sampler: Sampler = field(default_factory=lambda: Sampler(LOOPBACK))
    backlog: Iterator[Body] | None = None
    messages: dict[str, Message] = field(default_factory=dict)
    visible: deque[Message] = field(default_factory=deque)  # With deleted messages, which are skipped.
    polls: deque[Poll] = field(default_factory=deque)
    polled: asyncio.Event = field(default_factory=asyncio.Event)  # Set by the first receive.

    def send(self, body: Body, delay_s: float = 0) -> Message:
        message = self._new(body)
        self._hide(message, delay_s)
        return message

    def receive(self, request: Mapping[str, Any], answer: Answer) -> Poll | None:
        """Answer at once if there are messages or the request does not wait; otherwise return the waiting poll."""
        self.polled.set()
        taken = self._take(request)
        wait_s = float(request.get("WaitTimeSeconds", 0))
        if taken or not wait_s:
            answer(*self._received(taken, request))
            return None
        poll = Poll(request, answer)
        poll.expiry = asyncio.get_running_loop().call_later(wait_s, self._expire, poll)
        self.polls.append(poll)
        return poll

    def forget(self, poll: Poll) -> None:
        """Drop a poll whose connection was closed, so that it gets no message."""
        if poll in self.polls:
            self.polls.remove(poll)
        if poll.expiry is not None:
            poll.expiry.cancel()

    def delete(self, receipt_handle: str) -> Message | None:
        """Delete and return a message; return None for an outdated receipt, which SQS accepts without effect."""
        message = self._of(receipt_handle)
        if message is None:
            return None
        del self.messages[message.id]
        if message.reappearing is not None:
            message.reappearing.cancel()
        return message

    def change_visibility(self, receipt_handle: str, timeout_s: int) -> None:
        message = self._of(receipt_handle)
        if message is None or message.reappearing is None:
            raise AwsError("MessageNotInflight", "The message referred to isn't in flight.")
        message.reappearing.cancel()
        self._hide(message, timeout_s)

    def clear(self, sampler: Sampler) -> None:
        for message in self.messages.values():
            if message.reappearing is not None:
                message.reappearing.cancel()
        self.messages.clear()
        self.visible.clear()
        self.backlog = None
        self.polled.clear()
        self.sampler = sampler

    def _new(self, body: Body) -> Message:
        digest = hashlib.md5(body.text.encode(), usedforsecurity=False).hexdigest()
        message = Message(str(uuid.uuid4()), body.text, body.order_id, digest, int(time.time() * 1000))
        message.attributes = body.attributes
        self.messages[message.id] = message
        return message

    def _show(self, message: Message) -> None:
        message.reappearing = None
        self.visible.append(message)
        while self.polls and (taken := self._take(self.polls[0].request)):
            poll = self.polls.popleft()
            if poll.expiry is not None:
                poll.expiry.cancel()
            poll.answer(*self._received(taken, poll.request))

    def _hide(self, message: Message, timeout_s: float) -> None:
        if timeout_s == 0:
            self._show(message)
        else:
            message.reappearing = asyncio.get_running_loop().call_later(timeout_s, self._show, message)

    def _expire(self, poll: Poll) -> None:
        self.polls.remove(poll)
        poll.answer({}, ())

    def _take(self, request: Mapping[str, Any]) -> list[Message]:
        """Take messages: as many as the request and the network allow."""
        limit = min(int(request.get("MaxNumberOfMessages", 1)), self.sampler.receive_size())
        timeout_s = float(request.get("VisibilityTimeout", self.visibility_timeout_s))
        taken: list[Message] = []
        again: list[Message] = []
        while len(taken) < limit and (message := self._next()) is not None:
            if message.reappearing is None:
                message.first_receipt = message.receive_count + 1
                message.is_duplicated = message.receive_count == 0 and self.sampler.is_duplicate()
                if message.is_duplicated:
                    again.append(message)
            else:
                message.is_duplicated = False
                message.reappearing.cancel()
            message.receive_count += 1
            self._hide(message, timeout_s)
            taken.append(message)
        self.visible.extendleft(
            reversed(again)
        )  # The next receive brings them, because no receive has a message twice.
        return taken

    def _next(self) -> Message | None:
        while self.visible:
            message = self.visible.popleft()
            if message.id in self.messages and (message.reappearing is None or message.is_duplicated):
                return message
        body = next(self.backlog, None) if self.backlog is not None else None
        return None if body is None else self._new(body)

    def _received(
        self, taken: Sequence[Message], request: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Sequence[Message]]:
        names = set(request.get("MessageSystemAttributeNames") or request.get("AttributeNames") or ())
        now_ms = int(time.time() * 1000)
        for message in taken:
            message.first_received_at_ms = message.first_received_at_ms or now_ms
        return {"Messages": [_received(message, names) for message in taken]} if taken else {}, taken

    def _of(self, receipt_handle: str) -> Message | None:
        """Return the message of this receipt; None if the message is deleted or was received again later."""
        padding, _, rest = receipt_handle.partition(":")
        message_id, _, count = rest.partition(":")
        if padding != _PADDING:
            raise AwsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        message = self.messages.get(message_id)
        return message if message is not None and int(count) >= message.first_receipt else None


def _received(message: Message, names: set[str]) -> dict[str, Any]:
    received: dict[str, Any] = {
        "MessageId": message.id,
        "ReceiptHandle": f"{_PADDING}:{message.id}:{message.receive_count}",
        "MD5OfBody": message.md5,
        "Body": message.body,
    }
    attributes = {
        "ApproximateReceiveCount": str(message.receive_count),
        "SentTimestamp": str(message.sent_at_ms),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_at_ms),
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
    }
    if asked := attributes if "All" in names else {name: attributes[name] for name in names if name in attributes}:
        received["Attributes"] = asked
    return received


class Sqs:
    """Queues by name. `on_deleted` is called with every deleted message and its queue."""

    def __init__(self, names: tuple[str, ...], on_deleted: Callable[[Queue, Message], None]) -> None:
        self.queues = {name: Queue(name) for name in names}
        self.endpoint = ""
        self._on_deleted = on_deleted

    def act(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Perform any action except ReceiveMessage, whose answer may take a while: see `Queue.receive`."""
        match action:
            case "GetQueueUrl":
                return {"QueueUrl": f"{self.endpoint}/{ACCOUNT}/{self.queue(request['QueueName']).name}"}
            case "GetQueueAttributes":
                return {"Attributes": self._attributes(self.of(request))}
            case "ListQueueTags":
                pass  # There are none.
            case "SendMessage":
                body = Body(request["MessageBody"], attributes=request.get("MessageAttributes"))
                message = self.of(request).send(body, request.get("DelaySeconds", 0))
                return {"MessageId": message.id, "MD5OfMessageBody": message.md5}
            case "DeleteMessage":
                self._delete(self.of(request), request)
            case "ChangeMessageVisibility":
                self.of(request).change_visibility(request["ReceiptHandle"], request["VisibilityTimeout"])
            case "SendMessageBatch" | "DeleteMessageBatch" | "ChangeMessageVisibilityBatch":
                return self._batch(action.removesuffix("Batch"), request)
            case _:
                raise AwsError("UnknownOperationException", f"the stub does not know {action}")
        return {}

    def queue(self, name: str) -> Queue:
        if name not in self.queues:
            raise AwsError("com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def of(self, request: Mapping[str, Any]) -> Queue:
        return self.queue(request["QueueUrl"].rpartition("/")[2])

    def clear(self, sampler: Sampler) -> None:
        for queue in self.queues.values():
            queue.clear(sampler)

    def _attributes(self, queue: Queue) -> dict[str, str]:
        attributes = {"VisibilityTimeout": str(int(queue.visibility_timeout_s))}
        dead_letters = queue.name.replace("Queue", "DLQ")
        if dead_letters != queue.name and dead_letters in self.queues:
            arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{dead_letters}"
            redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        return attributes

    def _delete(self, queue: Queue, request: Mapping[str, Any]) -> None:
        if (message := queue.delete(request["ReceiptHandle"])) is not None:
            self._on_deleted(queue, message)

    def _batch(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        entries: list[Mapping[str, Any]] = request["Entries"]
        if not 1 <= len(entries) <= MAX_BATCH:
            raise AwsError("TooManyEntriesInBatchRequest", f"1 to {MAX_BATCH} entries, not {len(entries)}")
        if len({entry["Id"] for entry in entries}) < len(entries):
            raise AwsError("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
        successful: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for entry in entries:
            try:
                answer = self.act(action, {"QueueUrl": request["QueueUrl"], **entry})
            except AwsError as error:
                failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
            else:
                successful.append({"Id": entry["Id"]} | answer)
        return {"Successful": successful, "Failed": failed} if failed else {"Successful": successful}
