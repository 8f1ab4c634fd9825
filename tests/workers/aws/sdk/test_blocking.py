"""boto3 in threads, against a server that answers every request alike."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoRegionError
from botocore.parsers import ResponseParserError

from workers.aws.sdk.blocking import AsyncClient, BlockingSession
from workers.errors import FatalError


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 32  # As many as call at once: a call that finds no place waits for a second.
    body = b"{}"
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.actions: list[str] = []
        self.arrived = threading.Semaphore(0)
        self.release = threading.Event()
        self.release.set()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.actions.append(self.headers["X-Amz-Target"].rpartition(".")[2])
        self.server.arrived.release()
        self.server.release.wait(10)
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def session(server: Server) -> BlockingSession:  # noqa: ARG001 - it is where the session's calls go.
    return BlockingSession({"AWS_REGION": "eu-west-1"})


async def test_a_call_returns_the_answer(session: BlockingSession, server: Server) -> None:
    server.body = b'{"Item": {"OrderId": {"S": "001"}}}'
    answer = await session.client("dynamodb").call("get_item", TableName="t", Key={"OrderId": {"S": "001"}})
    assert answer["Item"] == {"OrderId": {"S": "001"}}
    assert server.actions == ["GetItem"]


async def test_pages_are_requested_one_by_one(session: BlockingSession, server: Server) -> None:
    server.body = b'{"Items": [], "LastEvaluatedKey": {"OrderId": {"S": "1"}}}'
    query: dict[str, Any] = {"TableName": "t", "KeyConditionExpression": "x"}
    pages = session.client("dynamodb").pages("query", **query)
    await anext(pages)
    assert server.actions == ["Query"]
    server.body = b'{"Items": []}'
    assert [page["Items"] async for page in pages] == [[]]
    assert server.actions == ["Query", "Query"]


async def test_errors_are_those_of_the_sdk(session: BlockingSession, server: Server) -> None:
    server.status, server.body = 400, b'{"__type": "ResourceNotFoundException"}'
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await session.client("dynamodb").call("describe_table", TableName="t")


async def test_a_response_that_is_not_json_is_an_error(session: BlockingSession, server: Server) -> None:
    server.body = b"<html>"
    for service, operation, request in (
        ("dynamodb", "describe_table", {"TableName": "t"}),
        ("sqs", "get_queue_url", {"QueueName": "q"}),
        ("stepfunctions", "describe_execution", {"executionArn": "arn"}),
    ):
        with pytest.raises(ResponseParserError):
            await session.client(service).call(operation, **request)


async def test_an_error_that_is_not_json_is_still_an_error(session: BlockingSession, server: Server) -> None:
    server.status, server.body = 400, b"<html>"
    with pytest.raises(ClientError, match="400"):
        await session.client("dynamodb").call("describe_table", TableName="t")


async def test_an_empty_response_is_not_an_error(session: BlockingSession, server: Server) -> None:
    server.body = b""
    answer = await session.client("sqs").call("delete_message", QueueUrl="q", ReceiptHandle="r")
    assert answer.keys() == {"ResponseMetadata"}


async def test_a_cancelled_call_still_ends(session: BlockingSession, server: Server) -> None:
    client = session.client("dynamodb")
    await client.call("describe_table", TableName="t")
    server.release.clear()
    caller = asyncio.create_task(client.call("delete_item", TableName="t", Key={"OrderId": {"S": "1"}}))
    for _ in range(2):
        assert await asyncio.to_thread(server.arrived.acquire, timeout=10)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    server.release.set()


async def test_calls_run_side_by_side_and_share_one_client(session: BlockingSession, server: Server) -> None:
    server.release.clear()
    calls = [asyncio.create_task(session.client("dynamodb").call("describe_table", TableName="t")) for _ in range(20)]
    for _ in range(20):
        assert await asyncio.to_thread(server.arrived.acquire, timeout=10)
    server.release.set()
    await asyncio.gather(*calls)
    assert session._client("dynamodb", {}) is session._client("dynamodb", {})


async def test_the_region_is_aws_region_or_else_the_sdks(
    session: BlockingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert await session.region() == "eu-west-1"
    assert await BlockingSession({"AWS_REGION": ""}).region() == "us-west-2"


async def test_without_a_region_there_are_no_calls(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(NoRegionError):
        await BlockingSession({}).client("sqs").call("list_queues")
    assert server.actions == []


async def test_an_endpoint_that_is_not_a_url_is_fatal(
    session: BlockingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "nowhere")
    with pytest.raises(FatalError, match="the AWS SDK cannot make calls: Invalid endpoint: nowhere"):
        await session.client("sqs").call("list_queues")


async def test_a_proxy_that_is_not_a_url_is_fatal(session: BlockingSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://proxy.example:1080")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(FatalError, match=r"^http_proxy is 'socks5://proxy.example:1080', must be "):
        await session.client("sqs").call("list_queues")


async def test_a_client_has_the_usual_limits_unless_others_are_asked_for(
    session: BlockingSession, server: Server
) -> None:
    usual, other = session._client("dynamodb", {}).meta.config, session._client("sqs", {"read_timeout": 1}).meta.config
    assert (usual.connect_timeout, usual.read_timeout, usual.max_pool_connections) == (5, 20, 100)
    assert usual.retries == {"mode": "standard", "total_max_attempts": 4}
    assert (other.connect_timeout, other.read_timeout) == (5, 1)
    endpoint = await session.client("sqs").endpoint()
    assert endpoint == f"http://127.0.0.1:{server.server_address[1]}"


async def test_a_client_is_made_in_the_thread_of_its_first_call() -> None:
    made: list[str] = []

    def make() -> Any:
        made.append(threading.current_thread().name)
        return None

    client = AsyncClient(make)
    assert made == []
    with pytest.raises(AttributeError):
        await client.call("anything")
    assert made != [threading.main_thread().name]
