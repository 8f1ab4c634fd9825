"""A handler with a span of its own, for the tests of tracing. Its tracer is made before the worker opens tracing."""

from opentelemetry.trace import get_tracer

from workers import Message, PermanentError

_tracer = get_tracer(__name__)


async def refuse(message: Message) -> None:
    with _tracer.start_as_current_span("look", attributes={"length": len(message.body)}):
        pass
    raise PermanentError("no such order")
