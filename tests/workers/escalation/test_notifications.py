import json
from dataclasses import replace

import pytest

from tests.workers.escalation.examples import case
from tests.workers.fakes import EXECUTION, NOW
from workers.domain.reasons import Reason, Severity
from workers.escalation.notifications import ChannelError, Notification, RefusedError

CARD = "4929123412345678"


def test_a_notification_has_every_field_a_person_needs() -> None:
    critical = case("chat", reasons=tuple(Reason)[:2], severity=Severity.CRITICAL, attempts=5)
    assert Notification.of(critical, "chat").fields() == {
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


def test_fields_that_do_not_apply_are_absent() -> None:
    bare = case(order_id=None, case_id="message-m1", evidence=())
    assert Notification.of(bare, "chat").fields() == {
        "NotificationId": "message-m1#1#chat",
        "CaseId": "message-m1",
        "Episode": 1,
        "Severity": "warning",
        "Reasons": ["INVALID_PRICE"],
        "OpenedAt": NOW,
        "text": "[warning] Case message-m1 escalated: INVALID_PRICE. Case message-m1, episode 1.",
    }


def test_the_id_is_stable_and_differs_by_channel_and_episode() -> None:
    first = case("chat", "pager")
    assert Notification.of(first, "chat").id == Notification.of(replace(first, version=9), "chat").id
    ids = {Notification.of(first, "pager").id, Notification.of(replace(first, episode=2), "chat").id, "001#1#chat"}
    assert len(ids) == 3


@pytest.mark.parametrize("card", [CARD, "4929 1234 1234 5678", "4929-1234-1234-5678"])
def test_a_card_number_is_in_no_field(card: str) -> None:
    base = Notification.of(case("chat"), "chat")
    notification = replace(
        base, channel=card, case_id=card, order_id=card, detail=f"No {card} there", execution_arn=f"{card} not an arn"
    )
    assert "****" in notification.fields()["text"]
    for part in (card, "4929", "5678"):
        assert part not in json.dumps(notification.fields())


def test_the_text_is_one_line_without_markup_or_mentions() -> None:
    opened = case("chat")
    evidence = replace(opened.evidence[0], detail="Refused:\n <!channel> @here\tsee <https://evil.example|this>.")
    text = Notification.of(replace(opened, evidence=(evidence,)), "chat").fields()["text"]
    assert text == (
        "[warning] Order 001 escalated: INVALID_PRICE. Refused: \u2039!channel\u203a @\u200bhere see "
        "\u2039https://evil.example|this\u203a. Case 001, episode 1."
    )


def test_a_channel_may_accept_a_notification_later_unless_it_says_otherwise() -> None:
    passing, lasting = ChannelError("busy"), ChannelError("gone", passing=False, retry_after_s=7.0)
    assert (str(passing), passing.passing, passing.retry_after_s) == ("busy", True, 0.0)
    assert (str(lasting), lasting.passing, lasting.retry_after_s) == ("gone", False, 7.0)


def test_a_refusal_does_not_pass_by_itself() -> None:
    refused = RefusedError("HTTP 422", blames_content=True)
    assert (str(refused), refused.passing, refused.blames_content) == ("HTTP 422", False, True)
    assert ChannelError("HTTP 500").passing
