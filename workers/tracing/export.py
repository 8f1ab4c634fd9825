"""
Exports spans to an OTLP receiver, from a thread of the SDK and with a bounded queue: no worker ever waits for it.

The exporter speaks HTTP with protobuf: that needs 2 MB of packages, gRPC would need 15 MB more and threads of its own.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import copy_context

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import ProxyTracerProvider, get_tracer_provider, set_tracer_provider

from workers.consumer.failures import FailureTracker
from workers.errors import FatalError, OutageError, plain_name

log = structlog.get_logger(__name__)

FLUSH_S = 2.0  # For the last spans, after the consumer's own flush: together they fit into the stop of a platform.
_UNKNOWN = "unknown_service"  # The start of the SDK's name for a service without one.

NO_REASON = "the OTLP receiver does not accept the spans"

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

    sdk_lines = SdkLines(report_from_thread)
    try:
        exporter = ReportingExporter(OTLPSpanExporter(), report_from_thread, sdk_lines.reason)
        processor = BatchSpanProcessor(exporter)
    except ValueError as error:
        raise FatalError(f"tracing is not configured: {error}") from error
    provider = TracerProvider(resource=_resource(service, release), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    if isinstance(get_tracer_provider(), ProxyTracerProvider):  # For a handler's or provider's own spans.
        set_tracer_provider(provider)
    with _instead_of_sdk_lines(sdk_lines):
        try:
            yield provider
        finally:
            if not await _within(flush_s, provider.shutdown):
                log.warning("trace_export.flush_expired", flush_s=flush_s)


class ReportingExporter(SpanExporter):
    """Reports how each export ended: with a reason if it failed, None if it was accepted."""

    def __init__(self, exporter: SpanExporter, report: Report, reason: Callable[[], str]) -> None:
        """*reason* returns why the last export failed."""
        self._exporter = exporter
        self._report = report
        self._reason = reason

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._report(None if result is SpanExportResult.SUCCESS else self._reason())
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class SdkLines(logging.Handler):
    """
    Takes what the SDK logs. Our own lines say that spans are lost, at most every 30 s.

    The SDK says why only in its lines, so that is read from them.
    """

    def __init__(self, report: Report) -> None:
        super().__init__()
        self._report = report
        self._reason = NO_REASON

    def reason(self) -> str:
        """Return why the last export failed."""
        return self._reason

    def emit(self, record: logging.LogRecord) -> None:
        match record.msg, record.args:
            case str(text), _ if text.startswith("Queue full"):
                self._report("there are more spans than the receiver takes: some are dropped")
            case str(text), (Exception() as error, *_) if text.startswith("Transient error"):
                self._reason = plain_name(error)
            case str(text), (_, int(status), *_) if text.startswith("Failed to export"):
                self._reason = f"HTTP {status}"
            case str(text), (_, None, Exception() as error) if text.startswith("Failed to export"):
                self._reason = plain_name(error)


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


def _resource(service: str, release: str | None) -> Resource:
    """Return the attributes of the process: the environment's, and our name and release where it has none."""
    resource = Resource.create()
    ours: dict[str, str] = {}
    if str(resource.attributes.get(SERVICE_NAME, _UNKNOWN)).startswith(_UNKNOWN):
        ours[SERVICE_NAME] = service
    if release is not None and SERVICE_VERSION not in resource.attributes:
        ours[SERVICE_VERSION] = release
    return resource.merge(Resource(ours))


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
