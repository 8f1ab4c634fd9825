"""The calls that carry the load are sent directly, and are the same as the SDK's."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiobotocore.awsrequest import AioAWSResponse
from aiobotocore.config import AioConfig
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, ReadTimeoutError

from tests.virtual_time import LoopClock
from tests.workers.aws.sdk.calls import (
    DELETED,
    HANDLES,
    PATIENT_S,
    QUEUE,
    Calls,
    calling,
    connected,
    fast,
    sent_directly,
)
from tests.workers.fulfillment.provider_server import ProviderServer, Request, after, hang, provider_server, reply
from workers.aws.sdk.clients import open_session
from workers.aws.sdk.direct import DirectClient
from workers.aws.sdk.handover import Received
from workers.aws.sdk.metering import Meter
from workers.aws.sdk.parsing import plain_session
from workers.errors import FatalError
from workers.metrics import Metrics

pytestmark = pytest.mark.usefixtures("environment")


async def test_the_first_call_of_an_action_is_the_sdks_and_the_others_are_direct() -> None:
    async with calling() as calls:
        answers = [await calls.delete() for _ in range(3)]
        assert [sent_directly(request) for request in calls.requests] == [False, True, True]
        assert calls.count_by_result() == {("DeleteMessageBatch", "ok"): 3}
    for answer in answers:
        assert (answer["Successful"], answer["Failed"]) == ([{"Id": "0"}], [])


async def test_calls_share_a_connection(calls: Calls) -> None:
    before = calls.server.connections
    for _ in range(3):
        await calls.delete()
    assert calls.server.connections - before == 1


async def test_a_direct_request_equals_the_sdks(calls: Calls) -> None:
    await calls.delete()
    await calls.sdk.delete_message_batch(QueueUrl=QUEUE, Entries=HANDLES)
    ours, theirs = calls.requests
    assert ours.line == theirs.line
    assert ours.document == theirs.document == {"QueueUrl": QUEUE, "Entries": HANDLES}
    apart = {"user-agent", "content-length", "x-amz-date", "authorization", "amz-sdk-invocation-id", "amz-sdk-request"}
    assert {name: value for name, value in ours.headers.items() if name not in apart} == {
        name: value for name, value in theirs.headers.items() if name not in apart
    }


def signature_of_sdk(url: str, sent: Request) -> str:
    """Return the SDK's signature of a request with the headers that *sent* has signed."""
    names = sent.headers["authorization"].split(", ")[1].removeprefix("SignedHeaders=").split(";")
    assert {"host", "x-amz-date", "x-amz-target", "content-type", "x-amz-security-token"} <= set(names)
    again = AWSRequest("POST", url, headers={name: sent.headers[name] for name in names}, data=sent.body)
    again.context["timestamp"] = sent.headers["x-amz-date"]
    auth = SigV4Auth(Credentials("AKID", "secret"), "sqs", "eu-central-1")
    signature: str = auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
    return signature


@pytest.mark.parametrize("path", ["", "/", "/sqs", "/a/b/", "/a%20b/%2F", "/a//b/./c"])
async def test_a_direct_request_to_an_endpoint_with_a_path_is_signed_like_the_sdks(path: str) -> None:
    async with calling(path=path) as calls:
        await calls.delete()
        await calls.delete()
        first, sent = calls.requests
    assert sent_directly(sent)
    assert sent.line == first.line == f"POST {path or '/'} HTTP/1.1"
    assert sent.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert "/eu-central-1/sqs/aws4_request, " in sent.headers["authorization"]
    for request in (first, sent):
        signature = signature_of_sdk(f"http://{request.headers['host']}{path or '/'}", request)
        assert request.headers["authorization"].endswith(f"Signature={signature}")


async def test_an_endpoint_with_a_query_is_left_to_the_sdk() -> None:
    async with calling(path="/sqs?stage=a") as calls:
        for _ in range(2):
            assert (await calls.delete())["Successful"] == [{"Id": "0"}]
        assert [sent_directly(request) for request in calls.requests] == [False, False]


async def test_a_call_that_times_out_is_counted_and_not_repeated(loop_clock: LoopClock) -> None:
    async with calling() as calls:
        await calls.learn()
        calls.server.otherwise = after(int(PATIENT_S), loop_clock, hang)
        with pytest.raises(ReadTimeoutError):
            await calls.delete()
        assert len(calls.requests) == 1
        assert calls.count_by_result() == {("DeleteMessageBatch", "ReadTimeoutError"): 1}


async def test_a_body_of_megabytes_is_sent_directly(calls: Calls) -> None:
    await calls.direct.delete_message_batch(QueueUrl=QUEUE, Entries=[{"Id": "0", "ReceiptHandle": "r" * 3_000_000}])
    (sent,) = calls.requests
    assert len(sent.document["Entries"][0]["ReceiptHandle"]) == 3_000_000
    assert sent_directly(sent)


async def test_other_calls_are_sent_by_the_sdk(calls: Calls) -> None:
    calls.server.otherwise = reply(200, {"QueueUrl": QUEUE})
    assert (await calls.direct.get_queue_url(QueueName="q"))["QueueUrl"] == QUEUE
    assert len(calls.requests) == 1
    assert calls.direct.meta.region_name == "eu-central-1"
    assert calls.count_by_result() == {("GetQueueUrl", "ok"): 1}


async def test_without_credentials_the_sdks_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    async with calling() as calls:
        for _ in range(2):
            with pytest.raises(Exception, match="Unable to locate credentials"):
                await calls.delete()
        assert calls.count_by_result() == {("DeleteMessageBatch", "NoCredentialsError"): 2}


async def test_behind_a_proxy_the_sdk_sends_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(provider_server())
        proxy.otherwise = reply(200, DELETED)
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/orders"))
        calls = await connected(ProviderServer(url="http://sqs.example.invalid/orders"), stack, attempts=1)
        for _ in range(2):
            assert (await calls.delete())["Successful"] == [{"Id": "0"}]
        assert {request.line for request in proxy.requests} == {"POST http://sqs.example.invalid/ HTTP/1.1"}
        assert calls.count_by_result() == {("DeleteMessageBatch", "ok"): 2}


@pytest.mark.parametrize(
    "variables",
    [
        {"NO_PROXY": "169.254.169.254"},
        {"HTTPS_PROXY": "http://proxy.invalid:1"},
        {"ALL_PROXY": "http://proxy.invalid:1"},
        {"HTTP_PROXY": "http://proxy.invalid:1", "NO_PROXY": "127.0.0.1"},
    ],
)
async def test_calls_that_need_no_proxy_are_direct(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with calling() as calls:
        for _ in range(2):
            await calls.delete()
        assert [sent_directly(request) for request in calls.requests] == [False, True]


async def test_a_variable_that_holds_no_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "socks5://user:s3cret@proxy.invalid")
    with pytest.raises(FatalError, match=r"^HTTP_PROXY is not shown \(it has a user or password\), must be "):
        async with calling():
            pass


@dataclass
class Network:
    """Replaces the network for the SDK and for direct calls, so that requests go to AWS's real addresses."""

    account_id: str | None = None
    urls: list[str] = field(default_factory=list)
    direct: list[str] = field(default_factory=list)

    def answer_sdk(self, request: Any, **_: Any) -> AioAWSResponse:
        self.urls.append(request.url)
        return Received(200, {}, b"{}").response(request.url)

    @asynccontextmanager
    async def post(self, url: Any, **_: Any) -> AsyncIterator[Any]:
        self.urls.append(str(url))
        self.direct.append(str(url))
        yield HttpAnswer()

    async def get_credentials(self) -> "Network":
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials("AKID", "secret", None, self.account_id)


class HttpAnswer:
    status, headers = 200, dict[str, str]()

    async def read(self) -> bytes:
        return b"{}"


@pytest.mark.parametrize(
    ("service", "config", "url"),
    [
        ("sqs", {}, "https://sqs.eu-central-1.amazonaws.com/"),
        ("sqs", {"use_dualstack_endpoint": True}, "https://sqs.eu-central-1.api.aws/"),
        ("dynamodb", {}, "https://123456789012.ddb.eu-central-1.amazonaws.com/"),
        ("dynamodb", {"use_fips_endpoint": True}, "https://dynamodb-fips.eu-central-1.amazonaws.com/"),
        ("dynamodb", {"account_id_endpoint_mode": "disabled"}, "https://dynamodb.eu-central-1.amazonaws.com/"),
    ],
)
async def test_a_direct_call_goes_where_the_sdk_sends_it(
    monkeypatch: pytest.MonkeyPatch, service: str, config: Any, url: str
) -> None:
    monkeypatch.setenv("AWS_ACCOUNT_ID", "123456789012")
    network, session = Network("123456789012"), fast(plain_session())
    async with open_session(session).client(service, config=unchecked(**config)) as client:
        network_client = connect(network, client)
        for _ in range(2):
            await (network_client.query() if service == "dynamodb" else network_client.receive_message())
    assert network.urls == [url, url]
    assert network.direct == [url]


async def test_another_account_learns_its_own_endpoint() -> None:
    network, session = Network("111111111111"), fast(plain_session())
    await session.get_credentials()
    session.set_credentials("AKID", "secret", account_id="111111111111")
    async with open_session(session).client("dynamodb", config=unchecked()) as client:
        calling = connect(network, client)
        await calling.query()
        await calling.query()
        network.account_id = "222222222222"
        credentials: Any = await session.get_credentials()
        credentials.account_id = "222222222222"
        await calling.query()
        await calling.query()
    first, second = (f"https://{account}.ddb.eu-central-1.amazonaws.com/" for account in ("1" * 12, "2" * 12))
    assert network.urls == [first, first, second, second]
    assert network.direct == [first, second]


async def test_a_table_named_by_its_arn_is_left_to_the_sdk() -> None:
    network, session = Network(), fast(plain_session())
    arn = "arn:aws:dynamodb:eu-central-1:333333333333:table/Orders"
    async with open_session(session).client("dynamodb", config=unchecked()) as client:
        calling = connect(network, client)
        for name in ("Orders", "Orders", arn):
            await calling.query(TableName=name)
            await calling.batch_get_item(RequestItems={name: {"Keys": []}})
            await calling.transact_write_items(TransactItems=[{"Put": {"TableName": name, "Item": {}}}])
    assert len(network.urls) == 9
    assert len(network.direct) == 3


def unchecked(**config: Any) -> AioConfig:
    return AioConfig(parameter_validation=False, **config)


def connect(network: Network, client: Any) -> Any:
    client.meta.events.register("before-send", network.answer_sdk)
    metrics = Metrics()
    session: Any = network
    http: Any = network
    return DirectClient(client, session, http, Meter(client, metrics.requests))


async def test_credentials_that_cannot_be_read_are_a_failed_call() -> None:
    class Denied(Network):
        async def get_credentials(self) -> "Network":
            raise CredentialRetrievalError(provider="web identity", error_msg="no")

    session, metrics = fast(plain_session()), Metrics()
    async with open_session(session).client("sqs", config=unchecked()) as client:
        denied: Any = Denied()
        calling = DirectClient(client, denied, denied, Meter(client, metrics.requests))
        with pytest.raises(CredentialRetrievalError):
            await calling.receive_message()
    labels = {"action": "ReceiveMessage", "result": "CredentialRetrievalError"}
    assert metrics.registry.get_sample_value("workers_aws_requests_total", labels) == 1


async def test_each_success_gives_one_unit_of_the_sdks_quota_back(calls: Calls) -> None:
    await calls.learn()
    calls.direct._handover.used_quota = 2
    await calls.delete()
    assert calls.direct._handover.used_quota == 1


async def test_requests_do_not_name_a_calling_lambda_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "f")
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793")
    async with calling() as calls:
        for _ in range(2):
            await calls.delete()
        assert ["x-amzn-trace-id" in request.headers for request in calls.requests] == [False, False]


async def test_an_action_that_the_sdk_begins_to_send_in_another_way_is_left_to_it(calls: Calls) -> None:
    await calls.learn()
    model = calls.direct.meta.service_model.operation_model("DeleteMessageBatch")
    await calls.direct._learn(model, {"method": "POST", "url": "http://queue/?stage=a", "headers": {}}, {})
    await calls.delete()
    await calls.delete()
    assert [sent_directly(request) for request in calls.requests] == [False, True]
