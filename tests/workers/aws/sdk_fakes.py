"""A client of aioboto3 that tests script, for answers that the emulator never gives."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError


class FakeSdk:
    """Answers each operation with the next of its answers; raises those that are errors. Records all requests."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = answers
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(**request: Any) -> Any:
            self.requests.append((operation, request))
            await asyncio.sleep(0)  # Other callers run meanwhile, as during a real call.
            answer = self._answers[operation].pop(0)
            if isinstance(answer, BaseException):
                raise answer
            return answer

        return call

    def requests_of(self, operation: str) -> list[dict[str, Any]]:
        return [request for name, request in self.requests if name == operation]


def refusal(code: str, operation: str = "Operation", status: int = 400, **more: Any) -> ClientError:
    """Return the SDK's error for a response with this *code*; *more* are further parts of the response."""
    response: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response | more, operation)


class Waiting:
    """Answers all operations alike once an answer is given. Until then, they wait."""

    def __init__(self) -> None:
        self.requests = 0
        self.given: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(**_: Any) -> Any:
            self.requests += 1
            return await asyncio.shield(self.given)

        return call


async def two_at_once(aws: Waiting, calls: Iterable[Awaitable[Any]], answer: Any) -> None:
    """Check that of *calls*, which begin one by one, only two have requests until these are answered with *answer*."""
    running = []
    for call in calls:
        running.append(asyncio.ensure_future(call))
        for _ in range(5):
            await asyncio.sleep(0)
    assert aws.requests == 2
    aws.given.set_result(answer)
    await asyncio.gather(*running, return_exceptions=True)
    assert aws.requests > 2
