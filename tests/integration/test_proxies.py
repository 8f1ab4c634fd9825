"""Workers that reach AWS, the provider and a webhook only through a forward proxy that wants a password."""

import asyncio
import base64
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.aws import ROOT
from tests.integration.command_line import CommandLine
from tests.integration.pipeline import Pipeline
from tests.support import DeployedStack, StartWorker, Worker
from tests.workers.conftest import certificate  # noqa: F401 - a fixture.
from tests.workers.forward_proxy import copy, forward_proxy
from tests.workers.fulfillment.provider_server import provider_server
from tests.workers.serving import HOST

RULES = """
[[rules]]
severity = "warning"
channels = ["chat"]

[channels.chat]
type = "webhook"
url_env = "CHAT_URL"
"""


@asynccontextmanager
async def with_tls(endpoint: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """Yield an https address for the http *endpoint*."""
    running = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(HOST, urlsplit(endpoint).port)
        await asyncio.gather(copy(reader, to_there), copy(there, writer), return_exceptions=True)

    server = await asyncio.start_server(
        lambda reader, writer: running.add(asyncio.ensure_future(serve(reader, writer))), HOST, 0, ssl=context
    )
    try:
        yield f"https://{HOST}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.contextmanager
def started(name: str, environment: dict[str, str], log_path: Path) -> Iterator[Worker]:
    """Start a worker in a new interpreter: aiohttp reads `SSL_CERT_FILE` when it is imported."""
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", name], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    worker = Worker(process, log_path)
    try:
        yield worker
    finally:
        worker.kill()


async def test_everything_goes_through_the_proxy(
    stack: DeployedStack,
    certificate: ssl.SSLContext,  # noqa: F811
    tmp_path: Path,
) -> None:
    trusted, rules, pipeline = str(tmp_path / "cert.pem"), tmp_path / "rules.toml", Pipeline(stack)
    rules.write_text(RULES)
    async with (
        forward_proxy() as proxy,
        provider_server(certificate) as server,
        with_tls(stack.local_aws.endpoint, certificate) as aws,
    ):
        environment = stack.worker_environment() | {
            "WORKER_WAIT_S": "1",
            "AWS_ENDPOINT_URL": aws,
            "AWS_CA_BUNDLE": trusted,
            "SSL_CERT_FILE": trusted,
            "HTTPS_PROXY": proxy.url_with("ops:s3cret"),
            "NO_PROXY": "169.254.169.254",
            "no_proxy": "169.254.169.254",
            "FULFILLMENT_PROVIDER": "http",
            "FULFILLMENT_URL": server.url,
            "ESCALATION_RULES": str(rules),
            "CHAT_URL": server.url.replace("/orders", "/chat"),
        }
        with (
            started("fulfillment", environment, tmp_path / "fulfillment.log") as fulfillment,
            started("escalation", environment, tmp_path / "escalation.log") as escalation,
        ):
            await asyncio.to_thread(pipeline.put_order, "proxied-1")
            for order_id in ("proxied-1", "proxied-2"):
                await asyncio.to_thread(pipeline.send_order, order_id)
            await asyncio.to_thread(fulfillment.wait_for, "order.fulfilled", order_id="proxied-1")
            await asyncio.to_thread(escalation.wait_for, "message.acknowledged", order_id="proxied-2")
            listed = await asyncio.to_thread(lambda: CommandLine(stack)("list", **environment))
            assert [await asyncio.to_thread(worker.stop) for worker in (fulfillment, escalation)] == [0, 0]

        assert listed.code == 0, listed.err
        lines = {request.line for request in server.requests}
        assert lines == {"POST /orders HTTP/1.1", "POST /chat HTTP/1.1"}
        targets = {urlsplit(url).netloc for url in (aws, server.url)}
        assert set(proxy.asked) == {("CONNECT", target) for target in targets}
        assert set(proxy.authorizations) == {"Basic " + base64.b64encode(b"ops:s3cret").decode()}
    assert "s3cret" not in fulfillment.output() + escalation.output() + listed.out + listed.err


@pytest.mark.parametrize("value", ["socks5://ops:s3cret@127.0.0.1:1080", "http://ops:s3cret@127.0.0.1:1/x"])
def test_a_variable_that_holds_no_proxy_is_one_line(
    stack: DeployedStack, start_worker: StartWorker, value: str
) -> None:
    line = "HTTP_PROXY is not shown (it has a user or password), must be the http or https URL of a proxy, "
    environment = {"HTTP_PROXY": value, "NO_PROXY": "", "no_proxy": ""}
    worker = start_worker("fulfillment", env=environment)
    assert worker.wait() == 1
    (failed,) = [entry for entry in worker.lines() if entry["event"] == "worker.failed"]
    assert failed["reason"].startswith(line)
    refused = CommandLine(stack)("queues", **environment)
    assert refused.code == 1
    assert refused.err.startswith(f"orders: {line}")
    assert "s3cret" not in worker.output() + refused.err
