"""Parameters, given as `Key=Value`, and shared by both templates."""

from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.stacks import parameters, template
from deploy.stacks.parameters import Parameters


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(DeployError, match="Image: is given twice"):
        parameters.parsed(["Image=a", "Image=b"])


def test_a_value_may_hold_an_equals_sign() -> None:
    assert parameters.parsed(["FulfillmentUrl=https://example.com/?a=b", "KmsKeyArn="]) == {
        "FulfillmentUrl": "https://example.com/?a=b",
        "KmsKeyArn": "",
    }


def test_a_parameter_of_both_templates_means_the_same_in_both() -> None:
    one, other = (template.load(path)["Parameters"] for path in (template.PIPELINE, template.WORKERS))
    rules = ("Type", "Default", "AllowedPattern")

    def rule(of: dict[str, Any]) -> list[Any]:
        return [of.get(name) for name in rules]

    shared = one.keys() & other.keys()
    assert {"NamePrefix", "KmsKeyArn"} <= shared
    assert [name for name in shared if rule(one[name]) != rule(other[name])] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Image", "--parameter Image: must be Key=Value"),
        ("=x", "--parameter =x: must be Key=Value"),
        ("", "--parameter : must be Key=Value"),
        ("NamePrefix=x", "--parameter NamePrefix: use --name-prefix"),
    ],
)
def test_a_malformed_parameter_is_refused(text: str, problem: str) -> None:
    with pytest.raises(DeployError) as raised:
        parameters.parsed([text])
    assert str(raised.value) == problem


ONE = {"Parameters": {"NamePrefix": {}, "A": {"AllowedValues": ["1"]}, "B": {"Default": ""}}}
OTHER = {"Parameters": {"NamePrefix": {"MaxLength": 3}, "C": {}}}


def test_a_parameter_of_either_template_is_known() -> None:
    parameters.check({"A": "1", "C": "x"}, "p-", [ONE, OTHER])
    parameters.check({}, "p-", [ONE, {}])
    with pytest.raises(DeployError) as raised:
        parameters.check({"Z": "", "A": "1", "Y": "", "NamePrefix": "x"}, "p-", [ONE, OTHER])
    assert str(raised.value) == "Unknown parameter NamePrefix, Y, Z. Known: A, B, C"


@pytest.mark.parametrize(
    ("given", "prefix", "problem"),
    [
        ({"A": "2"}, "p-", "A '2': must be one of 1"),
        ({}, "long-", "NamePrefix 'long-': must have at most 3 characters"),
    ],
)
def test_each_template_checks_its_own_parameters(given: dict[str, str], prefix: str, problem: str) -> None:
    with pytest.raises(DeployError) as raised:
        parameters.check(given, prefix, [ONE, OTHER])
    assert str(raised.value) == problem


def test_what_is_given_replaces_what_is_deployed_and_the_rest_is_kept() -> None:
    merged = parameters.merge(ONE, {"A": "1", "C": "other template's"}, "p-", ["A", "B", "Gone", "NamePrefix"])
    assert merged == Parameters({"A": "1", "NamePrefix": "p-"}, frozenset({"B"}))
    assert parameters.merge({}, {"A": "1"}, "p-", ["A"]) == Parameters({}, frozenset())


def test_a_parameter_without_any_value_is_missing() -> None:
    with pytest.raises(DeployError, match="needs a value for A"):
        parameters.merge(ONE, {}, "p-", [])
    assert parameters.merge(ONE, {}, "p-", ["A"]).kept == {"A"}
