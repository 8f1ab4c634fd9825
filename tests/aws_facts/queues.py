"""What several checks do with queues."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from tests.aws_facts.lab import Lab

SQS_API = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/"
SQS_GUIDE = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/"


def send(lab: Lab, url: str, body: str = "x", **parameters: Any) -> dict[str, Any]:
    sent: dict[str, Any] = lab.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)
    return sent


def receive(lab: Lab, url: str, limit: int = 1, **parameters: Any) -> list[dict[str, Any]]:
    """Receive with a long poll: a short one asks only some of SQS's servers, and may miss messages."""
    needs = {"WaitTimeSeconds": 2, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    answer = lab.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=limit, **needs | parameters)
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def receive_one(lab: Lab, url: str, **parameters: Any) -> dict[str, Any]:
    messages = receive(lab, url, **parameters)
    if not messages:
        raise LookupError("no message came")
    return messages[0]


def handle_of(lab: Lab, url: str, **parameters: Any) -> str:
    """Receive a message and return its receipt handle."""
    return str(receive_one(lab, url, **parameters)["ReceiptHandle"])


def is_visible(lab: Lab, url: str) -> bool:
    return bool(receive(lab, url, WaitTimeSeconds=1))


def delete(lab: Lab, url: str, *handles: str) -> list[str]:
    """Delete in one batch; return the result of each entry: "ok" or its code."""
    entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]
    return results(lab.sqs.delete_message_batch(QueueUrl=url, Entries=entries), len(handles))


def hide(lab: Lab, url: str, handle: str, timeout_s: int) -> str:
    """Set the visibility timeout with a batch of one; return "ok", the entry's code, or "request: " and its code."""
    entries = [{"Id": "0", "ReceiptHandle": handle, "VisibilityTimeout": timeout_s}]
    try:
        answer = lab.sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    except ClientError as error:
        return f"request: {error.response['Error']['Code']}"
    return results(answer, 1)[0]


def results(answer: Mapping[str, Sequence[Mapping[str, Any]]], count: int) -> list[str]:
    found = {entry["Id"]: "ok" for entry in answer.get("Successful", [])}
    found |= {entry["Id"]: str(entry["Code"]) for entry in answer.get("Failed", [])}
    return [found.get(str(n), "no result") for n in range(count)]


def arn_of(lab: Lab, url: str) -> str:
    return str(lab.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"])


def redrive(lab: Lab, dead_letter_url: str, max_receive_count: int) -> str:
    return json.dumps({"deadLetterTargetArn": arn_of(lab, dead_letter_url), "maxReceiveCount": max_receive_count})


def counts(lab: Lab, url: str) -> list[str]:
    """Return the numbers of visible, invisible and delayed messages, as SQS writes them."""
    names = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
    attributes = lab.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return [attributes.get(name, "absent") for name in names]


def text(value: str, data_type: str = "String") -> dict[str, str]:
    return {"DataType": data_type, "StringValue": value}
