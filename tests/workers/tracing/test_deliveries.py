"""The span of a message: one for each delivery, whatever becomes of it."""

import asyncio
from dataclasses import replace

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, get_current_span
from structlog.contextvars import bind_contextvars

from tests.workers.consumer.fakes import QUICK, FakeHandler, FakeQueue, limits, message, running, until
from tests.workers.tracing.recorded import Recorded, failed
from workers.consumer.delivery import Ending
from workers.consumer.message import Acknowledged, DeadLettered
from workers.consumer.slots import Slots
from workers.errors import TransientError
from workers.metrics import Metrics
from workers.tracing.on import OpenTelemetry

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": {"DataType": "String", "StringValue": f"00-{TRACE}-{PARENT}-01"}}


async def consumed(tracing: Recorded, handler: FakeHandler) -> list[dict[str, object]]:
    queue = FakeQueue([message("m", receive_count=3, body="{}", attributes=TRACEPARENT)])
    async with running(queue, handler, limits(), in_flight=tracing.in_flight("Orders")) as run:
        await run.until_settled(1)
    return [dict(line) for line in run.logs if line.get("message_id") == "m"]


async def test_a_delivery_is_a_span_that_continues_the_messages_trace() -> None:
    tracing, handler = Recorded(), FakeHandler()
    handler.when("m", Acknowledged("handled"))
    await consumed(tracing, handler)
    span = tracing.span
    assert (span.name, span.kind, failed(span)) == ("process Orders", SpanKind.CONSUMER, False)
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}/{span.parent.span_id:016x}" == f"{TRACE}/{PARENT}"
    assert dict(span.attributes or {}) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "Orders",
        "messaging.message.id": "m",
        "messaging.message.body.size": 2,
        "worker.receive_count": 3,
        "worker.ending": "acknowledged",
        "worker.outcome": "handled",
    }


async def test_every_line_of_the_message_has_the_trace_id() -> None:
    tracing, handler = Recorded(), FakeHandler()
    handler.when("m", TransientError("busy"))
    lines = await consumed(tracing, handler)
    assert {"message.failed", "message.released"} <= {line["event"] for line in lines}
    assert {line.get("trace_id") for line in lines} == {TRACE}


async def test_the_span_is_the_current_one_in_the_handler_and_its_tasks() -> None:
    tracing, handler, seen = Recorded(), FakeHandler(), list[int]()

    async def look() -> None:
        seen.append(get_current_span().get_span_context().span_id)

    async def handle() -> Acknowledged:
        await look()
        async with asyncio.TaskGroup() as group:
            group.create_task(look())
        bind_contextvars(order_id="001 4111111111111111", execution_arn="arn:aws:states:x:1:execution:a:b")
        return Acknowledged("handled")

    handler.when("m", handle)
    await consumed(tracing, handler)
    context, attributes = tracing.span.context, tracing.span.attributes or {}
    assert context is not None
    assert seen == [context.span_id] * 2
    assert attributes["worker.order_id"] == "****"
    assert attributes["worker.execution_arn"] == "arn:aws:states:x:1:execution:a:b"
    assert not get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    ("behavior", "ending", "outcome"),
    [
        (TransientError("busy 4111111111111111"), "released", "transient"),
        (ValueError("4111111111111111"), "released", "unexpected_error"),
        (DeadLettered("undecodable"), "dead_lettered", "undecodable"),
    ],
)
async def test_what_is_not_acknowledged_is_an_error_without_its_text(
    behavior: object, ending: str, outcome: str
) -> None:
    tracing, handler = Recorded(), FakeHandler()
    handler.when("m", behavior)
    await consumed(tracing, handler)
    span, attributes = tracing.span, tracing.span.attributes or {}
    assert failed(span)
    assert (attributes["worker.ending"], attributes["worker.outcome"]) == (ending, outcome)
    assert attributes["error.type"] == outcome
    assert (span.events, span.status.description) == ((), None)


async def test_a_message_given_back_at_a_stop_is_no_error() -> None:
    tracing, handler = Recorded(), FakeHandler()
    handler.when("m", asyncio.Event())
    queue = FakeQueue([message("m")])
    async with running(queue, handler, limits(drain_s=0), in_flight=tracing.in_flight("Orders")):
        await until(lambda: handler.began == ["m"])
    attributes = tracing.span.attributes or {}
    assert (attributes["worker.ending"], attributes["worker.outcome"]) == ("released", "stopping")
    assert not failed(tracing.span)


async def test_a_lost_receipt_ends_the_span() -> None:
    tracing, handler = Recorded(), FakeHandler()
    handler.when("m", asyncio.Event())
    queue = FakeQueue([message("m")], visibility_timeout_s=0)
    timings = replace(QUICK, max_batch_wait_s=0.0)
    async with running(queue, handler, limits(), timings, in_flight=tracing.in_flight("Orders")) as run:
        await run.until_settled(1)
    assert failed(tracing.span)
    assert (tracing.span.attributes or {})["worker.ending"] == "abandoned"


async def test_a_delivery_that_is_ended_twice_has_one_span() -> None:
    tracing = Recorded()
    in_flight = tracing.in_flight("Orders")(Slots(1), 60, Metrics())
    delivery = in_flight.take(message("m"), 0.0)
    assert delivery is not None
    for outcome in ("handled", "unconfirmed"):
        in_flight.end(delivery, Ending.ACKNOWLEDGED, outcome)
    assert (tracing.span.attributes or {})["worker.outcome"] == "handled"


async def test_deliveries_of_one_receive_have_their_own_spans() -> None:
    tracing, handler = Recorded(), FakeHandler()
    queue = FakeQueue([message("a"), message("b"), message("a", "newer")])
    async with running(queue, handler, limits(), in_flight=tracing.in_flight("Orders")) as run:
        await run.until_settled(2)
    assert sorted(str((span.attributes or {})["messaging.message.id"]) for span in tracing.spans) == ["a", "b"]
    assert len({span.context.trace_id for span in tracing.spans if span.context is not None}) == 2


async def test_a_trace_that_is_not_sampled_records_nothing_but_is_in_the_lines() -> None:
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    tracing, handler, seen = OpenTelemetry(provider, lambda _: False), FakeHandler(), list[bool]()

    async def look() -> Acknowledged:
        seen.append(get_current_span().is_recording())
        return Acknowledged("handled")

    handler.when("m", look)
    queue = FakeQueue([message("m")])
    async with running(queue, handler, limits(), in_flight=tracing.in_flight("Orders")) as run:
        await run.until_settled(1)
    assert seen == [False]
    assert all(len(line["trace_id"]) == 32 for line in run.logs if line.get("message_id") == "m")
