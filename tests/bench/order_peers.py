"""Workers for orders and escalations as people write them: one message per task, a hundred at a time, four polls."""

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import aioboto3
import aiohttp
from aiobotocore.config import AioConfig

ORDER_QUEUE, ESCALATION_QUEUE = "OrderFulfillmentQueue", "EscalationQueue"
ORDERS, CASES = "OrderTable", "EscalationTable"
WAIT_S = 20
POLLERS = 4
SLOTS = 100
MAX_BATCH = 10
# More than the SDK's default of 10, which would limit a hundred tasks.
CONFIG = AioConfig(max_pool_connections=SLOTS)

log = logging.getLogger(__name__)

Handle = Callable[[dict[str, Any]], Awaitable[None]]


async def fulfill_orders() -> None:
    """Run the order worker: a read, a conditional write and a delete per message."""
    session = aioboto3.Session()
    async with session.client("dynamodb", config=CONFIG) as dynamodb:

        async def fulfill(body: dict[str, Any]) -> None:
            order = await _received_order(dynamodb, body)
            if order is not None:
                await _mark_fulfilled(dynamodb, body["OrderId"], f"SHIP-{body['OrderId']}")

        await _consume(session, ORDER_QUEUE, fulfill)


async def ship_orders() -> None:
    """Run the order worker with a provider: a read, a POST, a conditional write and a delete per message."""
    url, session = os.environ["FULFILLMENT_URL"], aioboto3.Session()
    async with (
        session.client("dynamodb", config=CONFIG) as dynamodb,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
    ):

        async def ship(body: dict[str, Any]) -> None:
            order = await _received_order(dynamodb, body)
            if order is None:
                return
            posted = {name: order[name]["S"] for name in ("OrderId", "Name", "ItemName", "Price")}
            headers = {"Idempotency-Key": body["OrderId"]}
            async with http.post(url, json=posted, headers=headers, raise_for_status=True) as response:
                shipment = (await response.json(content_type=None))["ShipmentId"]
            await _mark_fulfilled(dynamodb, body["OrderId"], shipment)

        await _consume(session, ORDER_QUEUE, ship)


async def escalate_orders() -> None:
    """Run the escalation worker: a read, a transaction of case and order, a log line and a delete per message."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    session = aioboto3.Session()
    async with session.client("dynamodb", config=CONFIG) as dynamodb:

        async def escalate(body: dict[str, Any]) -> None:
            order = await _received_order(dynamodb, body)
            if order is not None:
                await _write_case(dynamodb, body, order)
                line = {"event": "escalation", "order_id": body["OrderId"], "reasons": body["Reasons"]}
                log.warning(json.dumps(line))

        await _consume(session, ESCALATION_QUEUE, escalate)


async def _received_order(dynamodb: Any, body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the order's item if it is new, and of the execution that the message names."""
    key = {"OrderId": {"S": body["OrderId"]}}
    item: dict[str, Any] | None = (await dynamodb.get_item(TableName=ORDERS, Key=key, ConsistentRead=True)).get("Item")
    if item is None:
        raise LookupError(body["OrderId"])
    new = item["Status"]["S"] == "RECEIVED" and item["ExecutionArn"]["S"] == body["ExecutionArn"]
    return item if new else None


async def _mark_fulfilled(dynamodb: Any, order_id: str, shipment: str) -> None:
    await dynamodb.update_item(
        TableName=ORDERS,
        Key={"OrderId": {"S": order_id}},
        UpdateExpression="SET #Status = :fulfilled, ShipmentId = :shipment, FulfilledAt = :at, UpdatedAt = :at "
        "REMOVE OpenKey",
        ConditionExpression="#Status = :received",
        ExpressionAttributeNames={"#Status": "Status"},
        ExpressionAttributeValues={
            ":received": {"S": "RECEIVED"},
            ":fulfilled": {"S": "FULFILLED"},
            ":shipment": {"S": shipment},
            ":at": {"S": _now()},
        },
    )


async def _write_case(dynamodb: Any, body: dict[str, Any], order: dict[str, Any]) -> None:
    reasons, at = {"L": [{"S": reason} for reason in body["Reasons"]]}, {"S": _now()}
    case = {
        "CaseId": {"S": body["OrderId"]},
        "State": {"S": "OPEN"},
        "Reasons": reasons,
        "Source": {"S": body["Source"]},
        "Detail": {"S": body["Detail"]},
        "ExecutionArn": {"S": body["ExecutionArn"]},
        "Order": {"M": order},
        "OpenedAt": at,
    }
    await dynamodb.transact_write_items(
        TransactItems=[
            {"Put": {"TableName": CASES, "Item": case, "ConditionExpression": "attribute_not_exists(CaseId)"}},
            {
                "Update": {
                    "TableName": ORDERS,
                    "Key": {"OrderId": {"S": body["OrderId"]}},
                    "UpdateExpression": "SET #Status = :escalated, Reasons = :reasons, EscalatedAt = :at, "
                    "UpdatedAt = :at, OpenKey = :open",
                    "ConditionExpression": "#Status = :received",
                    "ExpressionAttributeNames": {"#Status": "Status"},
                    "ExpressionAttributeValues": {
                        ":received": {"S": "RECEIVED"},
                        ":escalated": {"S": "ESCALATED"},
                        ":reasons": reasons,
                        ":at": at,
                        ":open": {"S": order["OpenKey"]["S"].replace("RECEIVED", "ESCALATED")},
                    },
                }
            },
        ]
    )


async def _consume(session: aioboto3.Session, queue: str, handle: Handle) -> None:
    """Receive, handle and delete messages. A message that is not handled comes again by itself."""
    async with session.client("sqs", config=CONFIG) as sqs, asyncio.TaskGroup() as tasks:
        url = (await sqs.get_queue_url(QueueName=queue))["QueueUrl"]
        slots = asyncio.Semaphore(SLOTS)

        async def process(message: Any) -> None:
            try:
                await handle(json.loads(message["Body"]))
                await sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            except Exception:
                log.exception("not handled")
            finally:
                slots.release()

        async def poll() -> None:
            while True:
                for message in await receive(sqs, url):
                    await slots.acquire()
                    tasks.create_task(process(message))

        for _ in range(POLLERS):
            tasks.create_task(poll())


async def receive(sqs: Any, url: str) -> Sequence[Any]:
    """Wait for messages."""
    answer = await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=MAX_BATCH, WaitTimeSeconds=WAIT_S)
    messages: Sequence[Any] = answer.get("Messages", [])
    return messages


def _now() -> str:
    return datetime.now(UTC).isoformat()
