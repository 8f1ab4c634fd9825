from dataclasses import replace

import pytest

from tests.workers.domain.examples import case
from tests.workers.fakes import ANOTHER, NOW, order
from workers.domain.cases import CaseState, Claim, SentNotification
from workers.domain.reasons import Reason
from workers.operations.brief_step import brief_step


@pytest.mark.parametrize(
    ("status", "step"),
    [
        ("ESCALATED", "resubmit, fulfill or cancel"),
        ("RECEIVED", "wait: its order is in progress"),
        ("FULFILLED", "close"),
        ("CANCELLED", "close"),
        (None, "resubmit or cancel"),
    ],
)
def test_the_step_follows_the_orders_status(status: str | None, step: str) -> None:
    stored = None if status is None else order(status)
    assert brief_step(case(), stored) == step
    assert brief_step(case(state=CaseState.RESOLVED), stored) == "nothing"


def test_some_reasons_decide_alone() -> None:
    stored = order("ESCALATED")
    unrecorded = case(reasons=(Reason.INVALID_PRICE, Reason.UNRECORDED_SHIPMENT))
    assert brief_step(unrecorded, stored) == "ask the provider whether it was shipped"
    undecodable = case(reasons=(Reason.UNDECODABLE_MESSAGE,), order_id=None)
    assert brief_step(undecodable, None) == "read its dead letter, then close"


def test_a_case_without_an_order_needs_its_id() -> None:
    assert brief_step(case(order_id=None), None) == "resubmit with an order id, or cancel"


def test_a_resubmission_under_way_is_waited_for() -> None:
    claim = Claim(actor="ada", note="x", at=NOW, episode=1, number=1, order_id="001", execution_arn=ANOTHER)
    assert brief_step(case(claim=claim), order("ESCALATED")) == "wait for its resubmission"


def test_channels_that_were_given_up_are_named() -> None:
    sent = SentNotification(channel="pager", episode=1, at=NOW, given_up="it refuses it")
    told = case(
        episode=1,
        routed=(sent, SentNotification(channel="log", episode=1, at=NOW), replace(sent, channel="old", episode=0)),
    )
    assert brief_step(told, order("ESCALATED")) == "resubmit, fulfill or cancel; not notified: pager"
