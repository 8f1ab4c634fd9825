"""The span of a delivery: from the receive to its end, in the context of everything that the message causes."""

from typing import Any

from opentelemetry.context import attach
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from structlog.contextvars import bind_contextvars, get_contextvars

from workers.consumer.delivery import Delivery, Ending
from workers.consumer.in_flight import InFlight
from workers.consumer.message import Message
from workers.domain.cards import mask
from workers.tracing.context import parent_of

# The ids that a handler binds for its log lines.
_IDS = ("order_id", "execution_arn")
_GIVEN_BACK = "stopping"  # A release that is not an error.
_MAX_VALUE_CHARS = 1_000


class TracedInFlight(InFlight):
    """
    Gives each delivery a span of kind CONSUMER, which ends with the last log line of the delivery.

    The span is the current one wherever the delivery's context is: in the handler, and in whatever that calls. So are
    the log lines' `trace_id`.
    """

    def __init__(self, tracer: Tracer, queue: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tracer = tracer
        self._queue = queue
        self._spans: dict[str, Span] = {}

    def take(self, message: Message, asked_at_s: float) -> Delivery | None:
        delivery = super().take(message, asked_at_s)
        if delivery is not None:
            self._spans[message.id] = delivery.context.run(self._begin, message)
        return delivery

    def end(self, delivery: Delivery, ending: Ending, outcome: str) -> None:
        super().end(delivery, ending, outcome)
        span = self._spans.pop(delivery.message.id, None)
        if span is not None and span.is_recording():
            # In a copy: the caller may be running in this context, and a context cannot be entered twice.
            _finish(span, delivery.context.copy().run(get_contextvars), ending, outcome)

    def _begin(self, message: Message) -> Span:
        parent, links = parent_of(message)
        span = self._tracer.start_span(
            f"process {self._queue}",
            context=parent,
            kind=SpanKind.CONSUMER,
            links=links,
            attributes={
                "messaging.system": "aws_sqs",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": self._queue,
                "messaging.message.id": message.id,
                "messaging.message.body.size": len(message.body.encode(errors="replace")),
                "worker.receive_count": message.receive_count,
            },
        )
        attach(set_span_in_context(span))  # For as long as the delivery's context lives.
        bind_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}")
        return span


def _finish(span: Span, bound: dict[str, Any], ending: Ending, outcome: str) -> None:
    span.set_attribute("worker.ending", ending.event.removeprefix("message."))
    span.set_attribute("worker.outcome", outcome)
    for name in _IDS:
        if isinstance(value := bound.get(name), str):
            span.set_attribute(f"worker.{name}", mask(value)[:_MAX_VALUE_CHARS])
    if ending is not Ending.ACKNOWLEDGED and outcome != _GIVEN_BACK:
        span.set_attribute("error.type", outcome)
        span.set_status(Status(StatusCode.ERROR))
    span.end()
