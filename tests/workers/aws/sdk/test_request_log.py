"""At DEBUG, each request to AWS is one line, direct or not, without anything of its content."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from botocore.exceptions import ClientError

from tests.workers.aws.sdk.calls import DELETED, QUEUE, Calls, calling, error
from tests.workers.fulfillment.provider_server import reply, reset

pytestmark = pytest.mark.usefixtures("environment", "at_debug")

OPERATION = "DeleteMessageBatch"
SECRETS = ("AKID", "secret", "token", "AWS4", "ReceiptHandle", QUEUE)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with calling(attempts=3) as calls:
        yield calls


async def logged(calls: Calls) -> list[tuple[Any, ...]]:
    """Delete once; return attempt, status and reason of each line."""
    with structlog.testing.capture_logs() as logs:
        try:
            await calls.delete()
        except ClientError as failure:
            assert failure.operation_name == OPERATION  # noqa: PT017 - also if it succeeds.
    assert {line["event"] for line in logs} == {"request.finished"}
    assert {line["log_level"] for line in logs} == {"debug"}
    assert all(
        set(line) == {"event", "log_level", "operation", "attempt", "status", "reason", "duration_ms"} for line in logs
    )
    assert all(0 <= line["duration_ms"] < 600_000 for line in logs)
    assert not [secret for secret in SECRETS if secret in str(logs)]
    assert {line["operation"] for line in logs} == {OPERATION}
    return [(line["attempt"], line["status"], line["reason"]) for line in logs]


async def test_a_request_of_the_sdk_and_a_direct_one_are_one_line_each(calls: Calls) -> None:
    assert [await logged(calls) for _ in range(2)] == [[(1, 200, None)]] * 2


@pytest.mark.parametrize("learned", [True, False])
async def test_each_attempt_of_a_call_is_one_line(calls: Calls, learned: bool) -> None:
    if learned:
        await calls.learn()
    calls.server.answers(error(503, "ServiceUnavailable"), reset, reply(200, DELETED))
    first = (1, 503, None if learned else "ServiceUnavailable")  # The body of a direct request's error is the SDK's.
    started, broken, ended = await logged(calls)
    assert (started, broken[:2], ended) == (first, (2, None), (3, 200, None))
    assert str(broken[2]).endswith("Error")  # Which one depends on how far the connection had come.


async def test_a_refused_request_is_one_line(calls: Calls) -> None:
    calls.server.answers(error(400, "InvalidParameterValue"))
    assert await logged(calls) == [(1, 400, "InvalidParameterValue")]


async def test_above_debug_the_sdk_calls_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.aws.sdk.request_log.is_on", lambda: False)
    async with calling() as calls:
        with structlog.testing.capture_logs() as logs:
            await calls.delete()  # The first call of an action is the SDK's.
    assert logs == []
