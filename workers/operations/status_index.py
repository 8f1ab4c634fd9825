"""Reads the index of orders by status, or of cases by state: a sorted stream of ids, without a scan of the table."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from workers.aws.items import from_item, to_item
from workers.aws.status_index import CASES_BY_STATE, ORDERS_BY_STATUS, STATUS_KEY, final_keys, open_keys
from workers.operations.windows import Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@dataclass(frozen=True, slots=True)
class StatusIndex:
    """An index by status, of a table whose key is *key*."""

    table: str
    name: str
    key: str

    @classmethod
    def of_orders(cls, stack: "Stack") -> "StatusIndex":
        return cls(stack.names.order_table, ORDERS_BY_STATUS, "OrderId")

    @classmethod
    def of_cases(cls, stack: "Stack") -> "StatusIndex":
        return cls(stack.names.escalation_table, CASES_BY_STATE, "CaseId")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """An entry of the index, ordered by time."""

    updated_at: str
    id: str

    @property
    def is_final(self) -> bool:
        return False


class FinalEntry(Entry):
    """An entry with a final key, ordered the other way round: the newest first."""

    __slots__ = ()

    @property
    def is_final(self) -> bool:
        return True

    def __lt__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.updated_at, self.id) > (other.updated_at, other.id)


async def open_entries(
    stack: "Stack", index: StatusIndex, statuses: Collection[str], window: Window
) -> AsyncIterator[Entry]:
    """Yield the entries with these open statuses in *window*, the oldest first."""
    keys = [key for status in statuses for key in open_keys(status)]
    async for entry in _merged([_shard(stack, index, key, window.bounds) for key in keys]):
        yield entry


async def final_entries(
    stack: "Stack", index: StatusIndex, statuses: Collection[str], window: Window, now: datetime, *, late: bool = False
) -> AsyncIterator[Entry]:
    """
    Yield the entries with these final statuses in a bounded *window*, the newest first; day by day, as their keys are.

    With *late*, also those that were changed after the window: they became final within it.
    """
    since, before = window.bounds
    bounds = since, Window().bounds[1] if late else before
    for day in window.days(now):
        keys = [key for status in statuses for key in final_keys(status, day)]
        async for entry in _merged([_shard(stack, index, key, bounds, newest_first=True) for key in keys]):
            yield entry


async def _shard(
    stack: "Stack", index: StatusIndex, key: str, bounds: tuple[str, str], *, newest_first: bool = False
) -> AsyncIterator[Entry]:
    since, before = bounds
    within, values = "UpdatedAt < :before", {":key": key, ":before": before}
    if since:
        within, values = "UpdatedAt BETWEEN :since AND :before", values | {":since": since}  # With `:before` itself.
    request: dict[str, Any] = {"ScanIndexForward": False} if newest_first else {}
    pages = stack.dynamodb.pages(
        "query",
        TableName=index.table,
        IndexName=index.name,
        KeyConditionExpression=f"{STATUS_KEY} = :key AND {within}",
        ExpressionAttributeValues=to_item(values),
        **request,
    )
    kind = FinalEntry if newest_first else Entry
    async for page in pages:
        for item in map(from_item, page["Items"]):
            yield kind(item["UpdatedAt"], item[index.key])


async def _merged(shards: Iterable[AsyncIterator[Entry]]) -> AsyncIterator[Entry]:
    """Yield the entries of sorted shards in order, as `heapq.merge` does. The first pages are read at the same time."""
    shards = list(shards)
    firsts = await asyncio.gather(*(anext(shard, None) for shard in shards))
    heap = [(first, n, shards[n]) for n, first in enumerate(firsts) if first is not None]
    heapq.heapify(heap)
    while heap:
        entry, n, shard = heap[0]
        yield entry
        following = await anext(shard, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following, n, shard))
