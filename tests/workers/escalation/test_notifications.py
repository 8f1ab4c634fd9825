import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.workers.escalation.test_router import case
from tests.workers.fakes import EXECUTION, NOW
from workers.domain.reasons import Reason, Severity
from workers.escalation.notifications import Notification

if TYPE_CHECKING:
    from workers.domain.cases import Case

CARD = "4929123412345678"


def test_a_notification_tells_what_a_person_needs() -> None:
    told = Notification.of(case("chat", reasons=tuple(Reason)[:2], severity=Severity.CRITICAL, attempts=5), "chat")
    assert told.fields() == {
        "NotificationId": "001#1#chat",
        "CaseId": "001",
        "Episode": 1,
        "OrderId": "001",
        "Severity": "critical",
        "Reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
        "Source": "workflow",
        "Detail": "Not proper.",
        "ExecutionArn": EXECUTION,
        "Attempts": 5,
        "OpenedAt": NOW,
        "text": "[critical] Order 001 escalated: INVALID_CARD_NUMBER, INVALID_PRICE. Not proper. Case 001, episode 1.",
    }


def test_what_does_not_apply_is_absent() -> None:
    held: Case = case(order_id=None, case_id="message-m1", evidence=())
    assert Notification.of(held, "chat").fields() == {
        "NotificationId": "message-m1#1#chat",
        "CaseId": "message-m1",
        "Episode": 1,
        "Severity": "warning",
        "Reasons": ["INVALID_PRICE"],
        "OpenedAt": NOW,
        "text": "[warning] Case message-m1 escalated: INVALID_PRICE. Case message-m1, episode 1.",
    }


def test_a_notification_has_the_same_id_however_often_it_is_made_and_another_for_each_channel_and_episode() -> None:
    held = case("chat", "pager")
    assert Notification.of(held, "chat").id == Notification.of(replace(held, version=9), "chat").id
    ids = {Notification.of(held, "pager").id, Notification.of(replace(held, episode=2), "chat").id, "001#1#chat"}
    assert len(ids) == 3


@pytest.mark.parametrize("card", [CARD, "4929 1234 1234 5678", "4929-1234-1234-5678"])
def test_a_card_number_is_in_no_field(card: str) -> None:
    base = Notification.of(case("chat"), "chat")
    planted = replace(
        base, channel=card, case_id=card, order_id=card, detail=f"No {card} there", execution_arn=f"{card} no arn"
    )
    assert "****" in planted.fields()["text"]
    for part in (card, "4929", "5678"):
        assert part not in json.dumps(planted.fields())


def test_the_text_is_one_line_without_markup_or_mentions() -> None:
    held = case("chat")
    said = replace(held.evidence[0], detail="Refused:\n <!channel> @here\tsee <https://evil.example|this>.")
    text = Notification.of(replace(held, evidence=(said,)), "chat").fields()["text"]
    assert text == (
        "[warning] Order 001 escalated: INVALID_PRICE. Refused: \u2039!channel\u203a @\u200bhere see "
        "\u2039https://evil.example|this\u203a. Case 001, episode 1."
    )
