"""
The parameters of every message that workers and commands send.

SQS and SNS refuse some characters. A message with one of them would be refused again at every try, so each is replaced
here (`sendable`). What came from SQS stays as it is: it has none of them.
"""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from workers.aws.errors import SEND_FAULTS, error_code
from workers.domain.characters import sendable

MAX_SUBJECT_CHARS = 99  # SNS: a subject is ASCII, less than 100 characters, without line breaks.
# SQS and SNS count attributes toward the size of a message. Only a text of a user's own code can be as long as this.
MAX_ATTRIBUTE_CHARS = 1_000
# Codes with which SQS and SNS refuse a message. Queues of other makers may have no system attributes.
REFUSALS = SEND_FAULTS | {
    "AWS.SimpleQueueService.UnsupportedOperation",
    "InvalidParameter",
    "ParameterValueInvalid",
    "UnsupportedOperation",
}


def sqs_message(
    url: str,
    body: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    delay_s: int | None = None,
    trace_header: str | None = None,
) -> dict[str, Any]:
    """Return the parameters of SQS's SendMessage. *trace_header* is AWS X-Ray's, as it was received."""
    parameters: dict[str, Any] = {"QueueUrl": url, "MessageBody": sendable(body)}
    if attributes is not None:
        parameters["MessageAttributes"] = _sendable_attributes(attributes)
    if delay_s is not None:
        parameters["DelaySeconds"] = delay_s
    if trace_header is not None:
        parameters["MessageSystemAttributes"] = {"AWSTraceHeader": string_attribute(trace_header)}
    return parameters


def sns_message(topic_arn: str, subject: str, message: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of SNS's Publish. Other characters of the subject than visible ASCII become `?`."""
    return {
        "TopicArn": topic_arn,
        "Subject": "".join(char if " " <= char <= "~" else "?" for char in subject)[:MAX_SUBJECT_CHARS],
        "Message": sendable(message),
        "MessageAttributes": _sendable_attributes(attributes),
    }


def string_attribute(text: str) -> dict[str, str]:
    """Return the message attribute of type String with the start of *text*. SQS and SNS refuse an empty one."""
    return {"DataType": "String", "StringValue": text[:MAX_ATTRIBUTE_CHARS] or "-"}


def is_refusal(error: Exception) -> bool:
    """Return whether AWS, or already the SDK, blames a message that is sent, and not the queue or itself."""
    return isinstance(error, ParamValidationError) or (isinstance(error, ClientError) and error_code(error) in REFUSALS)


def _sendable_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {**value, "StringValue": sendable(value["StringValue"])} if "StringValue" in value else value
        for name, value in attributes.items()
    }
