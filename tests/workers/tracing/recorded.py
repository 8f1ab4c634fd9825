"""Tracing whose spans the test reads from memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from workers.tracing.on import OpenTelemetry


class Recorded(OpenTelemetry):
    """Tracing with the spans that have ended so far."""

    def __init__(self, is_refusal: Callable[[Exception], bool] = lambda _: False) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        super().__init__(provider, is_refusal)

    @contextmanager
    def message(self) -> Iterator[None]:
        """Be in the span of a message in this block."""
        with self._tracer.start_as_current_span("process Q"):
            yield

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span


def failed(span: ReadableSpan) -> bool:
    return span.status.status_code is StatusCode.ERROR
