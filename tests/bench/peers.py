"""
The consumers that ours is compared with, as people write them: fast, but without the guarantees.

    python -m tests.bench.peers bare | boto3 | orders
"""

import argparse
import asyncio
import json
import logging
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import aioboto3
import boto3
from aiobotocore.config import AioConfig

from tests.bench.handling import Handling

QUEUE = "OrderFulfillmentQueue"
TABLE = "OrderTable"
WAIT_S = 20
POLLERS = 4
SLOTS = 100
MAX_BATCH = 10
MAX_BATCH_WAIT_S = 0.02
# More than the SDK's default of 10, which would limit a hundred tasks.
CONFIG = AioConfig(max_pool_connections=SLOTS)


async def bare(handling: Handling) -> None:
    """Run the bare aioboto3 loop: four pollers, a hundred slots, deletes in batches, no error handling."""
    async with aioboto3.Session().client("sqs", config=CONFIG) as sqs, asyncio.TaskGroup() as tasks:
        url = (await sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        slots = asyncio.Semaphore(SLOTS)
        handled: list[str] = []

        async def delete_handled() -> None:
            entries = [{"Id": str(number), "ReceiptHandle": receipt} for number, receipt in enumerate(handled)]
            handled.clear()
            await sqs.delete_message_batch(QueueUrl=url, Entries=entries)

        async def process(message: Any) -> None:
            await handling.handle(message["Body"])
            slots.release()
            handled.append(message["ReceiptHandle"])
            if len(handled) == MAX_BATCH:
                await delete_handled()

        async def poll() -> None:
            while True:
                for message in await _receive(sqs, url):
                    await slots.acquire()
                    tasks.create_task(process(message))

        for _ in range(POLLERS):
            tasks.create_task(poll())
        while True:
            await asyncio.sleep(MAX_BATCH_WAIT_S)
            if handled:
                await delete_handled()


async def _receive(sqs: Any, url: str) -> Sequence[Any]:
    answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=MAX_BATCH, WaitTimeSeconds=WAIT_S)
    messages: Sequence[Any] = answer.get("Messages", [])
    return messages


async def orders() -> None:
    """Run the aioboto3 order worker: a read, a conditional write and a delete per message, a hundred at a time."""
    session = aioboto3.Session()
    async with (
        session.client("sqs", config=CONFIG) as sqs,
        session.client("dynamodb", config=CONFIG) as dynamodb,
        asyncio.TaskGroup() as tasks,
    ):
        url = (await sqs.get_queue_url(QueueName=QUEUE))["QueueUrl"]
        slots = asyncio.Semaphore(SLOTS)

        async def fulfill(message: Any) -> None:
            body = json.loads(message["Body"])
            key = {"OrderId": {"S": body["OrderId"]}}
            item = (await dynamodb.get_item(TableName=TABLE, Key=key, ConsistentRead=True)).get("Item")
            if item is None:
                raise LookupError(body["OrderId"])
            if item["Status"]["S"] == "RECEIVED" and item["ExecutionArn"]["S"] == body["ExecutionArn"]:
                await dynamodb.update_item(
                    TableName=TABLE,
                    Key=key,
                    UpdateExpression="SET #Status = :fulfilled, ShipmentId = :shipment, FulfilledAt = :at, "
                    "UpdatedAt = :at REMOVE OpenKey",
                    ConditionExpression="#Status = :received",
                    ExpressionAttributeNames={"#Status": "Status"},
                    ExpressionAttributeValues={
                        ":received": {"S": "RECEIVED"},
                        ":fulfilled": {"S": "FULFILLED"},
                        ":shipment": {"S": f"SHIP-{body['OrderId']}"},
                        ":at": {"S": datetime.now(UTC).isoformat()},
                    },
                )
            await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

        async def process(message: Any) -> None:
            try:
                await fulfill(message)
            except Exception:
                logging.exception("not fulfilled")  # noqa: LOG015 - as people write it.
            finally:
                slots.release()

        async def poll() -> None:
            while True:
                for message in await _receive(sqs, url):
                    await slots.acquire()
                    tasks.create_task(process(message))

        for _ in range(POLLERS):
            tasks.create_task(poll())


def plain_boto3(handling: Handling) -> None:
    """Run the plain boto3 loop: receive ten messages, then handle and delete one after the other."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    while True:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=MAX_BATCH, WaitTimeSeconds=WAIT_S)
        for message in answer.get("Messages", []):
            handling.record(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers")
    parser.add_argument("peer", choices=["bare", "boto3", "orders"])
    Handling.add_arguments(parser)
    arguments = parser.parse_args()
    handling = Handling.of_arguments(arguments)

    def stop(*_: object) -> None:
        handling.close()
        os._exit(0)  # Not an exception: a library in the middle of a call might swallow it.

    signal.signal(signal.SIGTERM, stop)
    match arguments.peer:
        case "bare":
            asyncio.run(bare(handling))
        case "orders":
            asyncio.run(orders())
        case _:
            plain_boto3(handling)


if __name__ == "__main__":
    main()
