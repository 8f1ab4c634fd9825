"""The table of escalation cases. One transaction writes a case and its order."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from workers.aws.batch_reads import BatchReads, ReadTable
from workers.aws.case_items import case_of
from workers.aws.case_writes import CaseWrites
from workers.aws.errors import CONDITION_FAILED, ITEM_FAULTS, ask, error_code, readable, translated
from workers.aws.items import from_item, to_item
from workers.aws.open_index import open_keys
from workers.aws.orders import order_of
from workers.aws.transactions import Transactions
from workers.backoff import Backoff
from workers.domain.cases import Case, CaseState, SentNotification
from workers.domain.escalations import EscalationPlan
from workers.domain.orders import Order
from workers.domain.resolutions import ResolutionPlan
from workers.errors import UnreadableOrderError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

MAX_KEYS = 100  # DynamoDB: keys per BatchGetItem.
THROTTLED = Backoff(base_s=0.1, cap_s=5.0)  # The wait after a batch read that returns no items.


class DynamoCases:
    """Cases in DynamoDB. A write fails if the case's `Version` has changed since the case was read."""

    def __init__(
        self, dynamodb: "DynamoDBClient", table: str, order_table: str, *, throttled: Backoff = THROTTLED
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._order_table = order_table
        self._throttled = throttled
        self._writes = CaseWrites(table, order_table)
        self._transactions = Transactions(dynamodb)
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
        """Write the plan in one transaction. The plans of concurrent handlers share their requests."""
        if plan.case is not None:
            writes = self._writes.of_escalation(plan, plan.case, order)
            await self._transactions.write_together(plan.case.case_id, writes)

    async def put(self, case: Case) -> None:
        await self._transactions.write([self._writes.put(case)])

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        if plan.case is not None:
            await self._transactions.write(self._writes.of_resolution(plan, plan.case, order))

    async def record_sent(self, case: Case, sent: SentNotification) -> None:
        try:
            await ask(
                self._dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self._table,
                Key=to_item({"CaseId": case.case_id}),
                UpdateExpression="SET Routed = list_append(Routed, :sent) ADD Version :one",
                ConditionExpression="Episode = :episode",
                ExpressionAttributeValues=to_item({":sent": [sent], ":one": 1, ":episode": case.episode}),
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise


def _order_or_error(item: dict[str, Any]) -> Order | UnreadableOrderError:
    try:
        return order_of(item)
    except UnreadableOrderError as error:
        return error
