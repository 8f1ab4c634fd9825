"""Tracing that is on: gives each part of a worker its spans."""

from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import Any, TypeVar, cast

from aiohttp import TraceConfig
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import SpanKind, Tracer, get_current_span

from workers.consumer.in_flight import InFlight
from workers.tracing.deliveries import TracedInFlight
from workers.tracing.errors import failed
from workers.tracing.masking import OURS
from workers.tracing.off import Tracing
from workers.tracing.requests import trace_requests
from workers.tracing.sending import IsRefusal, TracedSender

Part = TypeVar("Part")


class OpenTelemetry(Tracing):
    """
    Traces with *provider*.

    No span holds more of an error than its class: the text of an error may quote an order or an address.
    """

    is_on = True

    def __init__(self, provider: TracerProvider, is_refusal: IsRefusal) -> None:
        self._tracer = provider.get_tracer(OURS)
        self._is_refusal = is_refusal

    def in_flight(self, queue: str) -> Callable[..., InFlight]:
        return partial(TracedInFlight, self._tracer, queue)

    def table(self, port: Part, table: str, operations: Mapping[str, str]) -> Part:
        calls = {
            method: traced(
                self._tracer,
                getattr(port, method),
                f"{operation} {table}",
                SpanKind.CLIENT,
                {"db.system.name": "aws.dynamodb", "db.operation.name": operation, "db.collection.name": table},
            )
            for method, operation in operations.items()
        }
        return cast("Part", _Traced(port, calls))

    def port(self, port: Part, name: str, *methods: str) -> Part:
        calls = {method: traced(self._tracer, getattr(port, method), name, SpanKind.INTERNAL, {}) for method in methods}
        return cast("Part", _Traced(port, calls))

    def sender(self, client: Part) -> Part:
        return cast("Part", TracedSender(client, self._tracer, self._is_refusal))

    def http(self) -> list[TraceConfig]:
        return [trace_requests(self._tracer)]


class _Traced:
    """A part of the worker, some of whose methods are replaced."""

    def __init__(self, part: Any, calls: Mapping[str, Callable[..., Any]]) -> None:
        self._part = part
        for name, call in calls.items():
            setattr(self, name, call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


def traced(
    tracer: Tracer, method: Callable[..., Any], name: str, kind: SpanKind, attributes: Mapping[str, str]
) -> Callable[..., Any]:
    """
    Return the async *method* with a span for each call of a message whose span is recorded.

    Whatever the sampler is, it would not record the others: it decides by the trace.
    """

    @wraps(method)
    async def call(*arguments: Any, **options: Any) -> Any:
        if not get_current_span().is_recording():
            return await method(*arguments, **options)
        with tracer.start_as_current_span(
            name, kind=kind, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return await method(*arguments, **options)
            except BaseException as error:
                failed(span, error)
                raise

    return call
