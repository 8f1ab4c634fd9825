"""
Exports spans to an OTLP receiver, from a thread of the SDK and with a bounded queue: no worker ever waits for it.

The exporter speaks HTTP with protobuf: that needs 2 MB of packages, gRPC would need 15 MB more and threads of its own.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from typing import Any

import requests
import structlog
from opentelemetry.environment_variables import OTEL_PYTHON_TRACER_PROVIDER
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider, set_tracer_provider

from workers.consumer.failures import FailureTracker
from workers.domain.cards import mask
from workers.errors import FatalError, OutageError, plain_name
from workers.tracing.masking import masked

log = structlog.get_logger(__name__)

FLUSH_S = 2.0  # For the last spans, after the consumer's own flush: together they fit into the stop of a platform.
_UNKNOWN = "unknown_service"  # The start of the SDK's name for a service without one.

NO_REASON = "the OTLP receiver does not accept the spans"
# Of two variables, the one for traces alone counts, as in the specification.
HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_REDIRECT, _BAD_REQUEST = 300, 400

Report = Callable[[str | None], None]


@asynccontextmanager
async def exporting(service: str, release: str | None, flush_s: float = FLUSH_S) -> AsyncIterator[TracerProvider]:
    """
    Yield a provider of tracers as the `OTEL_*` variables configure it. At the end, export what is left.

    Raises:
        FatalError: A variable has a value that the SDK refuses.
    """
    tracker, loop, context = FailureTracker("trace_export"), asyncio.get_running_loop(), copy_context()

    def report(reason: str | None) -> None:
        if reason is None:
            tracker.recovered()
        else:
            tracker.failed(OutageError(reason))

    def report_from_thread(reason: str | None) -> None:
        with suppress(RuntimeError):  # The loop is closed: the process ends.
            loop.call_soon_threadsafe(report, reason, context=context)

    session = Session()
    try:
        with _refused_headers():
            exporter = ReportingExporter(OTLPSpanExporter(session=session), report_from_thread, session.last_problem)
        provider = TracerProvider(resource=_resource(service, release), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(exporter))
    except ValueError as error:
        raise FatalError(f"tracing is not configured: {mask(str(error))}") from error
    _offer(provider)
    with _instead_of_sdk_lines(SdkLines(report_from_thread)):
        try:
            yield provider
        finally:
            if not await _within(flush_s, provider.shutdown):
                log.warning("trace_export.flush_expired", flush_s=flush_s)


class Session(requests.Session):
    """
    The exporter's connections. It knows why the last request failed, which the SDK says only in words.

    A redirect is a failure: the SDK does not follow it, but takes it for success, and the spans would be lost unseen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._problem: str | None = None

    def last_problem(self) -> str | None:
        """Return why the last request failed; None if it was accepted, or if nothing was sent since the last call."""
        problem, self._problem = self._problem, None
        return problem

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        try:
            response = super().request(*arguments, **options)
        except Exception as error:
            self._problem = plain_name(error)
            raise
        status = response.status_code
        self._problem = None if status < _REDIRECT else f"HTTP {status}"
        if _REDIRECT <= status < _BAD_REQUEST:
            raise requests.RequestException(self._problem)
        return response


class ReportingExporter(SpanExporter):
    """Exports spans without card numbers. Reports how it ended: with a reason if it failed, None if it was accepted."""

    def __init__(self, exporter: SpanExporter, report: Report, last_problem: Callable[[], str | None]) -> None:
        """*last_problem* returns why the last request failed."""
        self._exporter = exporter
        self._report = report
        self._last_problem = last_problem

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export([masked(span) for span in spans])
        except Exception as error:  # noqa: BLE001 - the SDK would only log it, and its lines are not shown.
            self._report(plain_name(error))
            return SpanExportResult.FAILURE
        problem = self._last_problem()
        self._report(None if result is SpanExportResult.SUCCESS else problem or NO_REASON)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class SdkLines(logging.Handler):
    """Takes what the SDK logs. Our own lines say that spans are lost, at most every 30 s."""

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Queue full"):
            self._report("there are more spans than the receiver takes: some are dropped")


@contextmanager
def _refused_headers() -> Iterator[None]:
    """
    Check the headers that the SDK reads in this block.

    Raises:
        FatalError: One is not NAME=VALUE. The SDK would only leave it out, and log it, although it may be a secret.
    """
    refused = list[logging.LogRecord]()

    def keep(record: logging.LogRecord) -> bool:
        refused.append(record)
        return False

    logger = logging.getLogger("opentelemetry.util.re")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)
    if refused:
        variable = next((name for name in HEADERS if os.environ.get(name)), HEADERS[-1])
        raise FatalError(f"{variable} must be NAME=VALUE, or several of them with commas between")


@contextmanager
def _instead_of_sdk_lines(handler: SdkLines) -> Iterator[None]:
    """Keep the SDK's own lines out of the log in this block. Those about its configuration were logged before."""
    logger = logging.getLogger("opentelemetry")
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


def _offer(provider: TracerProvider) -> None:
    """
    Let a handler's or provider's own spans go to *provider*, unless its code or the environment has set another one.

    Raises:
        FatalError: The environment names one that does not exist.
    """
    try:
        current = get_tracer_provider()
    except Exception as error:
        raise FatalError(f"{OTEL_PYTHON_TRACER_PROVIDER} names a provider that cannot be loaded") from error
    if isinstance(current, ProxyTracerProvider):
        set_tracer_provider(provider)


def _resource(service: str, release: str | None) -> Resource:
    """Return the attributes of the process: the environment's, and our name and release where it has none."""
    resource = Resource.create()
    ours: dict[str, str] = {}
    if str(resource.attributes.get(SERVICE_NAME, _UNKNOWN)).startswith(_UNKNOWN):
        ours[SERVICE_NAME] = service
    if release is not None and SERVICE_VERSION not in resource.attributes:
        ours[SERVICE_VERSION] = release
    masked = {name: mask(value) for name, value in resource.attributes.items() if isinstance(value, str)}
    return resource.merge(Resource({**masked, **ours}))


async def _within(limit_s: float, work: Callable[[], object]) -> bool:
    """
    Run *work* in a thread, and return whether it has ended within *limit_s*.

    In a thread that ends with the process: a receiver that does not answer must not hold up the end.
    """
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # The loop is closed: nothing waits any more.
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="trace_export", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await done.wait()
    return done.is_set()
