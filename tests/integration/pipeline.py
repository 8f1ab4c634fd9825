"""Drives a deployed pipeline through its queues, as other teams' tests do, and reads the results."""

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from boto3.dynamodb.types import TypeDeserializer

from tests.support import DeployedStack, Worker, polls, run_worker
from workers.domain.ids import execution_arn

ENVIRONMENT = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "10", "LOG_FORMAT": "json"}
SCRIPTED = "tests.integration.providers:ScriptedProvider"
TIMEOUT_S = 120.0
ENDINGS = {"message.acknowledged", "message.released", "message.dead_lettered", "message.abandoned"}

Found = TypeVar("Found")


def wait_until(look: Callable[[], Found]) -> Found:
    """Call *look* until its result is true, and return it. Raises `AssertionError` after `TIMEOUT_S`."""
    for _ in polls(TIMEOUT_S):
        if found := look():
            return found
    raise AssertionError(f"not true within {TIMEOUT_S} s")


def endings(*workers: Worker) -> list[tuple[str, str, str]]:
    """Return message id, ending event and outcome of each delivery."""
    lines = [line for worker in workers for line in worker.lines()]
    return [(line["message_id"], line["event"], line["outcome"]) for line in lines if line["event"] in ENDINGS]


def fulfilled(*workers: Worker) -> Counter[str]:
    """Count the `order.fulfilled` lines of each order."""
    lines = [line for worker in workers for line in worker.lines()]
    return Counter(line["order_id"] for line in lines if line["event"] == "order.fulfilled")


class Pipeline:
    """A deployed stack: stores orders, sends messages, reads tables and queues."""

    def __init__(self, stack: DeployedStack) -> None:
        self.stack = stack
        self.client = functools.cache(stack.client)

    def start(self, worker: str, log_path: Path, **environment: str) -> Worker:
        """Start a worker. The caller must end it."""
        return run_worker(worker, self.stack.worker_environment() | ENVIRONMENT | environment, log_path)

    def arn(self, name: str) -> str:
        """Return the ARN of the execution *name*."""
        return execution_arn(self.stack.state_machine_arn, name)

    def put_order(self, order_id: str, status: str = "RECEIVED", **fields: str) -> None:
        """Store an order as the workflow does, with the execution `of-<order id>`."""
        item = {
            "OrderId": order_id,
            "Name": "Ada",
            "ItemName": "Bicycle",
            "Price": "12.50",
            "CC": "************5678",
            "Status": status,
            "ExecutionArn": self.arn(f"of-{order_id}"),
            "StartedAt": "2020-01-01T00:00:00.000Z",  # Before any execution that a test starts.
            "CreatedAt": "2026-11-22T10:00:00.000Z",
            "UpdatedAt": "2026-11-22T10:00:00.000Z",
            "OpenKey": f"{status}#0",
        } | fields
        self.client("dynamodb").put_item(
            TableName=self.stack.order_table, Item={name: {"S": value} for name, value in item.items()}
        )

    def order(self, order_id: str) -> dict[str, Any] | None:
        return self._item(self.stack.order_table, {"OrderId": {"S": order_id}})

    def status(self, order_id: str) -> str | None:
        order = self.order(order_id)
        return None if order is None else order["Status"]

    def case(self, case_id: str) -> dict[str, Any] | None:
        return self._item(self.stack.escalation_table, {"CaseId": {"S": case_id}})

    def send_order(self, order_id: str, execution: str | None = None) -> str:
        """Put an order's message on the fulfillment queue, as the workflow does; return the message's id."""
        return self.send_fulfillment(
            json.dumps({"OrderId": order_id, "ExecutionArn": self.arn(execution or f"of-{order_id}")})
        )

    def send_fulfillment(self, body: str, **attributes: str) -> str:
        return self._send(self.stack.order_fulfillment_queue_url, body, attributes)

    def send_escalation(self, body: object, **attributes: str) -> str:
        text = body if isinstance(body, str) else json.dumps(body)
        return self._send(self.stack.escalation_queue_url, text, attributes)

    def take(self, queue_url: str) -> list[dict[str, Any]]:
        """Receive and delete everything that a queue holds."""
        taken = []
        while batch := (
            self.client("sqs")
            .receive_message(
                QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0, MessageAttributeNames=["All"]
            )
            .get("Messages")
        ):
            for message in batch:
                taken.append(message)
                self.client("sqs").delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return taken

    def queued(self, queue_url: str) -> int:
        """Return how many messages a queue holds, including those in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def scan(self, table: str) -> list[dict[str, Any]]:
        return [_plain(item) for item in self.client("dynamodb").scan(TableName=table)["Items"]]

    def _send(self, queue_url: str, body: str, attributes: dict[str, str]) -> str:
        sent = self.client("sqs").send_message(
            QueueUrl=queue_url,
            MessageBody=body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
        message_id: str = sent["MessageId"]
        return message_id

    def _item(self, table: str, key: dict[str, Any]) -> dict[str, Any] | None:
        found = self.client("dynamodb").get_item(TableName=table, Key=key, ConsistentRead=True)
        return _plain(found["Item"]) if "Item" in found else None


def _plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: TypeDeserializer().deserialize(value) for name, value in item.items()}


def of(message_id: str, all_endings: Iterable[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Return the endings of one message: event and outcome."""
    return [(event, outcome) for each, event, outcome in all_endings if each == message_id]
