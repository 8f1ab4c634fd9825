"""The static check finds each kind of mistake, and none in the shipped definition."""

import copy
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import check_state_machine
from deploy.errors import DeployError
from tests.statemachine import bulk
from tests.statemachine.test_definition import PROPER, load

SMALL = {
    "QueryLanguage": "JSONata",
    "TimeoutSeconds": 60,
    "StartAt": "A",
    "States": {"A": {"Type": "Pass", "Output": "{% 1 + ${Two} %}", "End": True}},
}

Break = Callable[[dict[str, Any]], object]


def findings(definition: object) -> list[str]:
    return [str(finding) for finding in check_state_machine.check_definition(definition, "x.asl.json")]


def findings_with(text: str, directory: Path) -> list[str]:
    """Check `SMALL` with a template that puts `text` in for `Two`."""
    (directory / "x.asl.json").write_text(json.dumps(SMALL), encoding="utf-8")
    properties = {"DefinitionS3Location": "x.asl.json", "DefinitionSubstitutions": {"Two": text}}
    pipeline = directory / "pipeline.json"
    pipeline.write_text(json.dumps({"Resources": {"Machine": {"Properties": properties}}}), encoding="utf-8")
    return [
        str(finding).removeprefix(f"{directory}/")
        for finding in check_state_machine.check_file(directory / "x.asl.json", pipeline)
    ]


def test_the_shipped_definition_and_samples_have_no_findings(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_state_machine.main([]) == 0
    assert capsys.readouterr() == ("", "")


def put(state: str, **fields: object) -> Break:
    return lambda definition: definition["States"][state].update(fields)


def drop(state: str, field: str) -> Break:
    return lambda definition: definition["States"][state].pop(field)


def put_choice(field: str, value: object) -> Break:
    return lambda definition: definition["States"]["Put message in Queue"]["Choices"][0].update({field: value})


def put_retry(field: str, value: object) -> Break:
    return lambda definition: definition["States"]["Are details Proper"]["Retry"][0].update({field: value})


def drop_retry(field: str) -> Break:
    return lambda definition: definition["States"]["Are details Proper"]["Retry"][0].pop(field)


@pytest.mark.parametrize(
    ("broken", "finding"),
    [
        (lambda d: d.pop("QueryLanguage"), "-: QueryLanguage is not JSONata"),
        (lambda d: d.pop("TimeoutSeconds"), "-: has no TimeoutSeconds"),
        (lambda d: d.update(StartAt="Nowhere"), "-: StartAt is not a state: Nowhere"),
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
        (put("Order is malformed", Type="Fial"), "Order is malformed: has an unknown Type: Fial"),
        (drop("Put message in Queue", "Default"), "Put message in Queue: has no Default"),
        (put("Put message in Queue", Choices=[]), "Put message in Queue: has no Choices"),
        (
            lambda d: d["States"]["Put message in Queue"]["Choices"][1].pop("Next"),
            "Put message in Queue: choice 2 has no Next",
        ),
        (
            lambda d: d["States"]["Put message in Queue"]["Choices"][1].update(Condition="$x = 1"),
            "Put message in Queue: choice 2 has a Condition that is not an expression",
        ),
        *(
            (put_choice("Comment", label), "Put message in Queue: choice 1 has no Comment of one to 3 words")
            for label in (None, "", " ", "the details are proper", ["proper"])
        ),
        (
            lambda d: d["States"]["Check the order"]["Choices"][1].pop("Comment"),
            "Check the order: choice 2 has no Comment of one to 3 words",
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
            "Are details Proper: Retry has a rule with States.ALL and other errors",
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
        *(
            (put("Are details Proper", **{field: "$"}), f"Are details Proper: {field} belongs to JSONPath")
            for field in ("InputPath", "OutputPath", "Parameters", "ResultPath", "ResultSelector", "Variable")
        ),
        (
            put("Are details Proper", Resource="arn:aws:states:::lambda:invoke"),
            "Are details Proper: Resource holds an ARN: use a substitution for it or for its partition",
        ),
        (
            put("Are details Proper", Output="https://sqs.eu-west-1.amazonaws.com/123456789012/Q"),
            "Are details Proper: Output seems to hold an account id",
        ),
    ],
)
def test_a_mistake_is_found(broken: Break, finding: str) -> None:
    definition = load()
    broken(definition)
    assert f"x.asl.json: {finding}" in findings(definition)


@pytest.mark.parametrize("expression", ["{%($sum([1]))%}", "{% $sum([1]) %}", "{%\n 1 \n%}"])
def test_an_expression_may_have_space_around_it_or_not(expression: str) -> None:
    definition = load()
    put("Are details Proper", Output=expression)(definition)
    assert not any("compile" in finding for finding in findings(definition))


def test_a_mistake_in_a_nested_state_machine_is_found() -> None:
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
def test_a_definition_that_is_not_an_object_is_found(definition: object) -> None:
    assert findings(definition) == ["x.asl.json: -: is not a JSON object"]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes"),
        ('{"States": {"B": 0, "A": 1, "A": 2}}', "is not valid JSON: A is given twice"),
    ],
)
def test_a_file_that_is_not_json_is_found(text: str, finding: str, tmp_path: Path) -> None:
    path = tmp_path / "x.asl.json"
    path.write_text(text, encoding="utf-8")
    unused, found = check_state_machine.check_file(path)
    assert str(unused) == f"{path}: -: no state machine in the template uses this definition"
    assert str(found).startswith(f"{path}: -: {finding}")


def test_findings_are_printed_and_end_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = [str(tmp_path / name) for name in ("a.asl.json", "b.asl.json")]
    monkeypatch.setattr(sys, "argv", ["check_state_machine.py", *missing])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(check_state_machine.__file__, run_name="__main__")
    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: -: cannot be read: No such file or directory" for path in missing
    ]


def test_substitutions_that_are_not_given_or_not_used_are_found() -> None:
    given = {"Used": {"Ref": "Table"}, "Spare": {"Ref": "Queue"}}
    found = check_state_machine.check_substitutions('{"A": "${Used} ${Missing}"}', given, "x.asl.json")
    assert [str(finding) for finding in found] == [
        "x.asl.json: -: ${Missing} is not in DefinitionSubstitutions",
        "x.asl.json: -: DefinitionSubstitutions has Spare, which is not used",
    ]


def test_a_text_that_makes_a_whole_expression_is_accepted(tmp_path: Path) -> None:
    assert findings_with("( $two := 2; /* one expression */ $two )", tmp_path) == []


def test_a_text_that_makes_a_broken_expression_is_found(tmp_path: Path) -> None:
    assert findings_with("( 2", tmp_path) == [
        "x.asl.json: A: Output does not compile: Expected ) before end of expression"
    ]


@pytest.mark.parametrize("text", ['"two"', "/\\d/", "(\n2\n)", "\t2", "${Partition}"])
def test_a_text_that_aws_could_not_put_into_json_is_found(text: str, tmp_path: Path) -> None:
    finding = "x.asl.json: -: DefinitionSubstitutions' Two has a control character, double quote, backslash or ${"
    assert findings_with(text, tmp_path)[0] == finding


def test_a_definition_that_the_template_does_not_use_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.asl.json"
    path.write_text(json.dumps(SMALL).replace("${Two}", "2"), encoding="utf-8")
    assert [str(finding) for finding in check_state_machine.check_file(path)] == [
        f"{path}: -: no state machine in the template uses this definition"
    ]


@pytest.mark.parametrize(
    ("sample", "finding"),
    [
        ("{", "is not valid JSON: Expecting property name"),
        ("[]", "is not a JSON object"),
        (json.dumps({**PROPER, "Price": 1}), "Price is not a string"),
        (json.dumps({**PROPER, "Color": "red"}), "Color is not a field of an order"),
        (json.dumps({name: PROPER[name] for name in ("OrderId", "Name", "ItemName", "Price")}), "has no CC"),
    ],
)
def test_a_sample_that_is_not_an_order_is_found(sample: str, finding: str, tmp_path: Path) -> None:
    path = tmp_path / "001.json"
    path.write_text(sample, encoding="utf-8")
    (found,) = check_state_machine.check_sample(path)
    assert str(found).startswith(f"{path}: -: {finding}")


def test_the_samples_beside_a_definition_are_checked_with_it(tmp_path: Path) -> None:
    path = tmp_path / "x.asl.json"
    path.write_text(json.dumps(SMALL).replace("${Two}", "2"), encoding="utf-8")
    (tmp_path / "samples").mkdir()
    for name in ("2.json", "1.json"):
        (tmp_path / "samples" / name).write_text("[]", encoding="utf-8")
    assert [finding.file for finding in check_state_machine.check_file(path)[1:]] == [
        str(tmp_path / "samples" / name) for name in ("1.json", "2.json")
    ]


@pytest.mark.parametrize("holder", [{"Branches": ["nested"]}, {"ItemProcessor": "nested"}], ids=str)
def test_a_text_of_a_nested_state_machine_is_reported_once(holder: dict[str, Any]) -> None:
    nested = {"StartAt": "A", "States": {"A": {"Type": "Pass", "Output": "x {% y %}", "End": True}}}
    state = {key: [nested] if isinstance(value, list) else nested for key, value in holder.items()}
    definition = SMALL | {"States": {"A": {"Type": "Parallel", "End": True} | state}}
    assert findings(definition) == ["x.asl.json: A: Output is not one whole {% expression %}"]


def test_a_template_that_cannot_be_read_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path) -> None:
        raise DeployError("Cannot read the template x")

    monkeypatch.setattr(check_state_machine, "check_file", fail)
    assert check_state_machine.main(["one"]) == 1
    assert capsys.readouterr() == ("", "Cannot read the template x\n")


def test_a_folder_without_definitions_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check_state_machine, "DEFINITIONS", tmp_path)
    assert check_state_machine.main([]) == 1
    assert capsys.readouterr().err == f"No definitions in {tmp_path}\n"


def test_every_finding_is_printed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.asl.json"
    path.write_text("[]", encoding="utf-8")
    assert check_state_machine.main([str(path)]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: -: no state machine in the template uses this definition",
        f"{path}: -: is not a JSON object",
    ]


def change_map(**fields: object) -> dict[str, Any]:
    """Return the shipped definition of bulk intake with a changed Distributed Map; None leaves a field out."""
    definition = copy.deepcopy(bulk.load())
    state = definition["States"][bulk.MAPS[0]]
    for name, value in fields.items():
        state.pop(name, None)
        if value is not None:
            state[name] = value
    return definition


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        (change_map(ResultSelector=None), "has no ResultSelector"),
        (change_map(MaxConcurrency=None), "has no MaxConcurrency"),
        (change_map(ToleratedFailurePercentage=None), "has no ToleratedFailurePercentage"),
        (change_map(Catch=[{"ErrorEquals": ["X"], "Next": "Intake failed"}]), "Catch does not end in a catch-all"),
        (
            change_map(ResultWriter={}),
            "has a ResultWriter, which writes the input of children that failed to S3",
        ),
    ],
)
def test_a_distributed_map_is_bounded_and_exports_no_input(changed: dict[str, Any], finding: str) -> None:
    assert findings(changed) == [f"x.asl.json: {bulk.MAPS[0]}: {finding}"]


def test_every_other_state_beside_a_distributed_map_is_jsonata() -> None:
    definition = copy.deepcopy(bulk.load())
    del definition["States"]["Sum up"]["QueryLanguage"]
    del definition["States"][bulk.MAPS[1]]["ItemProcessor"]["States"]["Take the rows"]["QueryLanguage"]
    assert findings(definition) == [
        "x.asl.json: Take the rows: QueryLanguage is not JSONata",
        "x.asl.json: Sum up: QueryLanguage is not JSONata",
    ]
