"""Sends messages with the context of their trace."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from opentelemetry.trace import SpanKind, Tracer

from workers.tracing.context import TRACE_PARENT, TRACE_STATE, headers, xray_header
from workers.tracing.errors import failed

MAX_ATTRIBUTES = 10  # SQS: message attributes per message.

IsRefusal = Callable[[Exception], bool]


class TracedSender:
    """
    A client of SQS or SNS whose messages carry the context of their span, of kind PRODUCER.

    - As `traceparent` and `tracestate`, if the message has room for two more attributes.
    - In SQS also as the system attribute `AWSTraceHeader`, which needs no room.

    If AWS refuses a message, it is sent again without them: a trace must never keep a message from being sent.
    """

    def __init__(self, client: Any, tracer: Tracer, is_refusal: IsRefusal) -> None:
        """*is_refusal* says whether AWS blames a message itself for an error."""
        self._client = client
        self._tracer = tracer
        self._is_refusal = is_refusal

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def send_message(self, **request: Any) -> Any:
        queue = request["QueueUrl"].rpartition("/")[2]
        return await self._send(self._client.send_message, request, "aws_sqs", queue, with_header=True)

    async def publish(self, **request: Any) -> Any:
        topic = request["TopicArn"].rpartition(":")[2]
        return await self._send(self._client.publish, request, "aws.sns", topic, with_header=False)

    async def _send(
        self,
        send: Callable[..., Awaitable[Any]],
        request: Mapping[str, Any],
        system: str,
        destination: str,
        *,
        with_header: bool,
    ) -> Any:
        attributes = {
            "messaging.system": system,
            "messaging.operation.name": "send",
            "messaging.operation.type": "send",
            "messaging.destination.name": destination,
        }
        with self._tracer.start_as_current_span(
            f"send {destination}",
            kind=SpanKind.PRODUCER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                try:
                    answer = await send(**_with_context(request, with_header=with_header))
                except Exception as error:
                    if not self._is_refusal(error):
                        raise
                    answer = await send(**request)
            except BaseException as error:
                failed(span, error)
                raise
            if isinstance(answer, Mapping) and isinstance(message_id := answer.get("MessageId"), str):
                span.set_attribute("messaging.message.id", message_id)
            return answer


def _with_context(request: Mapping[str, Any], *, with_header: bool) -> dict[str, Any]:
    """Return *request* with the context of the current span instead of the context that it has."""
    attributes = {
        name: value
        for name, value in request.get("MessageAttributes", {}).items()
        if name not in {TRACE_PARENT, TRACE_STATE}
    }
    for name, text in headers().items():
        if len(attributes) < MAX_ATTRIBUTES:
            attributes[name] = _string(text)
    header = xray_header() if with_header else None
    system = {} if header is None else {"MessageSystemAttributes": {"AWSTraceHeader": _string(header)}}
    return {**request, "MessageAttributes": attributes, **system}


def _string(text: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": text}
