"""The AWS of a test session in memory: a stack whose clients record their requests and give scripted answers."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from workers.testing.sdk import Endpoint
from workers.testing.stack import Stack

ENDPOINT = "http://127.0.0.1:4566"
QUEUES = "http://127.0.0.1:4566/000000000000/"
OUTPUTS = {
    "OrderTableName": "t-OrderTable",
    "EscalationTableName": "t-EscalationTable",
    "OrderFulfillmentQueueName": "t-OrderFulfillmentQueue",
    "EscalationQueueName": "t-EscalationQueue",
    "OrderFulfillmentQueueUrl": f"{QUEUES}t-OrderFulfillmentQueue",
    "EscalationQueueUrl": f"{QUEUES}t-EscalationQueue",
    "OrderFulfillmentDLQUrl": f"{QUEUES}t-OrderFulfillmentDLQ",
    "EscalationDLQUrl": f"{QUEUES}t-EscalationDLQ",
    "StateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:t-Orders",
}
STACK = Stack(Endpoint(ENDPOINT), "t-", OUTPUTS)


class FakeClient:
    """Answers each operation by the function of its name, or with nothing; `requests` has all of them."""

    class exceptions:  # noqa: N801 - these names are the SDK's.
        class QueueDoesNotExist(ClientError): ...  # noqa: N818

        class PurgeQueueInProgress(ClientError): ...  # noqa: N818

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self.requests.append((operation, request))
            return self.answers[operation](**request) if operation in self.answers else {}

        return call


def use(monkeypatch: pytest.MonkeyPatch, module: str, **clients: FakeClient) -> None:
    """Let a module of workers.testing get these clients, by service, for the AWS of `STACK`."""

    def shared_client(service: str, endpoint: str) -> FakeClient:
        assert endpoint == ENDPOINT
        return clients[service]

    monkeypatch.setattr(f"workers.testing.{module}.shared_client", shared_client)
