"""SQS: looks queues up, and receives from the queue that a worker consumes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.aws.errors import translated
from workers.consumer.message import Message
from workers.consumer.ports import Refusal
from workers.errors import FatalError

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient


# Error codes of entries and requests which mean that a receipt handle will never work again.
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
    dead_letter_queue: str
    max_receive_count: int


async def queue_url(sqs: "SQSClient", name: str) -> str:
    """
    Return the URL of the queue called *name*.

    Raises:
        FatalError: It does not exist.
    """
    try:
        with translated():
            return (await sqs.get_queue_url(QueueName=name))["QueueUrl"]
    except FatalError:
        raise FatalError(f"there is no queue {name}: deploy the stack, or correct the variable that names it") from None


async def describe_queue(sqs: "SQSClient", name: str) -> QueueAttributes:
    """
    Look up a queue by its name.

    Raises:
        FatalError: It does not exist, or has no dead-letter queue.
    """
    url = await queue_url(sqs, name)
    with translated():
        answer = await sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout", "RedrivePolicy"])
    attributes = answer.get("Attributes", {})
    if "RedrivePolicy" not in attributes:
        raise FatalError(f"queue {name} has no dead-letter queue (RedrivePolicy)")
    redrive: dict[str, Any] = json.loads(attributes["RedrivePolicy"])
    return QueueAttributes(
        url=url,
        visibility_timeout_s=int(attributes["VisibilityTimeout"]),
        dead_letter_queue=str(redrive["deadLetterTargetArn"]).rpartition(":")[2],
        max_receive_count=int(redrive["maxReceiveCount"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SqsQueue:
    """
    A `Queue` on SQS.

    Each receive asks for `visibility_timeout_s`, so the queue's own, and whoever changes it, makes no difference.
    Receives have their own client, and so their own connection pool: long polls must keep no other call waiting.
    Changes of visibility have one that does not retry: a retry may be sent after the receipt has run out.
    """

    name: str
    url: str
    visibility_timeout_s: int
    wait_s: int
    receiving: "SQSClient"
    visibility: "SQSClient"
    sqs: "SQSClient"

    async def receive(self, limit: int) -> Sequence[Message]:
        with translated():
            answer = await self.receiving.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=limit,
                VisibilityTimeout=self.visibility_timeout_s,
                WaitTimeSeconds=self.wait_s,
                MessageSystemAttributeNames=[
                    "ApproximateReceiveCount",
                    "SentTimestamp",
                    "ApproximateFirstReceiveTimestamp",
                ],
                MessageAttributeNames=["All"],
            )
        return [_message(received) for received in answer.get("Messages", [])]

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        with translated():
            answer = await self.sqs.delete_message_batch(
                QueueUrl=self.url,
                # Ids are positions: a batch may hold a message twice, with two receipts.
                Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(receipt_handles)],
            )
        return _refusals(answer, len(receipt_handles))

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        with translated():
            answer = await self.visibility.change_message_visibility_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(i), "ReceiptHandle": handle, "VisibilityTimeout": timeout_s}
                    for i, (handle, timeout_s) in enumerate(entries)
                ],
            )
        return _refusals(answer, len(entries))


def _message(received: Mapping[str, Any]) -> Message:
    system: Mapping[str, str] = received.get("Attributes", {})
    return Message(
        id=received["MessageId"],
        receipt_handle=received["ReceiptHandle"],
        body=received["Body"],
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        sent_at_s=int(system.get("SentTimestamp", 0)) / 1000,
        first_received_at_s=int(system.get("ApproximateFirstReceiveTimestamp", 0)) / 1000,
        attributes={
            name: {key: item for key, item in value.items() if item not in ([], None)}
            for name, value in received.get("MessageAttributes", {}).items()
        },
    )


def _refusals(answer: Mapping[str, Any], count: int) -> list[Refusal | None]:
    refusals: list[Refusal | None] = [Refusal("NoAnswer", receipt_lost=False)] * count
    for entry in answer.get("Successful", []):
        refusals[int(entry["Id"])] = None
    for entry in answer.get("Failed", []):
        refusals[int(entry["Id"])] = Refusal(entry["Code"], receipt_lost=entry["Code"] in _RECEIPT_LOST)
    return refusals
