"""
The consumers that ours is compared with, as people write them: fast, but without the guarantees.

    python -m tests.bench.peers bare | boto3 | orders | provider | escalations
"""

import argparse
import asyncio
import os
import signal
from typing import Any

import aioboto3
import boto3

from tests.bench.handling import Handling
from tests.bench.order_peers import (
    CONFIG,
    MAX_BATCH,
    POLLERS,
    SLOTS,
    WAIT_S,
    escalate_orders,
    fulfill_orders,
    receive,
    ship_orders,
)
from tests.bench.order_peers import ORDER_QUEUE as QUEUE

MAX_BATCH_WAIT_S = 0.02


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
                for message in await receive(sqs, url):
                    await slots.acquire()
                    tasks.create_task(process(message))

        for _ in range(POLLERS):
            tasks.create_task(poll())
        while True:
            await asyncio.sleep(MAX_BATCH_WAIT_S)
            if handled:
                await delete_handled()


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
    parser.add_argument("peer", choices=["bare", "boto3", "orders", "provider", "escalations"])
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
        case "boto3":
            plain_boto3(handling)
        case "orders":
            asyncio.run(fulfill_orders())
        case "provider":
            asyncio.run(ship_orders())
        case _:
            asyncio.run(escalate_orders())


if __name__ == "__main__":
    main()
