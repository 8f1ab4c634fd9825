"""Counts the orders by status, and the open cases by severity and reason."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workers.aws.items import from_item, to_item
from workers.aws.status_index import STATUS_KEY, final_keys, open_keys
from workers.domain.cases import Case, CaseState
from workers.domain.orders import OrderStatus
from workers.operations.listing import FINAL, OPEN
from workers.operations.status import CaseCount, OrderCount, SeverityCount
from workers.operations.status_index import StatusIndex

if TYPE_CHECKING:
    from workers.operations.stack import Stack

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class _Counted:
    count: int
    is_all: bool


async def count_orders(stack: "Stack") -> list[OrderCount]:
    """
    Return how many orders are open, by status, and how many became final today (UTC).

    Each key of the index is read once, without its entries: a key with more than a page of them, about 10,000, counts
    as at least so many. The index is slightly behind.
    """
    index, slots = StatusIndex.of_orders(stack), asyncio.Semaphore(_AT_ONCE)
    today = stack.now().date()

    async def counted(status: OrderStatus) -> OrderCount:
        is_final = status in FINAL
        keys = final_keys(status, today) if is_final else open_keys(status)
        oldest_of = keys if status is OrderStatus.RECEIVED else []
        pages, oldest = await asyncio.gather(
            asyncio.gather(*(_count(stack, index, key, slots) for key in keys)),
            asyncio.gather(*(_oldest(stack, index, key, slots) for key in oldest_of)),
        )
        return OrderCount(
            status=status,
            orders=sum(page.count for page in pages),
            at_least=not all(page.is_all for page in pages),
            today=is_final,
            oldest_at=min((at for at in oldest if at is not None), default=None),
        )

    return await asyncio.gather(*(counted(status) for status in (*OPEN, *FINAL)))


async def count_open_cases(stack: "Stack") -> int:
    """Return how many cases are open, however many they are: without reading them."""
    index, slots = StatusIndex.of_cases(stack), asyncio.Semaphore(_AT_ONCE)
    pages = await asyncio.gather(*(_count(stack, index, key, slots) for key in open_keys(CaseState.OPEN)))
    return sum(page.count for page in pages)


def unknown_orders() -> list[OrderCount]:
    """Return what is shown if the orders cannot be counted."""
    return [OrderCount(status=status, today=status in FINAL) for status in (*OPEN, *FINAL)]


async def _count(stack: "Stack", index: StatusIndex, key: str, slots: asyncio.Semaphore) -> _Counted:
    async with slots:
        page = await stack.dynamodb.call("query", **_request(index, key), Select="COUNT")
    return _Counted(page["Count"], "LastEvaluatedKey" not in page)


async def _oldest(stack: "Stack", index: StatusIndex, key: str, slots: asyncio.Semaphore) -> str | None:
    async with slots:
        page = await stack.dynamodb.call("query", **_request(index, key), Limit=1)
    return next((str(from_item(item)["UpdatedAt"]) for item in page["Items"]), None)


def _request(index: StatusIndex, key: str) -> dict[str, object]:
    return {
        "TableName": index.table,
        "IndexName": index.name,
        "KeyConditionExpression": f"{STATUS_KEY} = :key",
        "ExpressionAttributeValues": to_item({":key": key}),
    }


def count_cases(cases: Sequence[Case]) -> tuple[list[SeverityCount], list[CaseCount]]:
    """Count open cases, which are sorted by severity, by severity alone and by severity and reason."""
    by_severity = defaultdict[str, list[str]](list)
    by_reason = defaultdict[tuple[str, str], list[str]](list)
    for case in cases:
        by_severity[case.severity].append(case.opened_at)
        for reason in case.reasons:
            by_reason[case.severity, reason].append(case.opened_at)
    return (
        [
            SeverityCount(severity=severity, cases=len(times), oldest_at=min(times))
            for severity, times in by_severity.items()
        ],
        [
            CaseCount(severity=severity, reason=reason, cases=len(times), oldest_at=min(times))
            for (severity, reason), times in by_reason.items()
        ],
    )
