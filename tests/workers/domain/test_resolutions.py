from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from tests.workers.domain import examples
from tests.workers.domain.examples import CARD, THEN, UUID
from tests.workers.fakes import ANOTHER, EXECUTION, NOW, order
from workers import clock
from workers.domain.cards import looks_like_card
from workers.domain.cases import Case, CaseState, Claim, Resolution
from workers.domain.orders import MAX_SHIPMENT_ID_CHARS, Order, OrderStatus
from workers.domain.reasons import Reason, Severity
from workers.domain.resolutions import (
    MAX_ACTOR_CHARS,
    MAX_NOTE_CHARS,
    Action,
    Request,
    ResolutionError,
    ResolutionPlan,
    add_resubmission,
    claim_resubmission,
    close_finished,
    is_claim_of,
    plan_resolution,
    resubmission_name,
)

NOTHING = ResolutionPlan(None, None)
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678"]


def request(action: str, **changes: Any) -> Request:
    more: dict[str, Any] = {
        "fulfill": {"shipment_id": "S-1"},
        "resubmit": {"execution_arn": ANOTHER},
        "cancel": {},
        "close": {},
    }[action]
    return Request(**({"action": Action(action), "actor": "ada", "note": "as agreed"} | more | changes))


def case(*resolutions: Resolution, **changes: Any) -> Case:
    """Return an open case; with resolutions, a resolved one."""
    example = Case(
        case_id="001",
        state=CaseState.RESOLVED if resolutions else CaseState.OPEN,
        severity=Severity.WARNING,
        opened_at=THEN,
        updated_at=THEN,
        order_id="001",
        episode=2,
        execution_arns=(EXECUTION,),
        resolutions=resolutions,
        version=3,
    )
    return replace(example, **changes)


REFUSED = {
    "missing": "the order does not exist and cannot be fulfilled; cancel closes the case",
    "RECEIVED": "the order is RECEIVED: it is in progress, not escalated",
    "FULFILLED": "the order is already FULFILLED; close closes its case",
    "CANCELLED": "the order is already CANCELLED; close closes its case",
    "ESCALATED": "the order is ESCALATED: resubmit, fulfill or cancel it; close would leave it waiting",
}


@pytest.mark.parametrize(
    ("action", "status", "becomes"),
    [
        ("resubmit", None, None),
        ("resubmit", "RECEIVED", None),
        ("resubmit", "ESCALATED", None),
        ("resubmit", "FULFILLED", None),
        ("resubmit", "CANCELLED", None),
        ("fulfill", None, REFUSED["missing"]),
        ("fulfill", "RECEIVED", REFUSED["RECEIVED"]),
        ("fulfill", "ESCALATED", OrderStatus.FULFILLED),
        ("fulfill", "FULFILLED", None),
        ("fulfill", "CANCELLED", REFUSED["CANCELLED"]),
        ("cancel", None, None),
        ("cancel", "RECEIVED", REFUSED["RECEIVED"]),
        ("cancel", "ESCALATED", OrderStatus.CANCELLED),
        ("cancel", "FULFILLED", REFUSED["FULFILLED"]),
        ("cancel", "CANCELLED", None),
        ("close", None, None),
        ("close", "RECEIVED", None),
        ("close", "ESCALATED", REFUSED["ESCALATED"]),
        ("close", "FULFILLED", None),
        ("close", "CANCELLED", None),
    ],
)
def test_an_open_case_is_resolved_as_its_order_allows(
    action: str, status: str | None, becomes: OrderStatus | str | None
) -> None:
    stored = None if status is None else order(status, shipment_id="S-1" if status == "FULFILLED" else None)
    asked = request(action)
    if isinstance(becomes, str) and not isinstance(becomes, OrderStatus):
        with pytest.raises(ResolutionError) as raised:
            plan_resolution(case(), stored, asked, NOW)
        assert str(raised.value) == becomes
    else:
        resolved = replace(case(asked.record(2, NOW)), updated_at=NOW)
        assert plan_resolution(case(), stored, asked, NOW) == ResolutionPlan(resolved, becomes)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", [None, *OrderStatus])
def test_a_missing_case_cannot_be_resolved(action: str, status: str | None) -> None:
    with pytest.raises(ResolutionError, match="the case does not exist"):
        plan_resolution(None, None if status is None else order(status), request(action), NOW)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", [None, *OrderStatus])
def test_the_same_request_again_changes_nothing_whatever_the_order_is_now(action: str, status: str | None) -> None:
    resolved = case(request(action).record(2, THEN))
    again = request(action, note="in other words")
    assert plan_resolution(resolved, None if status is None else order(status), again, NOW) == NOTHING


@pytest.mark.parametrize("status", [None, *OrderStatus])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((request(one), request(other)) for one in Action for other in Action if one is not other),
        *((request(action), request(action, actor="grace")) for action in Action),
        (request("fulfill"), request("fulfill", shipment_id="S-2")),
        (request("resubmit"), request("resubmit", execution_arn=EXECUTION)),
    ],
)
def test_a_later_different_request_is_told_who_was_first(before: Request, after: Request, status: str | None) -> None:
    resolved = case(before.record(2, THEN))
    with pytest.raises(ResolutionError) as raised:
        plan_resolution(resolved, None if status is None else order(status), after, NOW)
    assert str(raised.value) == f"the case is already resolved by ada at {clock.shown(THEN)}: {before.action}"


def test_a_resolved_case_without_a_resolution_stays_resolved() -> None:
    with pytest.raises(ResolutionError, match=r"^the case is already resolved$"):
        plan_resolution(case(state=CaseState.RESOLVED), order("ESCALATED"), request("cancel"), NOW)


def test_only_resolutions_of_the_current_episode_count() -> None:
    earlier = request("resubmit").record(1, THEN)
    # A resubmission from an earlier episode can be added after the current episode was resolved.
    resolved = case(request("cancel").record(2, THEN), earlier)
    assert plan_resolution(resolved, order("CANCELLED"), request("cancel"), NOW) == NOTHING
    reopened = case(request("cancel").record(1, THEN), state=CaseState.OPEN)
    assert plan_resolution(reopened, order("ESCALATED"), request("cancel"), NOW).order_status is OrderStatus.CANCELLED


@pytest.mark.parametrize("shipped", ["S-2", None])
def test_an_order_with_another_shipment_is_not_fulfilled_again(shipped: str | None) -> None:
    with pytest.raises(ResolutionError) as raised:
        plan_resolution(case(), order("FULFILLED", shipment_id=shipped), request("fulfill"), NOW)
    assert (
        str(raised.value)
        == f"the order is already FULFILLED, by shipment {shipped or 'unknown'}; close closes its case"
    )


def test_a_resubmission_from_an_earlier_episode_is_added_and_the_case_stays_open() -> None:
    asked = request("resubmit")
    resubmitted = add_resubmission(case(), asked, 1, NOW)
    assert resubmitted == replace(case(), updated_at=NOW, resolutions=(asked.record(1, NOW),))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"actor": ""}, "the actor must be 1 to 128 characters"),
        ({"actor": " \n"}, "the actor must be 1 to 128 characters"),
        ({"actor": "a" * (MAX_ACTOR_CHARS + 1)}, "the actor must be 1 to 128 characters"),
        ({"note": ""}, "the note must be 1 to 1000 characters"),
        ({"note": " \t "}, "the note must be 1 to 1000 characters"),
        ({"note": "a" * (MAX_NOTE_CHARS + 1)}, "the note must be 1 to 1000 characters"),
        ({"shipment_id": None}, "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces"),
        (
            {"shipment_id": "two words"},
            "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces",
        ),
        (
            {"shipment_id": "Zo\u00eb"},
            "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces",
        ),
        ({"shipment_id": " "}, "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces"),
        (
            {"shipment_id": "a" * (MAX_SHIPMENT_ID_CHARS + 1)},
            "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces",
        ),
    ],
)
def test_actor_note_and_shipment_are_required_and_bounded(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ResolutionError) as raised:
        request("fulfill", **changes)
    assert str(raised.value) == why


def test_surrounding_space_is_stripped_before_the_length_is_checked() -> None:
    longest = {"actor": "a" * MAX_ACTOR_CHARS, "note": "n" * MAX_NOTE_CHARS, "shipment_id": "s" * MAX_SHIPMENT_ID_CHARS}
    recorded = request("fulfill", **{name: f" {text}\n" for name, text in longest.items()}).record(7, NOW)
    assert recorded == Resolution(action="fulfill", episode=7, at=NOW, **longest)


@pytest.mark.parametrize("form", FORMS)
def test_card_numbers_are_masked_and_refused_as_a_shipment_id(form: str) -> None:
    recorded = request("cancel", actor=f"ada {form}", note=f"Card {form}.").record(1, NOW)
    assert (recorded.actor, recorded.note) == ("ada ****", "Card ****.")
    with pytest.raises(ResolutionError) as raised:
        request("fulfill", shipment_id=f"S {form}")
    assert str(raised.value) == (
        "the shipment id has 13 or more digits in a row: it would be masked like a card number"
    )


def test_each_resubmission_has_an_execution_name_of_its_own() -> None:
    cases = [case(case_id=f"case-{n}") for n in range(20)]
    names = {resubmission_name(one, episode, n) for one in cases for episode in range(1, 21) for n in (1, 2)}
    assert len(names) == 20 * 20 * 2
    assert [resubmission_name(case(), 2, number) for number in (1, 2)] == [
        "resubmission-PI7GWFWLOX2I7OEX57Z244ZPGF-2",
        "resubmission-PI7GWFWLOX2I7OEX57Z244ZPGF-2-2",
    ]


@pytest.mark.parametrize("case_id", ["1" * 12, "a" * 64, "4-9-2-9", f"message-{UUID}", CARD, "\u5f20"])
def test_a_resubmission_name_is_valid_and_not_like_a_card_number(case_id: str) -> None:
    for episode in (1, 9_999):
        for number in (1, 2, 100):
            name = resubmission_name(case(case_id=case_id), episode, number)
            assert len(name) <= 80
            assert name.isascii()
            assert name.replace("-", "").isalnum()
            assert not looks_like_card(name)


def claimed(before: Case, at: str = NOW, order_id: str = "001", **changes: Any) -> tuple[Claim, Case | None]:
    return claim_resubmission(before, request("resubmit", **changes), order_id, at, lambda name: f"arn:{name}")


def test_a_claim_says_who_resubmits_which_order_with_which_execution() -> None:
    claim, written = claimed(case(), actor=f" ada {CARD} ")
    assert claim == Claim(
        actor="ada ****",
        note="as agreed",
        at=NOW,
        episode=2,
        number=1,
        order_id="001",
        execution_arn=f"arn:{resubmission_name(case(), 2, 1)}",
    )
    assert written == replace(case(), claim=claim)


def test_the_same_person_continues_with_their_own_claim_at_any_time() -> None:
    claim, written = claimed(case(), at=THEN)
    assert written is not None
    assert claimed(written, note="in other words") == (claim, None)


@pytest.mark.parametrize("other", [{"actor": "grace"}, {"order_id": "002"}])
def test_a_recent_claim_keeps_others_out_and_an_old_one_can_be_taken_over(other: dict[str, str]) -> None:
    _, written = claimed(case(), at="2026-11-22T10:58:30.000000Z")
    assert written is not None
    with pytest.raises(ResolutionError) as raised:
        claimed(written, **other)
    assert str(raised.value) == (
        "ada began to resubmit order 001 at 2026-11-22 10:58:30: wait for the result, or try again from 11:00:30 UTC"
    )
    second, written = claimed(written, at="2026-11-22T11:00:30.000000Z", **other)
    assert written is not None
    assert (second.number, second.execution_arn) == (2, f"arn:{resubmission_name(case(), 2, 2)}")
    # A new claim never reuses the name of an execution that another person may have started.
    third, _ = claimed(written, at="2026-11-22T12:00:00.000000Z", actor="alan")
    assert third.number == 3


def test_a_claim_whose_execution_was_escalated_keeps_nobody_out() -> None:
    claim, _ = claimed(case())
    returned = case(claim=claim, execution_arns=(EXECUTION, claim.execution_arn))
    second, written = claimed(returned, actor="grace")
    assert (second.actor, second.number, written) == ("grace", 2, replace(returned, claim=second))


def test_claims_of_an_earlier_episode_do_not_count() -> None:
    claim, _ = claimed(case())
    later, written = claimed(case(claim=claim, episode=3), actor="grace")
    assert (later.episode, later.number, written is not None) == (3, 1, True)


AFTER_CLAIM = [("2026-11-22T11:01:59.999999Z", False), ("2026-11-22T11:02:00.000000Z", True)]


@pytest.mark.parametrize(("at", "allowed"), AFTER_CLAIM)
def test_without_an_order_a_recent_claim_keeps_the_case_open(at: str, allowed: bool) -> None:
    claim, _ = claimed(case(), at="2026-11-22T11:00:00.000000Z")
    with nullcontext() if allowed else pytest.raises(ResolutionError, match="began to resubmit order 001"):
        plan_resolution(case(claim=claim), None, request("cancel"), at)


@pytest.mark.parametrize(
    ("action", "stored"), [("resubmit", None), ("cancel", order("ESCALATED")), ("fulfill", order("ESCALATED"))]
)
def test_a_recent_claim_keeps_out_nobody_whose_request_the_order_decides(action: str, stored: Order | None) -> None:
    claim, _ = claimed(case())
    resolved = plan_resolution(case(claim=claim), stored, request(action), NOW).case
    assert resolved is not None
    assert resolved.state is CaseState.RESOLVED


def test_a_claim_whose_execution_was_escalated_does_not_keep_the_case_open() -> None:
    claim, _ = claimed(case())
    returned = case(claim=claim, execution_arns=(claim.execution_arn,))
    assert plan_resolution(returned, None, request("cancel"), NOW).case is not None


def test_the_first_and_the_newest_of_twenty_resolutions_are_kept() -> None:
    kept = case(*(request("cancel", note=str(n)).record(1, THEN) for n in range(20)), state=CaseState.OPEN)
    for resolved in (
        plan_resolution(kept, None, request("cancel", note="new"), NOW).case,
        add_resubmission(kept, request("resubmit", note="new"), 1, NOW),
    ):
        assert resolved is not None
        assert [each.note for each in resolved.resolutions] == ["0", *(str(n) for n in range(2, 20)), "new"]
        assert resolved.dropped is not None
        assert resolved.dropped.resolutions == 1


def test_the_shipment_in_an_error_is_masked() -> None:
    with pytest.raises(ResolutionError, match=r"by shipment \*{4}; close closes its case$"):
        plan_resolution(case(), order("FULFILLED", shipment_id=CARD), request("fulfill"), NOW)


@pytest.mark.parametrize(
    ("actor", "order_id", "same"), [(" ada ", "001", True), ("ada", "002", False), ("grace", "001", False)]
)
def test_a_claim_belongs_to_its_person_and_order(actor: str, order_id: str, same: bool) -> None:
    claim, _ = claimed(case())
    assert is_claim_of(claim, request("resubmit", actor=actor), order_id) is same


def finished(status: str, **changes: Any) -> Case | None:
    """Return what the end of an order, taken over by `ANOTHER`, does to a case that `EXECUTION` opened."""
    return close_finished(examples.case(**changes), order(status, execution_arn=ANOTHER), ANOTHER, NOW)


@pytest.mark.parametrize(("status", "action"), [("FULFILLED", "resubmitted"), ("CANCELLED", "cancelled")])
def test_the_end_of_a_later_execution_closes_the_case(status: str, action: str) -> None:
    before = examples.case()
    record = Resolution(
        action=action,
        episode=1,
        actor="workflow",
        note=f"The order was resubmitted, and is {status}.",
        at=NOW,
        execution_arn=ANOTHER,
    )
    assert finished(status) == replace(before, state=CaseState.RESOLVED, updated_at=NOW, resolutions=(record,))


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED"])
def test_an_order_that_has_not_ended_closes_no_case(status: str) -> None:
    assert finished(status) is None


def test_an_end_that_does_not_fit_closes_no_case() -> None:
    ended = order("FULFILLED", execution_arn=ANOTHER)
    assert close_finished(None, ended, ANOTHER, NOW) is None
    assert close_finished(examples.case(), None, ANOTHER, NOW) is None
    assert close_finished(examples.case(), ended, EXECUTION, NOW) is None
    assert finished("FULFILLED", state=CaseState.RESOLVED) is None


def test_an_episode_that_the_same_execution_opened_is_left_to_a_person() -> None:
    opening = examples.evidence("m1", THEN, execution_arn=ANOTHER)
    assert finished("FULFILLED", evidence=(opening,), execution_arns=(ANOTHER,)) is None
    note = examples.evidence("m2", NOW, execution_arn=ANOTHER)
    noted = examples.case(evidence=(examples.evidence("m1", THEN), note), execution_arns=(EXECUTION, ANOTHER))
    assert close_finished(noted, order("FULFILLED", execution_arn=ANOTHER), ANOTHER, NOW) is not None


def test_a_shipment_that_could_not_be_recorded_is_left_to_a_person() -> None:
    """The provider has shipped for the earlier execution, too: that the order ended does not settle it."""
    assert finished("FULFILLED", reasons=(Reason.FULFILLMENT_EXHAUSTED, Reason.UNRECORDED_SHIPMENT)) is None


def test_a_late_report_does_not_close_an_episode_that_began_after_it_was_applied() -> None:
    closed = finished("FULFILLED")
    assert closed is not None
    reopened = {"state": CaseState.OPEN, "episode": 2, "opened_by": "m9", "resolutions": closed.resolutions}
    assert finished("FULFILLED", **reopened) is None


def test_a_persons_own_resubmission_is_closed_in_that_persons_name() -> None:
    asked = request("resubmit")
    claim = Claim(actor="ada", note=asked.note, at=THEN, episode=1, number=1, order_id="001", execution_arn=ANOTHER)
    closed = finished("FULFILLED", claim=claim)
    assert closed is not None
    assert closed.resolutions == (asked.record(1, NOW),)
    assert plan_resolution(closed, order("FULFILLED", execution_arn=ANOTHER), asked, NOW) == NOTHING


def test_an_order_without_an_execution_closes_its_case() -> None:
    by_hand = examples.case(resolutions=(request("cancel").record(1, THEN),), episode=2)
    closed = close_finished(by_hand, order("FULFILLED", execution_arn=None), None, NOW)
    assert closed is not None
    assert closed.state is CaseState.RESOLVED


def test_text_that_is_not_unicode_is_recorded_as_dynamodb_takes_it() -> None:
    recorded = request("cancel", actor="ada \udcff", note="\udcff agreed").record(1, NOW)
    assert (recorded.actor, recorded.note) == ("ada \ufffd", "\ufffd agreed")
