"""The definition as it is shipped passes our static check, and the check finds each thing it is there for."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonata import Jsonata

from deploy import check_state_machine
from deploy.stacks import template

DEFINITION = check_state_machine.DEFINITIONS / "order-fulfillment.asl.json"
UUID = "12345678-1234-1234-1234-123456789012"
PROPER = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "1", "CC": "1234123456785678"}

Break = Callable[[dict[str, Any]], object]


def load() -> dict[str, Any]:
    definition: dict[str, Any] = json.loads(DEFINITION.read_text(encoding="utf-8"))
    return definition


def resources() -> dict[str, Any]:
    found: dict[str, Any] = template.load(template.PIPELINE)["Resources"]
    return found


def findings(definition: object) -> list[str]:
    return [str(finding) for finding in check_state_machine.check_definition(definition, "x.asl.json")]


def evaluate(expression: str, states_input: object) -> Any:
    return Jsonata(expression[2:-2].strip()).evaluate(None, {"states": {"input": states_input}})


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


def test_the_shipped_definition_and_samples_have_no_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_state_machine.main([]) == 0
    assert capsys.readouterr() == ("", "")


def put(state: str, **fields: object) -> Break:
    return lambda definition: definition["States"][state].update(fields)


def drop(state: str, field: str) -> Break:
    return lambda definition: definition["States"][state].pop(field)


def put_retry(field: str, value: object) -> Break:
    return lambda definition: definition["States"]["Are details Proper"]["Retry"][0].update({field: value})


def drop_retry(field: str) -> Break:
    return lambda definition: definition["States"]["Are details Proper"]["Retry"][0].pop(field)


@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (lambda d: d.pop("QueryLanguage"), "-: QueryLanguage is not JSONata"),
        (lambda d: d.pop("TimeoutSeconds"), "-: has no TimeoutSeconds"),
        (lambda d: d.update(StartAt="Nowhere"), "-: StartAt names no state: Nowhere"),
        (lambda d: d.update(States=[]), "-: States is not an object of objects"),
        (put("Are details Proper", Next="X"), "Are details Proper: goes on to a state that does not exist: X"),
        (put("Put message in Queue", Default="X"), "Put message in Queue: goes on to a state that does not exist: X"),
        (
            lambda d: d["States"]["Put message in Queue"]["Choices"][0].update(Next="X"),
            "Put message in Queue: goes on to a state that does not exist: X",
        ),
        (
            lambda d: d["States"]["Are details Proper"]["Catch"][0].update(Next="X"),
            "Are details Proper: goes on to a state that does not exist: X",
        ),
        (lambda d: d["States"].update(Island={"Type": "Succeed"}), "Island: cannot be reached"),
        (
            lambda d: d["States"].update(Island={"Type": "Pass", "Next": "Island"}),
            "Island: cannot be reached",
        ),
        (drop("Are details Proper", "Next"), "Are details Proper: needs either Next or End"),
        (put("Are details Proper", End=True), "Are details Proper: needs either Next or End"),
        (put("Order is malformed", Type="Fial"), "Order is malformed: is of a Type that does not exist: Fial"),
        (drop("Put message in Queue", "Default"), "Put message in Queue: has no Default"),
        (put("Put message in Queue", Choices=[]), "Put message in Queue: has no Choices"),
        (
            lambda d: d["States"]["Put message in Queue"]["Choices"][1].pop("Next"),
            "Put message in Queue: choice 2 has no Next",
        ),
        (
            lambda d: d["States"]["Put message in Queue"]["Choices"][1].update(Condition="$x = 1"),
            "Put message in Queue: choice 2 has no expression as its Condition",
        ),
        (drop("Are details Proper", "TimeoutSeconds"), "Are details Proper: has no TimeoutSeconds"),
        (drop("Are details Proper", "Retry"), "Are details Proper: has no Retry"),
        (drop("Are details Proper", "Catch"), "Are details Proper: has no Catch"),
        (
            lambda d: d["States"]["Update the order table"]["Catch"].reverse(),
            "Update the order table: Catch has its catch-all before its last rule",
        ),
        (
            lambda d: d["States"]["Update the order table"]["Catch"].pop(),
            "Update the order table: Catch does not end in a catch-all",
        ),
        (
            put_retry("ErrorEquals", ["States.ALL", "States.Timeout"]),
            "Are details Proper: Retry has other errors beside States.ALL in one rule",
        ),
        (drop_retry("MaxDelaySeconds"), "Are details Proper: retry 1 has no MaxDelaySeconds"),
        (drop_retry("JitterStrategy"), "Are details Proper: retry 1 has no JitterStrategy"),
        (drop_retry("BackoffRate"), "Are details Proper: retry 1 has no BackoffRate"),
        (drop_retry("MaxAttempts"), "Are details Proper: retry 1 has no MaxAttempts"),
        (put_retry("JitterStrategy", "NONE"), "Are details Proper: retry 1 has a JitterStrategy other than FULL"),
        (
            put("Are details Proper", Output="{% ( $x := 1; %}"),
            "Are details Proper: Output does not compile: Expected ) before end of expression",
        ),
        (
            put("Are details Proper", Output={"Deep": ["{% $f( %}"]}),
            "Are details Proper: Deep does not compile: Expected ) before end of expression",
        ),
        (
            put("Are details Proper", Output="The id is {% $x %}"),
            "Are details Proper: Output is not one whole {% expression %}",
        ),
        (put("Are details Proper", ResultPath="$"), "Are details Proper: ResultPath belongs to JSONPath"),
        (
            put("Are details Proper", Resource="arn:aws:states:::lambda:invoke"),
            "Are details Proper: Resource holds an ARN; take it or its partition from a substitution",
        ),
        (
            put("Are details Proper", Output="https://sqs.eu-west-1.amazonaws.com/123456789012/Q"),
            "Are details Proper: Output holds what looks like an account id",
        ),
    ],
)
def test_finds_what_is_broken(broken: Break, finding: str) -> None:
    definition = load()
    broken(definition)
    assert f"x.asl.json: {finding}" in findings(definition)


def test_finds_what_is_broken_in_a_nested_state_machine() -> None:
    definition = load()
    task = definition["States"]["Are details Proper"]
    nested = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}}}
    definition["States"]["Are details Proper"] = {
        "Type": "Parallel",
        "Branches": [nested],
        "Catch": task["Catch"],
        "Next": task["Next"],
    }
    assert findings(definition) == ["x.asl.json: A: goes on to a state that does not exist: B"]


@pytest.mark.parametrize("definition", [[], None, "x", 1])
def test_finds_that_a_definition_is_no_object(definition: object) -> None:
    assert findings(definition) == ["x.asl.json: -: is not a JSON object"]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes"),
        ('{"States": {"A": 1, "A": 2}}', "is not valid JSON: A is given twice"),
    ],
)
def test_finds_that_a_file_is_no_json(text: str, finding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.asl.json"
    path.write_text(text, encoding="utf-8")
    (found,) = check_state_machine.check_file(path)
    assert str(found).startswith(f"{path}: -: {finding}")


def test_prints_findings_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.asl.json"
    assert check_state_machine.main([str(missing)]) == 1
    assert capsys.readouterr().err == f"{missing}: -: cannot be read: No such file or directory\n"


def test_finds_substitutions_that_are_not_given_or_not_used() -> None:
    found = check_state_machine.check_substitutions('{"A": "${Used} ${Missing}"}', ["Used", "Spare"], "x.asl.json")
    assert [str(finding) for finding in found] == [
        "x.asl.json: -: ${Missing} is not in DefinitionSubstitutions",
        "x.asl.json: -: DefinitionSubstitutions' Spare is not used",
    ]


def test_finds_that_nothing_deploys_a_definition(tmp_path: Path) -> None:
    path = tmp_path / "x.asl.json"
    path.write_text(DEFINITION.read_text(encoding="utf-8"), encoding="utf-8")
    assert [str(finding) for finding in check_state_machine.check_file(path)] == [
        f"{path}: -: no state machine of the template takes its definition from here"
    ]


@pytest.mark.parametrize(
    ("sample", "finding"),
    [
        ("{", "is not valid JSON: Expecting property name"),
        ("[]", "is not a JSON object"),
        (json.dumps({**PROPER, "Price": 1}), "Price is not a string"),
        (json.dumps({**PROPER, "Color": "red"}), "Color is no field"),
        (json.dumps({name: PROPER[name] for name in ("OrderId", "Name", "ItemName", "Price")}), "has no CC"),
    ],
)
def test_finds_that_a_sample_is_no_order(sample: str, finding: str, tmp_path: Path) -> None:
    path = tmp_path / "001.json"
    path.write_text(sample, encoding="utf-8")
    (found,) = check_state_machine.check_sample(path)
    assert str(found).startswith(f"{path}: -: {finding}")


def test_both_expressions_of_the_first_state_check_alike() -> None:
    state = load()["States"]["Check the order"]
    condition, assigned = state["Choices"][1]["Condition"], state["Assign"]["malformed"]
    shared = condition.removesuffix("$count($wrong) = 0 ) %}")
    assert shared != condition
    assert assigned.startswith(shared)


def test_the_rule_leaves_out_exactly_the_errors_that_need_no_further_escalation() -> None:
    failed = {state["Error"] for state in load()["States"].values() if state["Type"] == "Fail"}
    pattern = resources()["FailedExecutionsRule"]["Properties"]["EventPattern"]["detail"]["$or"]
    (left_out,) = (error["anything-but"] for arm in pattern for error in arm.get("error", [])[:1])
    assert sorted(left_out) == sorted(failed - {"EscalationNotSent"})


def test_no_state_but_the_verification_takes_the_whole_card_number_on() -> None:
    outside = load()["States"]
    assert "CC" in outside.pop("Are details Proper")["Arguments"]["Payload"]
    del outside["Check the order"]
    del outside["Update the order table"]["Arguments"]["Item"]
    assert re.search(r"\bCC\b", json.dumps(outside)) is None


@pytest.mark.parametrize(
    "order_id", ["0", "Z", "001", "a.b_c-d", "a" * 64, "1" * 12, "1-2-3-4-5-6-7-8-9-0-1-2", UUID, f"order-{UUID}.1"]
)
def test_takes_an_order_id_of_the_grammar(order_id: str) -> None:
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
def test_refuses_any_other_order_id(order_id: object) -> None:
    order = PROPER | {"OrderId": order_id}
    assert not is_accepted(order)
    assert malformed(order) == {"OrderId": None, "Detail": "Malformed fields: OrderId."}


@pytest.mark.parametrize("field", ["Name", "ItemName"])
@pytest.mark.parametrize("value", ["x", "x" * 256, "\U0001f6b2" * 256, "Zo\u00eb \u5f20\u4f1f", "\n", "\u0000"])
def test_takes_a_name_of_any_characters(field: str, value: str) -> None:
    assert is_accepted(PROPER | {field: value})


@pytest.mark.parametrize("field", ["Price", "CC"])
@pytest.mark.parametrize("value", ["", "x", "x" * 256])
def test_leaves_price_and_card_number_to_the_verification(field: str, value: str) -> None:
    assert is_accepted(PROPER | {field: value})


@pytest.mark.parametrize("field", ["Name", "ItemName", "Price", "CC"])
@pytest.mark.parametrize("value", ["x" * 257, "x" * 100_000, None, 1, True, [], ["x"], [["x"]], {}, {"S": "x"}])
def test_refuses_any_other_field(field: str, value: object) -> None:
    order = PROPER | {field: value}
    assert not is_accepted(order)
    assert malformed(order) == {"OrderId": "001", "Detail": f"Malformed fields: {field}."}


@pytest.mark.parametrize("order", [[], [PROPER], "x", 1, True])
def test_refuses_what_is_no_object(order: object) -> None:
    assert not is_accepted(order)


def test_names_all_malformed_fields_in_order() -> None:
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
def test_masks_card_numbers_in_what_it_records(field: str, value: str, stored: str) -> None:
    assert recorded(field, value) == stored


@pytest.mark.parametrize(
    ("cc", "stored"),
    [
        ("1234123456785678", "************5678"),
        *((cc, "****") for cc in ("", "123412345678", "12341234567856789", "1234123456785678\n", "1234-1234-5678-56")),
        ("\u0661" * 16, "****"),
    ],
)
def test_records_at_most_the_last_four_digits_of_a_card_number(cc: str, stored: str) -> None:
    assert recorded("CC", cc) == stored
