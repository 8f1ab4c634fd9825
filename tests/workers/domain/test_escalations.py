import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from workers.domain.cases import Case, CaseState, Episode, Evidence, OrderCopy, Resolution, SentNotification
from workers.domain.escalations import Assessment, Escalation, EscalationOutcome, EscalationPlan, plan_escalation
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.resolutions import Action, Request, add_resubmission

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:two"
WARNING = Assessment(Severity.WARNING, ("log",))
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
            channels=("log",),
            routed=(SentNotification(channel="log", episode=1, at=THEN),),
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


def copy(status: str, execution_arn: str = EXECUTION) -> OrderCopy:
    """Return the copy that is kept of `order()`."""
    return OrderCopy(order_id="001", status=OrderStatus(status), execution_arn=execution_arn)


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
        added(
            opened_at=NOW,
            opened_by="m2",
            episode=2,
            state=CaseState.OPEN,
            reasons=(Reason.INVALID_PRICE,),
            order=copy("RECEIVED"),
            episodes=(
                Episode(
                    number=1,
                    opened_at=THEN,
                    last_seen_at=THEN,
                    severity=Severity.WARNING,
                    reasons=(Reason.INVALID_CARD_NUMBER,),
                    sources=(Source.WORKFLOW,),
                ),
            ),
        ),
        **changes,
    )


def test_a_received_order_of_the_same_execution_is_escalated_and_a_case_opened() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED"), None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, True, opened(order=copy("RECEIVED")), routes=True)


def test_a_received_order_whose_case_is_open_still_is_escalated_as_a_new_episode() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED"), case(), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, True, reopened(), routes=True)


def test_an_escalated_order_of_the_same_execution_has_the_message_added_to_its_case() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), case(), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ADDED_TO_CASE, False, added(), routes=False)


def test_a_message_is_added_once() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), added(), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ADDED_TO_CASE, False, None, routes=False)


def test_an_escalated_order_whose_case_is_missing_gets_one() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, opened(order=copy("ESCALATED")), routes=True)


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_final_order_has_a_note_added_where_a_case_exists(status: str) -> None:
    resolved = case(state=CaseState.RESOLVED)
    plan = plan_escalation(escalation(), order(status), resolved, NOW, WARNING)
    assert plan == EscalationPlan(
        EscalationOutcome.ORDER_ALREADY_FINAL, False, added(state=CaseState.RESOLVED), routes=False
    )


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_final_order_without_a_case_gets_none(status: str) -> None:
    plan = plan_escalation(escalation(), order(status), None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ORDER_ALREADY_FINAL, False, None, routes=False)


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "ESCALATED", "CANCELLED"])
def test_another_executions_order_is_left_alone_and_only_a_case_opened(status: str) -> None:
    plan = plan_escalation(escalation(), order(status, ANOTHER), None, NOW, WARNING)
    held = opened(order=copy(status, ANOTHER))
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, held, routes=True)


def test_a_missing_order_gets_a_case_only() -> None:
    plan = plan_escalation(escalation(), None, None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, opened(), routes=True)


def test_another_executions_message_is_added_to_the_open_case() -> None:
    plan = plan_escalation(escalation(execution_arn=ANOTHER), order("ESCALATED"), case(), NOW, WARNING)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ADDED_TO_CASE, False, False)
    assert plan.case == added(
        execution_arns=(EXECUTION, ANOTHER),
        evidence=(evidence("m1", THEN), evidence("m2", NOW, execution_arn=ANOTHER)),
    )


def test_a_new_executions_escalation_reopens_a_resolved_case_and_keeps_its_history() -> None:
    resubmitted = order("RECEIVED", ANOTHER)
    plan = plan_escalation(escalation(execution_arn=ANOTHER), resubmitted, case(state=CaseState.RESOLVED), NOW, WARNING)
    assert plan == EscalationPlan(
        EscalationOutcome.ESCALATED,
        True,
        reopened(
            execution_arns=(EXECUTION, ANOTHER),
            evidence=(evidence("m1", THEN), evidence("m2", NOW, execution_arn=ANOTHER)),
            order=copy("RECEIVED", ANOTHER),
        ),
        routes=True,
    )
    assert plan.case is not None
    assert plan.case.routed == (SentNotification(channel="log", episode=1, at=THEN),)
    assert not plan.case.is_routed("log")


def test_a_late_message_of_an_execution_whose_case_is_resolved_reopens_nothing() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED", ANOTHER), case(state=CaseState.RESOLVED), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.SUPERSEDED, False, added(state=CaseState.RESOLVED), routes=False)


def test_the_message_that_opened_the_episode_routes_again_when_it_is_delivered_again() -> None:
    plan = plan_escalation(escalation("m1"), order("ESCALATED"), case(routed=()), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, None, routes=True)


def test_an_episode_is_routed_to_a_channel_once() -> None:
    assert case().is_routed("log")
    assert not case().is_routed("sns")
    assert not case(routed=()).is_routed("log")
    assert not case(episode=2).is_routed("log")


@pytest.mark.parametrize("held", [case(opened_by="m0"), case(state=CaseState.RESOLVED)])
def test_no_other_message_routes_when_it_is_delivered_again(held: Case) -> None:
    plan = plan_escalation(escalation("m1"), order("ESCALATED"), held, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ADDED_TO_CASE, False, None, routes=False)


def test_a_bare_message_speaks_of_the_current_execution() -> None:
    bare = Escalation(message_id="m2", order_id="001", reasons=(Reason.UNSPECIFIED,))
    plan = plan_escalation(bare, order("RECEIVED"), None, NOW, WARNING)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ESCALATED, True, True)
    assert plan.case == opened(
        reasons=(Reason.UNSPECIFIED,),
        sources=(),
        execution_arns=(),
        order=copy("RECEIVED"),
        evidence=(evidence("m2", NOW, reasons=(Reason.UNSPECIFIED,), source=None, detail=None, execution_arn=None),),
    )


def test_a_bare_message_reopens_a_resolved_case() -> None:
    bare = Escalation(message_id="m2", order_id="001", reasons=(Reason.UNSPECIFIED,))
    plan = plan_escalation(bare, None, case(state=CaseState.RESOLVED), NOW, WARNING)
    assert (plan.outcome, plan.routes) == (EscalationOutcome.ESCALATED, True)
    assert plan.case is not None
    assert (plan.case.episode, plan.case.state) == (2, CaseState.OPEN)


def test_a_case_counts_the_attempts_it_was_last_told() -> None:
    plan = plan_escalation(escalation(attempts=5), order("ESCALATED"), case(attempts=3), NOW, WARNING)
    assert plan.case is not None
    assert plan.case.attempts == 5
    plan = plan_escalation(escalation(), order("ESCALATED"), case(attempts=3), NOW, WARNING)
    assert plan.case is not None
    assert plan.case.attempts == 3


def test_a_case_stays_bounded_whatever_is_added() -> None:
    held = opened()
    for n in range(300):
        plan = plan_escalation(escalation(f"n{n}"), order("ESCALATED"), held, NOW, WARNING)
        assert plan.case is not None
        held = plan.case
    assert held.message_ids == tuple(f"n{n}" for n in range(200, 300))
    # What opened the episode stays: it is what the notifications quote.
    assert [each.message_id for each in held.evidence] == ["m2", *(f"n{n}" for n in range(271, 300))]
    assert held.reasons == (Reason.INVALID_PRICE,)


def test_a_later_message_raises_the_severity_of_an_episode_and_never_lowers_it() -> None:
    for held, said, severity in [
        (Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL),
        (Severity.CRITICAL, Severity.INFO, Severity.CRITICAL),
    ]:
        said_by_rules = Assessment(said, ("log", "pager"))
        plan = plan_escalation(escalation(), order("ESCALATED"), case(severity=held), NOW, said_by_rules)
        assert plan.case is not None
        assert plan.case.severity is severity
        assert plan.case.channels == ("log",)


def test_the_next_episode_starts_with_what_the_rules_say_of_its_own_message() -> None:
    held = case(state=CaseState.RESOLVED, severity=Severity.CRITICAL, attempts=5)
    said_by_rules = Assessment(Severity.INFO, ("log", "pager"))
    plan = plan_escalation(escalation(execution_arn=ANOTHER), None, held, NOW, said_by_rules)
    assert plan.case is not None
    assert (plan.case.severity, plan.case.attempts) == (Severity.INFO, None)
    assert plan.case.unrouted == ("log", "pager")
    (ended,) = plan.case.episodes
    assert (ended.severity, ended.attempts) == (Severity.CRITICAL, 5)


def test_what_an_episode_is_still_to_be_routed_to_is_on_the_case() -> None:
    held = case(channels=("log", "chat", "pager"), routed=(SentNotification(channel="chat", episode=1, at=THEN),))
    assert held.unrouted == ("log", "pager")
    assert replace(held, episode=2).unrouted == ("log", "chat", "pager")


def test_a_case_tells_since_when_and_until_when_there_was_trouble() -> None:
    assert (case().first_seen_at, case().last_seen_at) == (THEN, THEN)
    assert (added().first_seen_at, added().last_seen_at) == (THEN, NOW)
    assert (reopened().first_seen_at, reopened().last_seen_at) == (THEN, NOW)
    assert case(evidence=()).last_seen_at == THEN


def test_a_case_knows_how_each_of_its_episodes_was_settled() -> None:
    settled = [Resolution(action=each, episode=n, actor="ann", note="-", at=NOW) for n, each in [(1, "x"), (1, "y")]]
    assert case(resolutions=tuple(settled)).resolution_of(1) == settled[1]
    assert case(resolutions=tuple(settled)).resolution_of(2) is None


def test_the_copy_of_the_order_holds_what_is_needed_to_decide_and_no_card() -> None:
    fields = ("name", "item_name", "price", "cc", "created_at", "shipment_id")
    texts: dict[str, Any] = dict.fromkeys(fields, f"My 4929 1234 1234 5678 {'x' * 300}")
    whole = Order("001", OrderStatus.ESCALATED, EXECUTION, **texts, fulfilled_at=NOW, attempts=5)
    kept = OrderCopy.of(whole)
    text = "My **** " + "x" * 248
    assert kept == OrderCopy(
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
    ("stored", "kept"),
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
def test_of_a_card_number_the_copy_keeps_what_is_masked_already_and_nothing_else(
    stored: str | None, kept: str | None
) -> None:
    assert OrderCopy.of(Order("001", OrderStatus.RECEIVED, None, cc=stored)).cc == kept


def test_a_case_with_all_it_can_hold_fits_into_an_item() -> None:
    wide = "\U0001f600"  # Four bytes.
    arn = EXECUTION.rpartition(":")[0].replace(":Orders", ":" + "O" * 80)
    full = opened(case_id="x" * 80)
    for n in range(700):
        told = escalation(
            f"{n:036}",
            reasons=tuple(Reason),
            detail=wide * 1000,
            execution_arn=f"{arn}:{n:080}",
            queue=wide * 1024,
            origin_message_id=wide * 1024,
        )
        texts: dict[str, Any] = dict.fromkeys(("name", "item_name", "price", "created_at", "shipment_id"), wide * 256)
        status = OrderStatus.RECEIVED if n % 10 == 0 else OrderStatus.ESCALATED
        channels = tuple(f"{c:032}" for c in range(10))
        escalated = Order("001", status, told.execution_arn, **texts)
        plan = plan_escalation(told, escalated, full, NOW, Assessment(Severity.CRITICAL, channels))
        assert plan.case is not None
        full = plan.case
        if status is OrderStatus.RECEIVED:
            sent = tuple(SentNotification(channel=each, episode=full.episode, at=NOW) for each in channels)
            full = replace(full, routed=(*full.routed, *sent))
        request = Request(action=Action.FULFILL, actor=wide * 128, note=wide * 1000, shipment_id=wide * 128)
        noted = add_resubmission(full, request, full.episode, NOW)
        full = replace(noted, rejected_executions=full.rejected_executions[:100])
    assert (len(full.evidence), len(full.episodes), len(full.resolutions)) == (30, 20, 20)
    size_bytes = len(json.dumps(asdict(full), ensure_ascii=False).encode())
    assert size_bytes < 400 * 1024


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
    assert named.case_id == "execution-O6WCV2PMO2AWUV52"
