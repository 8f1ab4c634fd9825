import asyncio
from collections.abc import Awaitable, Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from tests.workers.operations.fakes import Waits, refused
from workers.operations.retries import MAX_UNREADABLE, Retries

THROTTLED = refused("ThrottlingException")
UNREACHABLE = EndpointConnectionError(endpoint_url="http://aws")
UNREADABLE = ResponseParserError("not XML")


def failing(*errors: Exception) -> Callable[[], Awaitable[str]]:
    """Return a call that raises *errors*, one after the other, and then returns."""
    left = list(errors)

    async def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


async def test_a_throttled_call_is_repeated_with_growing_waits_and_reported_once() -> None:
    waits, warned, failures = Waits(), list[str](), list[Exception]()
    retries = Retries(backoff=waits, warn=warned.append)
    assert await retries.run("StartExecution", failing(THROTTLED, THROTTLED), failed=failures.append) == "done"
    assert await retries.run("DescribeExecution", failing(THROTTLED)) == "done"
    assert waits.attempts == [1, 2, 1]
    assert failures == [THROTTLED, THROTTLED]
    assert warned == ["StartExecution: ThrottlingException; continuing more slowly"]


async def test_an_error_that_concerns_the_request_is_raised_at_once() -> None:
    failures: list[Exception] = []
    with pytest.raises(ClientError):
        await Retries(backoff=Waits()).run("StartExecution", failing(refused("InvalidName")), failed=failures.append)
    assert failures == []


async def test_an_unreachable_endpoint_is_repeated_only_after_an_answer() -> None:
    retries, warned = Retries(backoff=Waits()), list[str]()
    with pytest.raises(EndpointConnectionError):
        await retries.run("StartExecution", failing(UNREACHABLE))
    answered = Retries(backoff=Waits(), warn=warned.append)
    assert await answered.run("StartExecution", failing()) == "done"
    assert await answered.run("StartExecution", failing(UNREACHABLE)) == "done"
    assert warned == ["StartExecution: endpoint connection error; continuing more slowly"]
    refused_first = Retries(backoff=Waits())
    with pytest.raises(ClientError):
        await refused_first.run("StartExecution", failing(refused("InvalidName")))
    assert await refused_first.run("StartExecution", failing(UNREACHABLE)) == "done", "a refusal is an answer, too"


async def test_so_many_unreadable_answers_before_a_good_one_are_not_of_aws() -> None:
    assert await Retries(backoff=Waits()).run("X", failing(*[UNREADABLE] * MAX_UNREADABLE)) == "done"
    with pytest.raises(ResponseParserError):
        await Retries(backoff=Waits()).run("X", failing(*[UNREADABLE] * (MAX_UNREADABLE + 1)))
    answered = Retries(backoff=Waits())
    await answered.run("X", failing())
    assert await answered.run("X", failing(*[UNREADABLE] * (MAX_UNREADABLE + 1))) == "done"


async def test_a_stop_ends_the_wait_and_raises_the_last_error() -> None:
    class Long(Waits):
        def wait_s(self, attempt: int) -> float:
            super().wait_s(attempt)
            return 3600

    retries = Retries(backoff=Long())
    running = asyncio.create_task(retries.run("StartExecution", failing(THROTTLED)))
    await asyncio.sleep(0)
    retries.stop.set()
    with pytest.raises(ClientError):
        await running


async def test_a_call_is_not_repeated_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.operations.retries.MAX_RETRY_S", 0.0)
    waits = Waits()
    with pytest.raises(ClientError):
        await Retries(backoff=waits).run("StartExecution", failing(THROTTLED))
    assert waits.attempts == []
