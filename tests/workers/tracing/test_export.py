"""The export to a receiver: what arrives, and that nothing waits for one that does not answer."""

import asyncio
import logging
import socket
import sys
import threading
from collections.abc import Iterator

import pytest
import requests
import structlog
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import ProxyTracerProvider

from tests.otlp import Receiver, otlp_receiver
from tests.workers.consumer.fakes import until
from workers.errors import FatalError
from workers.tracing.export import HEADERS, NO_REASON, ReportingExporter, SdkLines, Session, exporting
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
    for name in (*HEADERS, "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
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
        assert {thread.daemon for thread in threading.enumerate() if thread.name == "trace_export"} == {True}
    assert logs == [{"event": "trace_export.flush_expired", "log_level": "warning", "flush_s": 0.05}]


@pytest.mark.parametrize(
    ("variable", "value"), [("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4000"), ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many")]
)
async def test_a_value_that_the_sdk_refuses_ends_the_start(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(FatalError, match=r"^tracing is not configured: "):
        async with exporting("ours", None):
            pass
    assert receiver.requests == []


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
async def test_a_header_that_is_none_ends_the_start_without_being_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, variable: str
) -> None:
    monkeypatch.setenv(variable, "a=b,authorization Bearer s3cret")
    with pytest.raises(FatalError) as refusal:
        async with exporting("ours", None):
            pass
    assert str(refusal.value) == f"{variable} must be NAME=VALUE, or several of them with commas between"
    assert "s3cret" not in caplog.text


async def test_a_provider_of_tracers_that_does_not_exist_ends_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", None)
    monkeypatch.setenv("OTEL_PYTHON_TRACER_PROVIDER", "bogus")
    with pytest.raises(FatalError, match=r"^OTEL_PYTHON_TRACER_PROVIDER names a provider that cannot be loaded$"):
        async with exporting("ours", None):
            pass


async def test_no_card_number_is_exported_with_the_resource(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "shop=4929 1234 1234 5678,team=orders")
    async with exporting("ours", None, flush_s=60) as provider:
        provider.get_tracer("t").start_span("s").end()
    assert (b"orders" in receiver.requests[0], b"5678" in receiver.requests[0]) == (True, False)


async def test_the_environment_names_the_release(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=theirs")
    async with exporting("ours", "our-release", flush_s=60) as provider:
        provider.get_tracer("t").start_span("s").end()
    assert (b"theirs" in receiver.requests[0], b"our-release" in receiver.requests[0]) == (True, False)


@pytest.mark.parametrize("theirs", [False, True])
async def test_spans_of_a_handler_go_to_the_same_receiver_unless_its_code_has_set_another(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, *, theirs: bool
) -> None:
    current, offered = object() if theirs else ProxyTracerProvider(), list[object]()
    monkeypatch.setattr("workers.tracing.export.get_tracer_provider", lambda: current)
    monkeypatch.setattr("workers.tracing.export.set_tracer_provider", offered.append)
    async with exporting("ours", None) as provider:
        assert offered == ([] if theirs else [provider])
        assert provider._atexit_handler is None, "the worker itself exports the last spans"
    assert receiver.requests == []


@pytest.mark.parametrize("status", [302, 413])
async def test_what_is_not_accepted_is_a_failure_with_its_status(receiver: Receiver, status: int) -> None:
    receiver.status = status
    with structlog.testing.capture_logs() as logs:
        async with exporting("ours", None, flush_s=60) as provider:
            provider.get_tracer("t").start_span("s").end()
            await until(lambda: bool(logs))
    assert [(line["event"], line["reason"]) for line in logs] == [("trace_export.failed", f"HTTP {status}")]


@pytest.mark.parametrize(
    ("status", "problem"),
    [(200, None), (202, None), (299, None), (400, "HTTP 400"), (429, "HTTP 429"), (503, "HTTP 503")],
)
def test_an_answer_is_accepted_or_a_problem(receiver: Receiver, status: int, problem: str | None) -> None:
    receiver.status = status
    session = Session()
    assert session.post(receiver.url).status_code == status
    assert session.last_problem() == problem


@pytest.mark.parametrize("status", [300, 399])
def test_a_redirect_is_an_error(receiver: Receiver, status: int) -> None:
    receiver.status = status
    session = Session()
    with pytest.raises(requests.RequestException, match=f"^HTTP {status}$"):
        session.post(receiver.url)
    assert session.last_problem() == f"HTTP {status}"


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [("http://127.0.0.1:1", "connection error"), ("http://", "invalid URL")],
)
def test_a_receiver_that_cannot_be_reached_has_a_reason(endpoint: str, reason: str) -> None:
    session = Session()
    with pytest.raises(requests.RequestException):
        session.post(endpoint)
    assert (session.last_problem(), session.last_problem()) == (reason, None)


class Exporter(SpanExporter):
    def __init__(self, result: SpanExportResult | Exception) -> None:
        self.result = result
        self.is_shut_down = False

    def shutdown(self) -> None:
        self.is_shut_down = True

    def export(self, spans: object) -> SpanExportResult:  # noqa: ARG002
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.mark.parametrize(
    ("result", "problem", "reported"),
    [
        (SpanExportResult.SUCCESS, None, None),
        (SpanExportResult.SUCCESS, "HTTP 503", None),  # The second try was accepted.
        (SpanExportResult.FAILURE, "HTTP 503", "HTTP 503"),
        (SpanExportResult.FAILURE, None, NO_REASON),
        (ValueError("4111111111111111"), None, "value error"),
    ],
)
def test_every_export_is_reported(
    result: SpanExportResult | Exception, problem: str | None, reported: str | None
) -> None:
    reports = list[str | None]()
    exporter = Exporter(result)
    reporting = ReportingExporter(exporter, reports.append, lambda: problem)
    assert reporting.export([]) is (SpanExportResult.FAILURE if isinstance(result, Exception) else result)
    assert reports == [reported]
    reporting.shutdown()
    assert exporter.is_shut_down


def test_a_full_queue_is_reported() -> None:
    reported = list[str | None]()
    record = logging.LogRecord("opentelemetry.x", logging.WARNING, "", 0, "Queue full, dropping %s.", ("Span",), None)
    SdkLines(reported.append).emit(record)
    assert reported == ["there are more spans than the receiver takes: some are dropped"]


async def test_spans_that_the_sdk_drops_are_an_outage(receiver: Receiver) -> None:
    with structlog.testing.capture_logs() as logs:
        async with exporting("ours", None):
            logging.getLogger("opentelemetry.sdk.trace").warning("Queue full, dropping %s.", "Span")
            await asyncio.sleep(0)
        logging.getLogger("opentelemetry.sdk.trace").warning("Queue full, dropping %s.", "Span")
        await asyncio.sleep(0)
    reason = "there are more spans than the receiver takes: some are dropped"
    assert [(line["event"], line["reason"]) for line in logs] == [("trace_export.failed", reason)]
    assert receiver.requests == []


async def test_the_sdk_writes_no_lines_of_its_own(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    async with exporting("ours", None):
        logging.getLogger("opentelemetry.sdk").warning("x")
        await asyncio.sleep(0)
    assert caplog.records == []
    assert receiver.requests == []
    logger = logging.getLogger("opentelemetry")
    assert (logger.propagate, logger.handlers) == (True, [])
    assert logging.getLogger("opentelemetry.util.re").filters == []


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


async def test_a_part_of_tracing_that_cannot_be_imported_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "workers.tracing.export")
    monkeypatch.setitem(sys.modules, "workers.tracing.masking", None)
    with pytest.raises(ModuleNotFoundError, match=r"workers\.tracing\.masking"):
        async with open_tracing({"OTEL_TRACES_EXPORTER": "otlp"}, "s", None, is_refusal=lambda _: False):
            pass


async def test_an_endpoint_switches_tracing_on(receiver: Receiver) -> None:
    async with open_tracing(receiver.environment, "s", None, is_refusal=lambda _: False) as tracing:
        assert tracing.is_on


async def test_without_variables_there_is_no_tracing() -> None:
    async with open_tracing({}, "s", None, is_refusal=lambda _: False) as tracing:
        assert tracing is NO_TRACING
