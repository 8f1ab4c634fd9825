"""A stack on an AWS that tests script, call by call."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any, cast

from botocore.exceptions import ClientError

from workers.operations.stack import Stack

STATE_MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:Orders"
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class FakeClient:
    """Answers each operation with a function of its request: a response, or for `pages` an iterable of them."""

    def __init__(self, **operations: Callable[..., Any]) -> None:
        self.operations = operations
        self.requests: list[tuple[str, dict[str, Any]]] = []

    async def call(self, operation: str, **request: Any) -> Any:
        self.requests.append((operation, request))
        answer = self.operations[operation](**request)
        return await answer if hasattr(answer, "__await__") else answer

    async def pages(self, operation: str, **request: Any) -> AsyncIterator[Any]:
        self.requests.append((operation, request))
        for page in self.operations[operation](**request):
            yield page


class FakeStack:
    """A `Stack` with the default names whose clients are fakes."""

    def __init__(self, **clients: FakeClient) -> None:
        self.names = Stack(environ={"STATE_MACHINE": STATE_MACHINE}).names
        for name, client in clients.items():
            setattr(self, name, client)

    def now(self) -> datetime:
        return NOW

    async def state_machine_arn(self) -> str:
        return STATE_MACHINE

    async def execution_arn(self, name: str) -> str:
        return f"{STATE_MACHINE.replace('stateMachine', 'execution')}:{name}"


def fake_stack(**clients: FakeClient) -> Stack:
    return cast("Stack", FakeStack(**clients))


def refused(code: str, operation: str = "StartExecution", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )
