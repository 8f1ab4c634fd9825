"""Parameters, given as `Key=Value`, and shared by both templates."""

from typing import Any

import pytest

from deploy.errors import DeployError
from deploy.stacks import parameters, template


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
