"""
An AWS in memory for one worker, whose next answers may be any error.

It stands for the SDK's clients, so that it can also raise what is not an answer of AWS. Released messages come back at
once, whatever their delay.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from workers.aws.items import from_item, to_item

ORDER, CASE = "OrderTable", "EscalationTable"
EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"

Answer = BaseException | Callable[[str], BaseException] | dict[str, Any] | None


@dataclass
class Double:
    """
    The clients `sqs`, `dynamodb`, `secretsmanager` and `sns` in one.

    While `operation` is called, `answer` comes instead of the real answer; `hits` counts that. Not before `armed`.
    """

    operation: str = ""
    answer: Answer = None
    armed: bool = True
    hits: int = 0
    visibility_timeout_s: int = 60
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    visible: deque[dict[str, Any]] = field(default_factory=deque)
    received: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    sent: dict[str, list[str]] = field(default_factory=dict)
    published: int = 0
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def clear(self) -> None:
        """Answer as AWS does from now on."""
        self.answer = None

    def put_order(self, order_id: str) -> None:
        self.items[ORDER, order_id] = {"OrderId": order_id, "Status": "RECEIVED", "ExecutionArn": EXECUTION}

    def send(self, message_id: str, body: str) -> None:
        message = {"MessageId": message_id, "Body": body, "count": 0}
        self.visible.append(message)
        self.arrived.set()

    async def until(self, condition: Callable[["Double"], bool]) -> None:
        while not condition(self):  # noqa: ASYNC110 - any condition, so there is no event to wait for.
            await asyncio.sleep(0.1)

    def order(self, order_id: str) -> dict[str, Any]:
        return self.items[ORDER, order_id]

    # SQS.

    async def get_queue_url(self, *, QueueName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's names, here and below.
        return await self._answered("GetQueueUrl") or {"QueueUrl": f"https://sqs/{QueueName}"}

    async def get_queue_attributes(self, **_: Any) -> dict[str, Any]:
        redrive = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:x:1:DLQ", "maxReceiveCount": 1000})
        attributes = {"VisibilityTimeout": str(self.visibility_timeout_s), "RedrivePolicy": redrive}
        return await self._answered("GetQueueAttributes") or {"Attributes": attributes}

    async def list_queue_tags(self, **_: Any) -> dict[str, Any]:
        return await self._answered("ListQueueTags") or {}

    async def receive_message(self, *, MaxNumberOfMessages: int, **_: Any) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("ReceiveMessage")) is not None:
            return instead
        self.arrived.clear()
        if not self.visible:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.arrived.wait(), 1)
        messages = [self.visible.popleft() for _ in range(min(MaxNumberOfMessages, len(self.visible)))]
        for message in messages:
            message["count"] += 1
            self.received[message["MessageId"]] = message
        return {
            "Messages": [
                {
                    "MessageId": message["MessageId"],
                    "ReceiptHandle": message["MessageId"],
                    "Body": message["Body"],
                    "Attributes": {"ApproximateReceiveCount": str(message["count"])},
                }
                for message in messages
            ]
        }

    async def delete_message_batch(self, *, Entries: list[dict[str, str]], **_: Any) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("DeleteMessageBatch")) is not None:
            return instead
        self.deleted += [entry["ReceiptHandle"] for entry in Entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    async def change_message_visibility_batch(
        self,
        *,
        Entries: list[dict[str, Any]],  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        if (instead := await self._answered("ChangeMessageVisibilityBatch")) is not None:
            return instead
        for entry in Entries:
            handle = entry["ReceiptHandle"]
            if entry["VisibilityTimeout"] == self.visibility_timeout_s:
                self.extended.append(handle)
            else:
                self.released.append(handle)
                self.visible.append(self.received[handle])
                self.arrived.set()
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    async def send_message(self, *, QueueUrl: str, MessageBody: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("SendMessage")) is not None:
            return instead
        self.sent.setdefault(QueueUrl.rpartition("/")[2], []).append(MessageBody)
        return {"MessageId": "sent"}

    # DynamoDB.

    async def describe_table(self, **_: Any) -> dict[str, Any]:
        return await self._answered("DescribeTable") or {}

    async def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("BatchGetItem")) is not None:
            return instead
        found: dict[str, list[Any]] = {}
        for table, asked in RequestItems.items():
            items = [self.items.get((table, next(iter(from_item(key).values())))) for key in asked["Keys"]]
            found[table] = [to_item(item) for item in items if item is not None]
        return {"Responses": found, "UnprocessedKeys": {}}

    async def query(self, **_: Any) -> dict[str, Any]:
        return await self._answered("Query") or {"Items": []}

    async def update_item(self, *, TableName: str, Key: dict[str, Any], **request: Any) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("UpdateItem")) is not None:
            return instead
        item = self.items[TableName, next(iter(from_item(Key).values()))]
        values = from_item(request["ExpressionAttributeValues"])
        if TableName == CASE:
            item["Routed"] = [*item.get("Routed", []), *values[":sent"]]
            return {}
        names = request["ExpressionAttributeNames"]
        if item["Status"] != "RECEIVED" or item.get(names["#Last"]) == values[":event"]:
            response: Any = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": to_item(item)}
            raise ClientError(response, "UpdateItem")
        item |= {names["#Last"]: values[":event"], names["#Counter"]: item.get(names["#Counter"], 0) + 1}
        return {"Attributes": to_item(item)}

    async def batch_execute_statement(self, *, Statements: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("BatchExecuteStatement")) is not None:
            return instead
        responses: list[dict[str, Any]] = []
        for statement in Statements:
            shipment_id, at, _, _, order_id, *_ = [parameter["S"] for parameter in statement["Parameters"]]
            item = self.items.get((ORDER, order_id))
            if item is None or item["Status"] != "RECEIVED":
                old = {} if item is None else {"Item": to_item(item)}
                responses.append({"Error": {"Code": "ConditionalCheckFailed"} | old})
            else:
                item |= {"Status": "FULFILLED", "ShipmentId": shipment_id, "FulfilledAt": at}
                responses.append({})
        return {"Responses": responses}

    async def transact_write_items(self, *, TransactItems: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        if (instead := await self._answered("TransactWriteItems")) is not None:
            return instead
        for write in TransactItems:
            if put := write.get("Put"):
                item = from_item(put["Item"])
                self.items[CASE, item["CaseId"]] = item
            elif update := write.get("Update"):
                self.items[ORDER, from_item(update["Key"])["OrderId"]]["Status"] = "ESCALATED"
        return {}

    # The others.

    async def get_secret_value(self, **_: Any) -> dict[str, Any]:
        return await self._answered("GetSecretValue") or {"SecretString": "token"}

    async def publish(self, **_: Any) -> dict[str, Any]:
        if (instead := await self._answered("Publish")) is not None:
            return instead
        self.published += 1
        return {"MessageId": "published"}

    async def _answered(self, operation: str) -> dict[str, Any] | None:
        """Return or raise the answer that is set for *operation*; None for the real one."""
        await asyncio.sleep(0)
        if operation != self.operation or self.answer is None or not self.armed:
            return None
        self.hits += 1
        answer = self.answer
        if isinstance(answer, dict):
            return answer
        raise answer if isinstance(answer, BaseException) else answer(operation)
