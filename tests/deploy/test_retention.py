"""The templates' retention: the same parameter in both, which reaches the tables, the workers and `orders`."""

import re

import pytest

from tests.deploy.cloudwatch import PIPELINE, WORKERS
from workers.domain.retention import MAX_RETENTION_DAYS, MIN_RETENTION_DAYS
from workers.operations.retention import RETENTION_TAG

PARAMETER = "OrderRetentionDays"


def test_both_stacks_have_the_same_parameter() -> None:
    assert PIPELINE["Parameters"][PARAMETER] == WORKERS["Parameters"][PARAMETER]


def test_the_parameter_has_the_range_of_the_setting() -> None:
    pattern = PIPELINE["Parameters"][PARAMETER]["AllowedPattern"]
    allowed = {days for days in range(40_000) if re.fullmatch(pattern, str(days))}
    assert allowed == set(range(MIN_RETENTION_DAYS, MAX_RETENTION_DAYS + 1))
    assert re.fullmatch(pattern, "")
    for value in ("never", "-90", "90.5", " 90", "090"):
        assert re.fullmatch(pattern, value) is None, value


@pytest.mark.parametrize("table", ["OrderTable", "EscalationTable"])
def test_dynamodb_deletes_what_has_expired(table: str) -> None:
    properties = PIPELINE["Resources"][table]["Properties"]
    assert properties["TimeToLiveSpecification"] == {"AttributeName": "ExpiresAt", "Enabled": True}


def test_operators_find_the_retention_as_a_tag_of_the_order_table() -> None:
    condition, tags, _ = PIPELINE["Resources"]["OrderTable"]["Properties"]["Tags"]["Fn::If"]
    assert tags == [{"Key": RETENTION_TAG, "Value": {"Ref": PARAMETER}}]
    assert PIPELINE["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": PARAMETER}, ""]}]}
