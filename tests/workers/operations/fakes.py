"""A stack on an AWS that tests script, call by call."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

from botocore.exceptions import ClientError

from workers.aws.sdk.blocking import AsyncClient, BlockingSession
from workers.backoff import Backoff
from workers.operations.stack import Stack

REGION = "us-east-1"
STATE_MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:Orders"
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:Orders"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class FakeClient:
    """
    Answers each operation with a function of its request: a response, or for `pages` an iterable of them.

    Queues have no tags, if nothing else is said. Each read of an item must be of what is stored now.
    """

    def __init__(self, **operations: Callable[..., Any]) -> None:
        self.operations = {"list_queue_tags": lambda **_: {}} | operations
        self.requests: list[tuple[str, dict[str, Any]]] = []

    async def call(self, operation: str, **request: Any) -> Any:
        self.requests.append((operation, request))
        assert operation != "get_item" or request["ConsistentRead"]
        answer = self.operations[operation](**request)
        return await answer if hasattr(answer, "__await__") else answer

    async def pages(self, operation: str, **request: Any) -> AsyncIterator[Any]:
        self.requests.append((operation, request))
        answer = self.operations[operation](**request)
        pages = await answer if hasattr(answer, "__await__") else answer
        for page in [pages] if isinstance(pages, dict) else pages:
            yield page


class FakeSession(BlockingSession):
    def __init__(self, clients: dict[str, FakeClient]) -> None:
        super().__init__({})
        self._fakes = {
            "cloudwatch": FakeClient(get_metric_statistics=lambda **_: {"Datapoints": []}),
            "sqs": empty_queues(),
        } | clients
        self.config: dict[str, dict[str, Any]] = {}  # The configuration that was asked for, by service.

    def client(self, service: str, **config: Any) -> AsyncClient:
        self.config[service] = config
        return cast("AsyncClient", self._fakes[service])

    async def region(self) -> str:
        return REGION


@dataclass(frozen=True)
class Waits(Backoff):
    """A backoff without waits, which records after which attempts there would be one."""

    base_s: float = 0
    cap_s: float = 0
    attempts: list[int] = field(default_factory=list)

    def wait_s(self, attempt: int) -> float:
        self.attempts.append(attempt)
        return 0


def empty_queues() -> FakeClient:
    """Return an SQS whose queues all exist and are empty."""
    empty = {f"ApproximateNumberOfMessages{state}": "0" for state in ("", "NotVisible", "Delayed")}
    redrive = {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ"}'}
    return FakeClient(
        get_queue_url=lambda QueueName: {"QueueUrl": f"http://sqs/{QueueName}"},  # noqa: N803 - the SDK's name.
        get_queue_attributes=lambda **_: {"Attributes": empty | redrive},
    )


def fake_stack(state_machine: str = STATE_MACHINE, **clients: FakeClient) -> Stack:
    """Return a stack with the default names, whose clients, by service, are fakes."""
    return Stack({"STATE_MACHINE": state_machine}, now=lambda: NOW, session=FakeSession(clients))


def refused(code: str, operation: str = "StartExecution", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )
