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
from workers.aws.orders import order_of
from workers.aws.status_index import CASES_BY_STATE, STATUS_KEY, open_keys
from workers.aws.transactions import Transactions
from workers.backoff import Backoff
from workers.domain.cases import Case, CaseState, HandledReminder, SentNotification
from workers.domain.escalations import EscalationPlan, execution_case_id
from workers.domain.orders import Order
from workers.domain.resolutions import ResolutionPlan
from workers.domain.retention import FOR_EVER, Retention
from workers.errors import UnreadableOrderError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

MAX_KEYS = 100  # DynamoDB: keys per BatchGetItem.
KEYS_PER_READ = 3  # An order, its case, and the case of its execution.
THROTTLED = Backoff(base_s=0.1, cap_s=5.0)  # The wait after a batch read that returns no items.


class DynamoCases:
    """Cases in DynamoDB. A write fails if the case's `Version` has changed since the case was read."""

    def __init__(
        self,
        dynamodb: "DynamoDBClient",
        table: str,
        order_table: str,
        *,
        retention: Retention = FOR_EVER,
        throttled: Backoff = THROTTLED,
    ) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._order_table = order_table
        self._throttled = throttled
        self._writes = CaseWrites(table, order_table, retention)
        self._transactions = Transactions(dynamodb)
        tables = ReadTable(table, "CaseId"), ReadTable(order_table, "OrderId")
        self._reads = BatchReads(dynamodb, *tables, keys_per_read=KEYS_PER_READ)

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

    async def read(
        self, case_id: str, order_id: str | None, execution_case_id: str | None = None
    ) -> tuple[Case | None, Order | UnreadableOrderError | None, Case | None]:
        """Return two cases and an order. The reads of concurrent handlers share their requests."""
        cases = dict.fromkeys((self._table, each) for each in (case_id, execution_case_id) if each is not None)
        orders = [] if order_id is None else [(self._order_table, order_id)]
        stored = await self._reads.read(*cases, *orders)
        with readable("BatchGetItem"):
            items = [None if item is None else from_item(item) for item in stored]
        case, *others = [None if item is None else case_of(item) for item in items[: len(cases)]]
        order_item = items[-1] if orders else None
        order = None if order_item is None else _order_or_error(order_item)
        return case, order, others[0] if others else None

    async def open_cases(self) -> tuple[list[Case], list[str]]:
        """Return the open cases, unsorted, and the ids of cases that are unreadable because of edits by hand."""
        queries = [asyncio.create_task(self._open_ids(key)) for key in open_keys(CaseState.OPEN)]
        try:
            found = await asyncio.gather(*queries)
        finally:  # After an error, the others would go on and use a client that is closed by then.
            for query in queries:
                query.cancel()
            await asyncio.gather(*queries, return_exceptions=True)
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
                IndexName=CASES_BY_STATE,
                KeyConditionExpression=f"{STATUS_KEY} = :key",
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
        )
        with readable("Query"):
            found = [from_item(item)["CaseId"] for item in answer["Items"]]
        # The order's case wins over the case of an execution.
        own_id = execution_case_id(execution_arn)
        return next((case_id for case_id in found if case_id != own_id), own_id if found else None)

    async def apply(self, plan: EscalationPlan, order: Order | None) -> None:
        """Write the plan in one transaction. The plans of concurrent handlers share their requests."""
        if plan.case is not None:
            writes = self._writes.of_escalation(plan, plan.case, order)
            if plan.merged is not None:  # A group must not write an item twice.
                await self._transactions.write(writes)
            else:
                await self._transactions.write_together(plan.case.case_id, writes)

    async def put(self, case: Case) -> None:
        await self._transactions.write([self._writes.put(case)])

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        if plan.case is not None:
            await self._transactions.write(self._writes.of_resolution(plan, plan.case, order))

    async def claim_reminder(self, case_id: str, handled: HandledReminder, forgotten_at: str) -> Case | None:
        reminder = "Reminder.#At < :forgotten OR Reminder.Episode < :episode OR Reminder.Tries < :tries"
        repeated = "Reminder.Tries = :tries AND Reminder.MessageId = :message"
        try:
            answer = await ask(
                self._dynamodb.update_item,
                ITEM_FAULTS,
                TableName=self._table,
                Key=to_item({"CaseId": case_id}),
                UpdateExpression="SET Reminder = :handled ADD Version :one",
                ConditionExpression="#State = :open AND Episode = :episode"
                f" AND (attribute_not_exists(Reminder) OR {reminder} OR ({repeated}))",
                ExpressionAttributeNames={"#State": "State", "#At": "At"},
                ExpressionAttributeValues=to_item(
                    {
                        ":handled": handled,
                        ":one": 1,
                        ":open": CaseState.OPEN,
                        ":episode": handled.episode,
                        ":tries": handled.tries,
                        ":message": handled.message_id,
                        ":forgotten": forgotten_at,
                    }
                ),
                ReturnValues="ALL_NEW",
            )
        except ClientError as error:
            if error_code(error) != CONDITION_FAILED:
                raise
            return None
        with readable("UpdateItem"):
            item = from_item(answer["Attributes"])
        return case_of(item)

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
