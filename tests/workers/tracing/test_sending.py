"""What messages carry of a trace."""

from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from opentelemetry.trace import SpanKind

from tests.workers.tracing.recorded import Recorded, failed
from workers.aws.outgoing import is_refusal, sqs_message, string_attribute

QUEUE_URL = "https://sqs.eu-central-1.amazonaws.com/123456789012/EscalationQueue"


def error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "4111111111111111"}}, "SendMessage")


class FakeClient:
    """Records the requests; raises the errors, one after the other."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.requests: list[dict[str, Any]] = []

    async def send_message(self, **request: Any) -> dict[str, str]:
        self.requests.append(request)
        if self.errors:
            raise self.errors.pop(0)
        return {"MessageId": "sent"}

    publish = send_message

    async def get_queue_url(self, **_: Any) -> str:
        return "url"


def ids(tracing: Recorded) -> tuple[str, str]:
    context = tracing.span.context
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


async def test_a_message_carries_the_context_of_its_span() -> None:
    tracing, client = Recorded(), FakeClient()
    answer = await tracing.sender(client).send_message(
        **sqs_message(QUEUE_URL, "body", {"Reason": string_attribute("x")})
    )
    assert answer == {"MessageId": "sent"}
    trace, span = ids(tracing)
    assert client.requests == [
        {
            "QueueUrl": QUEUE_URL,
            "MessageBody": "body",
            "MessageAttributes": {
                "Reason": {"DataType": "String", "StringValue": "x"},
                "traceparent": {"DataType": "String", "StringValue": f"00-{trace}-{span}-03"},
            },
            "MessageSystemAttributes": {
                "AWSTraceHeader": {
                    "DataType": "String",
                    "StringValue": f"Root=1-{trace[:8]}-{trace[8:]};Parent={span};Sampled=1",
                }
            },
        }
    ]
    assert (tracing.span.name, tracing.span.kind) == ("send EscalationQueue", SpanKind.PRODUCER)
    assert dict(tracing.span.attributes or {}) == {
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "EscalationQueue",
        "messaging.message.id": "sent",
    }


async def test_an_older_context_on_a_copied_message_is_replaced() -> None:
    tracing, client = Recorded(), FakeClient()
    old = {
        "traceparent": string_attribute("00-old"),
        "tracestate": string_attribute("old=1"),
        "a": string_attribute("1"),
    }
    await tracing.sender(client).send_message(**sqs_message(QUEUE_URL, "body", old))
    sent = client.requests[0]["MessageAttributes"]
    assert sent.keys() == {"a", "traceparent"}
    assert ids(tracing)[0] in sent["traceparent"]["StringValue"]


async def test_a_message_with_ten_attributes_keeps_them_and_carries_the_header_alone() -> None:
    tracing, client = Recorded(), FakeClient()
    ten = {f"a{n}": string_attribute("1") for n in range(10)}
    await tracing.sender(client).send_message(**sqs_message(QUEUE_URL, "body", ten))
    assert client.requests[0]["MessageAttributes"] == ten
    assert "AWSTraceHeader" in client.requests[0]["MessageSystemAttributes"]


async def test_a_notification_to_a_topic_has_no_system_attribute() -> None:
    tracing, client = Recorded(), FakeClient()
    await tracing.sender(client).publish(TopicArn="arn:aws:sns:eu-central-1:123456789012:pager", Message="m")
    (request,) = client.requests
    assert request.keys() == {"TopicArn", "Message", "MessageAttributes"}
    assert request["MessageAttributes"].keys() == {"traceparent"}
    assert tracing.span.name == "send pager"


@pytest.mark.parametrize(
    "refusal",
    [
        error("InvalidParameterValue"),
        error("MessageTooLong"),
        error("AWS.SimpleQueueService.UnsupportedOperation"),
        ParamValidationError(report="x"),
    ],
)
async def test_a_refused_message_is_sent_again_without_the_context(refusal: Exception) -> None:
    tracing, client = Recorded(is_refusal), FakeClient(refusal)
    request = sqs_message(QUEUE_URL, "body")
    assert await tracing.sender(client).send_message(**request) == {"MessageId": "sent"}
    assert client.requests[1:] == [request]
    assert not failed(tracing.span)


@pytest.mark.parametrize("code", ["InvalidParameter", "ParameterValueInvalid"])
async def test_a_refused_notification_is_published_again_without_the_context(code: str) -> None:
    tracing, client = Recorded(is_refusal), FakeClient(error(code))
    request = {"TopicArn": "arn:aws:sns:eu-central-1:123456789012:pager", "Message": "m", "MessageAttributes": {}}
    await tracing.sender(client).publish(**request)
    assert client.requests[1:] == [request]
    assert not failed(tracing.span)


async def test_any_other_error_is_raised_and_marks_the_span_without_its_text() -> None:
    tracing, client = Recorded(is_refusal), FakeClient(error("ThrottlingException"))
    with pytest.raises(ClientError):
        await tracing.sender(client).send_message(**sqs_message(QUEUE_URL, "body"))
    assert len(client.requests) == 1
    assert failed(tracing.span)
    assert (tracing.span.attributes or {})["error.type"] == "ClientError"
    assert (tracing.span.events, tracing.span.status.description) == ((), None)


async def test_other_calls_of_the_client_are_its_own() -> None:
    tracing = Recorded()
    assert await tracing.sender(FakeClient()).get_queue_url() == "url"
    assert tracing.spans == []
