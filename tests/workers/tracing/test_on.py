"""Spans around the calls of a handler."""

import pytest
from aiohttp import ClientSession
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, get_current_span

from tests.workers.fulfillment.provider_server import provider_server, reply, reset, shipped
from tests.workers.tracing.recorded import Recorded, failed
from workers.tracing.off import NO_TRACING


class Orders:
    name = "orders"

    async def fulfill(self, order_id: str, *, at: str) -> tuple[str, str, int]:
        return order_id, at, get_current_span().get_span_context().span_id

    async def get(self) -> None:
        raise ValueError("4111111111111111")

    async def other(self) -> bool:
        return get_current_span().get_span_context().is_valid


def parent(span: ReadableSpan) -> int:
    assert span.parent is not None
    return span.parent.span_id


async def test_a_call_of_a_table_is_a_span() -> None:
    tracing = Recorded()
    orders = tracing.table(Orders(), "OrderTable", {"fulfill": "BatchExecuteStatement"})
    with tracing.message():
        order_id, at, inside = await orders.fulfill("001", at="now")
    span = tracing.spans[0]
    assert span.context is not None
    assert (order_id, at, inside) == ("001", "now", span.context.span_id)
    assert (span.name, span.kind) == ("BatchExecuteStatement OrderTable", SpanKind.CLIENT)
    assert dict(span.attributes or {}) == {
        "db.system.name": "aws.dynamodb",
        "db.operation.name": "BatchExecuteStatement",
        "db.collection.name": "OrderTable",
    }
    assert (orders.name, await orders.other()) == ("orders", False)


async def test_a_call_that_fails_is_an_error_without_its_text() -> None:
    tracing = Recorded()
    orders = tracing.port(Orders(), "look", "get")
    with tracing.message(), pytest.raises(ValueError, match="4111"):
        await orders.get()
    span = tracing.spans[0]
    assert (span.name, span.kind, failed(span)) == ("look", SpanKind.INTERNAL, True)
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}
    assert (span.events, span.status.description) == ((), None)


async def test_a_request_carries_the_context_of_its_span() -> None:
    tracing = Recorded()

    async def post(url: str) -> None:
        async with ClientSession(trace_configs=tracing.http()) as session, session.post(url, json={}):
            pass

    async with provider_server() as server:
        server.otherwise = shipped()
        await post(f"{server.url}?key=secret")
    span = tracing.span
    assert span.context is not None
    trace, own = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
    assert server.requests[0].headers["traceparent"] == f"00-{trace}-{own}-03"  # Sampled, and a random id.
    attributes = dict(span.attributes or {})
    port = attributes.pop("server.port")
    assert f":{port}/" in server.url
    assert (span.name, span.kind, failed(span)) == ("POST", SpanKind.CLIENT, False)
    assert attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "http.response.status_code": 200,
    }


@pytest.mark.parametrize(("answer", "kind"), [(reply(503), "503"), (reply(400), "400"), (reset, "ClientOSError")])
async def test_a_request_that_fails_is_an_error(answer: object, kind: str) -> None:
    tracing = Recorded()
    async with provider_server() as server, ClientSession(trace_configs=tracing.http()) as session:
        server.otherwise = answer  # type: ignore[assignment]
        try:
            async with session.get(server.url):
                pass
        except OSError:
            assert answer is reset
    assert failed(tracing.span)
    error_type = str((tracing.span.attributes or {})["error.type"])
    assert error_type == kind or (answer is reset and error_type == "ServerDisconnectedError")
    assert tracing.span.events == ()


async def test_a_redirect_is_no_error() -> None:
    tracing = Recorded()
    async with provider_server() as server, ClientSession(trace_configs=tracing.http()) as session:
        server.otherwise = reply(399)
        async with session.get(server.url, allow_redirects=False):
            pass
    assert not failed(tracing.span)


async def test_calls_without_a_recorded_message_are_no_spans() -> None:
    tracing = Recorded()
    orders = tracing.table(Orders(), "OrderTable", {"fulfill": "BatchExecuteStatement"})
    assert await orders.fulfill("001", at="now") == ("001", "now", 0)
    assert tracing.spans == []


def test_without_tracing_every_part_is_unchanged() -> None:
    orders = Orders()
    assert NO_TRACING.table(orders, "t", {"get": "GetItem"}) is orders
    assert NO_TRACING.port(orders, "look", "get") is orders
    assert NO_TRACING.sender(orders) is orders
    assert (NO_TRACING.http(), NO_TRACING.is_on) == ([], False)
