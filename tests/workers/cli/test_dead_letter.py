import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from workers.cli.dead_letter import MAX_BODY_CHARS, REDRIVEN, UNKNOWN, DeadLetter, Wanted

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


def test_what_a_worker_has_said_of_it_is_told_and_not_sent_back() -> None:
    found = letter("?", **LABELS, trace="t-1")
    assert (found.reason, found.error_class, found.origin_message_id) == (LABELS["Reason"], "UndecodableError", "m-0")
    assert (found.undecodable, found.case_id, found.order_id) == (True, "message-m-0", None)
    assert found.attributes == {"trace": {"DataType": "String", "StringValue": "t-1"}}


def test_its_times_are_written_alike_whoever_noted_them() -> None:
    found = letter(**LABELS)
    assert (found.first_received_at, found.sent_at) == ("2026-11-22T11:00:00.000000Z", "2026-11-22T11:50:00.000000Z")


def test_attributes_that_are_called_like_ours_but_are_the_senders_own_are_kept() -> None:
    found = letter(Reason="because", trace="t-1")
    assert found.attributes.keys() == {"Reason", "trace"}
    assert (found.reason, found.case_id) == (UNKNOWN, None)


def test_one_that_sqs_has_moved_has_no_reason_but_that() -> None:
    assert letter(system={"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:Q"}).reason == REDRIVEN
    assert letter(system={"DeadLetterQueueSourceArn": "x"}, **LABELS).reason == LABELS["Reason"]


@pytest.mark.parametrize(
    ("body", "order_id"),
    [
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
def test_the_order_is_found_where_the_message_names_one(body: str, order_id: str | None) -> None:
    assert letter(body).order_id == order_id


def test_its_age_is_since_it_was_first_received_or_else_sent() -> None:
    assert letter(**LABELS).age_s(NOW) == 3600
    assert letter().age_s(NOW) == 600
    assert letter(**LABELS | {"FirstReceivedAt": "yesterday"}).age_s(NOW) == 600


def test_of_a_body_only_its_beginning_is_shown_masked_and_without_what_drives_terminals() -> None:
    shown = letter(f"\x1b]0;{CARD}\x07\n{'x' * 1000}").excerpt
    assert shown.isprintable()
    assert CARD not in shown
    assert shown.endswith("x... (1022 characters)")
    assert len(shown) < MAX_BODY_CHARS + 50


@pytest.mark.parametrize(
    ("wanted", "included"),
    [
        (Wanted(), True),
        (Wanted(reason="undecodable"), True),
        (Wanted(reason="exhausted"), False),
        (Wanted(order_id="001"), True),
        (Wanted(order_id="00"), False),
        (Wanted(ids=("m-1",)), True),
        (Wanted(ids=("x", "m-0")), True),
        (Wanted(ids=("x",)), False),
        (Wanted(older_than=timedelta(minutes=59)), True),
        (Wanted(older_than=timedelta(minutes=61)), False),
        (Wanted(reason="UNDECODABLE", order_id="002"), False),
    ],
)
def test_it_is_selected_by_all_that_is_said(wanted: Wanted, included: bool) -> None:
    assert wanted.includes(letter(**LABELS), NOW) is included
