import asyncio
import base64
import gzip
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession, TCPConnector

from tests.virtual_time import LoopClock
from tests.workers.consumer.fakes import RecordedBackoff, until
from tests.workers.fakes import EXECUTION, NO_WAIT, order
from tests.workers.forward_proxy import ForwardProxy, forward_proxy
from tests.workers.fulfillment.provider_server import (
    Answer,
    ProviderServer,
    after,
    drip,
    flood,
    hang,
    provider_server,
    reply,
    reset,
    shipped,
    write,
)
from tests.workers.serving import HOST
from workers.domain.orders import Order
from workers.errors import OutageError, SuspectedOutageError, TransientError
from workers.fulfillment import http_provider as http_provider_module
from workers.fulfillment.http_provider import MAX_EVIDENCE_CHARS, MAX_RESPONSE_BYTES, HttpProvider, http_session
from workers.fulfillment.providers import RejectedError
from workers.fulfillment.tokens import FixedToken
from workers.proxies import Proxy

CARD = "4929123412345678"
ORDER = order(name="Jane Doe", item_name="Lamp", price="80000", cc="************5678")
Ship = Callable[..., HttpProvider]


@pytest.fixture
async def server() -> AsyncIterator[ProviderServer]:
    async with provider_server() as serving:
        yield serving


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with http_session(10) as opened:
        yield opened


@pytest.fixture
def provider(server: ProviderServer, session: ClientSession) -> HttpProvider:
    return http_provider(session, server.url)


def http_provider(session: ClientSession, url: str, *, timeout_s: float = 40, **more: Any) -> HttpProvider:
    """Return a provider that retries at once."""
    return HttpProvider(session, url, timeout_s=timeout_s, retry_backoff=NO_WAIT, **more)


async def outcome(provider: HttpProvider, shipping: Order = ORDER) -> str | Exception:
    try:
        async with asyncio.timeout(60):
            return await provider.ship(shipping)
    except (RejectedError, OutageError, TransientError) as error:
        return error


def closed_port() -> int:
    with socket.socket() as opened:
        opened.bind((HOST, 0))
        port: int = opened.getsockname()[1]
        return port


# The request.


async def test_the_order_is_posted_without_its_card_number(server: ProviderServer, provider: HttpProvider) -> None:
    assert await provider.ship(ORDER) == "S-1"
    (request,) = server.requests
    assert request.line == "POST /orders HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert request.key == "001"
    assert "authorization" not in request.headers
    assert request.document == {
        "OrderId": "001",
        "Name": "Jane Doe",
        "ItemName": "Lamp",
        "Price": "80000",
        "ExecutionArn": EXECUTION,
    }


async def test_fields_that_the_item_lacks_are_absent(server: ProviderServer, provider: HttpProvider) -> None:
    await provider.ship(Order("001", ORDER.status, None))
    assert server.requests[0].document == {"OrderId": "001"}


async def test_no_field_of_the_order_contains_a_card_number(server: ProviderServer, provider: HttpProvider) -> None:
    await provider.ship(order(name=f"Jane {CARD}", item_name="4929 1234 1234 5678", price=CARD, cc=CARD))
    (request,) = server.requests
    assert request.document["Name"] == "Jane ****"
    headers = {name: value for name, value in request.headers.items() if name != "host"}  # Its port may be any.
    sent = request.body.decode() + request.line + str(headers)
    assert "4929" not in sent
    assert sent.count("5678") == sent.count("12345678") == 1, "only the account in the ARN"


@pytest.mark.parametrize(
    ("order_id", "rejections", "key"),
    [
        ("001", 0, "001"),
        ("001", 1, "001-r1"),
        ("001", 12, "001-r12"),
        ("001-r1", 0, "001-r1-r0"),
        ("001-r1", 1, "001-r1-r1"),
        ("a-r", 0, "a-r"),
        ("-r1", 0, "-r1-r0"),
    ],
)
async def test_the_idempotency_key_is_sent(
    server: ProviderServer, provider: HttpProvider, order_id: str, rejections: int, key: str
) -> None:
    await provider.ship(order(order_id=order_id, rejections=rejections))
    assert server.keys == [key]


async def test_connections_are_reused_and_limited(server: ProviderServer, provider: HttpProvider) -> None:
    for _ in range(3):
        await asyncio.gather(*(provider.ship(order(order_id=f"o{n}")) for n in range(10)))
    assert len(server.requests) == 30
    assert server.connections <= 10


# What responses mean.


@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_2xx_with_a_shipment_id_means_shipped(
    server: ProviderServer, provider: HttpProvider, status: int
) -> None:
    server.answers(reply(status, {"ShipmentId": "1Z-999_AA/10", "More": [1]}))
    assert await provider.ship(ORDER) == "1Z-999_AA/10"


@pytest.mark.parametrize("status", [400, 402, 404, 405, 406, 410, 413, 415, 418, 422, 428, 431, 451, 499])
async def test_a_refusal_is_final_and_its_response_is_kept(
    server: ProviderServer, provider: HttpProvider, status: int
) -> None:
    server.answers(reply(status, {"error": "no such street"}))
    error = await outcome(provider)
    assert isinstance(error, RejectedError)
    assert str(error) == f'HTTP {status}: {{"error": "no such street"}}'
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [408, 409, 425, 500, 501, 502, 504, 505, 511, 599])
async def test_a_failure_is_retried_with_the_same_key_then_a_failed_attempt(
    server: ProviderServer, provider: HttpProvider, status: int
) -> None:
    server.answers(*[reply(status, "busy\n now")] * 3)
    error = await outcome(provider, order(rejections=2))
    assert isinstance(error, TransientError)
    assert str(error) == f"the provider failed, HTTP {status}: busy now"
    assert server.keys == ["001-r2"] * 3


async def test_a_short_failure_costs_no_attempt(server: ProviderServer, provider: HttpProvider) -> None:
    server.answers(reply(500), reset, shipped("S-7"))
    with structlog.testing.capture_logs() as logs:
        assert await provider.ship(ORDER) == "S-7"
    assert server.keys == ["001"] * 3
    assert [(line["event"], line["attempt"]) for line in logs] == [("provider.retried", 1), ("provider.retried", 2)]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_provider_is_down_for_every_order(
    server: ProviderServer, provider: HttpProvider, status: int
) -> None:
    server.answers(reply(status, "slow down"))
    error = await outcome(provider)
    assert isinstance(error, OutageError)
    assert not isinstance(error, SuspectedOutageError)
    assert str(error) == f"the provider is down or busy (HTTP {status}: slow down)"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 407])
async def test_a_provider_that_does_not_accept_us_is_down_for_every_order(
    server: ProviderServer, provider: HttpProvider, status: int
) -> None:
    server.answers(reply(status))
    error = await outcome(provider)
    assert isinstance(error, OutageError)
    assert str(error) == f"the provider does not accept us, check the token (HTTP {status} without a body)"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
async def test_redirects_are_not_followed(server: ProviderServer, provider: HttpProvider, status: int) -> None:
    server.answers(reply(status, Location=server.url + "/elsewhere"))
    error = await outcome(provider)
    assert isinstance(error, OutageError)
    assert "redirects, and redirects are not followed; check FULFILLMENT_URL" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "unusable",
    [
        reply(200),
        reply(204),
        reply(200, "<html>Welcome</html>"),
        reply(200, b"\xff\xfe\x00"),
        reply(200, "{"),
        reply(200, "[" * 60_000),
        reply(200, "[]"),
        reply(200, "null"),
        reply(200, {}),
        reply(200, {"shipmentid": "S-1"}),
        *(shipped(value) for value in (None, "", 7, True, ["S-1"], {"a": 1}, "S 1", "S\n1", "ß", "x" * 129, CARD)),
        shipped(f"S-{CARD}"),
        reply(200, gzip.compress(b'{"ShipmentId": "S-1"}'), Content_Encoding="gzip"),
        reply(200, b'{"ShipmentId": "S-1"}' + b" " * MAX_RESPONSE_BYTES),
        reply(200, b'{"ShipmentId": "S-1", "Pad": "' + b"x" * MAX_RESPONSE_BYTES + b'"}'),
        flood,
    ],
)
async def test_a_response_without_a_usable_shipment_id_is_a_failed_attempt(
    server: ProviderServer, provider: HttpProvider, unusable: Answer
) -> None:
    server.answers(*[unusable] * 3)
    error = await outcome(provider)
    assert isinstance(error, TransientError)
    assert str(error).startswith("the provider answered without a usable ShipmentId, HTTP 20")
    assert len(str(error)) < MAX_EVIDENCE_CHARS + 100
    assert CARD not in str(error)
    assert server.keys == ["001"] * 3


@pytest.mark.parametrize(
    "broken",
    [
        reset,
        write(b"", then_close=True),
        write(b"SSH-2.0-OpenSSH\r\n", then_close=True),
        write(b"\x00" * 100, then_close=True),
        write(b"HTTP/1.1 2000 OK\r\n\r\n", then_close=True),
        write(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", then_close=True),
        write(b"HTTP/1.1 400 No\r\nContent-Length: 50\r\n\r\n{", then_close=True),
        write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", then_close=True),
        write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", then_close=True),
        write(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", then_close=True),
    ],
)
async def test_a_broken_call_is_a_failed_attempt(
    server: ProviderServer, provider: HttpProvider, broken: Answer
) -> None:
    server.otherwise = broken
    error = await outcome(provider)
    assert isinstance(error, TransientError)
    assert str(error).startswith("the call failed (")
    assert server.keys == ["001"] * 3


@pytest.mark.parametrize("slow", [hang, drip], ids=["hang", "drip"])
async def test_the_whole_response_has_one_time_limit(
    server: ProviderServer, session: ClientSession, loop_clock: LoopClock, slow: Answer
) -> None:
    server.otherwise = slow
    began_s = loop_clock.time()
    calling = asyncio.create_task(outcome(http_provider(session, server.url, timeout_s=40)))
    await until(lambda: server.requests != [])
    await loop_clock.skip(40)
    error = await calling
    assert isinstance(error, TransientError)
    assert str(error) == "no answer within 40 s"
    assert loop_clock.time() - began_s >= 40
    assert len(server.requests) == 1


async def test_retries_do_not_extend_the_time_limit(
    server: ProviderServer, session: ClientSession, loop_clock: LoopClock
) -> None:
    server.answers(after(30, loop_clock, reply(500)), after(10, loop_clock, hang))
    error = await outcome(http_provider(session, server.url, timeout_s=40))
    assert str(error) == "no answer within 40 s"
    assert len(server.requests) == 2


# Outages.


async def test_a_provider_that_refuses_connections_is_down(session: ClientSession) -> None:
    error = await outcome(http_provider(session, f"http://127.0.0.1:{closed_port()}/x?key=secret"))
    assert isinstance(error, OutageError)
    assert str(error).startswith("the provider cannot be reached: ")
    assert "secret" not in str(error)


async def test_a_name_that_does_not_resolve_is_an_outage(session: ClientSession) -> None:
    error = await outcome(http_provider(session, "https://no-such-host.invalid/x"))
    assert isinstance(error, OutageError)
    assert str(error).startswith("the provider cannot be reached: ")


async def test_a_connection_that_times_out_is_an_outage(session: ClientSession) -> None:
    with socket.socket() as silent:  # A listener with a full backlog completes no more connections.
        silent.bind((HOST, 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        with socket.create_connection((HOST, port)):
            silent_host = f"https://127.0.0.1:{port}/x?key=secret"
            error = await outcome(http_provider(session, silent_host, connect_timeout_s=0.1))
    assert isinstance(error, OutageError)
    assert str(error) == "the provider cannot be reached: no connection within 0.1 s"


async def test_different_orders_that_fail_in_a_row_are_a_suspected_outage(
    server: ProviderServer, provider: HttpProvider
) -> None:
    server.otherwise = reply(500)
    failures = [await outcome(provider, order(order_id=order_id)) for order_id in ("a", "a", "b", "a", "c", "a")]
    assert [type(failure) for failure in failures] == [*[TransientError] * 4, *[SuspectedOutageError] * 2]
    assert "other orders" in str(failures[-1])
    assert len(server.requests) == 3 * 4 + 3 + 1, "once an outage is suspected, a call is not retried"


@pytest.mark.parametrize("final", [shipped(), reply(400)], ids=["shipped", "refused"])
async def test_a_shipped_or_refused_order_ends_the_row(
    server: ProviderServer, provider: HttpProvider, final: Answer
) -> None:
    for answer, order_id in [(reply(500), "a"), (reply(500), "b"), (final, "c"), (reply(500), "d")]:
        server.otherwise = answer
        assert not isinstance(await outcome(provider, order(order_id=order_id)), OutageError)


async def test_simultaneous_timeouts_cost_few_attempts(
    server: ProviderServer, session: ClientSession, loop_clock: LoopClock
) -> None:
    server.otherwise = hang
    provider = http_provider(session, server.url, timeout_s=40)
    calls = [asyncio.create_task(outcome(provider, order(order_id=f"o{n}"))) for n in range(10)]
    await until(lambda: len(server.requests) == 10)
    await loop_clock.skip(40)
    failures = await asyncio.gather(*calls)
    assert [type(failure) for failure in failures].count(SuspectedOutageError) == 8


# Retry-After.


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "range_s"),
    [
        ("7", (7, 7)),
        ("0", (0, 0)),
        (" 7 ", (7, 7)),
        ("999999999", (600, 600)),
        ("9" * 500, (600, 600)),
        (lambda: in_seconds(60), (30, 60)),
        (lambda: in_seconds(86400), (600, 600)),
        (lambda: in_seconds(-60), (0, 0)),
        ("-5", (0, 0)),
        ("1.5", (0, 0)),
        ("soon", (0, 0)),
        ("", (0, 0)),
        ("Mon, 01 Jan 99999 00:00:00 GMT", (0, 0)),
        ("\N{ARABIC-INDIC DIGIT SEVEN}", (0, 0)),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 500, 409, 401, 204])
async def test_retry_after_is_read_in_both_forms_and_bounded(
    server: ProviderServer,
    provider: HttpProvider,
    status: int,
    header: str | Callable[[], str],
    range_s: tuple[float, float],
) -> None:
    server.otherwise = reply(status, Retry_After=header if isinstance(header, str) else header())
    error = await outcome(provider)
    assert isinstance(error, TransientError | OutageError)
    assert range_s[0] <= error.retry_after_s <= range_s[1]


async def test_with_a_retry_after_the_call_is_not_retried_at_once(
    server: ProviderServer, provider: HttpProvider
) -> None:
    server.otherwise = reply(500, Retry_After="3")
    assert isinstance(await outcome(provider), TransientError)
    assert len(server.requests) == 1


# The token.


async def test_the_token_is_sent_with_every_request(server: ProviderServer, session: ClientSession) -> None:
    provider = http_provider(session, server.url, token=FixedToken("s3cret"))
    await provider.ship(ORDER)
    assert server.requests[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(provider) + repr(FixedToken("s3cret")) + str(vars(provider))


class RotatingToken:
    def __init__(self, *values: str) -> None:
        self.values = list(values)

    async def current(self) -> str:
        return self.values[0]

    async def instead_of(self, refused: str) -> str | None:
        if self.values[0] == refused and len(self.values) > 1:
            self.values.pop(0)
        return None if self.values[0] == refused else self.values[0]


async def test_a_rotated_token_is_used_within_the_call(server: ProviderServer, session: ClientSession) -> None:
    provider = http_provider(session, server.url, token=RotatingToken("old", "new"))
    server.answers(reply(401), shipped("S-3"))
    assert await provider.ship(ORDER) == "S-3"
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer old", "Bearer new"]
    assert server.keys == ["001", "001"]


class HangingToken:
    """A token whose source, AWS, answers late: then with an outage."""

    def __init__(self, clock: LoopClock, *, first: str | None) -> None:
        self.clock, self.first = clock, first

    async def current(self) -> str:
        return self.first if self.first is not None else await self.hang()

    async def instead_of(self, refused: str) -> str | None:
        assert refused == self.first
        return await self.hang()

    async def hang(self) -> str:
        await self.clock.skip(50)
        raise OutageError("the secret cannot be read")


@pytest.mark.parametrize("first", [None, "old"])
async def test_a_token_that_cannot_be_read_in_time_is_an_outage(
    server: ProviderServer, session: ClientSession, loop_clock: LoopClock, first: str | None
) -> None:
    server.otherwise = reply(401)
    provider = http_provider(session, server.url, timeout_s=40, token=HangingToken(loop_clock, first=first))
    error = await outcome(provider)
    assert (type(error), str(error)) == (OutageError, "the secret cannot be read")


async def test_a_refused_token_without_a_replacement_is_an_outage(
    server: ProviderServer, session: ClientSession
) -> None:
    provider = http_provider(session, server.url, token=RotatingToken("old", "older"))
    server.otherwise = reply(401, "who are you")
    error = await outcome(provider)
    assert isinstance(error, OutageError)
    assert str(error) == "the provider does not accept us, check the token (HTTP 401: who are you)"
    assert len(server.requests) == 2


async def test_the_providers_timeout_goes_on_after_the_token_is_read(
    server: ProviderServer, session: ClientSession, loop_clock: LoopClock
) -> None:
    provider = http_provider(session, server.url, timeout_s=40, token=RotatingToken("old", "new"))
    server.answers(reply(401), hang)
    calling = asyncio.create_task(outcome(provider))
    await until(lambda: len(server.requests) == 2)
    await loop_clock.skip(40)
    error = await calling
    assert (type(error), str(error)) == (TransientError, "no answer within 40 s")


# Evidence.


@pytest.mark.parametrize(
    "echo",
    [
        CARD,
        "4929 1234 1234 5678",
        "4929-1234-1234-5678",
        "4929\n1234\t1234\r\n5678",
        "4929\u00a01234\u200b1234\u20285678",
        json.dumps({"card": int(CARD)}),
        "x" * (MAX_EVIDENCE_CHARS - 10) + CARD,
        "1 " * 2000 + CARD,
        "x" * (MAX_RESPONSE_BYTES - 8) + CARD,
    ],
)
@pytest.mark.parametrize("status", [200, 302, 400, 401, 500, 503])
async def test_evidence_is_one_masked_and_bounded_line(
    server: ProviderServer, provider: HttpProvider, status: int, echo: str
) -> None:
    server.otherwise = reply(status, f"Your card {echo} \x1b[31m\x00 is bad")
    error = await outcome(provider)
    assert isinstance(error, Exception)
    text = str(error)
    assert text.isprintable()
    assert len(text) < MAX_EVIDENCE_CHARS + 150
    for piece in ("4929", "5678", "123412"):
        assert piece not in text


async def test_logs_and_errors_never_quote_the_url(
    session: ClientSession, server: ProviderServer, loop_clock: LoopClock, caplog: pytest.LogCaptureFixture
) -> None:
    hang_long = after(40, loop_clock, hang)
    caplog.set_level(logging.DEBUG)
    url = server.url + "?key=s3cret"
    with structlog.testing.capture_logs() as logs:
        for answer in (reset, reply(500), reply(302), hang_long, write(b"\x00", then_close=True)):
            server.otherwise = answer
            error = await outcome(http_provider(session, url))
            assert isinstance(error, Exception)
            assert error.__suppress_context__ or error.__context__ is None, (
                "a traceback would quote the HTTP client's errors"
            )
            assert "s3cret" not in str(error)
        error = await outcome(http_provider(session, f"http://127.0.0.1:{closed_port()}/?key=s3cret"))
        assert isinstance(error, OutageError)
        assert error.__suppress_context__
    assert "s3cret" not in str(logs) + caplog.text


# Proxies.


@pytest.fixture
async def proxy() -> AsyncIterator[ForwardProxy]:
    async with forward_proxy() as serving:
        yield serving


def proxied(session: ClientSession, url: str, proxy: ForwardProxy) -> HttpProvider:
    return http_provider(session, url, proxy=Proxy.parse(proxy.url_with("ops:s3cret")))


async def test_an_order_is_posted_through_the_proxy(
    server: ProviderServer, session: ClientSession, proxy: ForwardProxy
) -> None:
    assert await proxied(session, server.url, proxy).ship(ORDER) == "S-1"
    assert proxy.asked == [("POST", server.url)]
    assert proxy.authorizations == ["Basic " + base64.b64encode(b"ops:s3cret").decode()]
    (request,) = server.requests
    assert "proxy-authorization" not in request.headers
    assert request.document["OrderId"] == "001"


async def test_https_is_tunnelled_through_the_proxy_and_certificates_are_checked(
    session: ClientSession, proxy: ForwardProxy, certificate: ssl.SSLContext, tmp_path: Path
) -> None:
    trusting = TCPConnector(ssl=ssl.create_default_context(cafile=tmp_path / "cert.pem"))
    async with provider_server(certificate) as server, ClientSession(connector=trusting) as theirs:
        address = server.url.removeprefix("https://").removesuffix("/orders")
        for _ in range(2):
            assert await proxied(theirs, server.url, proxy).ship(ORDER) == "S-1"
        assert proxy.asked == [("CONNECT", address)], "one tunnel, kept open"
        assert proxy.authorizations == ["Basic " + base64.b64encode(b"ops:s3cret").decode()]
        assert all("proxy-authorization" not in request.headers for request in server.requests)
        error = await outcome(proxied(session, server.url, proxy))
        assert isinstance(error, OutageError)
        assert str(error).startswith(
            f"the provider cannot be reached through the proxy {proxy.address}: its certificate is not accepted, self"
        )
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 403, 404, 407, 429, 500, 502, 503, 504])
async def test_a_proxy_that_refuses_to_connect_is_an_outage(
    session: ClientSession, proxy: ForwardProxy, status: int
) -> None:
    proxy.refuses = status
    error = await outcome(proxied(session, "https://ship.example.com/orders?key=s3cret", proxy))
    assert isinstance(error, OutageError)
    assert str(error) == (f"the provider cannot be reached through the proxy {proxy.address}: it answers HTTP {status}")
    assert proxy.asked == [("CONNECT", "ship.example.com:443")]


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_down_is_an_outage(session: ClientSession, scheme: str) -> None:
    down = ForwardProxy(f"{HOST}:{closed_port()}")
    error = await outcome(proxied(session, f"{scheme}://ship.example.com/orders?key=s3cret", down))
    assert isinstance(error, OutageError)
    reason = f"the provider cannot be reached through the proxy {down.address}: "
    assert str(error).startswith(reason)
    assert "s3cret" not in str(error)
    assert error.__suppress_context__


async def test_a_proxy_whose_name_does_not_resolve_is_an_outage(session: ClientSession) -> None:
    error = await outcome(proxied(session, "https://ship.example.com/", ForwardProxy("no-such-host.invalid:3128")))
    assert isinstance(error, OutageError)
    assert str(error).startswith("the provider cannot be reached through the proxy no-such-host.invalid:3128: ")


async def test_proxies_of_the_environment_are_used_only_if_they_are_given(
    provider: HttpProvider, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    assert await provider.ship(ORDER) == "S-1"
    assert proxy.asked == []


# TLS.


async def test_a_self_signed_certificate_is_not_accepted(session: ClientSession, certificate: ssl.SSLContext) -> None:
    async with provider_server(certificate) as server:
        error = await outcome(http_provider(session, server.url))
        assert isinstance(error, OutageError)
        assert "its certificate is not accepted, self-signed certificate" in str(error).replace(
            "self signed", "self-signed"
        )
        assert server.requests == []


async def test_a_server_without_tls_gets_no_request(
    server: ProviderServer, session: ClientSession, loop_clock: LoopClock
) -> None:
    calling = asyncio.create_task(outcome(http_provider(session, server.url.replace("http:", "https:"))))
    await until(lambda: server.connections == 1)
    await loop_clock.skip(3)
    error = await calling
    assert isinstance(error, OutageError)
    assert server.requests == []


@pytest.mark.usefixtures("at_debug")
async def test_each_request_is_one_line_at_debug(server: ProviderServer) -> None:
    server.answers(reply(500, "secret"), shipped("S-7"))
    async with http_session(1) as session:
        provider = HttpProvider(session, server.url, timeout_s=30, retry_backoff=NO_WAIT)
        with structlog.testing.capture_logs() as logs:
            assert await provider.ship(ORDER) == "S-7"
    requests = [line for line in logs if line["event"] == "request.finished"]
    assert [(line["operation"], line["status"]) for line in requests] == [("provider", 500), ("provider", 200)]
    assert ("secret" in str(requests), server.url in str(requests)) == (False, False)


async def test_each_retry_waits_longer(server: ProviderServer, session: ClientSession) -> None:
    server.otherwise = reply(500)
    backoff = RecordedBackoff(fixed_s=0.0)
    assert isinstance(
        await outcome(HttpProvider(session, server.url, timeout_s=40, retry_backoff=backoff)), TransientError
    )
    assert (len(server.requests), backoff.attempts) == (3, [1, 2])


class Chunks:
    """The content of a response: *sizes* bytes, one size for each read."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)

    async def read(self, limit: int) -> bytes:
        size = self.sizes.pop(0) if self.sizes else 0
        assert size <= limit
        return b"x" * size


@pytest.mark.parametrize(
    ("sizes", "complete"),
    [
        ((MAX_RESPONSE_BYTES,), True),
        ((MAX_RESPONSE_BYTES, 1), False),
        ((MAX_RESPONSE_BYTES + 1,), False),
        ((1, MAX_RESPONSE_BYTES - 1), True),
    ],
)
async def test_a_response_of_the_maximum_size_is_complete_only_if_nothing_follows(
    sizes: tuple[int, ...], complete: bool
) -> None:
    response: Any = SimpleNamespace(status=200, headers={}, content=Chunks(*sizes))
    read = await http_provider_module._read(response)
    assert (len(read.body), read.complete) == (MAX_RESPONSE_BYTES, complete)


@pytest.mark.parametrize(
    ("body", "complete", "evidence"),
    [
        ("x" * 500, True, "HTTP 400: " + "x" * 500),
        ("x" * 501, True, "HTTP 400: " + "x" * 500 + "..."),
        ("no", False, "HTTP 400: no..."),
        ("", True, "HTTP 400 without a body"),
    ],
)
def test_evidence_that_is_cut_ends_in_dots(body: str, complete: bool, evidence: str) -> None:
    response = http_provider_module._Response(400, body.encode(), complete, 0.0)
    assert response.evidence == evidence
    assert MAX_EVIDENCE_CHARS == 500


@pytest.mark.parametrize(("timeout_s", "connect_s"), [(4, 2), (40, 3)])
async def test_a_connection_may_take_half_of_the_time_of_a_call(
    session: ClientSession, timeout_s: float, connect_s: float
) -> None:
    timeout = http_provider(session, "http://127.0.0.1/", timeout_s=timeout_s)._client_timeout
    assert (timeout.total, timeout.connect) == (None, connect_s)
