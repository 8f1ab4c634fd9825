"""Tags and the role of CloudFormation, as `up` takes them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import DeployError
from deploy.stacks.options import StackOptions, merged_tags, parsed
from tests.deploy.stacks.fakes import check
from tests.strategies import unicode_characters

ROLE = "arn:aws-us-gov:iam::111122223333:role/teams/Deploy"


def test_tags_and_role_are_read() -> None:
    assert parsed(["Team=orders", "cost:center=a=b", "Old="], ROLE) == StackOptions(
        {"Team": "orders", "cost:center": "a=b", "Old": ""}, ROLE
    )
    assert parsed([], None) == StackOptions()


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (["Team"], "--tag Team: must be Key=Value"),
        (["=orders"], "--tag =orders: the key must have 1 to 128 letters, digits, spaces and _ . : / + - @"),
        (["Te,am=a"], "--tag Te,am=a: the key must have 1 to 128 letters, digits, spaces and _ . : / + - @"),
        (["Team=a;b"], "--tag Team=a;b: the value must have at most 256 letters, digits, spaces and _ . : / = + - @"),
        (["AWS:x=a"], "--tag AWS:x=a: AWS reserves keys and values that begin with aws:"),
        (["Team=aws:x"], "--tag Team=aws:x: AWS reserves keys and values that begin with aws:"),
        (["Team=a", "Team="], "--tag Team: is given twice"),
        (
            ["OrderRetentionDays=90"],
            "--tag OrderRetentionDays=90: the order table has this tag for itself. Use --parameter OrderRetentionDays=",
        ),
    ],
)
def test_a_wrong_tag_is_one_line(tags: list[str], problem: str) -> None:
    with pytest.raises(DeployError) as raised:
        parsed(tags, None)
    assert str(raised.value) == problem


@pytest.mark.parametrize(
    "role", ["", "Deploy", "arn:aws:iam::111122223333:user/ann", "arn:aws:iam::1:role/x", f"{ROLE}\n"]
)
def test_a_wrong_role_is_one_line(role: str) -> None:
    with pytest.raises(DeployError, match=r"must be the ARN of an IAM role, arn:aws:iam::111122223333:role/Name$"):
        parsed([], role)


@given(st.lists(st.text(unicode_characters, max_size=300), max_size=4))
def test_what_is_accepted_is_what_cloudformation_takes(texts: list[str]) -> None:
    try:
        options = parsed(texts, None)
    except DeployError:
        return
    tags = merged_tags(None, options.tags) or []
    request = {"StackName": "mine", "ChangeSetName": "change", "Tags": tags}
    check("cloudformation", "create_change_set", request)


def stack(**tags: str) -> Any:
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


@pytest.mark.parametrize(
    ("deployed", "asked", "expected"),
    [
        (None, {}, None),
        ({}, {}, None),
        (stack(), {"Gone": ""}, None),
        (None, {"Team": "a"}, {"Team": "a"}),
        (stack(Team="a", Cost="1"), {}, {"Team": "a", "Cost": "1"}),
        (stack(Team="a", Cost="1"), {"Team": "b"}, {"Team": "b", "Cost": "1"}),
        (stack(Team="a", Cost="1"), {"Team": ""}, {"Cost": "1"}),
        (stack(Team="a"), {"Team": ""}, {}),
    ],
)
def test_tags_that_are_not_given_are_kept(
    deployed: Any, asked: dict[str, str], expected: dict[str, str] | None
) -> None:
    tags = merged_tags(deployed, asked)
    assert (None if tags is None else {tag["Key"]: tag["Value"] for tag in tags}) == expected


def test_too_many_tags_are_refused() -> None:
    many = {f"k{number}": "v" for number in range(49)}
    assert len(merged_tags(None, many) or []) == 49
    with pytest.raises(DeployError, match="The stack would have 50 tags, must have at most 49"):
        merged_tags(stack(Team="a"), many)
