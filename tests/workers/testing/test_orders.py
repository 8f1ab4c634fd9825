"""Orders of a test: what is submitted, and what is said of an order that does not come."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from dataclasses import fields as fields_of
from decimal import Decimal
from typing import Any, cast

import pytest

from tests.workers.testing.fakes import STACK, FakeClient, use
from workers.aws.items import to_item
from workers.domain.submissions import improper_fields, malformed_fields
from workers.testing.orders import Orders, as_text, workflow
from workers.testing.snapshots import Case


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("129.90", "129.90"),
        ("", ""),
        (80, "80"),
        (-1, "-1"),
        (129.9, "129.9"),
        (1e16, "10000000000000000"),
        (Decimal("129.90"), "129.90"),
        (Decimal("8E+1"), "80"),
        (4000001234567899, "4000001234567899"),
        (None, None),
    ],
)
def test_a_number_is_submitted_as_the_text_that_an_order_has(given: object, text: str | None) -> None:
    assert as_text("price", given) == text


@pytest.mark.parametrize("given", [True, ["80"], {}, b"80"])
def test_any_other_value_is_refused_in_one_line(given: object) -> None:
    line = f"orders.submit: price is {given!r}, must be a text or a number, or None for a malformed order"
    with pytest.raises(TypeError, match=re.escape(line)):
        as_text("price", given)


@pytest.mark.parametrize(
    ("execution", "text"),
    [
        ({"status": "RUNNING"}, " (its workflow is RUNNING)"),
        (
            {"status": "FAILED", "error": "MalformedOrder", "cause": "Malformed fields: Price."},
            " (its workflow is FAILED, MalformedOrder: Malformed fields: Price.)",
        ),
    ],
)
def test_what_the_workflow_did_is_said_with_its_reason(execution: dict[str, str], text: str) -> None:
    assert workflow(execution) == text


ARN = "arn:aws:states:us-east-1:000000000000:execution:t-Orders:one"
AT = "2026-11-22T10:00:00Z"
ORDER = {
    "OrderId": "001",
    "Status": "ESCALATED",
    "ExecutionArn": ARN,
    "Name": "Ada",
    "ItemName": "Bell",
    "Price": "-1",
    "CC": "****",
    "CreatedAt": AT,
    "UpdatedAt": f"{AT}1",
    "ShipmentId": "s",
    "FulfilledAt": f"{AT}2",
    "EscalatedAt": f"{AT}3",
    "Reasons": ["INVALID_PRICE"],
    "Attempts": 5,
}
CASE = {
    "CaseId": "001",
    "State": "OPEN",
    "Severity": "warning",
    "Reasons": ["INVALID_PRICE"],
    "Sources": ["workflow"],
    "OrderId": "001",
    "OpenedAt": AT,
    "UpdatedAt": f"{AT}1",
    "Episode": 2,
    "Channels": ["log"],
    "Attempts": 5,
}


class Looking:
    """A running test, which looks as often as it may."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def wait_until(self, look: Callable[[], Any], missing: Callable[[], str], timeout_s: float) -> Any:
        for _ in range(self.looks):
            if (found := look()) is not None:
                return found
        raise AssertionError(f"{missing()} within {timeout_s:g} s")


@dataclass
class Aws:
    """Tables whose answers are given one by one, and a workflow."""

    monkeypatch: pytest.MonkeyPatch
    answers: list[dict[str, Any] | None] = field(default_factory=list)
    looks: int = 3

    def __post_init__(self) -> None:
        self.dynamodb = FakeClient(get_item=lambda **_: self.next_item())
        self.stepfunctions = FakeClient(
            start_execution=lambda **_: {"executionArn": ARN}, describe_execution=lambda **_: {"status": "RUNNING"}
        )
        use(self.monkeypatch, "orders", dynamodb=self.dynamodb, stepfunctions=self.stepfunctions)

    def next_item(self) -> dict[str, Any]:
        item = self.answers.pop(0) if self.answers else None
        return {} if item is None else {"Item": to_item(item)}

    @property
    def orders(self) -> Orders:
        return Orders(STACK, cast("Any", Looking(self.looks)))

    def submitted(self) -> dict[str, Any]:
        ((operation, request),) = self.stepfunctions.requests
        assert (operation, request.pop("stateMachineArn")) == ("start_execution", STACK.state_machine_arn)
        fields: dict[str, Any] = json.loads(request.pop("input"))
        assert request == {}
        return fields


def test_an_order_is_a_valid_one_with_an_id_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws(monkeypatch)
    order_id = aws.orders.submit()
    assert re.fullmatch("order-[0-9a-f]{12}", order_id)
    given = aws.submitted()
    assert given == {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "129.90", "CC": given["CC"]}
    assert (improper_fields(given), malformed_fields(given)) == ([], [])


def test_each_field_of_an_order_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws(monkeypatch)
    assert aws.orders.submit(1, name=None, item_name="Bell", price=-1, cc=12) == "1"
    assert aws.submitted() == {"OrderId": "1", "Name": None, "ItemName": "Bell", "Price": "-1", "CC": "12"}


def test_an_order_is_returned_once_it_is_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws(monkeypatch, [None, ORDER | {"Status": "RECEIVED"}, ORDER])
    order = aws.orders.get("001", status="ESCALATED", attempts=5)
    assert asdict(order) == {
        "order_id": "001",
        "status": "ESCALATED",
        "execution_arn": ARN,
        "name": "Ada",
        "item_name": "Bell",
        "price": "-1",
        "cc": "****",
        "created_at": AT,
        "updated_at": f"{AT}1",
        "shipment_id": "s",
        "fulfilled_at": f"{AT}2",
        "escalated_at": f"{AT}3",
        "reasons": ("INVALID_PRICE",),
        "attempts": 5,
        "item": ORDER,
    }
    request = {"TableName": "t-OrderTable", "Key": {"OrderId": {"S": "001"}}, "ConsistentRead": True}
    assert aws.dynamodb.requests == [("get_item", request)] * 3


def test_what_an_order_does_not_have_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    item = {"OrderId": "001", "Status": "RECEIVED"}
    order = asdict(Aws(monkeypatch, [item]).orders.get("001"))
    assert (order.pop("order_id"), order.pop("status"), order.pop("item")) == ("001", "RECEIVED", item)
    assert (order.pop("reasons"), order.pop("attempts"), set(order.values())) == ((), 0, {None})


def test_a_case_is_returned_once_it_is_as_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws(monkeypatch, [None, CASE])
    assert asdict(aws.orders.get_case("001", state="OPEN", episode=2)) == {
        "case_id": "001",
        "state": "OPEN",
        "severity": "warning",
        "order_id": "001",
        "opened_at": AT,
        "updated_at": f"{AT}1",
        "episode": 2,
        "attempts": 5,
        "reasons": ("INVALID_PRICE",),
        "item": CASE,
        "sources": ("workflow",),
        "channels": ("log",),
    }
    request = {"TableName": "t-EscalationTable", "Key": {"CaseId": {"S": "001"}}, "ConsistentRead": True}
    assert aws.dynamodb.requests == [("get_item", request)] * 2


def test_what_a_case_does_not_have_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    item = {name: value for name, value in CASE.items() if name not in {"OrderId", "Channels", "Attempts"}}
    case = Aws(monkeypatch, [item]).orders.get_case("001")
    assert (case.order_id, case.channels, case.attempts) == (None, (), None)


def test_what_is_missing_is_said_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = Aws(monkeypatch)
    with pytest.raises(AssertionError, match=r"^There was no order 001 within 5 s$"):
        aws.orders.get("001", timeout_s=5)
    with pytest.raises(AssertionError, match=r"^There was no case 001 within 90 s$"):
        aws.orders.get_case("001")
    orders = aws.orders
    orders.submit("001")
    with pytest.raises(AssertionError, match=r"^There was no order 001 \(its workflow is RUNNING\) within 90 s$"):
        orders.get("001")
    assert aws.stepfunctions.requests[-1] == ("describe_execution", {"executionArn": ARN})
    aws.answers = [ORDER] * 3
    text = "The order 001 has status 'ESCALATED', attempts 5, and did not get status='FULFILLED', attempts=5 within"
    with pytest.raises(AssertionError, match=f"^{text}"):
        orders.get("001", status="FULFILLED", attempts=5)


def test_a_field_that_there_is_not_is_refused_with_those_that_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = ", ".join(each.name for each in fields_of(Case))
    with pytest.raises(TypeError, match=re.escape(f"case(...) got a, status; the fields are: {fields}")):
        Aws(monkeypatch).orders.get_case("001", status="OPEN", a=1, state="OPEN")
