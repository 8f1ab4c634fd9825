from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from tests.workers.operations.fakes import STATE_MACHINE, fake_stack
from workers import clock
from workers.aws.executions import Executions
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Severity
from workers.domain.resolutions import Action, Request, ResolutionError
from workers.domain.retention import FOR_EVER
from workers.errors import ConflictError, OutageError
from workers.operations.errors import OperationError
from workers.operations.resolve import (
    IncompleteOrderError,
    InvalidOrderError,
    corrected_order,
    is_done,
    last_resolution,
    problem_of,
    resolve_case,
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
    with pytest.raises(
        OperationError, match=f"resolved.* by {other.actor} at {clock.shown(AT)}: {other.action}; `orders show 001`"
    ):
        is_done(resolved(other), request("cancel"))


def test_fields_without_a_correction_are_taken_from_the_table() -> None:
    order = corrected_order(OPEN, ORDER, {"Price": "80000"})
    assert order == {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "80000"}


@pytest.mark.parametrize(
    ("case", "corrections", "text", "missing"),
    [
        (OPEN, {"Price": "1"}, "order 001 is not in the table", ["Name", "ItemName"]),
        (OPEN, {"Name": "Ada", "ItemName": "B"}, "order 001 is not in the table", ["Price"]),
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


@pytest.mark.parametrize(
    "text", [CARD, " 4929-1234 1234-5678\n", "4929 1234 1234 5678", "4929\u00a01234\u00a01234\u00a05678"]
)
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


def test_a_resolved_case_without_a_resolution_of_this_episode_is_an_error() -> None:
    case = replace(OPEN, state=CaseState.RESOLVED, episode=2, resolutions=(request("cancel").record(1, AT),))
    with pytest.raises(OperationError):
        is_done(case, request("cancel"))


def test_a_field_that_the_stored_order_lacks_is_missing() -> None:
    with pytest.raises(IncompleteOrderError) as raised:
        corrected_order(OPEN, replace(ORDER, name=None), {"Price": "1"})
    assert raised.value.correct == ["Name"]
    assert corrected_order(OPEN, replace(ORDER, name=None), {"Price": "1", "Name": "Eve"})["Name"] == "Eve"


def test_an_order_that_is_not_stored_can_be_given_whole() -> None:
    order = corrected_order(OPEN, None, {"Name": "Ada", "ItemName": "Bicycle", "Price": "1"})
    assert order == {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "1"}


class FakeResolver:
    """Records its call, or fails with `error`."""

    error: Exception | None = None

    def __init__(self, **given: Any) -> None:
        self.given = given
        RESOLVERS.append(self)

    async def resolve(self, *arguments: object) -> None:
        self.called = ("resolve", *arguments)
        if self.error is not None:
            raise self.error

    async def resubmit(self, *arguments: object) -> None:
        self.called = ("resubmit", *arguments)


RESOLVERS: list[FakeResolver] = []


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> type[FakeResolver]:
    RESOLVERS.clear()
    monkeypatch.setattr("workers.escalation.resolver.Resolver", FakeResolver)
    monkeypatch.setattr("workers.operations.cases.tables", lambda _stack, _retention: nullcontext(("orders", "cases")))
    monkeypatch.setattr("workers.operations.retention.read_retention", AsyncMock(return_value=FOR_EVER))
    monkeypatch.setattr("workers.operations.cases.sdk_client", lambda _stack, service: nullcontext(service))
    monkeypatch.setattr(FakeResolver, "error", None)
    return FakeResolver


@pytest.mark.usefixtures("resolver")
@pytest.mark.parametrize(
    ("order", "called"),
    [
        (None, ("resolve", "001", request("cancel"))),
        ({"OrderId": "001"}, ("resubmit", "001", {"OrderId": "001"}, request("cancel"))),
    ],
)
async def test_a_case_is_resolved_or_its_order_resubmitted(order: dict[str, str] | None, called: object) -> None:
    await resolve_case(fake_stack(), "001", request("cancel"), order)
    (made,) = RESOLVERS
    assert made.called == called
    executions = Executions(cast("Any", "stepfunctions"), STATE_MACHINE)
    assert made.given == {"orders": "orders", "cases": "cases", "executions": executions}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ResolutionError("not allowed"), "not allowed"),
        (ConflictError("changed"), "others are changing this case or its order now; try again"),
    ],
)
async def test_a_refused_resolution_is_one_line(resolver: type[FakeResolver], error: Exception, text: str) -> None:
    resolver.error = error
    with pytest.raises(OperationError) as raised:
        await resolve_case(fake_stack(), "001", request("cancel"), None)
    assert str(raised.value) == text


async def test_an_outage_during_a_resolution_is_raised_as_it_is(resolver: type[FakeResolver]) -> None:
    resolver.error = OutageError("down")
    with pytest.raises(OutageError):
        await resolve_case(fake_stack(), "001", request("cancel"), None)


@pytest.mark.parametrize(
    ("action", "status", "problem"),
    [
        ("resubmit", None, None),
        ("resubmit", OrderStatus.ESCALATED, None),
        ("resubmit", OrderStatus.FULFILLED, "the order is FULFILLED: only an escalated order can be resubmitted"),
        ("cancel", OrderStatus.ESCALATED, None),
        ("cancel", OrderStatus.RECEIVED, "the order is RECEIVED: it is in progress, not escalated"),
    ],
)
def test_a_request_that_order_or_case_do_not_allow_has_a_problem(
    action: str, status: OrderStatus | None, problem: str | None
) -> None:
    stored = None if status is None else replace(ORDER, status=status)
    assert problem_of(OPEN, stored, request(action), AT) == problem


@pytest.mark.parametrize("action", ["resubmit", "cancel"])
def test_a_request_about_an_earlier_episode_has_a_problem(action: str) -> None:
    problem = problem_of(replace(OPEN, episode=2), ORDER, request(action, episode=1), AT)
    assert problem is not None
    assert "episode" in problem or "opened again" in problem
