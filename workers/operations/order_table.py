"""Reads orders of the order table."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from workers.aws.items import from_item, to_item
from workers.backoff import Backoff
from workers.domain.cards import looks_like_card, masked_card_number
from workers.operations.concurrency import as_async, in_parallel

if TYPE_CHECKING:
    from workers.operations.retries import Retries
    from workers.operations.stack import Stack

MAX_BATCH = 100  # DynamoDB: items per BatchGetItem.
MAX_KEY_CHARS = 255  # Of an OrderId or a CaseId; the longest case ids contain an execution's name.
MAX_CONCURRENT_REQUESTS = 8
_UNPROCESSED = Backoff(base_s=0.1, cap_s=5.0)


def is_key(text: str) -> bool:
    """Return whether *text* can be an OrderId or a CaseId. Never send other text to AWS: it may be a card number."""
    surrogates = any("\ud800" <= char <= "\udfff" for char in text)  # Bytes that are not UTF-8.
    return 0 < len(text) <= MAX_KEY_CHARS and not surrogates and not looks_like_card(text)


def get_orders(
    stack: "Stack",
    order_ids: Iterable[str] | AsyncIterable[str],
    *,
    at_most: int = MAX_CONCURRENT_REQUESTS,
    retries: "Retries | None" = None,
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """
    Yield the current orders of these ids, up to a hundred at a time; missing orders are left out.

    Close the generator like that of `in_parallel`. *at_most* is the number of concurrent requests. *retries* repeats
    requests that fail; without it, they are left to the SDK's own retries.
    """
    return get_items(
        stack, stack.names.order_table, "OrderId", order_ids, shown_order, at_most=at_most, retries=retries
    )


def get_items(
    stack: "Stack",
    table: str,
    key: str,
    ids: Iterable[str] | AsyncIterable[str],
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = from_item,
    *,
    at_most: int = MAX_CONCURRENT_REQUESTS,
    retries: "Retries | None" = None,
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Yield the items of *table* whose *key* has these values, as `get_orders` does. *read* converts each item."""
    return in_parallel(
        lambda batch: _get(stack, (table, key), batch, read, retries),
        _batches(ids),
        at_most=at_most,
        stop=None if retries is None else retries.stop,
    )


async def _batches(order_ids: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for order_id in as_async(order_ids):
        batch.append(order_id)
        if len(batch) == MAX_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def _get(
    stack: "Stack",
    where: tuple[str, str],
    ids: list[str],
    read_item: Callable[[Mapping[str, Any]], dict[str, Any]],
    retries: "Retries | None",
) -> list[dict[str, Any]]:
    """Return the items, sorted like *ids*. Keys that were not processed are requested again, with backoff."""
    (table, key), found = where, dict[str, dict[str, Any]]()
    keys = [to_item({key: value}) for value in ids]
    attempt = 0
    while keys:
        if attempt:
            await asyncio.sleep(_UNPROCESSED.wait_s(attempt))
        attempt += 1
        request = {table: {"Keys": keys, "ConsistentRead": True}}
        read = partial(stack.dynamodb.call, "batch_get_item", RequestItems=request)
        answer = await (read() if retries is None else retries.run("BatchGetItem", read))
        for item in map(read_item, answer["Responses"].get(table, [])):
            found[item[key]] = item
        keys = answer.get("UnprocessedKeys", {}).get(table, {}).get("Keys", [])
    return [found[value] for value in ids if value in found]


def shown_order(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of the order table with its card number masked, because others may have written to the table."""
    order = from_item(item)
    if "CC" in order:
        order["CC"] = masked_card_number(str(order["CC"]))
    return order
