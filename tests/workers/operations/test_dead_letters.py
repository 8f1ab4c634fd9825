import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workers.operations.dead_letters import MAX_BODY_CHARS, REDRIVEN, UNKNOWN, DeadLetter, Selection

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SENT_MS = int((NOW - timedelta(minutes=10)).timestamp() * 1000)
CARD = "4929123412345678"
LABELS = {
    "Reason": "UNDECODABLE_MESSAGE: neither a JSON object nor an OrderId",
    "OriginMessageId": "m-0",
    "OriginQueue": "OrderFulfillmentQueue",
    "FirstReceivedAt": "2026-11-22T11:00:00.000000Z",
    "ErrorClass": "UndecodableError",
}


def letter(body: str = "001", system: Any = None, **attributes: str) -> DeadLetter:
    received: dict[str, Any] = {
        "MessageId": "m-1",
        "Body": body,
        "Attributes": {"SentTimestamp": str(SENT_MS)} | (system or {}),
        "MessageAttributes": {
            name: {"DataType": "String", "StringValue": value, "StringListValues": []}
            for name, value in attributes.items()
        },
    }
    return DeadLetter.of("DLQ", received)


def test_the_workers_attributes_are_read_and_not_sent_back() -> None:
    found = letter("?", **LABELS, trace="t-1")
    assert (found.reason, found.error, found.origin_message_id) == (LABELS["Reason"], "undecodable error", "m-0")
    assert (found.undecodable, found.case_id, found.order_id) == (True, "message-m-0", None)
    assert found.attributes == {"trace": {"DataType": "String", "StringValue": "t-1"}}


def test_the_header_of_a_trace_is_sent_back() -> None:
    assert letter(system={"AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793"}).trace_header is not None
    assert letter().trace_header is None


def test_the_times_of_workers_and_sqs_have_one_format() -> None:
    found = letter(**LABELS)
    assert (found.first_received_at, found.sent_at) == ("2026-11-22T11:00:00.000000Z", "2026-11-22T11:50:00.000000Z")


def test_a_senders_attribute_named_like_ours_is_kept() -> None:
    found = letter(Reason="because", trace="t-1")
    assert found.attributes.keys() == {"Reason", "trace"}
    assert (found.reason, found.case_id) == (UNKNOWN, None)


def test_a_message_moved_by_sqs_has_the_redrive_as_its_reason() -> None:
    assert letter(system={"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:Q"}).reason == REDRIVEN
    assert letter(system={"DeadLetterQueueSourceArn": "x"}, **LABELS).reason == LABELS["Reason"]


@pytest.mark.parametrize(
    ("body", "order_id"),
    [
        ('\ufeff{"OrderId": "001"}\r\n', "001"),
        ("\ufeff001\n", "001"),
        ("001", "001"),
        ("42", "42"),
        (json.dumps({"OrderId": "001", "ExecutionArn": "x"}), "001"),
        (json.dumps({"OrderId": CARD}), None),
        (json.dumps({"OrderId": 1}), None),
        (json.dumps({"OrderId": "a b"}), None),
        (CARD, None),
        ("[1]", None),
        ("", None),
        ('{"a": ' * 100_000, None),
    ],
)
def test_the_order_id_is_read_from_the_body(body: str, order_id: str | None) -> None:
    assert letter(body).order_id == order_id


@pytest.mark.parametrize(
    ("body", "arn"),
    [
        ('{"OrderId": null, "ExecutionArn": "arn:one"}', "arn:one"),
        ('\ufeff {"ExecutionArn": "arn:one"}\n', "arn:one"),
        ('{"ExecutionArn": 1}', None),
        ('["ExecutionArn"]', None),
        ("001", None),
    ],
)
def test_the_execution_is_read_from_the_body(body: str, arn: str | None) -> None:
    assert letter(body).execution_arn == arn


@pytest.mark.parametrize("body", ["\ufeff001", " 001\n", "\r\n001\t"])
def test_space_around_an_order_id_does_not_hide_it(body: str) -> None:
    assert letter(body).order_id == "001"


@pytest.mark.parametrize("name", ["Reason", "OriginMessageId"])
def test_one_of_the_two_labels_alone_is_the_senders(name: str) -> None:
    found = letter(**{name: "x"})
    assert (found.reason, found.origin_message_id, list(found.attributes)) == (UNKNOWN, None, [name])


def test_the_two_labels_are_enough_to_recognize_a_workers_dead_letter() -> None:
    found = letter(Reason="WORKER_CRASHED: twice", OriginMessageId="m-0")
    assert (found.reason, found.origin_message_id, found.attributes) == ("WORKER_CRASHED: twice", "m-0", {})


def test_empty_parts_of_an_attribute_are_not_sent_back() -> None:
    trace: dict[str, Any] = {"DataType": "Binary", "BinaryValue": b"\0", "StringValue": None, "BinaryListValues": []}
    found = DeadLetter.of("DLQ", {"MessageId": "m-1", "Body": "001", "MessageAttributes": {"trace": trace}})
    assert found.attributes == {"trace": {"DataType": "Binary", "BinaryValue": b"\0"}}


@pytest.mark.parametrize(
    ("reason", "origin", "case_id"),
    [
        ("UNDECODABLE_MESSAGE: why", "m-0", "message-m-0"),
        ("UNDECODABLE_MESSAGE: why", None, None),
        ("WORKER_CRASHED: twice", "m-0", None),
    ],
)
def test_only_an_undecodable_letter_of_a_known_message_has_a_case(
    reason: str, origin: str | None, case_id: str | None
) -> None:
    assert replace(letter(), reason=reason, origin_message_id=origin).case_id == case_id


def test_a_letter_without_any_time_has_no_age_and_is_older_than_nothing() -> None:
    found = DeadLetter.of("DLQ", {"MessageId": "m-1", "Body": "001"})
    assert (found.sent_at, found.first_received_at, found.age_s(NOW)) == (None, None, None)
    assert not Selection(older_than=timedelta(0)).includes(found, NOW)


def test_the_age_counts_from_the_first_receive_or_else_from_sending() -> None:
    assert letter(**LABELS).age_s(NOW) == 3600
    assert letter().age_s(NOW) == 600
    assert letter(**LABELS | {"FirstReceivedAt": "yesterday"}).age_s(NOW) == 600


def test_an_excerpt_is_short_masked_and_without_control_characters() -> None:
    shown = letter(f"\x1b]0;{CARD}\x07\n{'x' * 1000}").excerpt
    assert shown.isprintable()
    assert CARD not in shown
    assert shown.endswith("x... (1022 characters)")
    assert len(shown) < MAX_BODY_CHARS + 50


@pytest.mark.parametrize(
    ("body", "excerpt"), [("x" * 200, "x" * 200), ("x" * 201, f"{'x' * 200}... (201 characters)"), ("", "")]
)
def test_a_body_of_up_to_200_characters_is_shown_whole(body: str, excerpt: str) -> None:
    assert letter(body).excerpt == excerpt


@pytest.mark.parametrize(
    ("selection", "included"),
    [
        (Selection(), True),
        (Selection(reason="undecodable"), True),
        (Selection(reason="exhausted"), False),
        (Selection(order_id="001"), True),
        (Selection(order_id="00"), False),
        (Selection(ids=("m-1",)), True),
        (Selection(ids=("x", "m-0")), True),
        (Selection(ids=("x",)), False),
        (Selection(older_than=timedelta(minutes=59)), True),
        (Selection(older_than=timedelta(minutes=60)), False),
        (Selection(older_than=timedelta(minutes=61)), False),
        (Selection(reason="UNDECODABLE", order_id="002"), False),
    ],
)
def test_a_letter_must_match_every_criterion(selection: Selection, included: bool) -> None:
    assert selection.includes(letter(**LABELS), NOW) is included


def test_a_letter_comes_from_the_queue_that_a_worker_or_sqs_names() -> None:
    moved = {"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:Returns"}
    assert letter(**LABELS).source == "OrderFulfillmentQueue"
    assert letter(system=moved, **LABELS).source == "OrderFulfillmentQueue"
    assert letter(system=moved).source == "Returns"
    assert letter().source is None
