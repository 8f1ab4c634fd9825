from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.workers.domain.examples import THEN, case, evidence, order_copy
from tests.workers.fakes import ANOTHER, EXECUTION, NOW, order
from workers.domain.bounds import bounded
from workers.domain.cases import MAX_GIVEN_UP_CHARS, Case, CaseState, Episode, SentNotification
from workers.domain.escalations import (
    MAX_DETAIL_CHARS,
    Assessment,
    Escalation,
    EscalationOutcome,
    EscalationPlan,
    plan_escalation,
)
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.resolutions import Action, Request, add_resubmission

WARNING = Assessment(Severity.WARNING, ("log",))


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


def logged(episode: int, at: str = NOW) -> SentNotification:
    return SentNotification(channel="log", episode=episode, at=at)


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
            routed=(logged(1),),
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
            order=order_copy("RECEIVED"),
            routed=(logged(1, THEN), logged(2)),
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


def test_a_received_order_is_escalated_and_a_case_opened() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED"), None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, True, opened(order=order_copy("RECEIVED")), routes=True)


def test_a_received_order_with_an_open_case_starts_a_new_episode() -> None:
    plan = plan_escalation(escalation(), order("RECEIVED"), case(), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, True, reopened(), routes=True)


def test_a_message_about_an_escalated_order_is_added_to_its_case() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), case(), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ADDED_TO_CASE, False, added(), routes=False)


def test_a_message_is_added_once() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), added(), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ADDED_TO_CASE, False, None, routes=False)


def test_an_escalated_order_without_a_case_gets_one() -> None:
    plan = plan_escalation(escalation(), order("ESCALATED"), None, NOW, WARNING)
    assert plan == EscalationPlan(
        EscalationOutcome.ESCALATED, False, opened(order=order_copy("ESCALATED")), routes=True
    )


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_message_about_a_final_order_is_added_to_an_existing_case(status: str) -> None:
    resolved = case(state=CaseState.RESOLVED)
    plan = plan_escalation(escalation(), order(status), resolved, NOW, WARNING)
    assert plan == EscalationPlan(
        EscalationOutcome.ORDER_ALREADY_FINAL, False, added(state=CaseState.RESOLVED), routes=False
    )


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_message_about_a_final_order_opens_no_case(status: str) -> None:
    plan = plan_escalation(escalation(), order(status), None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ORDER_ALREADY_FINAL, False, None, routes=False)


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "ESCALATED", "CANCELLED"])
def test_an_order_of_another_execution_is_not_changed_but_gets_a_case(status: str) -> None:
    plan = plan_escalation(escalation(), order(status, execution_arn=ANOTHER), None, NOW, WARNING)
    new_case = opened(order=order_copy(status, ANOTHER))
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, new_case, routes=True)


def test_a_missing_order_gets_a_case() -> None:
    plan = plan_escalation(escalation(), None, None, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, opened(), routes=True)


def test_a_message_of_another_execution_is_added_to_the_open_case() -> None:
    plan = plan_escalation(escalation(execution_arn=ANOTHER), order("ESCALATED"), case(), NOW, WARNING)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ADDED_TO_CASE, False, False)
    assert plan.case == added(
        execution_arns=(EXECUTION, ANOTHER),
        evidence=(evidence("m1", THEN), evidence("m2", NOW, execution_arn=ANOTHER)),
    )


def test_a_new_execution_reopens_a_resolved_case_which_keeps_its_history() -> None:
    resubmitted = order("RECEIVED", execution_arn=ANOTHER)
    plan = plan_escalation(escalation(execution_arn=ANOTHER), resubmitted, case(state=CaseState.RESOLVED), NOW, WARNING)
    assert plan == EscalationPlan(
        EscalationOutcome.ESCALATED,
        True,
        reopened(
            execution_arns=(EXECUTION, ANOTHER),
            evidence=(evidence("m1", THEN), evidence("m2", NOW, execution_arn=ANOTHER)),
            order=order_copy("RECEIVED", ANOTHER),
        ),
        routes=True,
    )


def test_a_resubmission_that_is_escalated_too_keeps_what_the_earlier_execution_recorded() -> None:
    first = case(state=CaseState.RESOLVED, order=replace(order_copy("RECEIVED"), price="-5"))
    resubmitted = order("RECEIVED", execution_arn=ANOTHER)
    plan = plan_escalation(escalation(execution_arn=ANOTHER), resubmitted, first, NOW, WARNING)
    assert plan.case is not None
    assert plan.case.order == order_copy("RECEIVED", ANOTHER)
    assert [episode.order for episode in plan.case.episodes] == [first.order]


def test_a_late_message_of_a_resolved_execution_does_not_reopen_the_case() -> None:
    plan = plan_escalation(
        escalation(), order("RECEIVED", execution_arn=ANOTHER), case(state=CaseState.RESOLVED), NOW, WARNING
    )
    assert plan == EscalationPlan(EscalationOutcome.SUPERSEDED, False, added(state=CaseState.RESOLVED), routes=False)


def test_the_message_that_opened_the_episode_routes_again_on_redelivery() -> None:
    plan = plan_escalation(escalation("m1"), order("ESCALATED"), case(routed=()), NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ESCALATED, False, None, routes=True)


@pytest.mark.parametrize("existing", [case(opened_by="m0"), case(state=CaseState.RESOLVED)])
def test_no_other_message_routes_on_redelivery(existing: Case) -> None:
    plan = plan_escalation(escalation("m1"), order("ESCALATED"), existing, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.ADDED_TO_CASE, False, None, routes=False)


def sweep(message_id: str = "m2", **changes: Any) -> Escalation:
    return escalation(message_id, reasons=(Reason.ORDER_STUCK,), source=Source.SWEEP, **changes)


def test_the_sweep_escalates_an_order_that_is_still_received() -> None:
    plan = plan_escalation(sweep(), order("RECEIVED"), None, NOW, WARNING)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ESCALATED, True, True)
    assert plan.case is not None
    assert (plan.case.reasons, plan.case.sources) == ((Reason.ORDER_STUCK,), (Source.SWEEP,))


@pytest.mark.parametrize("existing", [None, case(), case(state=CaseState.RESOLVED)])
@pytest.mark.parametrize(
    "now",
    [
        None,
        *(order(status) for status in OrderStatus if status != "RECEIVED"),
        order("RECEIVED", execution_arn=ANOTHER),
    ],
)
def test_the_sweep_changes_nothing_once_its_order_is_not_stuck_any_more(
    now: Order | None, existing: Case | None
) -> None:
    plan = plan_escalation(sweep(), now, existing, NOW, WARNING)
    assert plan == EscalationPlan(EscalationOutcome.SUPERSEDED, False, None, routes=False)


def test_the_sweep_is_on_the_case_of_an_execution_once_and_routes_it_once() -> None:
    opened_case = plan_escalation(sweep(), order("RECEIVED"), None, NOW, WARNING).case
    again = plan_escalation(sweep("m3"), order("ESCALATED"), opened_case, NOW, WARNING)
    assert (again.case, again.routes) == (None, False)
    redelivered = plan_escalation(sweep(), order("ESCALATED"), opened_case, NOW, WARNING)
    assert (redelivered.case, redelivered.routes) == (None, True)


def test_a_bare_message_is_about_the_current_execution() -> None:
    bare = Escalation(message_id="m2", order_id="001", reasons=(Reason.UNSPECIFIED,))
    assert not bare.has_waited
    plan = plan_escalation(bare, order("RECEIVED"), None, NOW, WARNING)
    assert (plan.outcome, plan.escalates_order, plan.routes) == (EscalationOutcome.ESCALATED, True, True)
    assert plan.case == opened(
        reasons=(Reason.UNSPECIFIED,),
        sources=(),
        execution_arns=(),
        order=order_copy("RECEIVED"),
        evidence=(evidence("m2", NOW, reasons=(Reason.UNSPECIFIED,), source=None, detail=None, execution_arn=None),),
    )


def test_a_bare_message_reopens_a_resolved_case() -> None:
    bare = Escalation(message_id="m2", order_id="001", reasons=(Reason.UNSPECIFIED,))
    assert not bare.has_waited
    plan = plan_escalation(bare, None, case(state=CaseState.RESOLVED), NOW, WARNING)
    assert (plan.outcome, plan.routes) == (EscalationOutcome.ESCALATED, True)
    assert plan.case is not None
    assert (plan.case.episode, plan.case.state) == (2, CaseState.OPEN)


def test_a_case_keeps_the_newest_number_of_attempts() -> None:
    plan = plan_escalation(escalation(attempts=5), order("ESCALATED"), case(attempts=3), NOW, WARNING)
    assert plan.case is not None
    assert plan.case.attempts == 5
    plan = plan_escalation(escalation(), order("ESCALATED"), case(attempts=3), NOW, WARNING)
    assert plan.case is not None
    assert plan.case.attempts == 3


def test_a_case_stays_bounded_and_keeps_what_opened_the_episode() -> None:
    full = opened()
    for n in range(300):
        plan = plan_escalation(escalation(f"n{n}"), order("ESCALATED"), full, NOW, WARNING)
        assert plan.case is not None
        full = plan.case
    assert full.message_ids == ("m2", *(f"n{n}" for n in range(201, 300)))
    # Notifications quote the message that opened the episode.
    assert [evidence.message_id for evidence in full.evidence] == ["m2", *(f"n{n}" for n in range(271, 300))]
    assert full.reasons == (Reason.INVALID_PRICE,)


def test_a_later_message_can_raise_the_severity_but_not_lower_it() -> None:
    for before, assessed, after in [
        (Severity.WARNING, Severity.CRITICAL, Severity.CRITICAL),
        (Severity.CRITICAL, Severity.INFO, Severity.CRITICAL),
    ]:
        assessment = Assessment(assessed, ("log", "pager"))
        plan = plan_escalation(escalation(), order("ESCALATED"), case(severity=before), NOW, assessment)
        assert plan.case is not None
        assert plan.case.severity is after
        assert plan.case.channels == ("log",)


def test_a_new_episode_starts_with_the_severity_and_channels_of_its_own_message() -> None:
    resolved = case(state=CaseState.RESOLVED, severity=Severity.CRITICAL, attempts=5)
    assessment = Assessment(Severity.INFO, ("log", "pager"))
    plan = plan_escalation(escalation(execution_arn=ANOTHER), None, resolved, NOW, assessment)
    assert plan.case is not None
    assert (plan.case.severity, plan.case.attempts) == (Severity.INFO, None)
    assert plan.case.unrouted == ("pager",)
    (ended,) = plan.case.episodes
    assert (ended.severity, ended.attempts) == (Severity.CRITICAL, 5)


def test_the_log_is_recorded_with_a_new_episode_and_other_channels_later() -> None:
    assessment = Assessment(Severity.WARNING, ("log", "pager"))
    new = plan_escalation(escalation(), None, None, NOW, assessment).case
    again = plan_escalation(escalation(execution_arn=ANOTHER), None, case(state=CaseState.RESOLVED), NOW, assessment)
    assert new is not None
    assert again.case is not None
    assert (new.routed, new.unrouted) == ((logged(1),), ("pager",))
    assert (again.case.routed, again.case.unrouted) == ((logged(1, THEN), logged(2)), ("pager",))
    without_log = plan_escalation(escalation(), None, None, NOW, Assessment(Severity.WARNING, ("pager",))).case
    assert without_log is not None
    assert without_log.routed == ()


def test_the_largest_possible_case_fits_into_a_dynamodb_item() -> None:
    wide = "\U0001f600"  # Four bytes.
    arn = EXECUTION.rpartition(":")[0].replace(":Orders", ":" + "O" * 80)
    full = opened(case_id="x" * 80)
    for n in range(700):
        largest = escalation(
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
        escalated = Order("001", status, largest.execution_arn, **texts)
        plan = plan_escalation(largest, escalated, full, NOW, Assessment(Severity.CRITICAL, channels))
        assert plan.case is not None
        full = plan.case
        if status is OrderStatus.RECEIVED:
            full = replace(full, routed=(*full.routed, *(given_up(channel, full.episode) for channel in channels)))
        request = Request(action=Action.FULFILL, actor=wide * 128, note=wide * 1000, shipment_id="s" * 128)
        full = add_resubmission(full, request, full.episode, NOW)
        rejected = (*full.rejected_executions, largest.execution_arn or "")
        full = bounded(replace(full, rejected_executions=tuple(dict.fromkeys(rejected))))
    assert (len(full.evidence), len(full.episodes), len(full.resolutions)) == (30, 20, 20)
    assert [episode.order is not None for episode in full.episodes] == [False] * 15 + [True] * 5
    assert (len(full.rejected_executions), len(full.routed)) == (100, 200)
    assert stored_bytes(asdict(full)) < 400 * 1024


def given_up(channel: str, episode: int) -> SentNotification:
    return SentNotification(channel=channel, episode=episode, at=NOW, given_up="x" * MAX_GIVEN_UP_CHARS)


def stored_bytes(value: Any) -> int:
    """Return the size of a value as DynamoDB counts it (Developer Guide, "Item sizes and formats"), or a bit more."""
    match value:
        case dict():
            return 3 + sum(1 + len(name) + stored_bytes(member) for name, member in value.items() if member is not None)
        case list() | tuple():
            return 3 + sum(1 + stored_bytes(element) for element in value)
        case str():
            return len(value.encode())
        case _:
            return 21  # The largest number.


@pytest.mark.parametrize(
    ("changes", "case_id"),
    [
        ({}, "001"),
        ({"order_id": None}, "one"),
        ({"order_id": None, "execution_arn": None}, "message-m2"),
        ({"order_id": None, "execution_arn": None, "origin_message_id": "m0"}, "message-m0"),
    ],
)
def test_the_case_id_comes_from_the_order_the_execution_or_the_message(changes: dict[str, Any], case_id: str) -> None:
    assert escalation(**changes).case_id == case_id


def test_the_case_id_never_contains_a_card_number() -> None:
    named = escalation(order_id=None, execution_arn=EXECUTION.replace(":one", ":4929123412345678"))
    assert named.case_id == "execution-O6WCV2PMO2AWUV52"


# Rejections: their number is part of the idempotency key of the next execution.

FIRST, SECOND, THIRD = EXECUTION, ANOTHER, EXECUTION.replace(":one", ":three")


def escalated(
    case: Case | None,
    stored: Order | None,
    message_id: str,
    reason: Reason = Reason.FULFILLMENT_REJECTED,
    execution_arn: str | None = FIRST,
) -> tuple[Case, bool]:
    """Return the case after one escalation, and whether that counted a rejection."""
    escalation = Escalation(
        message_id=message_id,
        order_id="001",
        reasons=(reason,),
        source=Source.FULFILLMENT,
        execution_arn=execution_arn,
        origin_message_id="origin",
    )
    plan = plan_escalation(escalation, stored, case, NOW, Assessment(Severity.WARNING, ("log",)))
    assert plan.case is not None
    return plan.case, plan.counts_rejection


def test_a_rejection_is_counted_by_its_execution() -> None:
    assert escalated(None, order("RECEIVED"), "m1")[0].rejected_executions == (FIRST,)


@pytest.mark.parametrize("reason", [Reason.FULFILLMENT_EXHAUSTED, Reason.INVALID_PRICE, Reason.WORKFLOW_FAILED])
def test_no_other_reason_counts_as_a_rejection(reason: Reason) -> None:
    case, counts = escalated(None, order("RECEIVED"), "m1", reason)
    assert (case.rejected_executions, counts) == ((), False)


def test_a_rejection_that_is_reported_twice_counts_once() -> None:
    case, first = escalated(None, order("RECEIVED"), "m1")
    case, second = escalated(case, order("ESCALATED"), "m2")
    assert (case.rejected_executions, first, second) == ((FIRST,), True, False)


def test_the_case_keeps_rejections_through_its_episodes() -> None:
    case, _ = escalated(None, order("RECEIVED"), "m1")
    case, _ = escalated(case, order("RECEIVED", execution_arn=SECOND), "m2", Reason.FULFILLMENT_EXHAUSTED, SECOND)
    case, _ = escalated(case, order("RECEIVED", execution_arn=THIRD), "m3", execution_arn=THIRD)
    assert case.rejected_executions == (FIRST, THIRD)


def test_a_rejection_after_another_escalation_of_its_execution_counts() -> None:
    case, _ = escalated(None, order("RECEIVED"), "m1", Reason.WORKFLOW_FAILED)
    case, counts = escalated(case, order("ESCALATED"), "m2")
    assert (case.rejected_executions, counts) == ((FIRST,), True)


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED", "FULFILLED"])
def test_a_late_rejection_does_not_change_the_key_of_the_next_execution(status: str) -> None:
    case, _ = escalated(None, order("RECEIVED"), "m1", Reason.WORKFLOW_FAILED)
    case, counts = escalated(case, order(status, execution_arn=SECOND), "m2")
    assert (case.rejected_executions, counts) == ((), False)


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_a_rejection_of_a_final_order_does_not_count(status: str) -> None:
    case, _ = escalated(None, order("RECEIVED"), "m1", Reason.WORKFLOW_FAILED)
    case, counts = escalated(case, order(status), "m2")
    assert (case.rejected_executions, counts) == ((), False)


def test_without_an_execution_a_rejection_is_counted_by_its_message() -> None:
    case, _ = escalated(None, order("RECEIVED", execution_arn=None), "m1", execution_arn=None)
    case, counts = escalated(case, order("ESCALATED", execution_arn=None), "m2", execution_arn=None)
    assert (case.rejected_executions, counts) == (("origin",), False)


def unrecorded(**changes: Any) -> Escalation:
    return escalation(reasons=(Reason.UNRECORDED_SHIPMENT,), source=Source.FULFILLMENT, **changes)


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED", "ESCALATED"])
def test_an_unrecorded_shipment_opens_a_case_whatever_the_order_is(status: str) -> None:
    found = plan_escalation(unrecorded(), order(status), None, NOW, WARNING)
    assert (found.outcome, found.escalates_order, found.routes) == (EscalationOutcome.ESCALATED, False, True)
    assert found.case is not None
    assert (found.case.state, found.case.reasons) == (CaseState.OPEN, (Reason.UNRECORDED_SHIPMENT,))


@pytest.mark.parametrize("status", ["FULFILLED", "CANCELLED"])
def test_an_unrecorded_shipment_reopens_the_case_in_which_the_order_was_cancelled(status: str) -> None:
    resolved = case(state=CaseState.RESOLVED)
    found = plan_escalation(unrecorded(), order(status), resolved, NOW, WARNING)
    assert (found.outcome, found.routes) == (EscalationOutcome.ESCALATED, True)
    assert found.case is not None
    assert (found.case.state, found.case.episode) == (CaseState.OPEN, 2)


def test_an_unrecorded_shipment_is_added_to_an_open_case() -> None:
    found = plan_escalation(unrecorded(), order("CANCELLED"), case(), NOW, WARNING)
    assert (found.outcome, found.escalates_order, found.routes) == (EscalationOutcome.ADDED_TO_CASE, False, False)
    assert found.case is not None
    assert found.case.evidence[-1].reasons == (Reason.UNRECORDED_SHIPMENT,)


def test_a_detail_has_at_most_a_thousand_characters() -> None:
    assert MAX_DETAIL_CHARS == 1_000
