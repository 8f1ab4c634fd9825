"""The order table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from workers.aws.errors import (
    CONDITION_FAILED,
    ITEM_FAULTS,
    MissingResourceError,
    ask,
    error_code,
    readable,
    statement_error,
)
from workers.aws.group_commit import GroupCommit
from workers.aws.halves import send_halves
from workers.aws.items import from_item, to_item
from workers.aws.status_index import STATUS_KEY, status_key
from workers.domain.orders import Order, OrderStatus
from workers.domain.retention import FOR_EVER, Retention
from workers.errors import OutageError, UnreadableOrderError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import (
        AttributeValueTypeDef,
        BatchStatementRequestTypeDef,
        BatchStatementResponseTypeDef,
    )

MAX_STATEMENTS = 25  # DynamoDB: statements per BatchExecuteStatement.
_FULFILLED = OrderStatus.FULFILLED.value  # A plain string: the hash of an enumeration's member takes a microsecond.
MAX_REQUESTS = 2  # One request runs while the next group fills. More requests would only make the groups smaller.


async def check_table(dynamodb: "DynamoDBClient", name: str) -> None:
    """
    Check that the table called *name* exists.

    Raises:
        MissingResourceError: The table does not exist.
    """
    try:
        await ask(dynamodb.describe_table, (), TableName=name)
    except MissingResourceError:
        raise MissingResourceError(
            f"there is no table {name}: deploy the stack, or correct the variable that names it"
        ) from None


@dataclass(frozen=True, slots=True)
class _Fulfillment:
    order_id: str
    execution_arn: str | None
    shipment_id: str
    at: str


class DynamoOrders:
    """Orders in DynamoDB. Each change is one conditional write. It checks the execution that a message names."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str, *, retention: Retention = FOR_EVER) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._retention = retention
        self._fulfillments: GroupCommit[_Fulfillment, Order | None] = GroupCommit(
            self._fulfill, name="fulfillments", max_group=MAX_STATEMENTS, max_requests=MAX_REQUESTS
        )
        # Literal statuses save two parameters per statement. The name is safe here: the settings allow no quotes in it.
        expires = "" if retention.days is None else " SET ExpiresAt=?"
        update = (
            f'UPDATE "{table}" SET "Status"=\'{OrderStatus.FULFILLED}\''  # noqa: S608
            f" SET ShipmentId=? SET FulfilledAt=? SET UpdatedAt=? SET {STATUS_KEY}=?{expires}"
            f" WHERE OrderId=? AND \"Status\"='{OrderStatus.RECEIVED}'"
        )
        self._statements = {True: f"{update} AND ExecutionArn=?", False: update}

    async def get(self, order_id: str) -> Order | None:
        answer = await ask(
            self._dynamodb.get_item,
            ITEM_FAULTS,
            TableName=self._table,
            Key=to_item({"OrderId": order_id}),
            ConsistentRead=True,
        )
        with readable("GetItem"):
            item = from_item(answer["Item"]) if "Item" in answer else None
        return None if item is None else order_of(item)

    async def fulfill(self, order_id: str, execution_arn: str | None, shipment_id: str, at: str) -> Order | None:
        return await self._fulfillments.submit(order_id, _Fulfillment(order_id, execution_arn, shipment_id, at))

    async def count_attempt(self, order_id: str, execution_arn: str | None, attempt: str) -> int | None:
        return await self._count("Attempts", "LastAttempt", (order_id, execution_arn), attempt)

    async def count_trial(self, order_id: str, execution_arn: str | None, trial: str) -> int | None:
        return await self._count("Trials", "LastTrial", (order_id, execution_arn), trial)

    async def take_back_trial(self, order_id: str, execution_arn: str | None, trial: str) -> bool:
        bound = " AND ExecutionArn = :execution" if execution_arn is not None else ""
        values = {":trial": trial, ":one": 1, ":received": OrderStatus.RECEIVED, ":execution": execution_arn}
        try:
            await ask(
                self._dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self._table,
                Key=to_item({"OrderId": order_id}),
                UpdateExpression="SET Trials = Trials - :one REMOVE LastTrial",
                ConditionExpression=f"#Status = :received{bound} AND LastTrial = :trial",
                ExpressionAttributeNames={"#Status": "Status"},
                ExpressionAttributeValues=to_item(values),
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            return False
        return True

    async def _count(self, counter: str, last: str, order: tuple[str, str | None], event: str) -> int | None:
        """
        Count *event* on a `RECEIVED` order. The last event is stored too, so a repeated write does not count again.

        The write does not change `UpdatedAt`, which is the time of the last change of status.
        """
        order_id, execution_arn = order
        bound = " AND ExecutionArn = :execution" if execution_arn is not None else ""
        try:
            answer = await ask(
                self._dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self._table,
                Key=to_item({"OrderId": order_id}),
                UpdateExpression="SET #Last = :event ADD #Counter :one",
                ConditionExpression=f"#Status = :received{bound} AND (attribute_not_exists(#Last) OR #Last <> :event)",
                ExpressionAttributeNames={"#Status": "Status", "#Last": last, "#Counter": counter},
                ExpressionAttributeValues=to_item(
                    {":event": event, ":one": 1, ":received": OrderStatus.RECEIVED, ":execution": execution_arn}
                ),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            old: Any = error.response.get("Item") or {}
            with readable("UpdateItem"):
                item = from_item(old)
            counted_before = item.get(last) == event and item.get("Status") == OrderStatus.RECEIVED
            return int(item[counter]) if counted_before else None
        with readable("UpdateItem"):
            return int(from_item(answer["Attributes"])[counter])

    async def _fulfill(self, group: Sequence[_Fulfillment]) -> Sequence[Order | Exception | None]:
        """Fulfill many orders in one request. Each statement has its own condition and its own result."""
        statements = [*map(self._statement, group)]
        try:
            answer = await ask(self._dynamodb.batch_execute_statement, ITEM_FAULTS, Statements=statements)
        except (ClientError, ParamValidationError) as error:
            if len(group) == 1:
                return [error]
            return await send_halves(self._fulfill, group)  # DynamoDB refuses the whole request because of one order.
        with readable("BatchExecuteStatement"):
            responses = [*answer.get("Responses", [])]
        if len(responses) != len(group):
            raise OutageError("BatchExecuteStatement: an incomplete response")
        return [*map(_result_or_error, group, responses)]

    def _statement(self, order: _Fulfillment) -> "BatchStatementRequestTypeDef":
        at: AttributeValueTypeDef = {"S": order.at}
        key = status_key(_FULFILLED, order.order_id, order.at)
        parameters: list[AttributeValueTypeDef] = [{"S": order.shipment_id}, at, at, {"S": key}]
        if (expires_at := self._retention.expires_at(order.at)) is not None:
            parameters.append({"N": str(expires_at)})
        parameters.append({"S": order.order_id})
        if order.execution_arn is not None:
            parameters.append({"S": order.execution_arn})
        return {
            "Statement": self._statements[order.execution_arn is not None],
            "Parameters": parameters,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }


def _result_or_error(order: _Fulfillment, response: "BatchStatementResponseTypeDef") -> Order | Exception | None:
    """Return the result of one statement, or the error if it is unreadable: the group's other orders are written."""
    try:
        return _result(order, response)
    except (OutageError, UnreadableOrderError) as error:
        return error


def _result(order: _Fulfillment, response: "BatchStatementResponseTypeDef") -> Order | Exception | None:
    with readable("BatchExecuteStatement"):
        error = response.get("Error")
        code = None if error is None else error["Code"]
        item = from_item(error["Item"]) if error and error.get("Item") else None
    if code is None:
        return Order(
            order_id=order.order_id,
            status=OrderStatus.FULFILLED,
            execution_arn=order.execution_arn,
            shipment_id=order.shipment_id,
            fulfilled_at=order.at,
        )
    if code == "ConditionalCheckFailed":
        return None if item is None else order_of(item)
    return statement_error(code)


def order_of(item: dict[str, Any]) -> Order:
    """
    Return the order in *item*.

    Raises:
        UnreadableOrderError: The item is not an order: someone has edited it by hand.
    """
    if item.get("Status") not in set(OrderStatus):
        raise UnreadableOrderError("the order's Status in the table is not a valid status")
    attempts = item.get("Attempts", 0)
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
        cancelled_at=item.get("CancelledAt"),
        attempts=attempts if isinstance(attempts, int) else 0,
    )
