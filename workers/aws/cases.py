"""The table of escalation cases. One transaction writes a case and its order."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from workers.aws.batch_reads import BatchReads, ReadTable
from workers.aws.case_items import attributes, case_item, case_of
from workers.aws.errors import (
    CONDITION_FAILED,
    ITEM_FAULTS,
    TRANSACTION_CANCELLED,
    ask,
    cancellation_codes,
    error_code,
    readable,
    translated,
)
from workers.aws.items import from_item, to_item
from workers.aws.open_index import open_key, open_keys
from workers.aws.orders import order_of
from workers.backoff import Backoff
from workers.domain.cases import Case, CaseState, SentNotification
from workers.domain.escalations import EscalationPlan
from workers.domain.orders import Order, OrderStatus
from workers.domain.resolutions import ResolutionPlan
from workers.errors import ConflictError, UnreadableOrderError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient
    from types_aiobotocore_dynamodb.type_defs import TransactWriteItemTypeDef

MAX_KEYS = 100  # DynamoDB: keys per BatchGetItem.
THROTTLED = Backoff(base_s=0.1, cap_s=5.0)  # The wait after a batch read that returns no items.
# DynamoDB cancels a transaction for one of these reasons if another write was faster.
_CONFLICTS = {"ConditionalCheckFailed", "TransactionConflict"}


class DynamoCases:
    """Cases in DynamoDB. A write fails if the case's `Version` has changed since the case was read."""

    def __init__(
        self, dynamodb: "DynamoDBClient", table: str, order_table: str, *, throttled: Backoff = THROTTLED
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._order_table = order_table
        self._throttled = throttled
        self._reads = BatchReads(dynamodb, ReadTable(table, "CaseId"), ReadTable(order_table, "OrderId"))

    async def get(self, case_id: str) -> Case | None:
        answer = await ask(
            self._dynamodb.get_item,
            ITEM_FAULTS,
            TableName=self._table,
            Key=to_item({"CaseId": case_id}),
            ConsistentRead=True,
        )
        with readable("GetItem"):
            item = from_item(answer["Item"]) if "Item" in answer else None
        return None if item is None else case_of(item)

    async def read(self, case_id: str, order_id: str | None) -> tuple[Case | None, Order | UnreadableOrderError | None]:
        """Return a case and an order. The reads of concurrent handlers share their requests."""
        case_key, stored_order = (self._table, case_id), None
        if order_id is None:
            (stored_case,) = await self._reads.read(case_key)
        else:
            stored_case, stored_order = await self._reads.read(case_key, (self._order_table, order_id))
        with readable("BatchGetItem"):
            case_item = None if stored_case is None else from_item(stored_case)
            order_item = None if stored_order is None else from_item(stored_order)
        case = None if case_item is None else case_of(case_item)
        return case, None if order_item is None else _order_or_error(order_item)

    async def open_cases(self) -> tuple[list[Case], list[str]]:
        """Return the open cases, unsorted, and the ids of cases that are unreadable because of edits by hand."""
        found = await asyncio.gather(*map(self._open_ids, open_keys(CaseState.OPEN)))
        # A batch refuses duplicates, and a case that changes during the query may be in two pages of the index.
        ids = list(dict.fromkeys(itertools.chain.from_iterable(found)))
        groups = [ids[at : at + MAX_KEYS] for at in range(0, len(ids), MAX_KEYS)]
        cases, unreadable = list[Case](), list[str]()
        for items in [await self._get_all(group) for group in groups]:
            for item in items:
                try:
                    cases.append(case_of(item))
                except (KeyError, TypeError, ValueError):
                    unreadable.append(item["CaseId"])
        return [case for case in cases if case.state is CaseState.OPEN], unreadable

    async def _open_ids(self, key: str) -> list[str]:
        found: list[str] = []
        with translated():
            pages = self._dynamodb.get_paginator("query").paginate(
                TableName=self._table,
                IndexName="OpenCases",
                KeyConditionExpression="OpenKey = :key",
                ExpressionAttributeValues=to_item({":key": key}),
            )
            async for page in pages:
                found.extend(from_item(item)["CaseId"] for item in page["Items"])
        return found

    async def _get_all(self, case_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the items of up to `MAX_KEYS` cases. A response has at most 16 MB, so it may take several."""
        found: list[dict[str, Any]] = []
        keys = [to_item({"CaseId": case_id}) for case_id in case_ids]
        wanted: Any = {self._table: {"Keys": keys, "ConsistentRead": True}}
        for attempt in itertools.count(1):
            answer = await ask(self._dynamodb.batch_get_item, ITEM_FAULTS, RequestItems=wanted)
            items = answer["Responses"].get(self._table, [])
            found.extend(from_item(item) for item in items)
            wanted = answer.get("UnprocessedKeys")
            if not wanted:
                break
            if not items:
                await asyncio.sleep(self._throttled.wait_s(attempt))
        return found

    async def find_by_execution(self, execution_arn: str) -> str | None:
        answer = await ask(
            self._dynamodb.query,
            ITEM_FAULTS,
            TableName=self._table,
            IndexName="CasesByExecution",
            KeyConditionExpression="ExecutionArn = :execution",
            ExpressionAttributeValues=to_item({":execution": execution_arn}),
            Limit=1,
        )
        with readable("Query"):
            found = [from_item(item)["CaseId"] for item in answer["Items"]]
        return found[0] if found else None

    async def apply(self, plan: EscalationPlan, order: Order | None) -> None:
        if plan.case is None:
            return
        writes = [self._put(plan.case)]
        if plan.escalates_order and order is not None:
            writes.append(self._escalate(order, plan.case))
        elif plan.counts_rejection and order is not None:
            writes.append(self._unchanged(order))
        await self._write(writes)

    async def put(self, case: Case) -> None:
        await self._write([self._put(case)])

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        if plan.case is None:
            return
        writes = [self._put(plan.case)]
        if plan.order_status is not None and order is not None:
            writes.append(self._finish(order, plan.order_status, plan.case))
        await self._write(writes)

    async def _write(self, writes: "list[TransactWriteItemTypeDef]") -> None:
        try:
            await ask(self._dynamodb.transact_write_items, ITEM_FAULTS, TransactItems=writes)
        except ClientError as error:
            if error_code(error) == TRANSACTION_CANCELLED and _CONFLICTS & set(cancellation_codes(error)):
                raise ConflictError("order or case has changed") from error
            raise

    async def record_sent(self, case: Case, sent: SentNotification) -> None:
        try:
            await ask(
                self._dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self._table,
                Key=to_item({"CaseId": case.case_id}),
                UpdateExpression="SET Routed = list_append(Routed, :sent) ADD Version :one",
                ConditionExpression="Episode = :episode",
                ExpressionAttributeValues=to_item({":sent": [attributes(sent)], ":one": 1, ":episode": case.episode}),
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise

    def _put(self, case: Case) -> "TransactWriteItemTypeDef":
        first = case.version == 0
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self._table,
                "Item": to_item(case_item(case)),
                "ConditionExpression": "attribute_not_exists(CaseId)" if first else "Version = :version",
            }
        }
        if not first:
            put["Put"]["ExpressionAttributeValues"] = to_item({":version": case.version})
        return put

    def _escalate(self, order: Order, case: Case) -> "TransactWriteItemTypeDef":
        return self._change(
            order,
            OrderStatus.RECEIVED,
            "SET #Status = :status, Reasons = :reasons, EscalatedAt = :at, UpdatedAt = :at, OpenKey = :open",
            {
                ":status": OrderStatus.ESCALATED,
                ":reasons": case.reasons,
                ":at": case.updated_at,
                ":open": open_key(OrderStatus.ESCALATED, order.order_id),
            },
        )

    def _unchanged(self, order: Order) -> "TransactWriteItemTypeDef":
        """Return the check that *order* still has the execution that it had when it was read."""
        condition = "ExecutionArn = :execution" if order.execution_arn else "attribute_not_exists(ExecutionArn)"
        check: TransactWriteItemTypeDef = {
            "ConditionCheck": {
                "TableName": self._order_table,
                "Key": to_item({"OrderId": order.order_id}),
                "ConditionExpression": condition,
            }
        }
        if order.execution_arn:
            check["ConditionCheck"]["ExpressionAttributeValues"] = to_item({":execution": order.execution_arn})
        return check

    def _finish(self, order: Order, status: OrderStatus, case: Case) -> "TransactWriteItemTypeDef":
        """Return the update that sets an escalated order's final *status*. *case*'s newest resolution is the cause."""
        shipment_id = case.resolutions[-1].shipment_id
        shipped = ", ShipmentId = :shipment, FulfilledAt = :at" if status is OrderStatus.FULFILLED else ""
        return self._change(
            order,
            OrderStatus.ESCALATED,
            f"SET #Status = :status, UpdatedAt = :at{shipped} REMOVE OpenKey",
            {":status": status, ":at": case.updated_at, ":shipment": shipment_id if shipped else None},
        )

    def _change(
        self, order: Order, status: OrderStatus, update: str, values: dict[str, Any]
    ) -> "TransactWriteItemTypeDef":
        """Return an update of *order* that succeeds only if it still has *status* and the execution read with it."""
        bound = " AND ExecutionArn = :execution" if order.execution_arn is not None else ""
        return {
            "Update": {
                "TableName": self._order_table,
                "Key": to_item({"OrderId": order.order_id}),
                "UpdateExpression": update,
                "ConditionExpression": f"#Status = :before{bound}",
                "ExpressionAttributeNames": {"#Status": "Status"},
                "ExpressionAttributeValues": to_item(values | {":before": status, ":execution": order.execution_arn}),
            }
        }


def _order_or_error(item: dict[str, Any]) -> Order | UnreadableOrderError:
    try:
        return order_of(item)
    except UnreadableOrderError as error:
        return error
