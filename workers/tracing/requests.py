"""Spans for the requests of an aiohttp session, and the context of each as headers."""

from types import SimpleNamespace
from typing import Any

from aiohttp import TraceConfig, TraceRequestEndParams, TraceRequestExceptionParams, TraceRequestStartParams
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer, use_span

from workers.tracing.context import headers
from workers.tracing.errors import failed

_ERROR = 400  # OpenTelemetry's conventions: for a client, 4xx is an error, too.


def trace_requests(tracer: Tracer) -> TraceConfig:
    """
    Return what gives each request of a session a span of kind CLIENT.

    Not opentelemetry-instrumentation-aiohttp-client: its spans hold the URL and the errors' texts, and the URL of a
    webhook is a secret.
    """

    async def started(_session: Any, context: SimpleNamespace, params: TraceRequestStartParams) -> None:
        context.span = tracer.start_span(
            params.method,
            kind=SpanKind.CLIENT,
            attributes={
                "http.request.method": params.method,
                "url.scheme": params.url.scheme,
                "server.address": params.url.host or "",
                "server.port": params.url.port or 0,
            },
        )
        with use_span(context.span):
            params.headers.update(headers())

    async def ended(_session: Any, context: SimpleNamespace, params: TraceRequestEndParams) -> None:
        status = params.response.status
        context.span.set_attribute("http.response.status_code", status)
        if status >= _ERROR:
            context.span.set_attribute("error.type", str(status))
            context.span.set_status(Status(StatusCode.ERROR))
        context.span.end()

    async def gone_wrong(_session: Any, context: SimpleNamespace, params: TraceRequestExceptionParams) -> None:
        failed(context.span, params.exception)
        context.span.end()

    config = TraceConfig()
    config.on_request_start.append(started)
    config.on_request_end.append(ended)
    config.on_request_exception.append(gone_wrong)
    return config
