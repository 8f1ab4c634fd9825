"""Receipts: deleting messages, extending and ending their visibility timeout, with new and old receipt handles."""

from typing import Any

from tests.aws_facts.fact import facts_of
from tests.aws_facts.lab import Lab

fact = facts_of("sqs")

_API = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/"


def receive(lab: Lab, url: str, limit: int = 1, **parameters: Any) -> list[dict[str, Any]]:
    """Receive with a long poll: a short one asks only some of SQS's servers, and may miss messages."""
    answer = lab.sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=limit,
        **{"WaitTimeSeconds": 2, "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]} | parameters,
    )
    messages: list[dict[str, Any]] = answer.get("Messages", [])
    return messages


def send(lab: Lab, url: str, body: str = "x", **parameters: Any) -> dict[str, Any]:
    sent: dict[str, Any] = lab.sqs.send_message(QueueUrl=url, MessageBody=body, **parameters)
    return sent


@fact(
    "A receive that finds nothing has no `Messages` in its answer.",
    source=_API + "API_ReceiveMessage.html",
    relied_on_by=("workers/aws/sqs.py::receive",),
    expected=False,
)
def an_empty_receive_has_no_messages(lab: Lab) -> object:
    return "Messages" in lab.sqs.receive_message(QueueUrl=lab.queue(), WaitTimeSeconds=0)
