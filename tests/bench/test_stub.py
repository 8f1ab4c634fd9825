"""The stub has what makes the figures comparable: conditions, visibility, long polls, errors per statement."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError

from tests.bench.harness import Stub
from tests.bench.loads import FULFILLMENT_QUEUE as QUEUE
from tests.bench.loads import Load

pytestmark = pytest.mark.process

ARN = "arn:aws:states:us-east-1:123456789012:execution:OrderFulfillmentStateMachine:"
FULFILL = (
    'UPDATE "OrderTable" SET "Status"=? SET ShipmentId=? REMOVE OpenKey '
    'WHERE OrderId=? AND "Status"=? AND ExecutionArn=? RETURNING ALL NEW *'
)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with Stub.running() as running:
        yield running


@pytest.fixture
async def clients(stub: Stub) -> AsyncIterator[tuple[Any, Any]]:
    stub.command("reset")
    session = aioboto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
    config = AioConfig(retries={"total_max_attempts": 1})
    async with AsyncExitStack() as stack:
        sqs, dynamodb = [
            await stack.enter_async_context(session.client(name, endpoint_url=stub.endpoint, config=config))
            for name in ("sqs", "dynamodb")
        ]
        yield sqs, dynamodb


@pytest.fixture
def sqs(clients: tuple[Any, Any]) -> Any:
    return clients[0]


@pytest.fixture
def dynamodb(clients: tuple[Any, Any]) -> Any:
    return clients[1]


@pytest.fixture
async def url(sqs: Any) -> str:
    return str((await sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"])


async def test_a_received_message_reappears_after_its_visibility_timeout(sqs: Any, url: str) -> None:
    await sqs.send_message(QueueUrl=url, MessageBody="é")
    asked = {"QueueUrl": url, "VisibilityTimeout": 1, "MessageSystemAttributeNames": ["ApproximateReceiveCount"]}
    [first] = (await sqs.receive_message(**asked))["Messages"]
    hidden = await sqs.receive_message(**asked)
    [second] = (await sqs.receive_message(**asked, WaitTimeSeconds=5))["Messages"]

    assert (first["Body"], first["Attributes"]) == ("é", {"ApproximateReceiveCount": "1"})
    assert "Messages" not in hidden
    assert (second["MessageId"], second["Attributes"]) == (first["MessageId"], {"ApproximateReceiveCount": "2"})
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


async def test_a_long_poll_ends_at_the_first_message_or_after_its_wait(sqs: Any, url: str) -> None:
    polling = asyncio.create_task(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20))
    await asyncio.sleep(0.2)
    assert not polling.done()
    await sqs.send_message(QueueUrl=url, MessageBody="001")
    assert [message["Body"] for message in (await polling)["Messages"]] == ["001"]

    started_s = time.monotonic()
    assert "Messages" not in await sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)
    assert time.monotonic() - started_s >= 1


async def test_batches_delete_and_release_with_errors_per_entry(sqs: Any, url: str) -> None:
    sent = [{"Id": str(number), "MessageBody": f"{number}"} for number in range(3)]
    assert len((await sqs.send_message_batch(QueueUrl=url, Entries=sent))["Successful"]) == 3
    received = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
    receipts = [message["ReceiptHandle"] for message in received]

    deleted = await sqs.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": "0", "ReceiptHandle": receipts[0]}, {"Id": "1", "ReceiptHandle": "none of ours"}]
    )
    released = await sqs.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": 0} for i, receipt in enumerate(receipts)
        ],
    )
    again = (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]

    assert [entry["Id"] for entry in deleted["Successful"]] == ["0"]
    assert [entry["Code"] for entry in deleted["Failed"]] == ["ReceiptHandleIsInvalid"]
    assert [entry["Id"] for entry in released["Successful"]] == ["1", "2"]
    assert [entry["Code"] for entry in released["Failed"]] == ["MessageNotInflight"]
    assert sorted(message["Body"] for message in again) == ["1", "2"]


async def test_a_backlog_of_orders_never_runs_out(stub: Stub, sqs: Any, url: str) -> None:
    stub.command("backlog", load=Load.ORDERS)
    received = [
        message
        for _ in range(3)
        for message in (await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10))["Messages"]
    ]
    assert len({message["Body"] for message in received}) == 30


async def test_an_update_needs_its_condition(dynamodb: Any) -> None:
    await dynamodb.put_item(TableName="OrderTable", Item=_item("001"))
    update = {
        "TableName": "OrderTable",
        "Key": {"OrderId": {"S": "001"}},
        "UpdateExpression": "SET #Status = :fulfilled REMOVE OpenKey ADD Attempts :one",
        "ConditionExpression": "#Status = :received AND ExecutionArn = :execution",
        "ExpressionAttributeNames": {"#Status": "Status"},
        "ExpressionAttributeValues": {
            ":fulfilled": {"S": "FULFILLED"},
            ":received": {"S": "RECEIVED"},
            ":execution": {"S": f"{ARN}001"},
            ":one": {"N": "1"},
        },
        "ReturnValues": "ALL_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    updated = (await dynamodb.update_item(**update))["Attributes"]
    with pytest.raises(ClientError) as refused:
        await dynamodb.update_item(**update)

    assert updated == {
        "OrderId": {"S": "001"},
        "Status": {"S": "FULFILLED"},
        "ExecutionArn": {"S": f"{ARN}001"},
        "Attempts": {"N": "1"},
    }
    answer: Any = refused.value.response
    assert answer["Error"]["Code"] == "ConditionalCheckFailedException"
    assert answer["Item"] == updated


async def test_each_statement_has_its_own_condition_and_error(dynamodb: Any) -> None:
    for order_id in ("001", "002"):
        await dynamodb.put_item(TableName="OrderTable", Item=_item(order_id))
    statements = [_fulfillment("001"), _fulfillment("002") | {"Parameters": _parameters("002", "another")}]
    answer = await dynamodb.batch_execute_statement(Statements=[*statements, _fulfillment("003")])

    done, superseded, missing = answer["Responses"]
    assert done["Item"] == {
        "OrderId": {"S": "001"},
        "Status": {"S": "FULFILLED"},
        "ExecutionArn": {"S": f"{ARN}001"},
        "ShipmentId": {"S": "SHIP-001"},
    }
    assert superseded["Error"]["Code"] == "ConditionalCheckFailed"
    assert superseded["Error"]["Item"] == _item("002")
    assert missing["Error"]["Code"] == "ConditionalCheckFailed"
    assert "Item" not in missing["Error"]


async def test_a_batch_with_the_same_order_twice_is_refused(dynamodb: Any) -> None:
    await dynamodb.put_item(TableName="OrderTable", Item=_item("001"))
    with pytest.raises(ClientError, match="duplicates"):
        await dynamodb.batch_execute_statement(Statements=[_fulfillment("001"), _fulfillment("001")])
    stored = (await dynamodb.get_item(TableName="OrderTable", Key={"OrderId": {"S": "001"}}))["Item"]
    assert stored == _item("001")


async def test_the_sdk_reads_why_a_transaction_was_cancelled(dynamodb: Any) -> None:
    await dynamodb.put_item(TableName="OrderTable", Item=_item("001"))
    writes = [
        {
            "Put": {
                "TableName": "OrderTable",
                "Item": _item(order_id),
                "ConditionExpression": "attribute_not_exists(OrderId)",
            }
        }
        for order_id in ("002", "001")
    ]
    with pytest.raises(dynamodb.exceptions.TransactionCanceledException) as cancelled:
        await dynamodb.transact_write_items(TransactItems=writes)
    reasons = cancelled.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "ConditionalCheckFailed"]


async def test_missing_queues_and_tables_are_refused_as_by_aws(sqs: Any, dynamodb: Any) -> None:
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        await sqs.get_queue_url(QueueName="Nowhere")
    with pytest.raises(dynamodb.exceptions.ResourceNotFoundException):
        await dynamodb.describe_table(TableName="Nowhere")


def _item(order_id: str) -> dict[str, Any]:
    return {
        "OrderId": {"S": order_id},
        "Status": {"S": "RECEIVED"},
        "ExecutionArn": {"S": f"{ARN}{order_id}"},
        "OpenKey": {"S": "RECEIVED#a"},
    }


def _fulfillment(order_id: str) -> dict[str, Any]:
    return {
        "Statement": FULFILL,
        "Parameters": _parameters(order_id, order_id),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _parameters(order_id: str, execution: str) -> list[dict[str, str]]:
    return [{"S": value} for value in ("FULFILLED", f"SHIP-{order_id}", order_id, "RECEIVED", f"{ARN}{execution}")]
