import json

import pytest

from workers.operations.log_lines import Selection

FIELDS = {
    "timestamp": "2026-11-22T09:33:24.325884Z",
    "level": "warning",
    "event": "escalation.routed",
    "worker": "escalation",
    "queue": "EscalationQueue",
    "release": "3f9a",
    "message_id": "b8c7d9de-df7a-4217-af78-91c0994606e0",
    "order_id": "004",
    "execution_arn": "arn:aws:states:us-east-1:000000000000:execution:Orders:sample-004",
    "receive_count": 1,
    "case_id": "004",
    "reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
    "detail": "The order's details are not proper.",
}


def test_lines_are_selected_by_order_case_and_event() -> None:
    raw = json.dumps(FIELDS).encode()
    for selection in (Selection(), Selection("004"), Selection(escalations=True), Selection("004", escalations=True)):
        assert selection.may_match(raw)
        assert selection.matches(FIELDS)
    assert Selection("c-1").matches(FIELDS | {"case_id": "c-1"})
    assert not Selection("00").matches(FIELDS)
    assert not Selection("5").may_match(b'{"order_id": "004"}')
    assert not Selection(escalations=True).matches(FIELDS | {"event": "order.fulfilled"})
    everything = [Selection().everything, Selection("1").everything, Selection(escalations=True).everything]
    assert everything == [True, False, False]


@pytest.mark.parametrize(
    ("selection", "raw", "may_match"),
    [
        (Selection("004"), b'{"order_id": "004"}', True),
        (Selection("\udcff"), b'{"order_id": "004"}', False),
        (Selection(escalations=True), b'{"event": "order.fulfilled"}', False),
        (Selection("5", escalations=True), b'{"event": "escalation.routed", "order_id": "004"}', False),
        (Selection("004", escalations=True), b'{"event": "order.fulfilled", "order_id": "004"}', False),
    ],
)
def test_a_raw_line_that_lacks_a_criterion_cannot_match(selection: Selection, raw: bytes, may_match: bool) -> None:
    assert selection.may_match(raw) is may_match


def test_a_line_is_selected_by_its_order_alone_or_its_case_alone() -> None:
    assert Selection("004").matches({"order_id": "004", "event": "order.fulfilled"})
    assert Selection("004").matches({"case_id": "004"})
    assert Selection().matches({"event": "order.fulfilled"})


def test_a_line_must_match_every_criterion() -> None:
    both = Selection("004", escalations=True)
    assert not both.matches({"order_id": "004", "event": "order.fulfilled"})
    assert not both.matches({"order_id": "005", "event": "escalation.routed"})
