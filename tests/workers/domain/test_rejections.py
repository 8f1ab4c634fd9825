"""How often a provider refused an order, which makes the idempotency key of its next execution."""

from dataclasses import replace

import pytest

from workers.domain.cases import Case
from workers.domain.escalations import Assessment, Escalation, plan_escalation
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source

FIRST, SECOND, THIRD = (f"arn:aws:states:us-east-1:123456789012:execution:Orders:{name}" for name in "abc")
NOW = "2026-11-22T11:00:00.000000Z"


def order(status: str, execution_arn: str | None = FIRST) -> Order:
    return Order("001", OrderStatus(status), execution_arn)


def told(
    case: Case | None,
    held: Order | None,
    message_id: str,
    reason: Reason = Reason.FULFILLMENT_REJECTED,
    execution_arn: str | None = FIRST,
) -> tuple[Case, bool]:
    """Tell of one escalation; return the case afterwards and whether it counted a rejection."""
    escalation = Escalation(
        message_id=message_id,
        order_id="001",
        reasons=(reason,),
        source=Source.FULFILLMENT,
        execution_arn=execution_arn,
        origin_message_id="origin",
    )
    plan = plan_escalation(escalation, held, case, NOW, Assessment(Severity.WARNING, ("log",)))
    assert plan.case is not None
    return plan.case, plan.counts_rejection


def test_a_rejection_is_counted_by_its_execution() -> None:
    assert told(None, order("RECEIVED"), "m1")[0].rejected_executions == (FIRST,)


@pytest.mark.parametrize("reason", [Reason.FULFILLMENT_EXHAUSTED, Reason.INVALID_PRICE, Reason.WORKFLOW_FAILED])
def test_nothing_else_is(reason: Reason) -> None:
    case, counts = told(None, order("RECEIVED"), "m1", reason)
    assert (case.rejected_executions, counts) == ((), False)


def test_one_that_is_told_twice_counts_once() -> None:
    case, first = told(None, order("RECEIVED"), "m1")
    case, second = told(case, order("ESCALATED"), "m2")
    assert (case.rejected_executions, first, second) == ((FIRST,), True, False)


def test_each_execution_counts_and_the_case_keeps_them_through_its_episodes() -> None:
    case, _ = told(None, order("RECEIVED"), "m1")
    case, _ = told(case, order("RECEIVED", SECOND), "m2", Reason.FULFILLMENT_EXHAUSTED, SECOND)
    case, _ = told(case, order("RECEIVED", THIRD), "m3", execution_arn=THIRD)
    assert case.rejected_executions == (FIRST, THIRD)


def test_one_that_comes_after_another_escalation_of_its_execution_counts() -> None:
    case, _ = told(None, order("RECEIVED"), "m1", Reason.WORKFLOW_FAILED)
    case, counts = told(case, order("ESCALATED"), "m2")
    assert (case.rejected_executions, counts) == ((FIRST,), True)


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED", "FULFILLED"])
def test_one_that_comes_when_the_next_execution_is_under_way_changes_no_key(status: str) -> None:
    case, _ = told(None, order("RECEIVED"), "m1", Reason.WORKFLOW_FAILED)
    case, counts = told(case, order(status, SECOND), "m2")
    assert (case.rejected_executions, counts) == ((), False)


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_one_of_an_order_that_is_settled_counts_no_more(status: str) -> None:
    case, _ = told(None, order("RECEIVED"), "m1", Reason.WORKFLOW_FAILED)
    case, counts = told(case, order(status), "m2")
    assert (case.rejected_executions, counts) == ((), False)


def test_without_an_execution_the_message_stands_for_it() -> None:
    case, _ = told(None, order("RECEIVED", None), "m1", execution_arn=None)
    case, counts = told(case, order("ESCALATED", None), "m2", execution_arn=None)
    assert (case.rejected_executions, counts) == (("origin",), False)


@pytest.mark.parametrize(
    ("order_id", "rejections", "key"),
    [
        ("001", 0, "001"),
        ("001", 1, "001-r1"),
        ("001-r1", 0, "001-r1-r0"),
        ("001-r1", 2, "001-r1-r2"),
        ("a-r", 0, "a-r"),
    ],
)
def test_the_key_is_the_order_and_how_often_it_was_refused(order_id: str, rejections: int, key: str) -> None:
    assert replace(order("RECEIVED"), order_id=order_id, rejections=rejections).idempotency_key == key


def test_no_two_orders_ever_share_a_key() -> None:
    ids = ["a", "a-r", "a-r0", "a-r1", "a-r1-r0", "a-r1-r1", "a-r01", "a-r10"]
    keys = [replace(order("RECEIVED"), order_id=each, rejections=n).idempotency_key for each in ids for n in range(12)]
    assert len(set(keys)) == len(keys)
