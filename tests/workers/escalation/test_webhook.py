import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import structlog
from aiohttp import ClientError, DummyCookieJar, web
from aiohttp.test_utils import TestServer

from tests.workers.escalation.examples import case
from tests.workers.forward_proxy import forward_proxy
from workers.errors import plain_name
from workers.escalation.notifications import ChannelError, Notification, RefusedError
from workers.escalation.webhook import WebhookChannel, webhook_session
from workers.proxies import Proxy

NOTIFICATION = Notification.of(case("chat"), "chat")
SECRET = "T0-B0-secret"


class Receiver:
    """A local HTTP server that answers each POST with the next of `answers`, else 200."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.requests: list[web.Request] = []
        self.bodies: list[object] = []
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(application)

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        self.bodies.append(await request.json() if request.method == "POST" else None)
        return self.answers.pop(0) if self.answers else web.Response()

    @property
    def url(self) -> str:
        return str(self.server.make_url(f"/hooks/{SECRET}"))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiving = Receiver()
    await receiving.server.start_server()
    try:
        yield receiving
    finally:
        await receiving.server.close()


async def send(url: str, authorization: str | None = None) -> None:
    async with webhook_session() as session:
        await WebhookChannel("chat", session, url, authorization).send(NOTIFICATION)


async def test_the_notification_is_posted_as_json_with_its_id_and_authorization(receiver: Receiver) -> None:
    await send(receiver.url, "Bearer abc")
    assert receiver.bodies == [NOTIFICATION.fields()]
    (request,) = receiver.requests
    assert (request.method, request.path) == ("POST", f"/hooks/{SECRET}")
    assert request.content_type == "application/json"
    assert request.headers["Idempotency-Key"] == "001#1#chat"
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["User-Agent"] == "order-fulfillment-workers"


async def test_without_an_authorization_the_header_is_absent(receiver: Receiver) -> None:
    await send(receiver.url)
    assert "Authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_2xx_means_accepted(receiver: Receiver, status: int) -> None:
    receiver.answers = [web.Response(status=status)]
    await send(receiver.url)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("status", "passing"),
    [
        *((status, False) for status in (300, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 422, 429)),
        *((status, True) for status in (408, 425, 500, 502, 503, 504)),
    ],
)
async def test_any_other_status_means_not_accepted(receiver: Receiver, status: int, passing: bool) -> None:
    receiver.answers = [web.Response(status=status, text=f"secret {SECRET}", headers={"Location": "/elsewhere"})]
    with pytest.raises(ChannelError) as raised:
        await send(receiver.url)
    assert (str(raised.value), raised.value.passing) == (f"HTTP {status}", passing)
    assert [request.path for request in receiver.requests] == [f"/hooks/{SECRET}"]


@pytest.mark.parametrize(
    ("header", "retry_after_s"), [("7", 7.0), ("9" * 400, 600.0), ("soon", 0.0), ("-5", 0.0), ("\u0661", 0.0)]
)
async def test_retry_after_in_seconds_is_read(receiver: Receiver, header: str, retry_after_s: float) -> None:
    receiver.answers = [web.Response(status=429, headers={"Retry-After": header})]
    with pytest.raises(ChannelError) as raised:
        await send(receiver.url)
    assert raised.value.retry_after_s == retry_after_s


async def test_cookies_are_not_kept(receiver: Receiver) -> None:
    receiver.answers = [web.Response(headers={"Set-Cookie": "a=b"})]
    async with webhook_session() as session:
        assert isinstance(session.cookie_jar, DummyCookieJar)
        channel = WebhookChannel("chat", session, receiver.url)
        await channel.send(NOTIFICATION)
        await channel.send(NOTIFICATION)
    assert "Cookie" not in receiver.requests[1].headers


async def test_an_unreachable_server_is_reported_without_its_address(receiver: Receiver) -> None:
    url = receiver.url
    await receiver.server.close()
    with pytest.raises(ChannelError) as raised:
        await send(url)
    assert str(raised.value) == "the call failed (client connector error)"
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_a_broken_response_means_not_accepted(answer: bytes) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ChannelError, match="the call failed"):
            await send(f"http://127.0.0.1:{port}/{SECRET}")


async def test_an_endless_response_is_not_read() -> None:
    asked = []

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                await writer.drain()
        except OSError:
            writer.close()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server, asyncio.timeout(5):
        await send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert len(asked) == 1


def test_address_and_authorization_are_not_printed() -> None:
    printed = repr(WebhookChannel("chat", None, f"https://chat.example/{SECRET}", "Bearer abc"))  # type: ignore[arg-type]
    assert "secret" not in printed
    assert "abc" not in printed


class BrokenSession:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def post(self, *_: object, **__: object) -> object:
        raise self.error


@pytest.mark.parametrize("error", [ClientError(SECRET), OSError(SECRET), ValueError(SECRET)], ids=repr)
async def test_a_failed_call_is_reported_without_its_text(error: Exception) -> None:
    with pytest.raises(ChannelError) as raised:
        await WebhookChannel("chat", cast("Any", BrokenSession(error)), "https://chat.example/").send(NOTIFICATION)
    assert str(raised.value) == f"the call failed ({plain_name(error)})"
    assert (raised.value.passing, raised.value.__cause__) == (True, None)


async def test_a_bug_is_not_taken_for_a_failed_call() -> None:
    with pytest.raises(ZeroDivisionError):
        await WebhookChannel("chat", cast("Any", BrokenSession(ZeroDivisionError())), "x").send(NOTIFICATION)


async def test_the_notification_goes_through_the_proxy(receiver: Receiver) -> None:
    async with forward_proxy() as proxy, webhook_session() as session:
        through = Proxy.parse(proxy.url_with("ops:s3cret"))
        await WebhookChannel("chat", session, receiver.url, proxy=through).send(NOTIFICATION)
        assert proxy.asked == [("POST", receiver.url)]
        assert proxy.authorizations == ["Basic b3BzOnMzY3JldA=="]
        assert receiver.bodies == [NOTIFICATION.fields()]
        assert "Proxy-Authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_refuses_is_named_and_may_pass(status: int) -> None:
    async with forward_proxy() as proxy, webhook_session() as session:
        proxy.refuses = status
        channel = WebhookChannel(
            "chat", session, f"https://chat.example/{SECRET}", proxy=Proxy.parse(proxy.url_with(f"ops:{SECRET}"))
        )
        assert SECRET not in repr(channel)
        with pytest.raises(ChannelError) as raised:
            await channel.send(NOTIFICATION)
        assert str(raised.value) == (
            f"the call failed through the proxy {proxy.address} (client http proxy error, HTTP {status})"
        )
        assert raised.value.passing


async def test_a_proxy_that_is_down_is_named_without_its_password() -> None:
    async with forward_proxy() as proxy:
        pass
    async with webhook_session() as session:
        channel = WebhookChannel(
            "chat", session, "https://chat.example/", proxy=Proxy.parse(proxy.url_with("ops:s3cret"))
        )
        with pytest.raises(ChannelError) as raised:
            await channel.send(NOTIFICATION)
    assert str(raised.value) == f"the call failed through the proxy {proxy.address} (client proxy connection error)"
    assert raised.value.passing


@pytest.mark.parametrize(
    ("case_id", "header"),
    [
        ("execution-A_1.-%", "execution-A_1.-%#1#chat"),
        ("message-a b\"'\\", "message-a b\"'\\#1#chat"),
        ("Zo\u00eb\r\nX: \x00\uffff\ud800", "Zo%C3%AB%0D%0AX: %00%EF%BF%BF?#1#chat"),
    ],
)
async def test_any_id_can_be_a_header(receiver: Receiver, case_id: str, header: str) -> None:
    async with webhook_session() as session:
        notification = Notification.of(case("chat", case_id=case_id, order_id=None), "chat")
        await WebhookChannel("chat", session, receiver.url).send(notification)
    assert receiver.requests[0].headers["Idempotency-Key"] == header
    assert receiver.bodies == [notification.fields()]


@pytest.mark.parametrize(
    ("status", "blames_content"),
    [
        *((status, True) for status in (400, 413, 422, 431)),
        *((status, False) for status in (401, 402, 403, 404, 405, 409, 410, 415, 418, 451, 499)),
    ],
)
async def test_most_4xx_are_refusals_and_some_blame_the_content(
    receiver: Receiver, status: int, blames_content: bool
) -> None:
    receiver.answers = [web.Response(status=status, text=f"secret {SECRET}")]
    with pytest.raises(RefusedError) as raised:
        await send(receiver.url)
    assert (str(raised.value), raised.value.blames_content) == (f"HTTP {status}", blames_content)


@pytest.mark.parametrize(
    ("status", "headers"),
    [*((status, {}) for status in (300, 308, 407, 408, 425, 429, 500, 503, 599)), (403, {"Retry-After": "7"})],
)
async def test_what_may_pass_or_is_true_of_every_notification_is_not_a_refusal(
    receiver: Receiver, status: int, headers: dict[str, str]
) -> None:
    receiver.answers = [web.Response(status=status, headers=headers)]
    with pytest.raises(ChannelError) as raised:
        await send(receiver.url)
    assert not isinstance(raised.value, RefusedError)


@pytest.mark.usefixtures("at_debug")
async def test_each_request_is_one_line_at_debug(receiver: Receiver) -> None:
    with structlog.testing.capture_logs() as logs:
        await send(receiver.url, "Bearer abc")
    assert [(line["event"], line["operation"], line["status"]) for line in logs] == [
        ("request.finished", "webhook", 200)
    ]
    assert (SECRET in str(logs), "abc" in str(logs)) == (False, False)
