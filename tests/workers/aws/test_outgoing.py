"""Whatever is in a message, SQS and SNS take it."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import workers
from tests.strategies import any_text
from tests.workers.aws.sdk_fakes import FakeSdk
from tests.workers.escalation.examples import case
from workers.aws.channels import SnsChannel, SqsChannel
from workers.aws.outgoing import MAX_ATTRIBUTE_CHARS, MAX_SUBJECT_CHARS, sns_message, sqs_message, string_attribute
from workers.aws.senders import SqsDeadLetters, SqsEscalations, SqsReminders
from workers.consumer.message import Message
from workers.contracts import OutgoingEscalation, Reminder, decode_escalation, decode_reminder
from workers.domain.cases import stored_text
from workers.domain.characters import sendable
from workers.domain.escalations import MAX_DETAIL_CHARS
from workers.domain.reasons import Reason, Source
from workers.escalation.notifications import Notification

# SQS: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF (API_SendMessage).
TAKEN = {0x9, 0xA, 0xD, *range(0x20, 0xD800), *range(0xE000, 0xFFFE), *range(0x10000, 0x110000)}
REFUSED = "\x00\x08\x0b\x0c\x1f\ud800\udbff\udc00\udfff\ufffe\uffff"
SNS_MAX_BYTES = 262_144
texts = any_text | st.text(f'{REFUSED}\t\n\r \x7f\x85\ud7ff\ue000\ufffd\U00010000\U0010ffffa1"\\')
TOPIC = "arn:aws:sns:us-east-1:123456789012:topic"


def texts_of(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for part in (*value.keys(), *value.values()) for text in texts_of(part)]
        case _:
            return []


def is_taken(request: dict[str, Any]) -> bool:
    """Whether SQS and SNS take all texts of *request*, and no attribute of it is empty."""
    values = [attribute.get("StringValue", "x") for attribute in request.get("MessageAttributes", {}).values()]
    return all(values) and all(set(map(ord, text)) <= TAKEN for text in texts_of(request))


def notification_of(case_id: str, detail: str, channel: str) -> Notification:
    opened = case("pager", case_id=case_id, order_id=None)
    return Notification.of(replace(opened, evidence=(replace(opened.evidence[0], detail=detail),)), channel)


def sent(send: Any, operation: str = "send_message") -> dict[str, Any]:
    """Return the request that `send(sdk)` makes."""
    sdk = FakeSdk(**{operation: [{}]})
    asyncio.run(send(sdk))
    (request,) = sdk.requests_of(operation)
    assert is_taken(request)
    return request


@pytest.mark.parametrize("char", REFUSED)
def test_a_character_that_sqs_refuses_is_replaced(char: str) -> None:
    assert ord(char) not in TAKEN
    assert sendable(f"a{char}b") == "a\ufffdb"


@given(texts)
@example("\t\n\r \x7f\x85\ud7ff\ue000\ufffd\U00010000\U0010ffff")
def test_only_characters_that_sqs_refuses_are_replaced(text: str) -> None:
    assert sendable(text) == "".join(char if ord(char) in TAKEN else "\ufffd" for char in text)


@given(texts, texts)
def test_an_escalation_is_taken_whatever_an_error_says(detail: str, queue: str) -> None:
    escalation = OutgoingEscalation(
        order_id="001",
        reasons=(Reason.FULFILLMENT_REJECTED,),
        source=Source.FULFILLMENT,
        detail=f"The provider refused: {detail}",
        queue=queue[:256],
    )
    body = sent(lambda sdk: SqsEscalations(sdk, "url").send(escalation))["MessageBody"]
    decoded = decode_escalation(Message(id="m0", receipt_handle="r", body=body))
    assert decoded.detail is not None
    assert decoded.detail.startswith("The provider refused: ")
    assert set(map(ord, decoded.detail)) <= TAKEN


@given(texts.map(stored_text).filter(bool))
def test_a_reminder_finds_its_case_whatever_the_case_is_called(case_id: str) -> None:
    reminder = Reminder(CaseId=case_id, Episode=1, Tries=1)
    body = sent(lambda sdk: SqsReminders(sdk, "url").send(reminder, delay_s=1))["MessageBody"]
    assert decode_reminder(Message(id="m0", receipt_handle="r", body=body)) == reminder


@given(texts, texts, texts)
def test_a_dead_letter_is_taken_whatever_is_wrong_with_it(body: str, reason: str, own: str) -> None:
    attributes = {
        "Own": {"DataType": "String", "StringValue": own or "x"},
        "Bytes": {"DataType": "Binary", "BinaryValue": b"\x00"},
    }
    message = Message(id="m0", receipt_handle="r", body=body or "x", attributes=attributes)
    dead_letters = [
        sent(lambda sdk: SqsDeadLetters(sdk, "url", source="q").send(message, reason=reason)),
        sent(lambda sdk: SqsDeadLetters(sdk, "url", source="q").send(message, reason=reason, error=ValueError(reason))),
    ]
    for request in dead_letters:
        assert request["MessageBody"] == sendable(message.body)
        assert request["MessageAttributes"]["Bytes"] == attributes["Bytes"]


@given(texts, texts, texts)
def test_a_notification_is_taken_by_a_topic_and_by_a_queue(case_id: str, detail: str, channel: str) -> None:
    notification = notification_of(case_id, detail[:MAX_DETAIL_CHARS], channel)
    published = sent(lambda sdk: SnsChannel("pager", sdk, TOPIC).send(notification), "publish")
    queued = sent(lambda sdk: SqsChannel("pager", sdk, "https://sqs/1/alarms").send(notification))
    assert published["Message"] == queued["MessageBody"]
    assert json.loads(published["Message"])["Severity"] == "warning"
    subject = published["Subject"]
    assert len(subject) <= MAX_SUBJECT_CHARS
    assert subject.isascii()
    assert subject.isprintable()


@pytest.mark.parametrize("char", ["\x00", "\uffff", "\U0001f600", '"', "\\"])
def test_the_longest_notification_fits_into_a_message_of_sns(char: str) -> None:
    notification = notification_of(f"message-{char * 256}", char * MAX_DETAIL_CHARS, "pager")
    request = sent(lambda sdk: SnsChannel("pager", sdk, TOPIC).send(notification), "publish")
    assert sum(len(text.encode()) for text in texts_of(request)) < SNS_MAX_BYTES


@pytest.mark.parametrize(("text", "value"), [("why", "why"), ("", "-"), ("x" * 5_000, "x" * MAX_ATTRIBUTE_CHARS)])
def test_an_attribute_is_not_empty_and_not_too_long(text: str, value: str) -> None:
    assert string_attribute(text) == {"DataType": "String", "StringValue": value}


@given(texts, texts)
def test_what_is_replaced_does_not_come_back(body: str, value: str) -> None:
    attributes = {"A": string_attribute(value)}
    assert is_taken(sqs_message("url", body, attributes, delay_s=0))
    assert is_taken(sns_message(TOPIC, body, body, attributes))


def test_every_message_is_sent_with_parameters_of_this_module() -> None:
    root = Path(next(iter(workers.__path__)))
    for name in ("MessageBody", "MessageAttributes=", "Subject="):
        users = [path.relative_to(root) for path in root.rglob("*.py") if name in path.read_text(encoding="utf-8")]
        assert {str(user) for user in users if user.parts[0] != "testing"} <= {"aws/outgoing.py"}, name


def test_a_message_has_only_the_parameters_that_are_given() -> None:
    assert sqs_message("url", "x") == {"QueueUrl": "url", "MessageBody": "x"}
    assert sqs_message("url", "x", {}, delay_s=0) == {
        "QueueUrl": "url",
        "MessageBody": "x",
        "MessageAttributes": {},
        "DelaySeconds": 0,
    }
