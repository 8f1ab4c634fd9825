"""The stub's SQS: queues in memory, with visibility timeouts and long polls."""

import asyncio
import hashlib
import json
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.bench.stub_dynamodb import AwsError

ACCOUNT = "123456789012"
MAX_BATCH = 10  # SQS: messages per receive, entries per batch.
MAX_RECEIVE_COUNT = 20
VISIBILITY_TIMEOUT_S = 60
# As long as SQS's receipt handles, so that signing and parsing take as long as on AWS.
_PADDING = "AQEB" + "x" * 140

Answer = Callable[[dict[str, Any]], None]


@dataclass(slots=True, eq=False)
class _Message:
    id: str
    body: str
    md5: str
    sent_at_ms: int
    receive_count: int = 0
    first_received_at_ms: int = 0
    reappearing: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class _Poll:
    """A receive that waits for messages."""

    request: Mapping[str, Any]
    answer: Answer
    expiry: asyncio.TimerHandle | None = None


@dataclass(slots=True, eq=False)
class Queue:
    """One standard queue. `backlog`, if set, supplies an endless number of bodies."""

    name: str
    visibility_timeout_s: float = VISIBILITY_TIMEOUT_S
    backlog: Iterator[str] | None = None
    messages: dict[str, _Message] = field(default_factory=dict)
    visible: deque[_Message] = field(default_factory=deque)
    polls: deque[_Poll] = field(default_factory=deque)

    def send(self, body: str) -> _Message:
        message = self._new(body)
        self._show(message)
        return message

    def receive(self, request: Mapping[str, Any], answer: Answer) -> _Poll | None:
        """Answer at once if there are messages or the request does not wait; otherwise return the waiting poll."""
        limit = int(request.get("MaxNumberOfMessages", 1))
        if self.backlog is not None:
            while len(self.visible) < limit:
                self.visible.append(self._new(next(self.backlog)))
        wait_s = float(request.get("WaitTimeSeconds", 0))
        if self.visible or not wait_s:
            answer(self._take(request))
            return None
        poll = _Poll(request, answer)
        poll.expiry = asyncio.get_running_loop().call_later(wait_s, self._expire, poll)
        self.polls.append(poll)
        return poll

    def forget(self, poll: _Poll) -> None:
        """Drop a poll whose connection was closed, so that it gets no message."""
        if poll in self.polls:
            self.polls.remove(poll)
        if poll.expiry is not None:
            poll.expiry.cancel()

    def delete(self, receipt_handle: str) -> bool:
        """Delete a message and return True; return False for an outdated receipt, which SQS accepts without effect."""
        message = self._of(receipt_handle)
        if message is None:
            return False
        del self.messages[message.id]
        if message.reappearing is None:
            self.visible.remove(message)
        else:
            message.reappearing.cancel()
        return True

    def change_visibility(self, receipt_handle: str, timeout_s: int) -> None:
        message = self._of(receipt_handle)
        if message is None or message.reappearing is None:
            raise AwsError("MessageNotInflight", "The message referred to isn't in flight.")
        message.reappearing.cancel()
        self._hide(message, timeout_s)

    def clear(self) -> None:
        for message in self.messages.values():
            if message.reappearing is not None:
                message.reappearing.cancel()
        self.messages.clear()
        self.visible.clear()
        self.backlog = None

    def _new(self, body: str) -> _Message:
        digest = hashlib.md5(body.encode(), usedforsecurity=False).hexdigest()
        message = _Message(str(uuid.uuid4()), body, digest, int(time.time() * 1000))
        self.messages[message.id] = message
        return message

    def _show(self, message: _Message) -> None:
        message.reappearing = None
        self.visible.append(message)
        while self.polls and self.visible:
            poll = self.polls.popleft()
            if poll.expiry is not None:
                poll.expiry.cancel()
            poll.answer(self._take(poll.request))

    def _hide(self, message: _Message, timeout_s: float) -> None:
        if timeout_s == 0:
            self._show(message)
        else:
            message.reappearing = asyncio.get_running_loop().call_later(timeout_s, self._show, message)

    def _expire(self, poll: _Poll) -> None:
        self.polls.remove(poll)
        poll.answer({})

    def _take(self, request: Mapping[str, Any]) -> dict[str, Any]:
        limit = int(request.get("MaxNumberOfMessages", 1))
        timeout_s = float(request.get("VisibilityTimeout", self.visibility_timeout_s))
        names = set(request.get("MessageSystemAttributeNames") or request.get("AttributeNames") or ())
        now_ms = int(time.time() * 1000)
        taken: list[dict[str, Any]] = []
        while self.visible and len(taken) < limit:
            message = self.visible.popleft()
            message.receive_count += 1
            message.first_received_at_ms = message.first_received_at_ms or now_ms
            self._hide(message, timeout_s)
            taken.append(_received(message, names))
        return {"Messages": taken} if taken else {}

    def _of(self, receipt_handle: str) -> _Message | None:
        """Return the message of this receipt; None if the message is deleted or has a newer receipt."""
        padding, _, rest = receipt_handle.partition(":")
        message_id, _, count = rest.partition(":")
        if padding != _PADDING:
            raise AwsError("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        message = self.messages.get(message_id)
        return message if message is not None and count == str(message.receive_count) else None


def _received(message: _Message, names: set[str]) -> dict[str, Any]:
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
    """Queues by name. `on_deleted` is called for every deleted message."""

    def __init__(self, names: tuple[str, ...], on_deleted: Callable[[], None]) -> None:
        self.queues = {name: Queue(name) for name in names}
        self.endpoint = ""
        self._on_deleted = on_deleted
        self._trickles: set[asyncio.Task[None]] = set()

    def act(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Perform any action except ReceiveMessage, whose answer may take a while: see `Queue.receive`."""
        match action:
            case "GetQueueUrl":
                return {"QueueUrl": f"{self.endpoint}/{ACCOUNT}/{self.queue(request['QueueName']).name}"}
            case "GetQueueAttributes":
                return {"Attributes": self._attributes(self.of(request))}
            case "SendMessage":
                message = self.of(request).send(request["MessageBody"])
                return {"MessageId": message.id, "MD5OfMessageBody": message.md5}
            case "DeleteMessage":
                self._delete(self.of(request), request)
                return {}
            case "ChangeMessageVisibility":
                self.of(request).change_visibility(request["ReceiptHandle"], request["VisibilityTimeout"])
                return {}
            case "SendMessageBatch" | "DeleteMessageBatch" | "ChangeMessageVisibilityBatch":
                return self._batch(action.removesuffix("Batch"), request)
            case _:
                raise AwsError("UnknownOperationException", f"the stub does not know {action}")

    def queue(self, name: str) -> Queue:
        if name not in self.queues:
            raise AwsError("com.amazonaws.sqs#QueueDoesNotExist", "The specified queue does not exist.")
        return self.queues[name]

    def of(self, request: Mapping[str, Any]) -> Queue:
        return self.queue(request["QueueUrl"].rpartition("/")[2])

    def trickle(self, name: str, per_second: float) -> None:
        """Send messages at this rate until `clear`; their bodies have the time of sending, in `time.monotonic_ns`."""
        task = asyncio.ensure_future(self._trickle(self.queue(name), 1 / per_second))
        self._trickles.add(task)
        task.add_done_callback(self._trickles.discard)

    def clear(self) -> None:
        for task in self._trickles:
            task.cancel()
        for queue in self.queues.values():
            queue.clear()

    async def _trickle(self, queue: Queue, period_s: float) -> None:
        loop = asyncio.get_running_loop()
        pace = random.Random(0)  # The same arrivals for every consumer, in step with no timer.
        due_s = loop.time()
        while True:
            due_s += period_s * pace.uniform(0.5, 1.5)
            await asyncio.sleep(due_s - loop.time())
            queue.send(json.dumps({"SentAtNs": time.monotonic_ns()}))

    def _attributes(self, queue: Queue) -> dict[str, str]:
        attributes = {"VisibilityTimeout": str(int(queue.visibility_timeout_s))}
        dead_letters = queue.name.replace("Queue", "DLQ")
        if dead_letters != queue.name and dead_letters in self.queues:
            arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:{dead_letters}"
            redrive = {"deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        return attributes

    def _delete(self, queue: Queue, request: Mapping[str, Any]) -> None:
        if queue.delete(request["ReceiptHandle"]):
            self._on_deleted()

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
