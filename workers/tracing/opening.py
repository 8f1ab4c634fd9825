"""Opens tracing for the life of a worker, if the environment asks for it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from workers.errors import FatalError
from workers.tracing.off import NO_TRACING, Tracing
from workers.tracing.variables import asks_for_tracing


@asynccontextmanager
async def open_tracing(
    environ: Mapping[str, str], service: str, release: str | None, *, is_refusal: Callable[[Exception], bool]
) -> AsyncIterator[Tracing]:
    """
    Yield the tracing that *environ* asks for. At the end, export the last spans, for `export.FLUSH_S` at most.

    *service* is the name of the service unless *environ* has one. *is_refusal* says whether AWS blames a message itself
    for an error of SQS or SNS.

    Raises:
        FatalError: Tracing is asked for, and is not installed or not configured.
    """
    if not asks_for_tracing(environ):
        yield NO_TRACING
        return
    try:
        # Here, so that a worker without tracing needs neither its packages nor their 10 MB of memory.
        from workers.tracing.export import exporting  # noqa: PLC0415
        from workers.tracing.on import OpenTelemetry  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(("opentelemetry", "requests", "google")):
            raise
        raise FatalError(
            "the OTEL_* variables ask for tracing, which is not installed: install the extra [tracing], "
            "or set OTEL_SDK_DISABLED=true"
        ) from None
    async with exporting(service, release) as provider:
        yield OpenTelemetry(provider, is_refusal)
