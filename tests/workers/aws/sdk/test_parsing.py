"""Our parser returns for every response what the SDK's parser returns."""

import json
import random
import uuid
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.parsers import AioResponseParserFactory
from aiobotocore.session import get_session
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from tests.workers.aws.sdk.calls import fast
from tests.workers.aws.sdk.shapes import TEXTS, Maker
from tests.workers.aws.sdk.test_serializing import SQS
from workers.aws.sdk.direct import ACTIONS
from workers.aws.sdk.parsing import ParserFactory, parse, plain_session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

RECEIVED = {"MessageId": "m1", "ReceiptHandle": "r1", "Body": "x", "Attributes": {"SentTimestamp": "1"}}
TEXT = {"DataType": "String", "StringValue": "null"}
BYTES = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}


async def parsed_by(factory: Any, service: str, operation: str, body: bytes, status: int = 200) -> Any:
    """Return a response as parsed by *factory*'s parser; if that raises, the error's class and text."""
    model = await fast(get_session()).get_service_model(service)
    headers = {"x-amzn-requestid": "request-1", "Content-Type": "application/x-amz-json-1.0"}
    response = {"status_code": status, "headers": headers, "body": body, "context": {"operation_name": operation}}
    try:
        return await factory.create_parser("json").parse(response, model.operation_model(operation).output_shape)
    except (AttributeError, TypeError, UnicodeDecodeError, ResponseParserError) as error:
        return type(error), str(error)


def dumps(document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ReceiveMessage", dumps({"Messages": [RECEIVED, RECEIVED | {"MessageAttributes": {"Text": TEXT}}]})),
        ("ReceiveMessage", dumps({"Messages": [RECEIVED | {"Body": "null, \u5f20 and \U0001f600 \ud800"}]})),
        ("ReceiveMessage", dumps({"Messages": None})),
        ("ReceiveMessage", dumps({"Messages": ["x"]})),
        ("ReceiveMessage", dumps({"Messages": [None]})),
        ("ReceiveMessage", dumps({"Messages": [RECEIVED | {"Attributes": None}]})),
        (
            "ReceiveMessage",
            dumps({"Messages": [RECEIVED | {"MessageAttributes": {"A": BYTES | {"BinaryValue": "AP8="}}}]}),
        ),
        ("ReceiveMessage", b"{}"),
        ("ReceiveMessage", b""),
        ("ReceiveMessage", b"null"),
        ("ReceiveMessage", b"[]"),
        ("DeleteMessageBatch", dumps({"Successful": [{"Id": "0"}], "Failed": [{"Id": "1", "SenderFault": True}]})),
        ("GetQueueAttributes", dumps({"Attributes": {"VisibilityTimeout": "60"}})),
        ("DeleteMessage", b"{}"),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 400, 500])
async def test_a_response_of_sqs_is_parsed_as_by_the_sdk(operation: str, body: bytes, status: int) -> None:
    expected = await parsed_by(AioResponseParserFactory(), "sqs", operation, body, status)
    assert await parsed_by(ParserFactory(), "sqs", operation, body, status) == expected


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("ReceiveMessage", b"<html>It works!</html>"),
        ("ReceiveMessage", b"\xff"),
        ("ReceiveMessage", dumps({"Messages": [RECEIVED]})[:-9]),
        ("DeleteMessageBatch", b'{"Successful": ['),
        ("DeleteMessageBatch", b""),
        ("SendMessage", b""),
        ("GetQueueAttributes", b"{"),
    ],
)
async def test_a_response_that_is_not_json_is_an_error_and_not_empty(operation: str, body: bytes) -> None:
    assert await parsed_by(ParserFactory(), "sqs", operation, body) == (
        ResponseParserError,
        "a response that is not JSON",
    )
    for status in (302, 400, 500):
        expected = await parsed_by(AioResponseParserFactory(), "sqs", operation, body, status)
        assert await parsed_by(ParserFactory(), "sqs", operation, body, status) == expected


@pytest.mark.parametrize("operation", ["BatchGetItem", "GetItem", "TransactWriteItems", "UpdateItem"])
async def test_an_empty_response_of_dynamodb_is_an_error_and_not_a_missing_item(operation: str) -> None:
    assert await parsed_by(ParserFactory(), "dynamodb", operation, b"") == (
        ResponseParserError,
        "a response that is not JSON",
    )


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("DescribeTable", dumps({"Table": {"TableName": "t", "CreationDateTime": 1_800_000_000.5}})),
        ("GetItem", dumps({"Item": {"Id": {"S": "B"}, "N": {"N": "1"}, "M": {"M": {"L": {"L": [{"BOOL": True}]}}}}})),
        ("GetItem", dumps({"Item": {"Id": {"B": "AP8="}, "Set": {"BS": ["AA=="]}, "Nothing": {"NULL": True}}})),
        ("UpdateItem", dumps({"Attributes": {"Set": {"NS": ["1", "2"]}}})),
        ("BatchExecuteStatement", dumps({"Responses": [{}, {"Error": {"Code": "DuplicateItem", "Item": {}}}]})),
    ],
)
async def test_a_response_of_dynamodb_is_parsed_as_by_the_sdk(operation: str, body: bytes) -> None:
    expected = await parsed_by(AioResponseParserFactory(), "dynamodb", operation, body)
    assert await parsed_by(ParserFactory(), "dynamodb", operation, body) == expected


def leaf(chosen: random.Random, shape: Any) -> Any:
    """Return a value that AWS may send for *shape*."""
    match shape.type_name:
        case "blob":
            return chosen.choice(["AP8=", ""])
        case "boolean":
            return chosen.choice([True, False])
        case "integer" | "long":
            return chosen.choice([0, 1, -5, 2**31, 2**80])
        case "float" | "double":
            return chosen.choice([0.1, 1e22, 3])
        case _:
            return chosen.choice(TEXTS)


@pytest.mark.parametrize("action", ACTIONS.values())
async def test_every_response_is_parsed_as_by_the_sdk(action: str) -> None:
    service = "sqs" if action in SQS else "dynamodb"
    model = (await fast(get_session()).get_service_model(service)).operation_model(action)
    headers = {"x-amzn-requestid": "request-1", "content-type": "application/x-amz-json-1.0"}
    maker, sdk = Maker(14, leaf, gap=lambda: None), AioResponseParserFactory().create_parser("json")
    assert model.output_shape is not None
    assert {type_of(shape) for shape in every_shape(model.output_shape)} <= PLAIN_TYPES
    for number in range(100):
        value = maker.value(model.output_shape)
        body = json.dumps(value, ensure_ascii=number % 2 == 0).encode()
        response: Any = {"status_code": 200, "headers": headers, "body": body}
        expected = await sdk.parse(response, model.output_shape)
        assert await parse(headers, body, model.output_shape) == expected, value


# The SDK's parser changes blobs, and `_NOT_PLAIN` finds them. Other types, like timestamps, would not be found.
PLAIN_TYPES = {"structure", "list", "map", "string", "integer", "long", "boolean", "float", "double", "blob"}


def type_of(shape: Any) -> str:
    assert "name" not in shape.serialization, "a member that the SDK renames"
    assert not getattr(shape, "is_tagged_union", False), "a union, of which the SDK checks the members"
    return str(shape.type_name)


def every_shape(shape: Any, seen: "set[str] | None" = None) -> "Iterator[Any]":
    seen = set() if seen is None else seen
    if shape.name in seen:
        return
    seen.add(shape.name)
    yield shape
    members = {"structure": lambda: [*shape.members.values()], "list": lambda: [shape.member]}
    members["map"] = lambda: [shape.key, shape.value]
    for member in members.get(shape.type_name, list)():
        yield from every_shape(member, seen)


@pytest.fixture
async def plain(session: aioboto3.Session) -> "AsyncIterator[tuple[Any, Any]]":
    """Yield clients for SQS and DynamoDB with the workers' parser."""
    ours = aioboto3.Session(region_name=session.region_name, botocore_session=plain_session())
    async with ours.client("sqs") as sqs, ours.client("dynamodb") as dynamodb:
        yield sqs, dynamodb


def without_metadata(answer: Any) -> Any:
    metadata = answer.pop("ResponseMetadata")
    assert metadata.keys() >= {"HTTPStatusCode", "HTTPHeaders", "RequestId", "RetryAttempts"}
    return answer


async def test_messages_are_parsed_as_by_the_sdk(plain: tuple[Any, Any], sqs: Any) -> None:
    ours, _ = plain
    url = (await ours.create_queue(QueueName=f"parsing-{uuid.uuid4().hex}"))["QueueUrl"]
    asked = {
        "QueueUrl": url,
        "VisibilityTimeout": 0,
        "MessageAttributeNames": ["All"],
        "MessageSystemAttributeNames": ["SentTimestamp", "SenderId"],
    }
    for attributes in ({}, {"Text": TEXT}, {"Text": TEXT, "Bytes": BYTES}):
        await ours.send_message(QueueUrl=url, MessageBody="\u5f20", MessageAttributes=attributes)
        received = [without_metadata(await client.receive_message(**asked)) for client in (ours, sqs)]
        receipts = [answer["Messages"][0].pop("ReceiptHandle") for answer in received]
        assert received[0] == received[1]
        assert received[0]["Messages"][0].get("MessageAttributes", {}) == attributes
        entries = [{"Id": "0", "ReceiptHandle": receipts[1]}, {"Id": "1", "ReceiptHandle": "no-such-receipt"}]
        deleted = without_metadata(await ours.delete_message_batch(QueueUrl=url, Entries=entries))
        assert [entry["Id"] for entry in (*deleted["Successful"], *deleted["Failed"])] == ["0", "1"]


async def test_items_and_errors_are_parsed_as_by_the_sdk(plain: tuple[Any, Any], dynamodb: Any, stack: Any) -> None:
    _, ours = plain
    key = {"OrderId": {"S": uuid.uuid4().hex}}
    item = key | {"Status": {"S": "RECEIVED"}, "Price": {"N": "9.5"}, "Blob": {"B": b"\x00"}, "None": {"NULL": True}}
    await ours.put_item(TableName=stack.order_table, Item=item)
    statement = f'UPDATE "{stack.order_table}" SET Price=1 WHERE OrderId=? AND "Status"=\'X\' RETURNING ALL NEW *'
    refused = {
        "Statement": statement,
        "Parameters": [key["OrderId"]],
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    update = {
        "TableName": stack.order_table,
        "Key": key,
        "UpdateExpression": "SET Price = :price",
        "ConditionExpression": "Price = :other",
        "ExpressionAttributeValues": {":price": {"N": "1"}, ":other": {"N": "2"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    got = []
    for client in (ours, dynamodb):
        answers = [
            await client.get_item(TableName=stack.order_table, Key=key),
            await client.describe_table(TableName=stack.order_table),
            await client.batch_execute_statement(Statements=[refused]),
        ]
        with pytest.raises(client.exceptions.ConditionalCheckFailedException) as failed:
            await client.update_item(**update)
        assert isinstance(failed.value, ClientError)
        got.append([without_metadata(answer) for answer in (*answers, failed.value.response)])
    assert got[0] == got[1]
    assert got[0][0]["Item"] == item
