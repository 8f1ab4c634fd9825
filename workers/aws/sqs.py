"""SQS: looks queues up, and receives from the queue that a worker consumes."""

import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from botocore.exceptions import ClientError, ParamValidationError

from workers.aws.errors import ask, error_code, readable
from workers.consumer.message import Message, TracedMessage
from workers.consumer.ports import Refusal
from workers.errors import FatalError, OutageError
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient
    from types_aiobotocore_sqs.literals import MessageSystemAttributeNameType as SystemAttribute

log = structlog.get_logger(__name__)

Entry = TypeVar("Entry")

TRACE_HEADER: Final = "AWSTraceHeader"
SYSTEM_ATTRIBUTES: list["SystemAttribute"] = [
    "ApproximateReceiveCount",
    "SentTimestamp",
    "ApproximateFirstReceiveTimestamp",
]
TRACED_SYSTEM_ATTRIBUTES: list["SystemAttribute"] = [*SYSTEM_ATTRIBUTES, TRACE_HEADER]
HINT = "deploy the stack, or correct the variable that names it"
MAX_REFUSED_ALONE = 2
# Codes with which SQS may refuse a whole batch because of one entry.
_BATCH_FAULTS = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidBatchEntryId",
        "InvalidIdFormat",
        "InvalidParameterValue",
        "MessageNotInflight",
        "MissingParameter",
        "ReceiptHandleIsInvalid",
        "SerializationException",
        "ValidationError",
        "ValidationException",
    }
)
# Error codes of entries or requests. They mean that the receipt handle will never work again.
_RECEIPT_LOST = {
    "AWS.SimpleQueueService.MessageNotInflight",
    "InvalidParameterValue",  # "The receipt handle has expired", or 12 hours have passed since the first receive.
    "MessageNotInflight",
    "ReceiptHandleIsInvalid",
}


@dataclass(frozen=True, slots=True)
class QueueAttributes:
    """What a worker needs to know about its queue. `max_receive_count` is the limit of SQS's own redrive."""

    url: str
    visibility_timeout_s: int
    dead_letter_queue: QueueAddress
    max_receive_count: int


async def queue_url(sqs: "SQSClient", queue: QueueAddress, hint: str = HINT) -> str:
    """
    Return the URL of *queue*. *hint* says what to do if it does not exist.

    Raises:
        FatalError: It does not exist, or not in the client's region.
    """
    if queue.region is not None and (problem := queue.wrong_region(sqs.meta.region_name)):
        raise FatalError(problem)
    try:
        answer = await ask(sqs.get_queue_url, (), **queue.lookup())
    except FatalError:
        raise FatalError(f"{queue.missing()}: {hint}") from None
    with readable("GetQueueUrl"):
        return answer["QueueUrl"]


async def describe_queue(sqs: "SQSClient", queue: QueueAddress, hint: str = HINT) -> QueueAttributes:
    """
    Look up *queue*. *hint* says what to do if it does not exist.

    Raises:
        FatalError: It does not exist, or has no dead-letter queue.
    """
    url, name = await queue_url(sqs, queue, hint), queue.name
    answer = await ask(
        sqs.get_queue_attributes, (), QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"]
    )
    attributes = answer.get("Attributes", {})
    if "RedrivePolicy" not in attributes:
        raise FatalError(f"queue {name} has no dead-letter queue (RedrivePolicy)")
    with readable("GetQueueAttributes"):
        redrive: dict[str, Any] = json.loads(attributes["RedrivePolicy"])
        dead_letters = str(redrive["deadLetterTargetArn"])
        if dead_letters.endswith(".fifo"):
            raise FatalError(f"queue {name} has the dead-letter queue {dead_letters}, must be a standard queue")
        return QueueAttributes(
            url=url,
            visibility_timeout_s=int(attributes["VisibilityTimeout"]),
            dead_letter_queue=queue.dead_letter_queue(dead_letters),
            max_receive_count=int(redrive["maxReceiveCount"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsQueue:
    """
    A `Queue` on SQS.

    - Each receive sets `visibility_timeout_s`, so the queue's own timeout does not matter.
    - `receiving` has its own connection pool, so that long polls do not keep other calls waiting.
    - `visibility` does not retry, because a retry might be sent after the receipt has expired.
    - Only if `traced` are messages asked for their trace header.
    """

    name: str
    url: str
    visibility_timeout_s: int
    wait_s: int
    receiving: "SQSClient"
    visibility: "SQSClient"
    sqs: "SQSClient"
    traced: bool = False

    async def receive(self, limit: int, max_wait_s: int | None = None) -> Sequence[Message]:
        answer = await ask(
            self.receiving.receive_message,
            (),
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            VisibilityTimeout=self.visibility_timeout_s,
            WaitTimeSeconds=self.wait_s if max_wait_s is None else min(self.wait_s, max_wait_s),
            MessageSystemAttributeNames=TRACED_SYSTEM_ATTRIBUTES if self.traced else SYSTEM_ATTRIBUTES,
            MessageAttributeNames=["All"],
        )
        with readable("ReceiveMessage"):
            received: list[Any] = [*(answer.get("Messages") or [])]
        messages = [
            message
            for message in map(read_traced_message if self.traced else read_message, received)
            if message is not None
        ]
        if len(messages) < len(received):
            # The unreadable messages become visible again by themselves. It is an outage only if all are unreadable.
            log.error("message.not_read", unreadable=len(received) - len(messages), received=len(received))
            if not messages:
                raise OutageError("ReceiveMessage: an unreadable response")
        return messages

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        async def delete(batch: Sequence[str]) -> list[Refusal | None]:
            answer = await ask(
                self.sqs.delete_message_batch,
                _BATCH_FAULTS,
                QueueUrl=self.url,
                # Ids are positions: a batch may hold a message twice, with two receipts.
                Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(batch)],
            )
            return _refusals(answer, len(batch))

        return await _together_or_alone(delete, receipt_handles)

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        async def change(batch: Sequence[tuple[str, int]]) -> list[Refusal | None]:
            answer = await ask(
                self.visibility.change_message_visibility_batch,
                _BATCH_FAULTS,
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": timeout_s}
                    for i, (handle, timeout_s) in enumerate(batch)
                ],
            )
            return _refusals(answer, len(batch))

        return await _together_or_alone(change, entries)


async def _together_or_alone(
    send: Callable[[Sequence[Entry]], Awaitable[list[Refusal | None]]], entries: Sequence[Entry]
) -> list[Refusal | None]:
    """
    Send *entries* in one request. If SQS blames the request, send each entry alone: a bad one must not delay the rest.

    Raises:
        OutageError: The first entries are also refused when sent alone, so the cause is not a single entry.
    """
    try:
        return await send(entries)
    except (ClientError, ParamValidationError) as refusal:
        refused = Refusal(_code(refusal), receipt_lost=False)
        if len(entries) == 1:
            raise OutageError(f"the request is refused: {refused.code}") from refusal
    results: list[Refusal | None] = [refused] * len(entries)
    order = random.sample(range(len(entries)), len(entries))  # Random: the same bad entries must not always be first.
    for tried, i in enumerate(order, start=1):
        try:
            (results[i],) = await send(entries[i : i + 1])
        except (ClientError, ParamValidationError) as refusal:
            if tried >= MAX_REFUSED_ALONE and all(results[j] is refused for j in order[:tried]):
                raise OutageError(f"every request is refused: {_code(refusal)}") from refusal
    return results


def _code(refusal: Exception) -> str:
    return error_code(refusal) if isinstance(refusal, ClientError) else type(refusal).__name__


def read_message(received: Any) -> Message | None:
    """Return a received message, or None without an id, receipt or body. Unreadable counts and times get defaults."""
    try:
        needed = [received[name] for name in ("MessageId", "ReceiptHandle", "Body")]
    except (LookupError, TypeError):
        return None
    if not all(isinstance(part, str) for part in needed) or not (needed[0] and needed[1]):
        return None
    system = received.get("Attributes")
    return Message(
        id=needed[0],
        receipt_handle=needed[1],
        body=needed[2],
        receive_count=_number(system, "ApproximateReceiveCount", 1),
        sent_at_s=_number(system, "SentTimestamp", 0) / 1000,
        first_received_at_s=_number(system, "ApproximateFirstReceiveTimestamp", 0) / 1000,
        attributes=_attributes(received.get("MessageAttributes")),
    )


def read_traced_message(received: Any) -> Message | None:
    """Return a received message; with its `trace_header`, if it has one."""
    message = read_message(received)
    if message is None or not isinstance(system := received.get("Attributes"), dict):
        return message
    header = system.get(TRACE_HEADER)
    if not isinstance(header, str):
        return message
    given: dict[str, Any] = {field.name: getattr(message, field.name) for field in fields(Message)}
    return TracedMessage(**given, trace_header=header)


def _number(system: Any, name: str, otherwise: int) -> int:
    try:
        return int(system.get(name, otherwise))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return otherwise


def _attributes(given: Any) -> dict[str, Any]:
    """Return a message's attributes without their empty parts. SQS would refuse a copy that has them."""
    if not isinstance(given, dict):
        return {}
    return {
        name: {key: item for key, item in value.items() if item not in ([], None)}
        for name, value in given.items()
        if isinstance(value, dict)
    }


def _refusals(answer: Mapping[str, Any], count: int) -> list[Refusal | None]:
    """Return the result of each of *count* entries. Without a readable result, an entry counts as refused."""
    refusals: list[Refusal | None] = [Refusal("NoAnswer", receipt_lost=False)] * count
    for name in ("Successful", "Failed"):
        entries = answer.get(name)
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, dict) and (position := _position(entry, count)) is not None:
                code = str(entry.get("Code"))
                refusals[position] = None if name == "Successful" else Refusal(code, code in _RECEIPT_LOST)
    return refusals


def _position(entry: Mapping[str, Any], count: int) -> int | None:
    text = str(entry.get("Id"))
    return int(text) if text.isascii() and text.isdigit() and int(text) < count else None
