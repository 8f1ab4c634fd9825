"""The busiest calls are sent directly; after a problem, the SDK sends them."""

import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ReadTimeoutError, SSLError

from tests.workers.fulfillment.provider_server import Answer, ProviderServer, hang, provider_server, reply, reset
from workers.aws.sdk.clients import open_session, prepare
from workers.aws.sdk.direct import direct_calls
from workers.aws.sdk.parsing import plain_session
from workers.aws.sdk.tls import VerifyingSession
from workers.metrics import Metrics

HANDLES = [{"Id": "0", "ReceiptHandle": "r"}]
DELETED = {"Successful": [{"Id": "0"}], "Failed": []}
QUEUE = "http://queue/q"


def error(status: int, code: str) -> Answer:
    return reply(status, {"__type": code, "message": "no"})


@dataclass
class Calls:
    """A client of SQS, and the scripted server that it calls."""

    server: ProviderServer
    sqs: Any
    metrics: Metrics

    async def delete(self) -> Any:
        return await self.sqs.delete_message_batch(QueueUrl=QUEUE, Entries=HANDLES)

    def count_by_result(self) -> dict[tuple[str, str], float]:
        samples = [sample for family in self.metrics.requests.collect() for sample in family.samples]
        return {
            (sample.labels["action"], sample.labels["result"]): sample.value
            for sample in samples
            if sample.name.endswith("_total")
        }

    @property
    def requests(self) -> Any:
        return self.server.requests


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name, value in {"ACCESS_KEY_ID": "AKID", "SECRET_ACCESS_KEY": "secret", "SESSION_TOKEN": "token"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")


async def connected(server: ProviderServer, stack: AsyncExitStack) -> Calls:
    metrics, sdk = Metrics(), plain_session()
    retries = {"mode": "standard", "total_max_attempts": 2}
    config = AioConfig(http_session_cls=VerifyingSession, read_timeout=0.5, connect_timeout=1, retries=retries)
    url = server.url.removesuffix("/orders")
    sqs = await stack.enter_async_context(open_session(sdk).client("sqs", endpoint_url=url, config=config))
    prepare(sqs, metrics.requests)
    await stack.enter_async_context(direct_calls(sqs, sdk))
    return Calls(server, sqs, metrics)


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server())
        server.otherwise = reply(200, DELETED)
        yield await connected(server, stack)


async def test_a_successful_call_is_sent_once_and_directly(calls: Calls) -> None:
    answer = await calls.delete()
    assert (answer["Successful"], answer["Failed"]) == ([{"Id": "0"}], [])
    assert len(calls.requests) == 1
    assert json.loads(calls.requests[0].body) == {"QueueUrl": QUEUE, "Entries": HANDLES}
    assert calls.count_by_result() == {("DeleteMessageBatch", "ok"): 1}


async def test_calls_share_a_connection(calls: Calls) -> None:
    for _ in range(3):
        await calls.delete()
    assert calls.server.connections == 1


async def test_a_direct_request_equals_the_sdks(calls: Calls) -> None:
    await calls.delete()
    async with aioboto3.Session(region_name="eu-central-1").client(
        "sqs", endpoint_url=calls.server.url.removesuffix("/orders")
    ) as sdk:
        await sdk.delete_message_batch(QueueUrl=QUEUE, Entries=HANDLES)
    ours, theirs = calls.requests
    assert (ours.line, ours.body) == (theirs.line, theirs.body)
    apart = {"user-agent", "x-amz-date", "authorization", "amz-sdk-invocation-id", "amz-sdk-request", "accept"}
    assert {n: v for n, v in ours.headers.items() if n not in apart} == {
        n: v for n, v in theirs.headers.items() if n not in apart
    }


async def test_a_direct_request_is_signed_with_its_host_and_headers(calls: Calls) -> None:
    await calls.delete()
    (sent,) = calls.requests
    scope, names = sent.headers["authorization"].split(", ")[:2]
    assert scope.startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert scope.endswith("/eu-central-1/sqs/aws4_request")
    signed = {name: sent.headers[name] for name in names.removeprefix("SignedHeaders=").split(";")}
    assert {"host", "x-amz-date", "x-amz-target", "content-type", "x-amz-security-token"} <= set(signed)
    again = AWSRequest("POST", calls.server.url.removesuffix("/orders") + "/", headers=signed, data=sent.body)
    again.context["timestamp"] = sent.headers["x-amz-date"]
    auth = SigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-central-1")
    canonical = auth.canonical_request(again)
    signature = auth.signature(auth.string_to_sign(again, canonical), again)
    assert sent.headers["authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize(
    "problem", [error(500, "InternalError"), error(400, "ThrottlingException"), reset, reply(200, "{")]
)
async def test_after_an_error_the_sdk_sends_the_call(calls: Calls, problem: Answer) -> None:
    calls.server.answers(problem)
    assert (await calls.delete())["Successful"] == [{"Id": "0"}]
    assert len(calls.requests) == 2
    assert calls.count_by_result() == {("DeleteMessageBatch", "ok"): 1}


async def test_a_lasting_error_is_raised_by_the_sdk(calls: Calls) -> None:
    calls.server.otherwise = error(400, "com.amazonaws.sqs#QueueDoesNotExist")
    with pytest.raises(ClientError) as raised:
        await calls.delete()
    assert raised.value.response["Error"]["Code"] == "QueueDoesNotExist"
    assert len(calls.requests) == 2
    assert calls.count_by_result() == {("DeleteMessageBatch", "QueueDoesNotExist"): 1}


async def test_a_call_that_times_out_is_counted_and_not_repeated(calls: Calls) -> None:
    calls.server.otherwise = hang
    with pytest.raises(ReadTimeoutError):
        await calls.delete()
    assert len(calls.requests) == 1
    assert calls.count_by_result() == {("DeleteMessageBatch", "ReadTimeoutError"): 1}


async def test_binary_attributes_are_decoded_as_by_the_sdk(calls: Calls) -> None:
    binary = {"DataType": "Binary", "BinaryValue": "AP8="}
    calls.server.otherwise = reply(200, {"Messages": [{"MessageId": "m", "MessageAttributes": {"A": binary}}]})
    answer = await calls.sqs.receive_message(QueueUrl=QUEUE)
    assert answer["Messages"][0]["MessageAttributes"]["A"]["BinaryValue"] == b"\x00\xff"
    assert len(calls.requests) == 1


async def test_other_calls_are_sent_by_the_sdk(calls: Calls) -> None:
    calls.server.otherwise = reply(200, {"QueueUrl": QUEUE})
    assert (await calls.sqs.get_queue_url(QueueName="q"))["QueueUrl"] == QUEUE
    assert len(calls.requests) == 1


async def test_behind_a_proxy_the_sdk_sends_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(provider_server())
        proxy.otherwise = reply(200, DELETED)
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/orders"))
        elsewhere = ProviderServer(url="http://sqs.example.invalid/orders")
        calls = await connected(elsewhere, stack)
        assert (await calls.delete())["Successful"] == [{"Id": "0"}]
        assert [request.line for request in proxy.requests] == ["POST http://sqs.example.invalid/ HTTP/1.1"]


async def test_a_certificate_in_the_ca_bundle_is_accepted(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        server.otherwise = reply(200, DELETED)
        assert (await (await connected(server, stack)).delete())["Successful"] == [{"Id": "0"}]
        assert len(server.requests) == 1


async def test_an_unknown_certificate_gets_no_request(certificate: ssl.SSLContext) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        with pytest.raises(SSLError):
            await (await connected(server, stack)).delete()
        assert server.requests == []


@pytest.mark.parametrize("certificate", ["DNS:other.example"], indirect=True)
@pytest.mark.parametrize("action", ["direct", "the SDK's"])
async def test_a_certificate_for_another_host_is_not_accepted(
    certificate: ssl.SSLContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        calls = await connected(server, stack)
        with pytest.raises(SSLError):
            await (calls.delete() if action == "direct" else calls.sqs.get_queue_url(QueueName="q"))
        assert server.requests == []
