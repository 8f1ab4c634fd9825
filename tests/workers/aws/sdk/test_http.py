"""An error of HTTP becomes the error that the SDK's own HTTP session raises for it."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiobotocore.httpsession import AIOHTTPSession
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from botocore.exceptions import ReadTimeoutError

from tests.virtual_time import LoopClock
from tests.workers.aws.sdk.calls import PATIENT_S
from tests.workers.fulfillment.provider_server import Answer, after, hang, provider_server, reset, write
from workers.aws.sdk.http import sdk_error

UNUSED_PORT_URL = "http://127.0.0.1:9/"


async def error_of_sdk(url: str) -> Exception:
    timeouts: Any = (PATIENT_S, PATIENT_S)  # Any: the stubs know neither this nor the class of the headers.
    headers: Any = HeadersDict({})
    request: Any = AWSPreparedRequest("POST", url, headers, b"{}", False)
    async with AIOHTTPSession(timeout=timeouts) as session:
        return await error_of(session.send(request))


async def our_error(url: str) -> Exception:
    timeout = aiohttp.ClientTimeout(sock_connect=PATIENT_S, sock_read=PATIENT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def post() -> None:
            async with session.post(url, data=b"{}") as response:
                await response.read()

        return sdk_error(await error_of(post()), url)


async def error_of(call: Any) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - the tests compare the errors.
        await call
    return raised.value


@pytest.mark.parametrize(
    "answer",
    [
        reset,
        hang,
        write(b"", then_close=True),
        write(b"nonsense\r\n\r\n", then_close=True),
        write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", then_close=True),
        write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", then_close=True),
        write(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}", then_close=True),
    ],
)
async def test_each_broken_response_gives_the_sdks_error(answer: Answer, loop_clock: LoopClock) -> None:
    async with provider_server() as server:
        server.otherwise = after(int(PATIENT_S), loop_clock, hang) if answer is hang else answer
        ours, theirs = await our_error(server.url), await error_of_sdk(server.url)
    assert type(ours) is type(theirs)
    assert isinstance(ours, ReadTimeoutError) == (answer is hang)


@pytest.mark.parametrize("url", [UNUSED_PORT_URL, "http://name.invalid/"])
async def test_an_endpoint_that_cannot_be_reached_gives_the_sdks_error(url: str) -> None:
    ours, theirs = await our_error(url), await error_of_sdk(url)
    assert type(ours) is type(theirs)
    assert url in str(ours)


async def test_an_unknown_certificate_gives_the_sdks_error(certificate: ssl.SSLContext) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(provider_server(certificate))
        assert type(await our_error(server.url)) is type(await error_of_sdk(server.url))


@pytest.mark.parametrize(
    "error",
    [
        aiohttp.ConnectionTimeoutError("Connection timeout to host"),
        aiohttp.SocketTimeoutError("Timeout on reading data from socket"),
        TimeoutError(),
        asyncio.IncompleteReadError(b"", 1),
        OSError(1, "no"),
        ValueError("no"),
    ],
)
async def test_each_error_gives_the_sdks_error(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(aiohttp.ClientSession, "request", fail)
    assert type(sdk_error(error, UNUSED_PORT_URL)) is type(await error_of_sdk(UNUSED_PORT_URL))
