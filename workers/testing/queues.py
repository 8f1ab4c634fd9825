"""Queues for one test, and the stack's own."""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.testing.bodies import body_text
from workers.testing.sdk import shared_client
from workers.testing.stack import Stack
from workers.testing.worker import TIMEOUT_S, Worker, waiting

DEAD_LETTERS = "DLQ"
RETENTION_S = 14 * 24 * 3600
VISIBILITY_TIMEOUT_S = 30  # The shortest that workers ask for.
MAX_RECEIVE_COUNT = 100  # As the queues of the stack: only a backstop behind WORKER_MAX_ATTEMPTS.
MAX_BATCH = 10
MAX_NAME = 80
RECEIVE_S = 1


@dataclass(frozen=True, slots=True)
class Received:
    """A message that was taken from a queue. `attributes` are those that its sender gave it."""

    id: str
    body: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)


class Queues:
    """
    The queues of a test, by short names: what the test has created, and the stack's.

    The stack's are `OrderFulfillmentQueue` and `EscalationQueue`, with `OrderFulfillmentDLQ` and `EscalationDLQ`. The
    dead-letter queue of `create("Returns")` is `ReturnsDLQ`. Created queues are deleted after the test.
    """

    def __init__(self, stack: Stack, workers: Sequence[Worker] = (), numbers: Iterator[int] | None = None) -> None:
        """Show the last lines of *workers* if a message does not come. Take what makes names unique from *numbers*."""
        self._stack = stack
        self._workers = workers
        self._sqs = shared_client("sqs", stack.local_aws.endpoint)
        self._numbers = numbers or itertools.count(1)
        self._urls = {
            "OrderFulfillmentQueue": stack.order_fulfillment_queue_url,
            "EscalationQueue": stack.escalation_queue_url,
            "OrderFulfillmentDLQ": stack.order_fulfillment_dlq_url,
            "EscalationDLQ": stack.escalation_dlq_url,
        }
        self._created: list[str] = []

    def create(
        self, name: str, *, visibility_timeout_s: int = VISIBILITY_TIMEOUT_S, max_receive_count: int = MAX_RECEIVE_COUNT
    ) -> str:
        """
        Create an empty queue, with a dead-letter queue, for this test; return its full name.

        The full name is unique, so that tests may run side by side; everything here takes the short *name*.
        """
        __tracebackhide__ = True
        if name in self._urls:
            raise ValueError(f"queues.create({name!r}): there is a queue of this name already")
        full = f"{self._stack.name_prefix}{name}-{next(self._numbers)}"
        length = MAX_NAME - len(full + DEAD_LETTERS) + len(name)
        if not re.fullmatch(f"[A-Za-z0-9_-]{{1,{length}}}", name):
            raise ValueError(
                f"queues.create({name!r}): must be 1 to {length} letters, digits, - or _; FIFO queues are not supported"
            )
        dead_letters = self._create(f"{name}{DEAD_LETTERS}", full + DEAD_LETTERS, {})
        arn = self._sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]
        redrive = {"deadLetterTargetArn": arn["QueueArn"], "maxReceiveCount": max_receive_count}
        attributes = {"VisibilityTimeout": str(visibility_timeout_s), "RedrivePolicy": json.dumps(redrive)}
        self._create(name, full, attributes)
        return full

    def __contains__(self, name: object) -> bool:
        return name in self._urls

    def url(self, name: str) -> str:
        """Return the address of a queue, for a client of your own."""
        __tracebackhide__ = True
        if name not in self._urls:
            known = ", ".join(self._urls)
            raise ValueError(f"there is no queue {name}: queues.create({name!r}) makes one. There are: {known}")
        return self._urls[name]

    def name(self, name: str) -> str:
        """Return the full name of a queue, for a setting of your own."""
        __tracebackhide__ = True
        return self.url(name).rpartition("/")[2]

    def send(self, name: str, body: object, *, delay_s: int = 0, **attributes: str) -> str:
        """Send a message, a text, a model or what becomes JSON, with message attributes; return the message's id."""
        __tracebackhide__ = True
        sent = self._sqs.send_message(
            QueueUrl=self.url(name),
            MessageBody=body_text(body),
            DelaySeconds=delay_s,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
        message_id: str = sent["MessageId"]
        return message_id

    def receive(self, name: str, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> list[Received]:
        """
        Take *count* messages from a queue that no worker consumes, such as a dead-letter queue.

        Raises `AssertionError` if fewer come within *timeout_s*, or a worker ends by itself.
        """
        __tracebackhide__ = True
        taken: list[Received] = []
        url = self.url(name)

        def missing() -> str:
            return f"{name} had {len(taken)} of {count} messages"

        for _ in waiting(self._workers, missing, timeout_s=timeout_s):
            taken += self._receive(url, min(count - len(taken), MAX_BATCH))
            if len(taken) == count:
                break
        return taken

    def delete(self) -> None:
        """Delete what the test has created and has not deleted itself; empty the stack's queues for the next test."""
        for url in self._created:
            with contextlib.suppress(self._sqs.exceptions.QueueDoesNotExist):
                self._sqs.delete_queue(QueueUrl=url)
        for url in self._urls.values():
            if url not in self._created:
                with contextlib.suppress(self._sqs.exceptions.PurgeQueueInProgress):
                    self._sqs.purge_queue(QueueUrl=url)

    def _create(self, name: str, full: str, attributes: Mapping[str, str]) -> str:
        given = {"MessageRetentionPeriod": str(RETENTION_S), **attributes}
        url: str = self._sqs.create_queue(QueueName=full, Attributes=given)["QueueUrl"]
        self._created.append(url)
        self._urls[name] = url
        return url

    def _receive(self, url: str, count: int) -> list[Received]:
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=count, WaitTimeSeconds=RECEIVE_S, MessageAttributeNames=["All"]
        )
        found = []
        for message in answer.get("Messages", []):
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            attributes = {
                name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()
            }
            found.append(Received(message["MessageId"], message["Body"], attributes))
        return found
