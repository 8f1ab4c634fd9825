"""After a direct request that did not go well, the SDK goes on as if the request had been its own."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from tests.workers.aws.sdk.calls import DELETED, Calls, calling, error, sent_directly
from tests.workers.fulfillment.provider_server import Answer, Request, hang, reply, reset, write
from workers.aws.sdk.handover import Handover, is_handed_over

pytestmark = pytest.mark.usefixtures("environment", "waits_s")

EXECUTE = {"Statements": [{"Statement": "UPDATE"}]}
TRANSACT = {"TransactItems": [{"Put": {"TableName": "t", "Item": {"Id": {"S": "1"}}}}]}
GET = {"TableName": "t", "Key": {"Id": {"S": "1"}}}


@pytest.fixture
def waits_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The SDK's waits before it tries again. They take no time here."""
    waits_s: list[float] = []
    sleep = asyncio.sleep

    async def record(delay_s: float) -> None:
        waits_s.append(delay_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", record)
    return waits_s


@pytest.fixture
async def dynamodb() -> AsyncIterator[Calls]:
    async with calling("dynamodb") as calls:
        calls.server.otherwise = reply(200, {})
        await calls.learn("get_item", **GET)
        await calls.learn("transact_write_items", **TRANSACT)
        yield calls


@pytest.mark.parametrize(
    "problem",
    [
        error(500, "InternalError"),
        error(503, "ServiceUnavailable"),
        reply(504, "<html>"),
        error(400, "ThrottlingException"),
        error(400, "RequestThrottled"),
        error(400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
        error(400, "RequestLimitExceeded"),
        error(429, "TooManyRequestsException"),
        error(503, "SlowDown"),
        reset,
        write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", then_close=True),
    ],
)
async def test_a_call_that_may_succeed_later_is_sent_again_after_the_sdks_wait(
    calls: Calls, waits_s: list[float], problem: Answer
) -> None:
    calls.server.answers(problem)
    answer = await calls.delete()
    assert (answer["Successful"], answer["ResponseMetadata"]["RetryAttempts"]) == ([{"Id": "0"}], 1)
    assert [sent_directly(request) for request in calls.requests] == [True, False]
    assert len(waits_s) == 1
    assert 0 <= waits_s[0] <= 1
    assert calls.count_by_result() == {("DeleteMessageBatch", "ok"): 1}


@pytest.mark.parametrize("attempts", [1, 2, 3])
@pytest.mark.parametrize(
    ("problem", "kind", "result"),
    [
        (error(500, "InternalError"), ClientError, "InternalError"),
        (error(400, "ThrottlingException"), ClientError, "ThrottlingException"),
        (reset, (EndpointConnectionError, ConnectionClosedError), "EndpointConnectionError"),
    ],
)
async def test_the_direct_attempt_counts_as_one_of_the_clients_attempts(
    waits_s: list[float], attempts: int, problem: Answer, kind: Any, result: str
) -> None:
    async with calling(attempts=attempts) as calls:
        await calls.learn()
        calls.server.otherwise = problem
        with pytest.raises(kind):
            await calls.delete()
        assert len(calls.requests) == attempts
        assert len(waits_s) == attempts - 1
        counted = calls.count_by_result()
    assert sum(counted.values()) == 1
    assert next(iter(counted)) in {("DeleteMessageBatch", result), ("DeleteMessageBatch", "ConnectionClosedError")}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "com.amazonaws.sqs#QueueDoesNotExist"),
        (403, "ExpiredTokenException"),
        (403, "InvalidClientTokenId"),
        (400, "ReceiptHandleIsInvalid"),
        (418, "AnythingNew"),
    ],
)
async def test_an_error_that_lasts_is_raised_without_another_request(calls: Calls, status: int, code: str) -> None:
    query = {"x-amzn-query-error": "AWS.SimpleQueueService.Other;Sender"} if "Queue" in code else {}
    calls.server.otherwise = reply(status, {"__type": code, "message": "no"}, **query, x_amzn_requestid="r1")
    raised = await both_raise(calls, "delete_message_batch", QueueUrl="q", Entries=[])
    assert raised.response["Error"]["Message"] == "no"
    assert calls.count_by_result() == {("DeleteMessageBatch", raised.response["Error"]["Code"]): 1}


async def both_raise(calls: Calls, method: str, **request: Any) -> ClientError:
    """Return the error of a direct call after comparing it with the error of the SDK's own call."""
    with pytest.raises(ClientError) as ours:
        await getattr(calls.direct, method)(**request)
    assert [sent_directly(request) for request in calls.requests] == [True]
    with pytest.raises(ClientError) as theirs:
        await getattr(calls.sdk, method)(**request)
    assert type(ours.value).__name__ == type(theirs.value).__name__
    assert isinstance(ours.value, calls.direct.exceptions.from_code(type(ours.value).__name__))
    assert (ours.value.operation_name, str(ours.value)) == (theirs.value.operation_name, str(theirs.value))
    assert ours.value.response == theirs.value.response
    raised: ClientError = ours.value
    return raised


async def test_a_cancelled_transaction_is_raised_once_and_with_its_reasons(dynamodb: Calls) -> None:
    reasons = [{"Code": "None"}, {"Code": "ConditionalCheckFailed", "Item": {"Id": {"S": "1"}, "Blob": {"B": "AP8="}}}]
    dynamodb.server.otherwise = error(
        400, "com.amazonaws.dynamodb.v20120810#TransactionCanceledException", CancellationReasons=reasons
    )
    raised = await both_raise(dynamodb, "transact_write_items", **TRANSACT)
    assert isinstance(raised, dynamodb.direct.exceptions.TransactionCanceledException)
    assert raised.response["CancellationReasons"][1]["Item"]["Blob"]["B"] == b"\x00\xff"


async def test_a_failed_condition_is_raised_once_and_with_its_item() -> None:
    request = {"TableName": "t", "Key": {"Id": {"S": "1"}}}
    async with calling("dynamodb") as calls:
        calls.server.otherwise = reply(200, {})
        await calls.learn("update_item", **request)
        calls.server.otherwise = error(400, "ConditionalCheckFailedException", Item={"Id": {"S": "1"}})
        raised = await both_raise(calls, "update_item", **request)
        assert raised.response["Item"] == {"Id": {"S": "1"}}  # type: ignore[typeddict-item]


@pytest.mark.parametrize("given", [None, "ours"])
async def test_every_attempt_of_a_transaction_has_the_same_token(dynamodb: Calls, given: str | None) -> None:
    dynamodb.server.answers(error(500, "InternalServerError"))
    request = TRANSACT | ({"ClientRequestToken": given} if given else {})
    await dynamodb.direct.transact_write_items(**request)
    await dynamodb.direct.transact_write_items(**request)
    assert [sent_directly(request) for request in dynamodb.requests] == [True, False, True]
    first, again, other = (request.document["ClientRequestToken"] for request in dynamodb.requests)
    assert first == again
    assert first == given if given else len(first) == 36
    assert (first == other) == (given is not None)


@pytest.mark.parametrize("checksum", ["1", "unreadable"])
async def test_a_response_with_a_wrong_checksum_is_not_used(dynamodb: Calls, checksum: str) -> None:
    dynamodb.server.answers(reply(200, {"Item": {"Id": {"S": "damaged"}}}, x_amz_crc32=checksum))
    body = json.dumps({"Item": {"Id": {"S": "1"}}}).encode()
    dynamodb.server.otherwise = reply(200, body, x_amz_crc32=str(zlib.crc32(body)))
    if checksum == "unreadable":
        with pytest.raises(ValueError, match="unreadable"):  # As the SDK's own call.
            await dynamodb.direct.get_item(**GET)
        return
    assert (await dynamodb.direct.get_item(**GET))["Item"] == {"Id": {"S": "1"}}
    assert (await dynamodb.direct.get_item(**GET))["Item"] == {"Id": {"S": "1"}}
    assert [sent_directly(request) for request in dynamodb.requests] == [True, False, True]


@pytest.mark.parametrize("body", ["{", "<html>", "\xff"])
async def test_an_unreadable_response_is_counted_and_not_asked_for_again(calls: Calls, body: str) -> None:
    calls.server.otherwise = reply(200, body)
    with pytest.raises(ResponseParserError):
        await calls.delete()
    assert len(calls.requests) == 1
    assert calls.count_by_result() == {("DeleteMessageBatch", "ResponseParserError"): 1}


async def test_a_redirect_is_not_followed(calls: Calls) -> None:
    calls.server.answers(reply(302, {"__type": "Moved"}, Location=f"{calls.server.url}/elsewhere"))
    with pytest.raises(ClientError, match="Moved"):
        await calls.delete()
    assert len(calls.requests) == 1


async def test_a_compressed_response_is_not_unpacked(calls: Calls) -> None:
    calls.server.otherwise = reply(200, gzip.compress(json.dumps(DELETED).encode()), Content_Encoding="gzip")
    with pytest.raises(ResponseParserError):  # As the SDK's own call.
        await calls.delete()
    assert len(calls.requests) == 1


async def test_after_an_error_other_calls_are_sent_directly_again(calls: Calls) -> None:
    calls.server.answers(error(500, "InternalError"))
    await asyncio.gather(*(calls.delete() for _ in range(5)))
    assert sorted(sent_directly(request) for request in calls.requests) == [False] + 5 * [True]
    assert calls.count_by_result() == {("DeleteMessageBatch", "ok"): 5}


async def test_successes_refill_the_sdks_quota_for_retries(calls: Calls) -> None:
    async def requests_of_a_failing_call() -> int:
        calls.requests.clear()
        with pytest.raises(ClientError):
            await calls.delete()
        return len(calls.requests)

    calls.server.otherwise = error(500, "InternalError")
    while await requests_of_a_failing_call() == 2:
        pass
    calls.server.otherwise = reply(200, DELETED)
    for _ in range(5):
        await calls.delete()
    calls.server.otherwise = error(500, "InternalError")
    assert await requests_of_a_failing_call() == 2


async def test_a_cancelled_call_is_not_handed_over(calls: Calls) -> None:
    arrived = asyncio.Event()

    async def arrive(request: Request, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await hang(request, writer)

    calls.server.otherwise = arrive
    call = asyncio.create_task(calls.delete())
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(calls.requests) == 1
    assert calls.count_by_result() == {}


async def test_a_call_knows_whether_its_first_attempt_was_made_already() -> None:
    handed_over: list[bool] = []
    async with calling() as calls:
        calls.direct.meta.events.register_first("before-send", lambda **_: handed_over.append(is_handed_over()))
        await calls.learn()
        calls.server.answers(error(500, "InternalError"))
        await calls.delete()
    assert handed_over == [False, True, True]


async def test_only_attempts_after_the_first_use_the_quota() -> None:
    before_send: list[Callable[[], Any]] = []
    events = SimpleNamespace(register=lambda _, handler: before_send.append(handler))
    handover = Handover(cast("Any", SimpleNamespace(meta=SimpleNamespace(events=events))))
    response: Any = object()

    async def attempts(count: int) -> list[Any]:
        return [before_send[0]() for _ in range(count)]

    assert before_send[0]() is None
    assert await handover.call(attempts, {"count": 1}, response) == [response]
    assert handover.used_quota == 0
    assert await handover.call(attempts, {"count": 3}, response) == [response, None, None]
    assert handover.used_quota == 20
    with pytest.raises(TimeoutError):
        await handover.call(attempts, {"count": 1}, TimeoutError())
    await handover.call(attempts, {"count": 100}, response)
    assert handover.used_quota == 500
    assert not is_handed_over()
