import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import DeployedStack
from workers.aws.cases import DynamoCases
from workers.aws.trials import KEPT_S, DynamoTrials

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient


@pytest.fixture
def trials(stack: DeployedStack, dynamodb: "DynamoDBClient") -> DynamoTrials:
    return DynamoTrials(dynamodb, stack.escalation_table)


def stored(stack: DeployedStack, message_id: str) -> dict[str, Any]:
    key = {"CaseId": {"S": f"#trials#{message_id}"}}
    item: dict[str, Any] = stack.client("dynamodb").get_item(TableName=stack.escalation_table, Key=key)["Item"]
    return item


async def test_trials_are_counted_once_each(trials: DynamoTrials) -> None:
    assert await trials.count_trial("m1", "m1/11") == 1
    assert await trials.count_trial("m1", "m1/11") == 1, "a repeated write, after its response was lost"
    assert await trials.count_trial("m1", "m1/12") == 2
    assert await trials.count_trial("m2", "m2/11") == 1


async def test_the_last_trial_is_taken_back_once(trials: DynamoTrials) -> None:
    assert await trials.count_trial("m3", "m3/11") == 1
    assert await trials.count_trial("m3", "m3/12") == 2
    assert not await trials.take_back_trial("m3", "m3/11")
    assert await trials.take_back_trial("m3", "m3/12")
    assert not await trials.take_back_trial("m3", "m3/12"), "a repeated write"
    assert await trials.count_trial("m3", "m3/13") == 2
    assert not await trials.take_back_trial("m4", "m4/11")


async def test_trials_are_no_cases_and_expire(
    stack: DeployedStack, dynamodb: "DynamoDBClient", trials: DynamoTrials
) -> None:
    await trials.count_trial("m5", "m5/11")
    item = stored(stack, "m5")
    assert abs(int(item["ExpiresAt"]["N"]) - time.time() - KEPT_S) < 60
    assert set(item) == {"CaseId", "Trials", "LastTrial", "ExpiresAt"}, "no key of an index"
    cases, unreadable = await DynamoCases(dynamodb, stack.escalation_table, stack.order_table).open_cases()
    assert not [case for case in cases if case.case_id.startswith("#")]
    assert unreadable == []
