from dataclasses import replace
from typing import Any

import pytest

from tests.lambda_.test_verify_cc_and_price import verify
from tests.statemachine import test_definition as workflow
from workers.domain.cards import looks_like_card
from workers.domain.cases import Case, CaseState, Claim, Resolution
from workers.domain.orders import MAX_SHIPMENT_ID_CHARS, Order, OrderStatus
from workers.domain.reasons import Severity
from workers.domain.resolutions import (
    MAX_ACTOR_CHARS,
    MAX_NOTE_CHARS,
    Action,
    Request,
    ResolutionError,
    ResolutionPlan,
    add_resubmission,
    claim_resubmission,
    plan_resolution,
    resubmission_name,
)
from workers.domain.submissions import improper_fields, malformed_fields

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:two"
THEN, NOW = "2026-11-22T10:00:00.000000Z", "2026-11-22T11:00:00.000000Z"
CARD = "4929123412345678"
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678"]
UUID = "12345678-1234-1234-1234-123456789012"
NOTHING = ResolutionPlan(None, None)


def request(action: str, **changes: Any) -> Request:
    more: dict[str, Any] = {
        "fulfill": {"shipment_id": "S-1"},
        "resubmit": {"execution_arn": ANOTHER},
        "cancel": {},
    }[action]
    return Request(**({"action": Action(action), "actor": "ada", "note": "as agreed"} | more | changes))


def order(status: str, **changes: Any) -> Order:
    return replace(Order("001", OrderStatus(status), EXECUTION), **changes)


def case(*resolutions: Resolution, **changes: Any) -> Case:
    """Return a case, open; or resolved, as the last of the resolutions says."""
    held = Case(
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
    return replace(held, **changes)


REFUSED = {
    "missing": "there is no such order to fulfill; cancel closes the case",
    "RECEIVED": "the order is RECEIVED: it is in progress, not escalated",
    "FULFILLED": "the order is already FULFILLED",
    "CANCELLED": "the order is already CANCELLED",
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
    ],
)
def test_an_open_case_is_resolved_as_its_order_allows(
    action: str, status: str | None, becomes: OrderStatus | str | None
) -> None:
    held = None if status is None else order(status, shipment_id="S-1" if status == "FULFILLED" else None)
    asked = request(action)
    if isinstance(becomes, str) and not isinstance(becomes, OrderStatus):
        with pytest.raises(ResolutionError) as raised:
            plan_resolution(case(), held, asked, NOW)
        assert str(raised.value) == becomes
    else:
        resolved = replace(case(asked.record(2, NOW)), updated_at=NOW)
        assert plan_resolution(case(), held, asked, NOW) == ResolutionPlan(resolved, becomes)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", [None, *OrderStatus])
def test_where_there_is_no_case_nothing_can_be_resolved(action: str, status: str | None) -> None:
    with pytest.raises(ResolutionError, match="there is no such case"):
        plan_resolution(None, None if status is None else order(status), request(action), NOW)


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", [None, *OrderStatus])
def test_the_same_request_again_changes_nothing_whatever_became_of_the_order(action: str, status: str | None) -> None:
    resolved = case(request(action).record(2, THEN))
    again = request(action, note="said in other words")
    assert plan_resolution(resolved, None if status is None else order(status), again, NOW) == NOTHING


@pytest.mark.parametrize("status", [None, *OrderStatus])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        *((request(one), request(other)) for one in Action for other in Action if one is not other),
        *((request(each), request(each, actor="grace")) for each in Action),
        (request("fulfill"), request("fulfill", shipment_id="S-2")),
        (request("resubmit"), request("resubmit", execution_arn=EXECUTION)),
    ],
)
def test_another_request_after_it_is_told_who_was_first(before: Request, after: Request, status: str | None) -> None:
    resolved = case(before.record(2, THEN))
    with pytest.raises(ResolutionError) as raised:
        plan_resolution(resolved, None if status is None else order(status), after, NOW)
    assert str(raised.value) == f"the case is already resolved by ada at {THEN}: {before.action}"


def test_a_case_that_was_closed_by_nobody_we_know_of_stays_closed() -> None:
    with pytest.raises(ResolutionError, match=r"^the case is already resolved$"):
        plan_resolution(case(state=CaseState.RESOLVED), order("ESCALATED"), request("cancel"), NOW)


def test_what_was_done_is_what_was_done_in_the_current_episode() -> None:
    earlier = request("resubmit").record(1, THEN)
    # The note on an earlier episode can come after the resolution of this one.
    resolved = case(request("cancel").record(2, THEN), earlier)
    assert plan_resolution(resolved, order("CANCELLED"), request("cancel"), NOW) == NOTHING
    reopened = case(request("cancel").record(1, THEN), state=CaseState.OPEN)
    assert plan_resolution(reopened, order("ESCALATED"), request("cancel"), NOW).order_status is OrderStatus.CANCELLED


@pytest.mark.parametrize("shipped", ["S-2", None])
def test_an_order_that_was_shipped_otherwise_is_not_fulfilled_again(shipped: str | None) -> None:
    with pytest.raises(ResolutionError) as raised:
        plan_resolution(case(), order("FULFILLED", shipment_id=shipped), request("fulfill"), NOW)
    assert str(raised.value) == f"the order is already FULFILLED, by shipment {shipped or 'unknown'}"


def test_a_resubmission_out_of_an_earlier_episode_is_noted_and_the_case_stays_as_it_is() -> None:
    asked = request("resubmit")
    noted = add_resubmission(case(), asked, 1, NOW)
    assert noted == replace(case(), updated_at=NOW, resolutions=(asked.record(1, NOW),))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"actor": ""}, "the actor must be 1 to 128 characters"),
        ({"actor": " \n"}, "the actor must be 1 to 128 characters"),
        ({"actor": "a" * (MAX_ACTOR_CHARS + 1)}, "the actor must be 1 to 128 characters"),
        ({"note": ""}, "the note must be 1 to 1000 characters"),
        ({"note": " \t "}, "the note must be 1 to 1000 characters"),
        ({"note": "a" * (MAX_NOTE_CHARS + 1)}, "the note must be 1 to 1000 characters"),
        ({"shipment_id": None}, "fulfill needs a shipment id of 1 to 128 characters"),
        ({"shipment_id": " "}, "fulfill needs a shipment id of 1 to 128 characters"),
        ({"shipment_id": "a" * (MAX_SHIPMENT_ID_CHARS + 1)}, "fulfill needs a shipment id of 1 to 128 characters"),
    ],
)
def test_actor_note_and_shipment_are_required_and_bounded(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ResolutionError) as raised:
        request("fulfill", **changes)
    assert str(raised.value) == why


def test_what_is_within_the_bounds_is_kept_without_the_space_around_it() -> None:
    longest = {"actor": "a" * MAX_ACTOR_CHARS, "note": "n" * MAX_NOTE_CHARS, "shipment_id": "s" * MAX_SHIPMENT_ID_CHARS}
    kept = request("fulfill", **{name: f" {text}\n" for name, text in longest.items()}).record(7, NOW)
    assert kept == Resolution(action="fulfill", episode=7, at=NOW, **longest)


@pytest.mark.parametrize("form", FORMS)
def test_a_card_number_is_kept_in_none_of_them_and_a_shipment_id_like_one_is_refused(form: str) -> None:
    kept = request("cancel", actor=f"ada {form}", note=f"Card {form}.").record(1, NOW)
    assert (kept.actor, kept.note) == ("ada ****", "Card ****.")
    with pytest.raises(ResolutionError) as raised:
        request("fulfill", shipment_id=f"S {form}")
    assert str(raised.value) == (
        "the shipment id has 13 or more digits in a row: it would be masked like a card number"
    )


def test_an_execution_is_named_by_its_case_and_the_episode() -> None:
    held = [case(case_id=f"case-{n}") for n in range(20)]
    names = {resubmission_name(each, episode, n) for each in held for episode in range(1, 21) for n in (1, 2)}
    assert len(names) == 20 * 20 * 2
    assert [resubmission_name(case(), 2, number) for number in (1, 2)] == [
        "resubmission-PI7GWFWLOX2I7OEX57Z244ZPGF-2",
        "resubmission-PI7GWFWLOX2I7OEX57Z244ZPGF-2-2",
    ]


@pytest.mark.parametrize("case_id", ["1" * 12, "a" * 64, "4-9-2-9", f"message-{UUID}", CARD, "\u5f20"])
def test_that_name_is_one_and_holds_no_run_of_digits(case_id: str) -> None:
    for episode in (1, 9_999):
        for number in (1, 2, 100):
            name = resubmission_name(case(case_id=case_id), episode, number)
            assert len(name) <= 80
            assert name.isascii()
            assert name.replace("-", "").isalnum()
            assert not looks_like_card(name)


def claimed(held: Case, at: str = NOW, order_id: str = "001", **changes: Any) -> tuple[Claim, Case | None]:
    return claim_resubmission(held, request("resubmit", **changes), order_id, at, lambda name: f"arn:{name}")


def test_a_claim_says_who_resubmits_which_order_as_which_execution() -> None:
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


def test_the_same_person_goes_on_with_their_own_claim_whenever_that_was() -> None:
    claim, written = claimed(case(), at=THEN)
    assert written is not None
    assert claimed(written, note="in other words") == (claim, None)


@pytest.mark.parametrize("other", [{"actor": "grace"}, {"order_id": "002"}])
def test_a_claim_keeps_others_out_until_it_is_old_and_the_next_has_another_execution(other: dict[str, str]) -> None:
    _, written = claimed(case(), at="2026-11-22T10:58:30.000000Z")
    assert written is not None
    with pytest.raises(ResolutionError) as raised:
        claimed(written, **other)
    assert str(raised.value) == (
        "ada began to resubmit order 001 at 2026-11-22T10:58:30.000000Z: wait for the result,"
        " or try again from 11:00:30 UTC"
    )
    second, written = claimed(written, at="2026-11-22T11:00:30.000000Z", **other)
    assert written is not None
    assert (second.number, second.execution_arn) == (2, f"arn:{resubmission_name(case(), 2, 2)}")
    # Nobody ever gets the name of an execution that somebody else may have started.
    third, _ = claimed(written, at="2026-11-22T12:00:00.000000Z", actor="alan")
    assert third.number == 3


def test_a_claim_whose_execution_came_back_keeps_nobody_out() -> None:
    claim, _ = claimed(case())
    returned = case(claim=claim, execution_arns=(EXECUTION, claim.execution_arn))
    second, written = claimed(returned, actor="grace")
    assert (second.actor, second.number, written) == ("grace", 2, replace(returned, claim=second))


def test_each_episode_has_claims_of_its_own() -> None:
    claim, _ = claimed(case())
    later, written = claimed(case(claim=claim, episode=3), actor="grace")
    assert (later.episode, later.number, written is not None) == (3, 1, True)


PROPER: dict[str, object] = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
ALL = list(PROPER)


MALFORMED: list[tuple[object, list[str]]] = [
    (PROPER, []),
    (PROPER | {"Color": "red", "Card": CARD}, []),
    (PROPER | {"Price": "", "CC": ""}, []),  # Not proper, which is for the verification to say.
    (PROPER | {"Price": "x" * 256, "CC": "x" * 256, "Name": "x" * 256, "ItemName": "x" * 256}, []),
    (PROPER | {"Name": "\U0001f6b2" * 256}, []),
    (PROPER | {"Name": "\n", "ItemName": " "}, []),
    (PROPER | {"OrderId": "a" * 64}, []),
    (PROPER | {"OrderId": "1" * 12}, []),
    (PROPER | {"OrderId": UUID}, []),
    (PROPER | {"OrderId": f"a-{UUID}.b"}, []),
    ({}, ALL),
    ([], ALL),
    ([PROPER], ALL),
    ("x", ALL),
    (None, ALL),
    (1, ALL),
    (dict.fromkeys(ALL), ALL),
    (dict.fromkeys(ALL, ""), ["OrderId", "Name", "ItemName"]),
    (PROPER | {"Price": None}, ["Price"]),
    (PROPER | {"Price": 80000, "CC": int(CARD)}, ["Price", "CC"]),
    (PROPER | {"Price": {"S": "1"}, "CC": ["1"]}, ["Price", "CC"]),
    (PROPER | {"Name": "x" * 257, "CC": "1" * 257}, ["Name", "CC"]),
    (PROPER | {"Price": "x" * 257, "ItemName": "\U0001f6b2" * 257}, ["ItemName", "Price"]),
    ({name: value for name, value in PROPER.items() if name != "OrderId"}, ["OrderId"]),
    *(
        (PROPER | {"OrderId": order_id}, ["OrderId"])
        for order_id in (
            *("", "a" * 65, "-a", ".a", "_a", "a b", "a/b", "a\n", "\u0661", "\u00e9", "1" * 13, "1-" * 13, CARD),
            *(
                FORMS[1],
                f"x{CARD}",
                f"{UUID}-{CARD}",
                f"{UUID}1234567890123",
                f"{CARD}-abcd-abcd-abcd-abcdefabcdef",
                f"00000000-0000-4000-8000-{CARD}",
                1,
                True,
                ["001"],
                None,
            ),
        )
    ),
]


@pytest.mark.parametrize(("malformed", "fields"), MALFORMED, ids=str)
def test_the_malformed_fields_are_named(malformed: object, fields: list[str]) -> None:
    assert malformed_fields(malformed) == fields


@pytest.mark.parametrize(("malformed", "fields"), [row for row in MALFORMED if isinstance(row[0], dict)], ids=str)
def test_they_are_those_that_the_workflow_names(malformed: object, fields: list[str]) -> None:
    assert workflow.is_accepted(malformed) == (not fields)
    assert workflow.malformed(malformed)["Detail"] == f"Malformed fields: {', '.join(fields)}."


@pytest.mark.parametrize("price", ["80000", "0.01", "1.5", "0", "0.00", "-1", "01", "1.", "1.234", "", "1e3", "9" * 13])
@pytest.mark.parametrize("cc", [CARD, CARD[:12], f"{CARD}0", FORMS[1], "", "\u0661" * 16, f"{CARD}\n"])
def test_the_improper_fields_are_those_that_the_verification_finds(price: str, cc: str) -> None:
    names = {"INVALID_PRICE": "Price", "INVALID_CARD_NUMBER": "CC"}
    reasons = verify({"OrderId": "001", "Price": price, "CC": cc})["Reasons"]
    found = improper_fields({"OrderId": "001", "Price": price, "CC": cc})
    assert sorted(found) == sorted(names[each] for each in reasons)
