"""The expressions of the definition, evaluated here: the grammar of an order, and what the order table records."""

import json
import re
from functools import cache
from typing import Any

import pytest
from jsonata import Jsonata

from deploy.check_state_machine import DEFINITIONS
from deploy.stacks import template

DEFINITION = DEFINITIONS / "order-fulfillment.asl.json"
UUID = "12345678-1234-1234-1234-123456789012"
PROPER = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "1", "CC": "1234123456785678"}


@cache
def deployed_text() -> str:
    substitutions = template.definition_substitutions(template.PIPELINE, DEFINITION)
    assert substitutions is not None
    return template.with_texts(DEFINITION.read_text(encoding="utf-8"), substitutions)


def load() -> dict[str, Any]:
    definition: dict[str, Any] = json.loads(deployed_text())
    return definition


def resources() -> dict[str, Any]:
    found: dict[str, Any] = template.load(template.PIPELINE)["Resources"]
    return found


@cache  # Parsing an expression takes longer than evaluating it.
def parsed(expression: str) -> Jsonata:
    return Jsonata(expression[2:-2].strip())


def evaluate(expression: str, states_input: object) -> Any:
    return parsed(expression).evaluate(None, {"states": {"input": states_input}})


def is_accepted(order: object) -> bool:
    not_an_object, is_proper = load()["States"]["Check the order"]["Choices"]
    return not evaluate(not_an_object["Condition"], order) and evaluate(is_proper["Condition"], order)


def malformed(order: object) -> dict[str, Any]:
    assigned = load()["States"]["Check the order"]["Assign"]["malformed"]
    found: dict[str, Any] = evaluate(assigned, order)
    return found


def recorded(field: str, value: str) -> str:
    item = load()["States"]["Update the order table"]["Arguments"]["Item"]
    masked: str = evaluate(item[field]["S"], PROPER | {field: value})
    return masked


def test_the_grammar_of_an_order_is_stored_once() -> None:
    state = json.loads(DEFINITION.read_text(encoding="utf-8"))["States"]["Check the order"]
    condition, assigned = state["Choices"][1]["Condition"], state["Assign"]["malformed"]
    assert condition == "{% $count(${MalformedFields}) = 0 %}"
    assert assigned.count("${MalformedFields}") == 1


@pytest.mark.parametrize("order", [None, True, 1, "x", [], [PROPER]])
def test_it_does_not_matter_if_a_choices_own_variables_are_assigned_after_a_match(order: object) -> None:
    state = load()["States"]["Check the order"]
    assert evaluate(state["Choices"][0]["Condition"], order)
    assert malformed(order) == state["Choices"][0]["Assign"]["malformed"]
    assert malformed(PROPER)["OrderId"] == PROPER["OrderId"]  # After the other match; it is not used then.


def test_the_rule_ignores_exactly_the_errors_that_need_no_escalation() -> None:
    failed = {state["Error"] for state in load()["States"].values() if state["Type"] == "Fail"}
    pattern = resources()["FailedExecutionsRule"]["Properties"]["EventPattern"]["detail"]["$or"]
    (ignored,) = (error["anything-but"] for arm in pattern for error in arm.get("error", [])[:1])
    assert sorted(ignored) == sorted(failed - {"EscalationNotSent"})


def test_only_the_verification_gets_the_whole_card_number() -> None:
    states = load()["States"]
    assert "CC" in states.pop("Are details Proper")["Arguments"]["Payload"]
    del states["Check the order"]
    del states["Update the order table"]["Arguments"]["Item"]
    assert re.search(r"\bCC\b", json.dumps(states)) is None


@pytest.mark.parametrize(
    "order_id", ["0", "Z", "001", "a.b_c-d", "a" * 64, "1" * 12, "1-2-3-4-5-6-7-8-9-0-1-2", UUID, f"order-{UUID}.1"]
)
def test_a_well_formed_order_id_is_accepted(order_id: str) -> None:
    assert is_accepted(PROPER | {"OrderId": order_id})


@pytest.mark.parametrize(
    "order_id",
    [
        *("", "a" * 65, "-a", ".a", "_a", "a b", "a/b", "a\n", "\na", "a\u00e9", "\u0661", "\uff11", "a\u0000", " a"),
        *("1" * 13, "1234123456785678", "a1234567890123b", "1234-1234-5678-5678", "1--2-3-4-5-6-7-8-9-0-1-2-3"),
        *(UUID + "-1234567890123", "x" * 100_000, "1" * 100_000, "1-" * 50_000),
        *(None, 1, True, [], ["001"], {}, {"OrderId": "001"}),
    ],
)
def test_any_other_order_id_is_malformed(order_id: object) -> None:
    order = PROPER | {"OrderId": order_id}
    assert not is_accepted(order)
    assert malformed(order) == {"OrderId": None, "Detail": "Malformed fields: OrderId."}


@pytest.mark.parametrize("field", ["Name", "ItemName"])
@pytest.mark.parametrize("value", ["x", "x" * 256, "\U0001f6b2" * 256, "Zo\u00eb \u5f20\u4f1f", "\n", "\u0000"])
def test_names_may_have_any_characters(field: str, value: str) -> None:
    assert is_accepted(PROPER | {field: value})


@pytest.mark.parametrize("field", ["Price", "CC"])
@pytest.mark.parametrize("value", ["", "x", "x" * 256])
def test_any_short_price_and_card_number_are_left_to_the_verification(field: str, value: str) -> None:
    assert is_accepted(PROPER | {field: value})


@pytest.mark.parametrize("field", ["Name", "ItemName", "Price", "CC"])
@pytest.mark.parametrize("value", ["x" * 257, "x" * 100_000, None, 1, True, [], ["x"], [["x"]], {}, {"S": "x"}])
def test_any_other_field_is_malformed(field: str, value: object) -> None:
    order = PROPER | {field: value}
    assert not is_accepted(order)
    assert malformed(order) == {"OrderId": "001", "Detail": f"Malformed fields: {field}."}


@pytest.mark.parametrize("order", [[], [PROPER], "x", 1, True])
def test_an_input_that_is_not_an_object_is_malformed(order: object) -> None:
    assert not is_accepted(order)


def test_all_malformed_fields_are_named_in_order() -> None:
    assert malformed({}) == {"OrderId": None, "Detail": "Malformed fields: OrderId, Name, ItemName, Price, CC."}


@pytest.mark.parametrize("field", ["Name", "ItemName", "Price"])
@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("1234123456785678", "****"),
        ("a1234-1234 5678-5678b", "a****b"),
        ("1234567890123", "****"),
        ("1" * 256, "****"),
        ("4111  1111--1111 1111 and 5500 0000 0000 0004", "**** and ****"),
        ("123456789012", "123456789012"),
        ("$1 & $0", "$1 & $0"),
        ("Zo\u00eb 42", "Zo\u00eb 42"),
    ],
)
def test_card_numbers_in_recorded_fields_are_masked(field: str, value: str, stored: str) -> None:
    assert recorded(field, value) == stored


@pytest.mark.parametrize(
    ("cc", "stored"),
    [
        ("1234123456785678", "************5678"),
        *((cc, "****") for cc in ("", "123412345678", "12341234567856789", "1234123456785678\n", "1234-1234-5678-56")),
        ("\u0661" * 16, "****"),
    ],
)
def test_at_most_the_last_four_digits_of_a_card_number_are_recorded(cc: str, stored: str) -> None:
    assert recorded("CC", cc) == stored
