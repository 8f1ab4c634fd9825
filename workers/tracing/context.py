"""The context of a trace: from a message, and on to what the worker sends."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.propagators.aws.aws_xray_propagator import TRACE_HEADER_KEY, AwsXRayPropagator
from opentelemetry.trace import Link, SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from workers.consumer.message import Message, TracedMessage
from workers.domain.cards import may_hold_card

_W3C = TraceContextTextMapPropagator()
_XRAY = AwsXRayPropagator()
TRACE_PARENT, TRACE_STATE = "traceparent", "tracestate"
MAX_STATE_CHARS = 512  # W3C Trace Context: vendors must pass on at least that much.
_NOTHING = Context()


def parent_of(message: Message) -> tuple[Context, list[Link]]:
    """
    Return the context that *message* continues, and links to other traces that it names.

    `traceparent` counts before `AWSTraceHeader`: a sender has set it on purpose, and AWS services set only the header.
    If both name different traces, the header becomes a link.
    """
    header = message.trace_header if isinstance(message, TracedMessage) else None
    if header is None and TRACE_PARENT not in message.attributes:
        return _NOTHING, []
    w3c, xray = _w3c(message.attributes), _xray(header)
    if not _span(w3c).is_valid:
        return xray, []
    other = _span(xray)
    linked = other.is_valid and other.trace_id != _span(w3c).trace_id
    return w3c, [Link(other)] if linked else []


def headers() -> dict[str, str]:
    """Return the W3C headers of the current span; none outside of a trace."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier


def xray_header() -> str | None:
    """Return the current span as an X-Ray header; None outside of a trace."""
    carrier: dict[str, str] = {}
    _XRAY.inject(carrier)
    return carrier.get(TRACE_HEADER_KEY)


def _w3c(attributes: Mapping[str, Any]) -> Context:
    carrier = {name: text for name in (TRACE_PARENT, TRACE_STATE) if (text := _text(attributes, name)) is not None}
    state = carrier.get(TRACE_STATE, "")
    if len(state) > MAX_STATE_CHARS or may_hold_card(state.encode(errors="replace")):
        del carrier[TRACE_STATE]  # It would go on to other systems, and is not ours to mask.
    return _W3C.extract(carrier, context=_NOTHING) if TRACE_PARENT in carrier else _NOTHING


def _xray(header: str | None) -> Context:
    return _NOTHING if header is None else _XRAY.extract({TRACE_HEADER_KEY: header}, context=_NOTHING)


def _text(attributes: Mapping[str, Any], name: str) -> str | None:
    text = attributes.get(name, {}).get("StringValue")
    return text if isinstance(text, str) else None


def _span(context: Context) -> SpanContext:
    return get_current_span(context).get_span_context()
