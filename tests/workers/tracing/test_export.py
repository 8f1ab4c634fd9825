"""The export to a receiver: what arrives, and that nothing waits for one that does not answer."""

import asyncio
import logging
import socket
import sys
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tests.otlp import Receiver, otlp_receiver
from tests.workers.consumer.fakes import until
from workers.errors import FatalError
from workers.tracing.export import NO_REASON, ReportingExporter, SdkLines, exporting
from workers.tracing.off import NO_TRACING
from workers.tracing.opening import open_tracing


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with otlp_receiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        yield receiver


@pytest.fixture(autouse=True)
def _no_other_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


async def test_spans_arrive_with_service_and_release(receiver: Receiver) -> None:
    async with exporting("order-fulfillment-fulfillment", "v7", flush_s=60) as provider:
        provider.get_tracer("t").start_span("process Q", attributes={"a": 1}).end()
    (span,) = receiver.spans()
    assert (span.name, span.service, span.attributes) == ("process Q", "order-fulfillment-fulfillment", {"a": 1})
    assert b"v7" in receiver.requests[0]


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")]
)
async def test_the_environment_names_the_service(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    async with exporting("ours", None, flush_s=60) as provider:
        provider.get_tracer("t").start_span("s").end()
    assert receiver.spans()[0].service == "mine"


async def test_the_environment_chooses_the_sampler(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    async with exporting("ours", None, flush_s=60) as provider:
        provider.get_tracer("t").start_span("s").end()
    assert receiver.spans() == []


async def test_a_receiver_that_refuses_is_logged_once_and_when_it_works_again(receiver: Receiver) -> None:
    receiver.status = 401
    with structlog.testing.capture_logs() as logs:
        async with exporting("ours", None, flush_s=60) as provider:
            tracer = provider.get_tracer("t")
            tracer.start_span("s").end()
            await until(lambda: bool(logs))
            receiver.status = 200
            tracer.start_span("s").end()
            await until(lambda: len(logs) > 1)
    assert [(line["event"], line["log_level"], line.get("reason")) for line in logs] == [
        ("trace_export.failed", "warning", "HTTP 401"),
        ("trace_export.recovered", "info", None),
    ]


async def test_the_end_does_not_wait_for_a_receiver_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, structlog.testing.capture_logs() as logs:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        async with exporting("ours", None, flush_s=0.05) as provider:
            provider.get_tracer("t").start_span("s").end()
    assert logs == [{"event": "trace_export.flush_expired", "log_level": "warning", "flush_s": 0.05}]


async def test_a_value_that_the_sdk_refuses_ends_the_start(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4000")
    with pytest.raises(FatalError, match=r"^tracing is not configured: "):
        async with exporting("ours", None):
            pass
    assert receiver.requests == []


class Refusing(SpanExporter):
    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.FAILURE


@pytest.mark.parametrize(
    ("text", "arguments", "reason"),
    [
        ("Failed to export %s batch code: %s, reason: %s", ("spans", 401, "Unauthorized"), "HTTP 401"),
        ("Failed to export %s batch code: %s, reason: %s", ("spans", None, OSError("x")), "OS error"),
        ("Transient error %s encountered while ...", (ConnectionError("x"), "spans", 1.0), "connection error"),
        ("anything else", (), NO_REASON),
    ],
)
def test_the_reason_of_a_failed_export_is_read_from_the_sdk(
    text: str, arguments: tuple[object, ...], reason: str
) -> None:
    reported = list[str | None]()
    lines = SdkLines(reported.append)
    lines.emit(logging.LogRecord("opentelemetry.x", logging.ERROR, "", 0, text, arguments, None))
    ReportingExporter(Refusing(), reported.append, lines.reason).export([])
    assert reported == [reason]


def test_a_full_queue_is_reported() -> None:
    reported = list[str | None]()
    record = logging.LogRecord("opentelemetry.x", logging.WARNING, "", 0, "Queue full, dropping %s.", ("Span",), None)
    SdkLines(reported.append).emit(record)
    assert reported == ["there are more spans than the receiver takes: some are dropped"]


async def test_the_sdk_writes_no_lines_of_its_own(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    async with exporting("ours", None):
        logging.getLogger("opentelemetry.sdk").warning("x")
        await asyncio.sleep(0)
    assert caplog.records == []
    assert receiver.requests == []


async def test_tracing_that_is_not_installed_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "workers.tracing.export")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(FatalError) as refusal:
        async with open_tracing({"OTEL_TRACES_EXPORTER": "otlp"}, "s", None, is_refusal=lambda _: False):
            pass
    assert str(refusal.value) == (
        "the OTEL_* variables ask for tracing, which is not installed: install the extra [tracing], "
        "or set OTEL_SDK_DISABLED=true"
    )


async def test_without_variables_there_is_no_tracing() -> None:
    async with open_tracing({}, "s", None, is_refusal=lambda _: False) as tracing:
        assert tracing is NO_TRACING
