"""Lists the open orders, from the index that holds only open orders."""

import heapq
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.items import from_item, to_item
from workers.aws.open_index import open_keys
from workers.domain.orders import OrderStatus
from workers.operations.order_table import MAX_CONCURRENT_REQUESTS, get_orders
from workers.operations.progress import Progress, unreported

if TYPE_CHECKING:
    from workers.operations.stack import Stack

OPEN = (OrderStatus.RECEIVED, OrderStatus.ESCALATED)
_ALWAYS = "9999"  # Sorts after every stored time.


@dataclass(frozen=True, slots=True, order=True)
class _Key:
    """An entry of the index, ordered by age."""

    updated_at: str
    order_id: str


async def open_orders(
    stack: "Stack",
    *,
    statuses: Collection[OrderStatus] = OPEN,
    older_than: timedelta | None = None,
    limit: int | None = None,
    progress: Progress = unreported,
) -> list[dict[str, Any]]:
    """
    Return the oldest *limit* open orders as they are now, oldest first. Age counts from the last status change.

    The index is eventually consistent: an order that has just changed may be missing.
    """
    before = _ALWAYS if older_than is None else clock.written(stack.now() - older_than)
    found: list[dict[str, Any]] = []
    async with aclosing(_open_orders(stack, statuses, before, progress, limited=limit is not None)) as orders:
        async for order in orders:
            found.append(order)
            if len(found) == limit:
                break
    return found


async def _open_orders(
    stack: "Stack", statuses: Collection[OrderStatus], before: str, progress: Progress, *, limited: bool
) -> AsyncGenerator[dict[str, Any], None]:
    keys = _merged([_shard(stack, key, before) for status in statuses for key in open_keys(status)])
    # With a limit, make only one request at a time, so that few more orders are read than needed.
    pages = get_orders(stack, _distinct(keys), at_most=1 if limited else MAX_CONCURRENT_REQUESTS)
    async with aclosing(pages):
        async for page in pages:
            progress(len(page))
            # The index lags: the order may have ended or changed its status since.
            for order in page:
                if order.get("Status") in statuses and str(order.get("UpdatedAt")) < before:
                    yield order


async def _shard(stack: "Stack", key: str, before: str) -> AsyncIterator[_Key]:
    pages = stack.dynamodb.pages(
        "query",
        TableName=stack.names.order_table,
        IndexName="OpenOrders",
        KeyConditionExpression="OpenKey = :key AND UpdatedAt < :before",
        ExpressionAttributeValues=to_item({":key": key, ":before": before}),
    )
    async for page in pages:
        for item in map(from_item, page["Items"]):
            yield _Key(item["UpdatedAt"], item["OrderId"])


async def _merged(shards: Iterable[AsyncIterator[_Key]]) -> AsyncIterator[_Key]:
    """Yield the keys of sorted shards in order, as `heapq.merge` does."""
    heap = [(key, n, shard) for n, shard in enumerate(shards) if (key := await anext(shard, None)) is not None]
    heapq.heapify(heap)
    while heap:
        key, n, shard = heap[0]
        yield key
        following = await anext(shard, None)
        if following is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (following, n, shard))


async def _distinct(keys: AsyncIterable[_Key]) -> AsyncIterator[str]:
    """Yield each order's id once: the lagging index can have an order under both statuses."""
    seen = set[str]()
    async for key in keys:
        if key.order_id not in seen:
            seen.add(key.order_id)
            yield key.order_id
