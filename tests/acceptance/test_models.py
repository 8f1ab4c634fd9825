"""What the SDK's models say about a call is found out."""

from typing import Any

import pytest
from botocore.model import OperationModel
from botocore.session import get_session

from tests.acceptance.models import violations


def operation(service: str, name: str) -> OperationModel:
    return get_session().get_service_model(service).operation_model(name)


@pytest.mark.parametrize(
    ("service", "name", "asked", "wrong"),
    [
        ("sqs", "SendMessage", {"QueueUrl": "https://x/1/q", "MessageBody": "x"}, None),
        ("sqs", "SendMessage", {"QueueUrl": "https://x/1/q"}, "MessageBody"),
        ("sqs", "SendMessage", {"QueueUrl": "https://x/1/q", "MessageBody": 1}, "MessageBody"),
        ("sqs", "SendMessage", {"QueueUrl": "https://x/1/q", "MessageBody": "x", "Delay": 1}, "Delay"),
        ("dynamodb", "GetItem", {"TableName": "", "Key": {}}, ".TableName is 0, must be 1 to "),
        ("dynamodb", "Scan", {"TableName": "abc", "Select": "NOTHING"}, ".Select is 'NOTHING', must be one of "),
        ("dynamodb", "BatchExecuteStatement", {"Statements": []}, ".Statements is 0, must be 1 to 25"),
        ("stepfunctions", "ListExecutions", {"stateMachineArn": "x", "maxResults": 5000}, ".maxResults is 5000"),
        ("cloudformation", "CreateChangeSet", {"StackName": "a", "ChangeSetName": "1x"}, ".ChangeSetName is '1x'"),
        ("sts", "GetCallerIdentity", {}, None),
    ],
)
def test_a_call_is_compared_with_its_model(service: str, name: str, asked: dict[str, Any], wrong: str | None) -> None:
    found = violations(operation(service, name), asked)
    assert wrong in "\n".join(found) if wrong else found == []
