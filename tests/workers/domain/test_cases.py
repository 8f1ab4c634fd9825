from dataclasses import replace
from typing import Any

import pytest

from tests.workers.domain.examples import THEN, case, evidence
from tests.workers.fakes import ANOTHER, EXECUTION, NOW
from workers.domain.cases import (
    MAX_GIVEN_UP_CHARS,
    Case,
    CaseState,
    Dropped,
    Episode,
    OrderCopy,
    Resolution,
    SentNotification,
)
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Severity


def test_an_episode_is_routed_to_a_channel_once() -> None:
    assert case().is_routed("log")
    assert not case().is_routed("sns")
    assert not case(routed=()).is_routed("log")
    assert not case(episode=2).is_routed("log")


def test_a_case_lists_the_channels_that_still_need_a_notification() -> None:
    routed = case(channels=("log", "chat", "pager"), routed=(SentNotification(channel="chat", episode=1, at=THEN),))
    assert routed.unrouted == ("log", "pager")
    assert replace(routed, episode=2).unrouted == ("log", "chat", "pager")


def test_a_case_knows_when_it_was_first_and_last_seen() -> None:
    added = case(evidence=(evidence("m1", THEN), evidence("m2", NOW)))
    first = Episode(number=1, opened_at=THEN, last_seen_at=THEN, severity=Severity.INFO, reasons=(), sources=())
    reopened = replace(added, episode=2, opened_at=NOW, episodes=(first,))
    assert (case().first_seen_at, case().last_seen_at) == (THEN, THEN)
    assert (added.first_seen_at, added.last_seen_at) == (THEN, NOW)
    assert (reopened.first_seen_at, reopened.last_seen_at) == (THEN, NOW)
    assert case(evidence=()).last_seen_at == THEN


def test_the_opening_evidence_is_that_of_the_message_that_opened_the_episode() -> None:
    both = (evidence("m1", THEN), evidence("m2", NOW))
    assert case(evidence=both).opening == both[0]
    assert case(evidence=both, opened_by="m2").opening == both[1]
    assert case(evidence=both, opened_by="m3").opening is None


def test_the_newest_resolution_of_an_episode_counts() -> None:
    older, newer = (Resolution(action=action, episode=1, actor="ann", note="-", at=NOW) for action in ("x", "y"))
    resolved = case(resolutions=(older, newer))
    assert resolved.resolution_of(1) == newer
    assert resolved.resolution_of(2) is None


def test_a_case_knows_its_resubmissions_by_their_execution() -> None:
    resubmitted = Resolution(action="resubmit", episode=1, actor="ann", note="-", at=NOW, execution_arn=ANOTHER)
    assert case(resolutions=(resubmitted,)).has_resubmission(ANOTHER)
    assert not case(resolutions=(resubmitted,)).has_resubmission(EXECUTION)
    other = replace(resubmitted, execution_arn=EXECUTION)
    assert case(resolutions=(resubmitted, other)).has_resubmission(ANOTHER)
    assert not case(resolutions=()).has_resubmission(ANOTHER)


def test_the_copy_of_an_order_is_masked_and_cut() -> None:
    fields = ("name", "item_name", "price", "cc", "created_at", "shipment_id")
    texts: dict[str, Any] = dict.fromkeys(fields, f"My 4929 1234 1234 5678 {'x' * 300}")
    whole = Order("001", OrderStatus.ESCALATED, EXECUTION, **texts, fulfilled_at=NOW, attempts=5)
    text = "My **** " + "x" * 248
    assert OrderCopy.of(whole) == OrderCopy(
        order_id="001",
        status=OrderStatus.ESCALATED,
        execution_arn=EXECUTION,
        name=text,
        item_name=text,
        price=text,
        cc="****",
        created_at=text,
        attempts=5,
        shipment_id=text,
    )


@pytest.mark.parametrize(
    ("stored", "copied"),
    [
        ("************5678", "************5678"),
        ("****", "****"),
        (None, None),
        ("1234567890123456", "****"),
        ("123412345678", "****"),
        ("4929", "****"),
        ("************56789", "****"),
        ("", "****"),
    ],
)
def test_the_copy_of_an_order_keeps_only_a_masked_card_number(stored: str | None, copied: str | None) -> None:
    assert OrderCopy.of(Order("001", OrderStatus.RECEIVED, None, cc=stored)).cc == copied


def test_a_new_case_has_one_episode_and_nothing_else() -> None:
    new = Case(case_id="1", state=CaseState.OPEN, severity=Severity.INFO, opened_at=THEN, updated_at=THEN)
    assert (new.episode, new.version, new.attempts, new.claim, new.unrouted) == (1, 0, None, None, ())
    assert (new.opening, new.resolution_of(1), new.first_seen_at) == (None, None, THEN)
    assert OrderCopy(order_id="1", status=OrderStatus.RECEIVED).attempts == 0


def test_the_message_that_opened_an_episode_writes_its_log_line_if_it_was_recorded_then() -> None:
    logged = case(episode=2, routed=(SentNotification(channel="log", episode=2, at=THEN),))
    assert logged.is_logged_by_opener
    assert not replace(logged, evidence=(evidence("m1", NOW),)).is_logged_by_opener, "merged: it was logged before"
    assert replace(logged, evidence=()).is_logged_by_opener
    assert not replace(logged, episode=3).is_logged_by_opener
    assert not replace(logged, routed=()).is_logged_by_opener


def test_a_case_is_resolved_when_its_newest_resolution_says_so() -> None:
    resolution = Resolution(action="cancel", episode=1, actor="ann", note="-", at=NOW)
    resolved = case(state=CaseState.RESOLVED, updated_at=THEN, resolutions=(resolution,))
    assert resolved.resolved_at == NOW
    assert replace(resolved, resolutions=()).resolved_at == THEN
    assert replace(resolved, state=CaseState.OPEN).resolved_at is None


def test_nothing_was_dropped_from_a_case_if_nothing_is_said() -> None:
    assert Dropped() == Dropped(
        evidence=0, message_ids=0, execution_arns=0, rejected_executions=0, routed=0, resolutions=0, episodes=0
    )


def test_the_code_of_a_refusal_is_kept_short() -> None:
    assert MAX_GIVEN_UP_CHARS == 24
