"""The order table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from workers.aws.errors import MissingResourceError, error_code, translated
from workers.aws.items import from_item, to_item
from workers.domain.orders import Order, OrderStatus

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

CONDITION_FAILED = "ConditionalCheckFailedException"


async def check_table(dynamodb: "DynamoDBClient", name: str) -> None:
    """
    Make sure that the table called *name* is there.

    Raises:
        MissingResourceError: It is not.
    """
    try:
        with translated():
            await dynamodb.describe_table(TableName=name)
    except MissingResourceError:
        raise MissingResourceError(
            f"there is no table {name}: deploy the stack, or set the variable that names it"
        ) from None


@dataclass(frozen=True, slots=True)
class DynamoOrders:
    """Orders in DynamoDB. Every transition is one conditional write, bound to the execution a message names."""

    dynamodb: "DynamoDBClient"
    table: str

    async def get(self, order_id: str) -> Order | None:
        with translated():
            answer = await self.dynamodb.get_item(
                TableName=self.table, Key=to_item({"OrderId": order_id}), ConsistentRead=True
            )
        return _order(from_item(answer["Item"])) if "Item" in answer else None

    async def fulfill(self, order_id: str, execution_arn: str | None, shipment_id: str, at: str) -> Order | None:
        return await self._update(
            order_id,
            execution_arn,
            "SET #Status = :fulfilled, ShipmentId = :shipment, FulfilledAt = :at, UpdatedAt = :at REMOVE OpenKey",
            {":fulfilled": OrderStatus.FULFILLED, ":shipment": shipment_id, ":at": at},
        )

    async def count_attempt(self, order_id: str, execution_arn: str | None) -> int | None:
        # UpdatedAt stays: it tells for how long the order has been in its status.
        order = await self._update(order_id, execution_arn, "ADD Attempts :one", {":one": 1})
        counted = order is not None and order.status is OrderStatus.RECEIVED and order.belongs_to(execution_arn)
        return order.attempts if order is not None and counted else None

    async def _update(
        self, order_id: str, execution_arn: str | None, update: str, values: dict[str, Any]
    ) -> Order | None:
        """Update a `RECEIVED` order of that execution; return the order as it is afterwards, updated or not."""
        bound = " AND ExecutionArn = :execution" if execution_arn is not None else ""
        names = {":received": OrderStatus.RECEIVED, ":execution": execution_arn}
        try:
            with translated():
                answer = await self.dynamodb.update_item(
                    TableName=self.table,
                    Key=to_item({"OrderId": order_id}),
                    UpdateExpression=update,
                    ConditionExpression=f"#Status = :received{bound}",
                    ExpressionAttributeNames={"#Status": "Status"},
                    ExpressionAttributeValues=to_item(values | names),
                    ReturnValues="ALL_NEW",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            old: Any = error.response.get("Item")
            return _order(from_item(old)) if old else None
        return _order(from_item(answer["Attributes"]))


def _order(item: dict[str, Any]) -> Order:
    return Order(
        order_id=item["OrderId"],
        status=OrderStatus(item["Status"]),
        execution_arn=item.get("ExecutionArn"),
        name=item.get("Name"),
        item_name=item.get("ItemName"),
        price=item.get("Price"),
        cc=item.get("CC"),
        created_at=item.get("CreatedAt"),
        shipment_id=item.get("ShipmentId"),
        fulfilled_at=item.get("FulfilledAt"),
        attempts=item.get("Attempts", 0),
    )
