"""Runs a deployed workflow and collects its results from the order table and the queues."""

import contextlib
import functools
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.support import DeployedStack, polls
from workers.domain.ids import execution_arn

TIMEOUT_S = 120.0

Found = TypeVar("Found")


def wait_until(look: Callable[[], Found | None]) -> Found:
    """Call `look` until it finds something. Raises `AssertionError` after `TIMEOUT_S`."""
    for _ in polls(TIMEOUT_S):
        if found := look():
            return found
    raise AssertionError(f"Nothing was found within {TIMEOUT_S} s")


@dataclass(frozen=True, slots=True)
class Execution:
    """An execution that has ended."""

    arn: str
    status: str
    error: str | None
    cause: str | None
    output: str | None
    states: list[str]


class Workflow:
    def __init__(self, stack: DeployedStack) -> None:
        self.stack = stack
        self.client = functools.cache(stack.client)
        self._bodies: dict[str, list[dict[str, Any]]] = {}

    def start(self, order: object, name: str | None = None) -> str:
        """Start an execution with this input; returns its ARN."""
        named = {"name": name} if name else {}
        arn: str = self.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.state_machine_arn, input=json.dumps(order), **named
        )["executionArn"]
        return arn

    def abort(self, arn: str, **reason: str) -> None:
        self.client("stepfunctions").stop_execution(executionArn=arn, **reason)

    def run(self, order: object, name: str | None = None) -> Execution:
        return self.ended(self.start(order, name))

    def ended(self, arn: str) -> Execution:
        """Wait for an execution to end."""

        def look() -> dict[str, Any] | None:
            described: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=arn)
            return None if described["status"] == "RUNNING" else described

        found = wait_until(look)
        entered = [event["stateEnteredEventDetails"]["name"] for event in self.history(arn, "stateEnteredEventDetails")]
        return Execution(arn, found["status"], found.get("error"), found.get("cause"), found.get("output"), entered)

    def history(self, arn: str, details: str) -> list[dict[str, Any]]:
        """Return the execution's events with these details."""
        history = self.client("stepfunctions").get_execution_history(executionArn=arn, maxResults=1000)
        return [event for event in history["events"] if details in event]

    def arn_of(self, name: str) -> str:
        """Return the ARN of an execution of this name, started or not."""
        return execution_arn(self.stack.state_machine_arn, name)

    def stored(self, order_id: str) -> dict[str, str] | None:
        found = self.client("dynamodb").get_item(
            TableName=self.stack.order_table, Key={"OrderId": {"S": order_id}}, ConsistentRead=True
        )
        return {name: value["S"] for name, value in found["Item"].items()} if "Item" in found else None

    def store(self, item: Mapping[str, str]) -> None:
        self.client("dynamodb").put_item(
            TableName=self.stack.order_table, Item={name: {"S": value} for name, value in item.items()}
        )

    def fulfillments(self, arn: str) -> list[dict[str, Any]]:
        """Return the messages of an execution that has ended."""
        return self._messages(self.stack.order_fulfillment_queue_url, arn)

    def escalations(self, arn: str) -> list[dict[str, Any]]:
        """Return the escalations of an execution that has ended, the one from EventBridge included."""
        # The event of a failure follows it. Once the event of a later execution is here, those of earlier ones are too.
        later = self._aborted()
        wait_until(lambda: self._messages(self.stack.escalation_queue_url, later))
        return self._messages(self.stack.escalation_queue_url, arn)

    def _aborted(self) -> str:
        """Start an execution and abort it; return its ARN. On a busy machine it may have ended before."""
        while True:
            arn = self.start({})
            with contextlib.suppress(self.client("stepfunctions").exceptions.ValidationException):
                self.abort(arn)
                return arn

    def replace_function(self, source: str) -> None:
        """Replace the code of the verification."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("verify_cc_and_price.py", source)
        self.client("lambda").update_function_code(
            FunctionName=self.stack.outputs["VerifyCCAndPriceName"], ZipFile=archive.getvalue()
        )

    def _messages(self, queue_url: str, arn: str) -> list[dict[str, Any]]:
        """Empty the queue; returns all its messages of this execution so far."""
        bodies = self._bodies.setdefault(queue_url, [])
        while batch := (
            self.client("sqs")
            .receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=0)
            .get("Messages")
        ):
            for message in batch:
                bodies.append(json.loads(message["Body"]))
                self.client("sqs").delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return [body for body in bodies if body["ExecutionArn"] == arn]

    def everything_on(self, queue_url: str) -> list[dict[str, Any]]:
        """Empty the queue; returns all its messages so far."""
        self._messages(queue_url, "")
        return self._bodies[queue_url]
