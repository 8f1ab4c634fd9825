from dataclasses import replace
from typing import Any

import pytest

from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Severity
from workers.domain.resolutions import Action, Request
from workers.operations.errors import OperationError
from workers.operations.resolve import (
    IncompleteOrderError,
    InvalidOrderError,
    corrected_order,
    is_done,
    last_resolution,
    with_card_number,
)

AT = "2026-11-22T10:00:00.000000Z"
CARD = "4929123412345678"
EXECUTION = "arn:aws:states:us-east-1:000000000000:execution:Orders:one"
ORDER = Order("001", OrderStatus.ESCALATED, EXECUTION, name="Ada", item_name="Bicycle", price="-1")
OPEN = Case(case_id="001", state=CaseState.OPEN, severity=Severity.WARNING, opened_at=AT, updated_at=AT, order_id="001")


def request(action: str, **changes: Any) -> Request:
    more = {"shipment_id": "S-1"} if action == "fulfill" else {}
    return Request(**({"action": Action(action), "actor": "ada", "note": "as agreed"} | more | changes))


def resolved(done: Request) -> Case:
    return replace(OPEN, state=CaseState.RESOLVED, resolutions=(done.record(1, AT),))


@pytest.mark.parametrize("action", ["resubmit", "fulfill", "cancel"])
def test_a_repeated_request_is_done(action: str) -> None:
    execution = {"execution_arn": EXECUTION} if action == "resubmit" else {}
    assert not is_done(OPEN, request(action))
    assert is_done(resolved(request(action, **execution)), request(action, note="another note"))


@pytest.mark.parametrize(
    "other", [request("cancel", actor="grace"), request("fulfill"), request("fulfill", shipment_id="S-2")]
)
def test_a_case_that_was_resolved_otherwise_is_an_error(other: Request) -> None:
    with pytest.raises(OperationError, match=f"resolved.* by {other.actor} at {AT}: {other.action}"):
        is_done(resolved(other), request("cancel"))


def test_fields_without_a_correction_are_taken_from_the_table() -> None:
    order = corrected_order(OPEN, ORDER, {"Price": "80000"})
    assert order == {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "80000"}


@pytest.mark.parametrize(
    ("case", "corrections", "text", "missing"),
    [
        (OPEN, {"Price": "1"}, "order 001 is not in the table", ["Name", "ItemName"]),
        (
            replace(OPEN, order_id=None),
            {"Name": "Ada", "ItemName": "B", "Price": "1"},
            "the case has no order",
            ["OrderId"],
        ),
    ],
)
def test_missing_fields_are_named(case: Case, corrections: dict[str, str], text: str, missing: list[str]) -> None:
    with pytest.raises(IncompleteOrderError) as raised:
        corrected_order(case, None, corrections)
    assert (str(raised.value), raised.value.correct) == (text, missing)


@pytest.mark.parametrize(
    ("corrections", "text", "correct"),
    [
        ({}, "Price must be a price above 0 with at most two decimals", ["Price"]),
        ({"Price": "1", "Name": ""}, "malformed: Name", []),
    ],
)
def test_a_wrong_field_is_named(corrections: dict[str, str], text: str, correct: list[str]) -> None:
    with pytest.raises(InvalidOrderError) as raised:
        corrected_order(OPEN, ORDER, corrections)
    assert (str(raised.value), list(raised.value.correct)) == (text, correct)


@pytest.mark.parametrize("text", [CARD, " 4929-1234 1234-5678\n", "4929 1234 1234 5678"])
def test_a_card_number_may_be_grouped(text: str) -> None:
    order = corrected_order(OPEN, ORDER, {"Price": "1"})
    assert with_card_number(order, text) == order | {"CC": CARD}


@pytest.mark.parametrize("text", ["", CARD[:12], f"{CARD}1", "\ufffd" * 16])
def test_what_is_not_a_card_number_is_not_repeated_in_the_error(text: str) -> None:
    order = corrected_order(OPEN, ORDER, {"Price": "1"})
    with pytest.raises(InvalidOrderError) as raised:
        with_card_number(order, text)
    assert str(raised.value) == "CC must be a card number of 16 digits"


def test_the_last_resolution_of_the_same_person_and_action_is_reported() -> None:
    made = [
        request("cancel"),
        request("fulfill"),
        request("fulfill", shipment_id="S-2"),
        request("fulfill", actor="grace"),
    ]
    case = replace(OPEN, resolutions=tuple(resolution.record(1, AT) for resolution in made))
    last = last_resolution(case, request("fulfill"))
    assert last is not None
    assert (last.actor, last.shipment_id) == ("ada", "S-2")
    assert last_resolution(OPEN, request("fulfill")) is None
