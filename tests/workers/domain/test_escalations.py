from dataclasses import replace
from typing import Any

import pytest

from workers.domain.escalations import (
    Case,
    CaseState,
    Escalation,
    EscalationOutcome,
    EscalationPlan,
    Evidence,
    Reason,
    Routing,
    Severity,
    Source,
    plan_escalation,
    severity_of,
)
from workers.domain.orders import Order, OrderStatus

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:two"
THEN, NOW = "2026-11-22T10:00:00.000000Z", "2026-11-22T11:00:00.000000Z"


def escalation(message_id: str = "m2", **changes: Any) -> Escalation:
    return replace(
        Escalation(
            message_id=message_id,
            order_id="001",
            reasons=(Reason.INVALID_PRICE,),
            source=Source.WORKFLOW,
            detail="The order's details are not proper.",
            execution_arn=EXECUTION,
        ),
        **changes,
    )


def order(status: str, execution_arn: str = EXECUTION) -> Order:
    return Order("001", OrderStatus(status), execution_arn)


def case(**changes: Any) -> Case:
    """Return a case that message `m1` opened and that was routed."""
    return replace(
        Case(
            case_id="001",
            state=CaseState.OPEN,
            severity=Severity.WARNING,
            opened_at=THEN,
            opened_by="m1",
            updated_at=THEN,
            order_id="001",
            reasons=(Reason.INVALID_CARD_NUMBER,),
            sources=(Source.WORKFLOW,),
            execution_arns=(EXECUTION,),
            message_ids=("m1",),
            evidence=(evidence("m1", THEN),),
            routed=(Routing(channel="log", episode=1, at=THEN),),
            version=2,
        ),
        **changes,
    )


def evidence(message_id: str, at: str, **changes: Any) -> Evidence:
    return replace(
        Evidence(
            at=at,
            message_id=message_id,
            reasons=(Reason.INVALID_PRICE,),
            source=Source.WORKFLOW,
            detail="The order's details are not proper.",
            execution_arn=EXECUTION,
            attempts=None,
            queue=None,
            origin_message_id=None,
        ),
        **changes,
    )


def opened(**changes: Any) -> Case:
    """Return the case that `escalation()` opens."""
    return replace(
        case(
            opened_at=NOW,
            opened_by="m2",
            updated_at=NOW,
            reasons=(Reason.INVALID_PRICE,),
            message_ids=("m2",),
            evidence=(evidence("m2", NOW),),
            routed=(),
            version=0,
        ),
        **changes,
    )


def added(**changes: Any) -> Case:
    """Return `case()` with `escalation()` added to it."""
    return replace(
        case(
            updated_at=NOW,
            reasons=(Reason.INVALID_CARD_NUMBER, Reason.INVALID_PRICE),
            message_ids=("m1", "m2"),
            evidence=(evidence("m1", THEN), evidence("m2", NOW)),
        ),
        **changes,
    )


def reopened(**changes: Any) -> Case:
    """Return `case()` as `escalation()` opens it a second time."""
    return replace(
        added(opened_at=NOW, opened_by="m2", episode=2, state=CaseState.OPEN, reasons=(Reason.INVALID_PRICE,)),
        **changes,
    )


def test_a_received_order_of_the_same_execution_is_escalated_and_a_case_opened() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED"), None, NOW)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, True, opened(), routes=True)


def test_a_received_order_whose_case_is_open_still_is_escalated_as_a_new_episode() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED"), case(), NOW)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, True, reopened(), routes=True)


def test_an_escalated_order_of_the_same_execution_has_the_message_added_to_its_case() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), case(), NOW)
    assert plan == EscalationPlan(EscalationOutcome.ABSORBED, False, added(), routes=False)


def test_a_message_is_added_once() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), added(), NOW)
    assert plan == EscalationPlan(EscalationOutcome.ABSORBED, False, None, routes=False)


def test_an_escalated_order_whose_case_is_missing_gets_one() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), None, NOW)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, opened(), routes=True)


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_final_order_has_a_note_added_where_a_case_exists(status: str) -> None:
    resolved = case(state=CaseState.RESOLVED)
    plan = plan_escalation(escalation(), order(status), resolved, NOW)
    assert plan == EscalationPlan(EscalationOutcome.NOTED, False, added(state=CaseState.RESOLVED), routes=False)


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_final_order_without_a_case_gets_none(status: str) -> None:
    plan = plan_escalation(escalation(), order(status), None, NOW)
    assert plan == EscalationPlan(EscalationOutcome.NOTED, False, None, routes=False)


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "ESCALATED", "CANCELLED"])
def test_another_executions_order_is_left_alone_and_only_a_case_opened(status: str) -> None:
    plan = plan_escalation(escalation(), order(status, ANOTHER), None, NOW)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, opened(), routes=True)


def test_a_missing_order_gets_a_case_only() -> None:
    plan = plan_escalation(escalation(), None, None, NOW)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, opened(), routes=True)


def test_another_executions_message_is_added_to_the_open_case() -> None:
    plan = plan_escalation(escalation(execution_arn=ANOTHER), order("ESCALATED"), case(), NOW)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ABSORBED, False, False)
    assert plan.case == added(
        execution_arns=(EXECUTION, ANOTHER),
        evidence=(evidence("m1", THEN), evidence("m2", NOW, execution_arn=ANOTHER)),
    )


def test_a_new_executions_escalation_reopens_a_resolved_case_and_keeps_its_history() -> None:
    resubmitted = order("RECEIVED", ANOTHER)
    plan = plan_escalation(escalation(execution_arn=ANOTHER), resubmitted, case(state=CaseState.RESOLVED), NOW)
    assert plan == EscalationPlan(
        EscalationOutcome.ESCALATED,
        True,
        reopened(
            execution_arns=(EXECUTION, ANOTHER),
            evidence=(evidence("m1", THEN), evidence("m2", NOW, execution_arn=ANOTHER)),
        ),
        routes=True,
    )
    assert plan.case is not None
    assert plan.case.routed == (Routing(channel="log", episode=1, at=THEN),)
    assert not plan.case.is_routed("log")


def test_a_late_message_of_an_execution_whose_case_is_resolved_reopens_nothing() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED", ANOTHER), case(state=CaseState.RESOLVED), NOW)
    assert plan == EscalationPlan(EscalationOutcome.SUPERSEDED, False, added(state=CaseState.RESOLVED), routes=False)


def test_the_message_that_opened_the_episode_routes_again_when_it_is_delivered_again() -> None:
    plan = plan_escalation(escalation("m1"), order("ESCALATED"), case(routed=()), NOW)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, None, routes=True)


def test_an_episode_is_routed_to_a_channel_once() -> None:
    assert case().is_routed("log")
    assert not case().is_routed("sns")
    assert not case(routed=()).is_routed("log")
    assert not case(episode=2).is_routed("log")


@pytest.mark.parametrize("held", [case(opened_by="m0"), case(state=CaseState.RESOLVED)])
def test_no_other_message_routes_when_it_is_delivered_again(held: Case) -> None:
    plan = plan_escalation(escalation("m1"), order("ESCALATED"), held, NOW)
    assert plan == EscalationPlan(EscalationOutcome.ABSORBED, False, None, routes=False)


def test_a_bare_message_speaks_of_the_current_execution() -> None:
    bare = Escalation(message_id="m2", order_id="001", reasons=(Reason.UNSPECIFIED,))
    plan = plan_escalation(bare, order("RECEIVED"), None, NOW)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ESCALATED, True, True)
    assert plan.case == opened(
        reasons=(Reason.UNSPECIFIED,),
        sources=(),
        execution_arns=(),
        evidence=(evidence("m2", NOW, reasons=(Reason.UNSPECIFIED,), source=None, detail=None, execution_arn=None),),
    )


def test_a_bare_message_reopens_a_resolved_case() -> None:
    bare = Escalation(message_id="m2", order_id="001", reasons=(Reason.UNSPECIFIED,))
    plan = plan_escalation(bare, None, case(state=CaseState.RESOLVED), NOW)
    assert (plan.outcome, plan.routes) == (EscalationOutcome.ESCALATED, True)
    assert plan.case is not None
    assert (plan.case.episode, plan.case.state) == (2, CaseState.OPEN)


def test_a_case_counts_the_attempts_it_was_last_told() -> None:
    plan = plan_escalation(escalation(attempts=5), order("ESCALATED"), case(attempts=3), NOW)
    assert plan.case is not None
    assert plan.case.attempts == 5
    plan = plan_escalation(escalation(), order("ESCALATED"), case(attempts=3), NOW)
    assert plan.case is not None
    assert plan.case.attempts == 3


def test_a_case_stays_bounded_whatever_is_added() -> None:
    held = opened()
    for n in range(300):
        plan = plan_escalation(escalation(f"n{n}"), order("ESCALATED"), held, NOW)
        assert plan.case is not None
        held = plan.case
    assert held.message_ids == tuple(f"n{n}" for n in range(200, 300))
    assert [each.message_id for each in held.evidence] == [f"n{n}" for n in range(250, 300)]
    assert held.reasons == (Reason.INVALID_PRICE,)


@pytest.mark.parametrize(
    ("reasons", "severity"),
    [
        (["INVALID_PRICE"], "warning"),
        (["INVALID_CARD_NUMBER", "INVALID_PRICE"], "warning"),
        (["MALFORMED_ORDER"], "warning"),
        (["ORDER_NOT_FOUND"], "warning"),
        (["FULFILLMENT_REJECTED"], "warning"),
        (["FULFILLMENT_EXHAUSTED"], "warning"),
        (["UNSPECIFIED"], "warning"),
        (["WORKFLOW_FAILED"], "critical"),
        (["VERIFICATION_UNAVAILABLE"], "critical"),
        (["UNDECODABLE_MESSAGE"], "critical"),
        (["INVALID_PRICE", "WORKFLOW_FAILED"], "critical"),
    ],
)
def test_a_case_is_critical_where_the_system_failed(reasons: list[str], severity: str) -> None:
    assert severity_of([Reason(each) for each in reasons]) == Severity(severity)


@pytest.mark.parametrize(
    ("changes", "case_id"),
    [
        ({}, "001"),
        ({"order_id": None}, "one"),
        ({"order_id": None, "execution_arn": None}, "message-m2"),
        ({"order_id": None, "execution_arn": None, "origin_message_id": "m0"}, "message-m0"),
    ],
)
def test_a_case_is_called_after_the_order_or_the_execution_or_the_message(
    changes: dict[str, Any], case_id: str
) -> None:
    assert escalation(**changes).case_id == case_id


def test_a_case_is_never_called_after_a_card() -> None:
    named = escalation(order_id=None, execution_arn=EXECUTION.replace(":one", ":4929123412345678"))
    assert named.case_id == "execution-77ac2ae9ec76816a"
