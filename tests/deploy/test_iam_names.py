"""A request's permissions have IAM's names, which are not always the API's."""

import pytest

from tests.deploy.permissions import Call, Permission, arn, needs


@pytest.mark.parametrize(
    ("call", "needed"),
    [
        (
            Call("dynamodb", "BatchExecuteStatement", {"Statements": [{"Statement": 'UPDATE "T" SET A=? WHERE I=?'}]}),
            {("dynamodb:PartiQLUpdate", arn("dynamodb", "table/T"))},
        ),
        (
            Call(
                "dynamodb",
                "TransactWriteItems",
                {"TransactItems": [{"Put": {"TableName": "T"}}, {"ConditionCheck": {"TableName": "U"}}]},
            ),
            {
                ("dynamodb:PutItem", arn("dynamodb", "table/T")),
                ("dynamodb:ConditionCheckItem", arn("dynamodb", "table/U")),
            },
        ),
        (
            Call("dynamodb", "Query", {"TableName": "T", "IndexName": "X"}),
            {("dynamodb:Query", arn("dynamodb", "table/T/index/X"))},
        ),
        (
            Call("sqs", "DeleteMessageBatch", {"QueueUrl": "http://localhost/000000000000/Q"}),
            {("sqs:DeleteMessage", arn("sqs", "Q"))},
        ),
        (Call("sqs", "SendMessageBatch", {"QueueUrl": "http://l/0/Q"}), {("sqs:SendMessage", arn("sqs", "Q"))}),
    ],
    ids=lambda parameter: parameter.operation if isinstance(parameter, Call) else "",
)
def test_permissions_have_iams_names(call: Call, needed: set[Permission]) -> None:
    assert needs(call) == needed


def test_an_unknown_call_is_an_error() -> None:
    with pytest.raises(KeyError):
        needs(Call("dynamodb", "DeleteBackup", {"TableName": "T"}))
