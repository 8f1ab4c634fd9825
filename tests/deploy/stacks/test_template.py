"""Templates: read with their intrinsic functions, parameters checked, table names resolved."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.stacks import template


def loaded(tmp_path: Path, text: str) -> dict[str, Any]:
    path = tmp_path / "template.yaml"
    path.write_text(text, encoding="utf-8")
    return template.load(path)


def test_short_intrinsics_become_long_ones(tmp_path: Path) -> None:
    read = loaded(
        tmp_path,
        """
        Resources:
          Thing:
            Condition: Always
            Properties:
              Text: !Sub "${Prefix}x"
              Both: !Sub ["${A}", {A: !GetAtt Other.Nested.Arn}]
              Other: !Ref Other
              Chosen: !If [Always, !Condition Always, !Base64 text]
              Version: 2012-10-17
              Included: !Transform {Name: AWS::Include, Parameters: {Deep: [!Ref Other, {A: [1]}]}}
        """,
    )

    assert read["Resources"]["Thing"]["Properties"] == {
        "Text": {"Fn::Sub": "${Prefix}x"},
        "Both": {"Fn::Sub": ["${A}", {"A": {"Fn::GetAtt": ["Other", "Nested.Arn"]}}]},
        "Other": {"Ref": "Other"},
        "Chosen": {"Fn::If": ["Always", {"Condition": "Always"}, {"Fn::Base64": "text"}]},
        "Version": "2012-10-17",
        "Included": {"Fn::Transform": {"Name": "AWS::Include", "Parameters": {"Deep": [{"Ref": "Other"}, {"A": [1]}]}}},
    }


@pytest.mark.parametrize(
    ("text", "problem"), [("a: [", "is not valid YAML"), ("a: b", "has no Resources"), ("", "has no Resources")]
)
def test_a_malformed_template_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=problem):
        loaded(tmp_path, text)


def test_a_missing_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="Cannot read the template"):
        template.load(tmp_path / "none.yaml")


def test_what_is_changed_in_a_template_is_not_read_again() -> None:
    template.load(template.PIPELINE)["Resources"].clear()
    assert "OrderTable" in template.load(template.PIPELINE)["Resources"]


@pytest.mark.parametrize("prefix", ["", "a", "Test-2-", "a" * 30])
def test_valid_name_prefixes_are_accepted(prefix: str) -> None:
    template.check_parameters(template.load(template.PIPELINE), {"NamePrefix": prefix})


@pytest.mark.parametrize("prefix", ["-a", "a_b", "a" * 31, "ä", "a\n"])
def test_invalid_name_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(DeployError, match="NamePrefix"):
        template.check_parameters(template.load(template.PIPELINE), {"NamePrefix": prefix})


@pytest.mark.parametrize(
    ("rule", "value", "problem"),
    [
        ({"MaxLength": 2}, "abc", "at most 2 characters"),
        ({"MinLength": 2}, "a", "at least 2 characters"),
        ({"AllowedValues": ["a", "b"]}, "c", "one of a, b"),
    ],
)
def test_the_templates_own_rules_are_checked(rule: dict[str, Any], value: str, problem: str) -> None:
    with pytest.raises(DeployError, match=problem):
        template.check_parameters({"Parameters": {"P": rule}}, {"P": value})


def test_unknown_and_missing_parameters_are_refused() -> None:
    with pytest.raises(DeployError, match="no parameter Q"):
        template.check_parameters({"Parameters": {}}, {"Q": "x"})
    with pytest.raises(DeployError, match="needs a value for P"):
        template.check_parameters({"Parameters": {"P": {"Type": "String"}}}, {})


def test_retained_tables_are_found_by_name() -> None:
    found = template.tables(template.load(template.PIPELINE), {"NamePrefix": "x-"})

    assert found == {"OrderTable": "x-OrderTable", "EscalationTable": "x-EscalationTable"}


def test_a_table_name_that_only_aws_could_resolve_is_refused() -> None:
    properties = {"TableName": {"Fn::Sub": "${AWS::Region}-x"}}
    table = {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain", "Properties": properties}

    with pytest.raises(DeployError, match="must consist of text and parameters only"):
        template.tables({"Resources": {"T": table}}, {})


def test_the_substitutions_of_a_definition_are_those_of_its_state_machine(tmp_path: Path) -> None:
    text = """
        Resources:
          Queue: {Type: AWS::SQS::Queue}
          Machine:
            Properties:
              DefinitionS3Location: ../machines/one.json
              DefinitionSubstitutions: {Table: !Ref Table, Two: "2"}
        """
    loaded(tmp_path, text)
    path, machines = tmp_path / "template.yaml", tmp_path.parent / "machines"

    assert template.definition_substitutions(path, machines / "one.json") == {"Table": {"Ref": "Table"}, "Two": "2"}
    assert template.definition_substitutions(path, machines / "another.json") is None


def test_texts_are_put_into_a_definition_and_references_are_not() -> None:
    substitutions = {"Table": {"Ref": "Table"}, "Two": "2"}

    assert template.with_texts("${Two} ${Table} ${Two} ${Other}", substitutions) == "2 ${Table} 2 ${Other}"


def test_substitutions_from_a_mapping_and_default_numbers_are_looked_up(tmp_path: Path) -> None:
    given = {"A": {"Fn::FindInMap": ["Texts", "One", "Long"]}, "B": {"Ref": "Count"}, "C": {"Ref": "Table"}}
    given |= {"D": {"Ref": "Least"}, "E": {"Ref": "Any"}}
    source = {
        "Parameters": {
            "Count": {"Type": "Number", "Default": 10, "MinValue": 5},
            "Table": {"Type": "String", "Default": "x"},
            "Least": {"Type": "Number", "MinValue": 5},
            "Any": {"Type": "Number"},
        },
        "Mappings": {"Texts": {"One": {"Long": "text"}}},
        "Resources": {"M": {"Properties": {"DefinitionS3Location": "a.json", "DefinitionSubstitutions": given}}},
    }
    path = tmp_path / "template.yaml"
    path.write_text(json.dumps(source), encoding="utf-8")

    found = template.definition_substitutions(path, tmp_path / "a.json")

    assert found == {"A": "text", "B": "10", "C": {"Ref": "Table"}, "D": "5", "E": "0"}


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"MaxLength": 2}, "ab"),
        ({"MinLength": 2}, "ab"),
        ({"AllowedValues": ["a", 1]}, "a"),
        ({"AllowedPattern": "a+"}, "aa"),
        ({"Type": "CommaDelimitedList", "AllowedPattern": "a+"}, "a, aa"),
        ({"Type": "Number", "MinValue": 1, "MaxValue": 3}, "1"),
        ({"Type": "Number", "MinValue": 1, "MaxValue": 3}, "3.0"),
        ({"Type": "Number"}, "-1000000000.25"),
        ({"Type": "List<AWS::EC2::Subnet::Id>"}, "subnet-0a1b, subnet-2c3d"),
        ({"Type": "List<AWS::EC2::SecurityGroup::Id>"}, "sg-0a1b"),
        ({"Type": "String"}, ""),
    ],
)
def test_values_at_the_edges_of_a_rule_are_accepted(rule: dict[str, Any], value: str) -> None:
    template.check_parameters({"Parameters": {"P": rule}}, {"P": value})


@pytest.mark.parametrize(
    ("rule", "value", "problem"),
    [
        ({"AllowedPattern": "a+", "ConstraintDescription": "Some a."}, "ab", "Some a."),
        ({"AllowedPattern": "a+"}, "b", "must match a+"),
        ({"Type": "CommaDelimitedList", "AllowedPattern": "a+"}, "a,b", "must match a+"),
        ({"Type": "Number", "MinValue": 1, "MaxValue": 3}, "0.9", "must be a number from 1 to 3"),
        ({"Type": "Number", "MinValue": 1, "MaxValue": 3}, "3.1", "must be a number from 1 to 3"),
        ({"Type": "Number", "MinValue": 1}, "x", "must be a number from 1 to inf"),
        *(
            ({"Type": "Number", "MinValue": 1}, text, "must be a number from 1 to inf")
            for text in ("", "1e1", "1_0", " 1", "1\n", "+1", ".5", "1.", "\u0661", "nan", "inf")
        ),
        *(
            ({"Type": "List<AWS::EC2::Subnet::Id>"}, text, "must be ids that begin with subnet-, separated by commas")
            for text in ("", "subnet-1,", "subnet-1,,subnet-2", "subnet-", "sg-1", "subnet-1;subnet-2")
        ),
        (
            {"Type": "List<AWS::EC2::SecurityGroup::Id>"},
            "subnet-1",
            "must be ids that begin with sg-, separated by commas",
        ),
        ({"Type": "Number", "MaxValue": 1}, "2", "must be a number from -inf to 1"),
        ({"AllowedPattern": "a*", "MaxLength": 2}, "aaa", "must have at most 2 characters"),
        ({"MinLength": 1, "AllowedValues": [""]}, "", "must have at least 1 characters"),
    ],
)
def test_a_wrong_value_is_reported_with_its_rule(rule: dict[str, Any], value: str, problem: str) -> None:
    with pytest.raises(DeployError) as raised:
        template.check_parameters({"Parameters": {"P": rule}}, {"P": value})
    assert str(raised.value) == f"P {value!r}: {problem}"


def test_a_parameter_with_a_default_or_a_kept_value_is_not_missing() -> None:
    declared = {"Parameters": {"A": {"Default": ""}, "B": {}, "C": {}, "D": {}}}
    template.check_parameters(declared, {"B": "x", "D": "y"}, kept={"C"})
    with pytest.raises(DeployError, match=r"^The template needs a value for B, C: --parameter B=\.\.\.$"):
        template.check_parameters(declared, {"D": "y"})


def test_a_template_without_parameters_has_none() -> None:
    template.check_parameters({}, {})


def test_equal_templates_have_equal_compact_bodies() -> None:
    assert template.body({"a": [1, {"b": 2}]}) == '{"a":[1,{"b":2}]}'


@pytest.mark.parametrize("text", ["Resources: []", "[]", "Resources:"])
def test_resources_must_be_an_object(text: str) -> None:
    with pytest.raises(DeployError, match=r"^The template x has no Resources$"):
        template.parse(text, "x")


def table(name: Any, **more: Any) -> dict[str, Any]:
    return {"Type": "AWS::DynamoDB::Table", "DeletionPolicy": "Retain", "Properties": {"TableName": name}} | more


@pytest.mark.parametrize(
    ("name", "resolved"),
    [
        ("Plain", "Plain"),
        ({"Ref": "Given"}, "given"),
        ({"Ref": "Defaulted"}, "7"),
        ({"Fn::Sub": "${Given}-${Defaulted}-T"}, "given-7-T"),
        ({"Fn::Sub": "T"}, "T"),
        ({"Ref": "Bare"}, ""),
    ],
)
def test_a_tables_name_is_made_of_text_and_parameters(name: Any, resolved: str) -> None:
    source = {"Parameters": {"Given": {"Default": "x"}, "Defaulted": {"Default": 7}, "Bare": {}}}
    assert template.tables(source | {"Resources": {"T": table(name)}}, {"Given": "given"}) == {"T": resolved}


@pytest.mark.parametrize("name", [{"Ref": "AWS::Region"}, {"Fn::Sub": "${Given}-${AWS::Region}"}, {"Fn::Join": []}])
def test_any_other_name_of_a_table_is_refused(name: Any) -> None:
    with pytest.raises(DeployError, match="text and parameters only"):
        template.tables({"Resources": {"T": table(name)}}, {"Given": "x"})


def test_only_tables_that_are_retained_are_found() -> None:
    resources = {
        "Kept": table("a"),
        "Snapshot": table("b", DeletionPolicy="Snapshot"),
        "Deleted": table("c", DeletionPolicy="Delete"),
        "Default": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "d"}},
        "Queue": table("e", Type="AWS::SQS::Queue"),
    }
    assert template.tables({"Resources": resources}, {}) == {"Kept": "a", "Snapshot": "b"}


def test_a_definition_without_substitutions_has_none(tmp_path: Path) -> None:
    loaded(tmp_path, "Resources: {M: {Properties: {DefinitionS3Location: one.json}}}")
    assert template.definition_substitutions(tmp_path / "template.yaml", tmp_path / "one.json") == {}


def test_both_templates_are_beside_the_deployer() -> None:
    assert (template.PIPELINE.name, template.WORKERS.name) == ("pipeline.yaml", "workers.yaml")
    assert template.PIPELINE.is_file()
    assert template.WORKERS.is_file()
