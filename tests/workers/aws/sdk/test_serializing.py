"""A request that is serialized directly has the JSON of the SDK's; every other is left to the SDK."""

import json
import random
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.model import OperationModel
from botocore.serialize import create_serializer

from tests.workers.aws.sdk.calls import fast
from tests.workers.aws.sdk.shapes import TEXTS, Maker
from workers.aws.items import to_item
from workers.aws.sdk import serializing
from workers.aws.sdk.direct import ACTIONS
from workers.aws.sdk.serializing import serializer

ARN = "arn:aws:dynamodb:eu-central-1:1:table/t"
SQS = {"ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "SendMessage"}


class Status(StrEnum):
    OPEN = "OPEN"


class Name(str):
    __slots__ = ()


async def model_of(action: str) -> OperationModel:
    models = await fast(get_session()).get_service_model("sqs" if action in SQS else "dynamodb")
    return models.operation_model(action)


def plain_body(action: str, request: Any) -> bytes | None:
    return serializer("sqs" if action in SQS else "dynamodb", action)(request)


def body_of_sdk(model: OperationModel, request: Any) -> Any:
    """Return the value of the body that the SDK sends; the error if it refuses the request."""
    try:
        serialized = create_serializer("json", include_validation=False).serialize_to_request(request, model)
        return json.loads(serialized["body"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return error


ITEM = to_item({"Id": "1", "State": Status.OPEN, "Price": Decimal("9.5"), "N": 3, "List": [{"A": None, "B": "x"}]})
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    (
        "ReceiveMessage",
        {
            "QueueUrl": "https://sqs.eu-central-1.amazonaws.com/1/q",
            "MaxNumberOfMessages": 10,
            "WaitTimeSeconds": 20,
            "MessageAttributeNames": ["All"],
        },
    ),
    ("DeleteMessageBatch", {"QueueUrl": "q", "Entries": [{"Id": "0", "ReceiptHandle": "r+/="}]}),
    (
        "ChangeMessageVisibilityBatch",
        {"QueueUrl": "q", "Entries": [{"Id": "0", "ReceiptHandle": "r", "VisibilityTimeout": 0}]},
    ),
    (
        "SendMessage",
        {
            "QueueUrl": "q",
            "MessageBody": '{"OrderId": null, "Name": "\u5f20 \U0001f600"}',
            "MessageAttributes": {"Reason": {"DataType": "String", "StringValue": Status.OPEN}},
        },
    ),
    (
        "BatchExecuteStatement",
        {
            "Statements": [
                {
                    "Statement": 'UPDATE "t" SET "Status"=\'X\' WHERE OrderId=?',
                    "Parameters": [{"S": "arn:aws:states:eu-central-1:1:execution:a:b"}],
                    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                }
            ]
        },
    ),
    ("BatchGetItem", {"RequestItems": {"OrderTable": {"Keys": [{"OrderId": {"S": "1"}}], "ConsistentRead": True}}}),
    ("TransactWriteItems", {"TransactItems": ({"Put": {"TableName": Name("t"), "Item": {"Id": {"S": "1"}}}},)}),
    ("GetItem", {"TableName": "t", "Key": {"Id": {"S": "1"}}, "ConsistentRead": True}),
    ("Query", {"TableName": "t", "ExpressionAttributeValues": {":a": {"S": "x"}, ":b": {"N": "1e10"}}}),
    ("UpdateItem", {"TableName": "t", "Key": {"Id": {"S": "1"}}, "ExpressionAttributeValues": to_item({":a": 1})}),
]


@pytest.mark.parametrize(("action", "request_"), REQUESTS)
async def test_the_workers_requests_are_serialized_directly_and_as_by_the_sdk(action: str, request_: Any) -> None:
    body = plain_body(action, request_)
    assert body is not None
    assert json.loads(body) == body_of_sdk(await model_of(action), request_)


def test_every_direct_action_has_a_request_above() -> None:
    assert {action for action, _ in REQUESTS} == set(ACTIONS.values())


@pytest.mark.parametrize(
    "value",
    [
        {"B": b"\x00\xff"},
        {"B": "text that the SDK encodes"},
        {"BS": ["text"]},
        {"S": "\ud800"},
        {"N": 2**64},
        {"N": Decimal(1)},
        {"L": iter([{"S": "x"}])},
        {"M": {1: {"S": "x"}}},
    ],
)
def test_what_the_sdk_serializes_differently_is_left_to_it(value: Any) -> None:
    assert plain_body("UpdateItem", {"TableName": "t", "Key": {"A": value}}) is None


@pytest.mark.parametrize("kind", ["BinaryValue", "BinaryListValues"])
def test_binary_attributes_of_a_message_are_left_to_the_sdk(kind: str) -> None:
    assert plain_body("SendMessage", {"MessageAttributes": {"A": {"DataType": "Binary", kind: "text"}}}) is None


def test_a_parameter_that_is_none_is_left_to_the_sdk() -> None:
    assert plain_body("ReceiveMessage", {"QueueUrl": "q", "MessageAttributeNames": None}) is None


@pytest.mark.parametrize(
    ("action", "request_"),
    [
        ("GetItem", {"TableName": ARN}),
        ("UpdateItem", {"TableName": ARN}),
        ("Query", {"TableName": ARN}),
        ("BatchGetItem", {"RequestItems": {ARN: {}}}),
        ("BatchGetItem", {"RequestItems": {"t": {}, ARN: {}}}),
        ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": "t"}}, {"Update": {"TableName": ARN}}]}),
    ],
)
def test_a_table_named_by_its_arn_is_left_to_the_sdk(action: str, request_: Any) -> None:
    assert plain_body(action, request_) is None


def test_writes_without_such_a_table_are_serialized_directly() -> None:
    assert serializing._tables_of_writes({"TransactItems": [{"Put": {"TableName": "t"}}]}) is False


USUAL: dict[str, list[Any]] = {
    "blob": [b"\x00\xff"],
    "boolean": [True, False],
    "integer": [0, 1, -5, 2**31],
    "double": [0.1, 1e22, 3],
}
UNUSUAL: dict[str, list[Any]] = {
    "blob": ["text", bytearray(b"x")],
    "integer": [2**64, 1.5, None],
}


def leaf(chosen: random.Random, shape: Any) -> Any:
    """Return a value that a caller may pass for *shape*; sometimes an unusual one."""
    kind = {"long": "integer", "float": "double"}.get(shape.type_name, shape.type_name)
    if chosen.random() < 0.03:
        return chosen.choice(UNUSUAL.get(kind, ["\ud800", None]))
    return chosen.choice(USUAL.get(kind, [*TEXTS, Status.OPEN, Name("x")]))


@pytest.mark.parametrize("action", ACTIONS.values())
async def test_every_request_is_serialized_as_by_the_sdk_or_left_to_it(action: str) -> None:
    model, maker, plain = await model_of(action), Maker(14, leaf, gap=lambda: None), 0
    for _ in range(100):
        request = maker.value(model.input_shape)
        body, expected = plain_body(action, request), body_of_sdk(model, request)
        if body is not None and not isinstance(expected, Exception):  # The SDK refuses an error, AWS the request.
            plain += 1
            assert json.loads(body) == expected, request
    assert 0 < plain < 100
