"""No span of a handler's own code takes a card number to the receiver."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from workers.tracing.export import ReportingExporter
from workers.tracing.masking import OURS

CARD = "4929 1234 1234 5678"


class Exported(SpanExporter):
    def __init__(self) -> None:
        self.spans = list[ReadableSpan]()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def exported() -> Exported:
    return Exported()


@pytest.fixture
def provider(exported: Exported) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ReportingExporter(exported, lambda _: None, lambda: None)))
    return provider


def test_card_numbers_in_a_span_of_other_code_are_masked(provider: TracerProvider, exported: Exported) -> None:
    tracer = provider.get_tracer("shop")
    attributes: dict[str, Any] = {"card": CARD, "number": int(CARD.replace(" ", "")), "list": [CARD, "a"], "ok": True}

    def pay() -> None:
        with tracer.start_as_current_span(f"pay {CARD}", kind=SpanKind.CLIENT, attributes=attributes) as span:
            span.add_event(f"paid {CARD}", {"card": CARD})
            raise ValueError(f"refused {CARD}")

    with pytest.raises(ValueError, match="refused"):
        pay()
    (found,) = exported.spans
    shown = json.loads(found.to_json())
    for drawn in ("context", "start_time", "end_time"):  # Four digits may be in them by chance.
        del shown[drawn]
    times = [event.pop("timestamp") for event in shown["events"]]
    assert len(times) == 2
    assert "1234" not in json.dumps(shown)
    assert dict(found.attributes or {}) == {"card": "****", "number": "****", "list": ["****", "a"], "ok": True}
    assert (found.name, found.kind) == ("pay ****", SpanKind.CLIENT)
    assert found.context is not None
    assert [event.name for event in found.events] == ["paid ****", "exception"]
    assert (found.events[1].attributes or {})["exception.message"] == "refused ****"
    assert found.status.description == "ValueError: refused ****"
    assert found.start_time is not None
    assert found.end_time is not None


def test_the_workers_own_spans_are_exported_as_they_are(provider: TracerProvider, exported: Exported) -> None:
    provider.get_tracer(OURS).start_span("process 4").end()
    (found,) = exported.spans
    assert (found.name, type(found) is ReadableSpan) == ("process 4", True)
