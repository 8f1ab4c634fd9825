"""Counts the trials of messages, in the table of escalation cases."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from workers.aws.errors import CONDITION_FAILED, ITEM_FAULTS, ask, error_code, readable
from workers.aws.items import from_item, to_item

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

KEPT_S = 14 * 24 * 3600  # Longer than SQS can keep a message in a queue of the stack (10 days).


@dataclass(frozen=True, slots=True)
class DynamoTrials:
    """
    Counts each message's trials in one item. The item is not a case: it is in no index, and no case can have its key.

    DynamoDB deletes the item some time after `ExpiresAt` (seconds since the epoch).
    """

    dynamodb: "DynamoDBClient"
    table: str

    async def count_trial(self, message_id: str, trial: str) -> int:
        try:
            answer = await ask(
                self.dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self.table,
                Key=_key(message_id),
                UpdateExpression="SET LastTrial = :trial, ExpiresAt = :expires ADD Trials :one",
                ConditionExpression="attribute_not_exists(LastTrial) OR LastTrial <> :trial",
                ExpressionAttributeValues=to_item({":trial": trial, ":one": 1, ":expires": int(time.time()) + KEPT_S}),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            counted_before: Any = error.response
            with readable("UpdateItem"):
                return int(from_item(counted_before["Item"])["Trials"])
        with readable("UpdateItem"):
            return int(from_item(answer["Attributes"])["Trials"])

    async def take_back_trial(self, message_id: str, trial: str) -> bool:
        try:
            await ask(
                self.dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self.table,
                Key=_key(message_id),
                UpdateExpression="SET Trials = Trials - :one REMOVE LastTrial",
                ConditionExpression="LastTrial = :trial",
                ExpressionAttributeValues=to_item({":trial": trial, ":one": 1}),
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            return False
        return True


def _key(message_id: str) -> dict[str, dict[str, str]]:
    """Return the key of a message's item. No case has this key: OrderIds and names of executions contain no `#`."""
    return {"CaseId": {"S": f"#trials#{message_id}"}}
