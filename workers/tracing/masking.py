"""Masks card numbers in the spans of a handler's or provider's own code, such as the texts of errors."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Status

from workers.domain.cards import mask, mask_all

OURS = "workers"  # The scope of the workers' own spans, which hold no text of others that is not masked.


def masked(span: ReadableSpan) -> ReadableSpan:
    """Return *span* without card numbers in its name, its attributes and its events."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name == OURS:
        return span
    return ReadableSpan(
        name=mask(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_masked(span.attributes),
        events=[Event(mask(event.name), _masked(event.attributes), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, span.status.description and mask(span.status.description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope,
    )


def _masked(attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    return dict(mask_all(dict(attributes or {})))
