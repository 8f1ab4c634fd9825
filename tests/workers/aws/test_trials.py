import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.support import DeployedStack
from tests.workers.aws.sdk_fakes import FakeSdk, refusal
from workers.aws.cases import DynamoCases
from workers.aws.items import from_item
from workers.aws.trials import KEPT_S, DynamoTrials
from workers.errors import OutageError, SuspectedOutageError

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


def scripted(*answers: Any) -> tuple[DynamoTrials, FakeSdk]:
    client: Any = FakeSdk(update_item=[*answers])
    return DynamoTrials(client, "EscalationTable"), client


async def test_a_trial_is_counted_unless_it_was_the_last_one() -> None:
    trials, client = scripted({"Attributes": {"Trials": {"N": "3"}}})
    before = int(time.time())
    assert await trials.count_trial("m1", "m1/11") == 3
    (request,) = client.requests_of("update_item")
    values = from_item(request.pop("ExpressionAttributeValues"))
    assert 0 <= values.pop(":expires") - before - 14 * 24 * 3600 <= 60
    assert values == {":trial": "m1/11", ":one": 1}
    assert request == {
        "TableName": "EscalationTable",
        "Key": {"CaseId": {"S": "#trials#m1"}},
        "UpdateExpression": "SET LastTrial = :trial, ExpiresAt = :expires ADD Trials :one",
        "ConditionExpression": "attribute_not_exists(LastTrial) OR LastTrial <> :trial",
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


async def test_a_trial_that_was_counted_before_has_its_number() -> None:
    counted = refusal("ConditionalCheckFailedException", Item={"Trials": {"N": "2"}})
    trials, _ = scripted(counted)
    assert await trials.count_trial("m1", "m1/11") == 2


async def test_a_trial_is_taken_back_only_if_it_is_the_last_one() -> None:
    trials, client = scripted({}, refusal("ConditionalCheckFailedException"))
    assert [await trials.take_back_trial("m1", "m1/11") for _ in range(2)] == [True, False]
    request = client.requests_of("update_item")[0]
    assert from_item(request.pop("ExpressionAttributeValues")) == {":trial": "m1/11", ":one": 1}
    assert request == {
        "TableName": "EscalationTable",
        "Key": {"CaseId": {"S": "#trials#m1"}},
        "UpdateExpression": "SET Trials = Trials - :one REMOVE LastTrial",
        "ConditionExpression": "LastTrial = :trial",
    }


@pytest.mark.parametrize(
    ("code", "expected"), [("ValidationException", ClientError), ("ThrottlingException", OutageError)]
)
async def test_an_error_is_not_taken_for_a_failed_condition(code: str, expected: type[Exception]) -> None:
    trials, _ = scripted(refusal(code), refusal(code))
    with pytest.raises(expected):
        await trials.count_trial("m1", "m1/11")
    with pytest.raises(expected):
        await trials.take_back_trial("m1", "m1/11")


@pytest.mark.parametrize("answer", [{}, {"Attributes": {}}, refusal("ConditionalCheckFailedException")])
async def test_an_answer_without_the_count_is_an_outage(answer: Any) -> None:
    trials, _ = scripted(answer)
    with pytest.raises(SuspectedOutageError, match="UpdateItem: an unreadable response"):
        await trials.count_trial("m1", "m1/11")
