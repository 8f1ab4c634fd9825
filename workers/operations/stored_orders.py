"""Compares the orders of a file with the order table: an OrderId that was used before may be another order's."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.domain.ids import execution_name
from workers.domain.orders import OrderStatus
from workers.domain.submissions import RECORDED_FIELDS, submission_name, submission_number
from workers.operations.concurrency import in_parallel
from workers.operations.ledger import Entry, differing
from workers.operations.order_table import MAX_BATCH, MAX_CONCURRENT_REQUESTS, get_orders
from workers.operations.retries import Retries

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_LOOKS = 4
LOOK_S = 1.0
FINAL = frozenset({OrderStatus.FULFILLED, OrderStatus.CANCELLED})
_OTHER_ID = "; a new order needs an OrderId of its own"

Item = Mapping[str, Any]


async def read_orders_by_id(stack: "Stack", order_ids: Iterable[str], retries: Retries) -> dict[str, dict[str, Any]]:
    """Return the stored orders by OrderId; missing orders are left out."""
    async with aclosing(get_orders(stack, order_ids, retries=retries)) as pages:
        return {item["OrderId"]: item async for page in pages for item in page}


async def stored_orders(
    stack: "Stack", entries: Iterable[Entry], retries: Retries
) -> AsyncGenerator[tuple[Entry, Item | None], None]:
    """Yield each order of a file with its stored order, None if it is missing, in the order of *entries*."""

    async def read(batch: Sequence[Entry]) -> list[tuple[Entry, Item | None]]:
        items = await read_orders_by_id(stack, (entry.order_id for entry in batch), retries)
        return [(entry, items.get(entry.order_id)) for entry in batch]

    batches = in_parallel(read, _batches(entries), at_most=MAX_CONCURRENT_REQUESTS, stop=retries.stop)
    async with aclosing(batches) as found:
        async for batch in found:
            for entry in batch:
                yield entry


async def submitted_before(
    stack: "Stack", entries: Callable[[], Iterable[Entry]], number: int, retries: Retries, *, look_s: float = LOOK_S
) -> AsyncGenerator[tuple[Entry, Item | None], None]:
    """
    Yield orders whose submission *number* was started before, with their stored orders, None if they are missing.

    The execution of that submission may still be about to record its order. So it looks again, for a few seconds, at
    orders that are missing, and at those that differ and that this execution may start over. *entries* is called for
    each look, and must return the orders that were not yielded yet.
    """
    for look in range(MAX_LOOKS):
        may_change = False
        async with aclosing(stored_orders(stack, entries(), retries)) as found:
            async for entry, item in found:
                if look + 1 < MAX_LOOKS and (item is None or await _may_change(stack, entry, item, number)):
                    may_change = True
                else:
                    yield entry, item
        if not may_change:
            return
        await asyncio.sleep(look_s)


async def is_taken(stack: "Stack", entry: Entry, item: Item, number: int) -> bool:
    """
    Return whether the workflow would not start a stored order over for submission *number*.

    Such an order is final, or in progress in another execution. A missing or ESCALATED order can be started.
    """
    arn = await stack.execution_arn(submission_name(entry.order_id, number))
    in_progress = item.get("Status") == OrderStatus.RECEIVED and item.get("ExecutionArn") != arn
    return in_progress or item.get("Status") in FINAL


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    left = iter(entries)
    while batch := list(islice(left, MAX_BATCH)):
        yield batch


async def _may_change(stack: "Stack", entry: Entry, item: Mapping[str, Any], number: int) -> bool:
    """Return whether the execution of submission *number* may still replace a stored order that differs."""
    arn = await stack.execution_arn(submission_name(entry.order_id, number))
    return (
        item.get("Status") == OrderStatus.ESCALATED
        and item.get("ExecutionArn") != arn
        and bool(differing_fields(entry, item))
    )


def started_at(item: Mapping[str, Any]) -> datetime | None:
    """Return the start of the execution that recorded a stored order, if it is known."""
    with suppress(ValueError):
        return clock.parse(str(item.get("StartedAt")))
    return None


def is_erased(item: Mapping[str, Any]) -> bool:
    """Return whether only the marker of an erased order is left."""
    return "ErasedAt" in item


def differing_fields(entry: Entry, item: Mapping[str, Any]) -> list[str]:
    """
    Return the fields in which a stored order differs from that of a file, as far as the table can tell.

    Of the card number it holds only the last four digits, or, if it does not have 16 digits, nothing. Of an erased
    order it holds no field.
    """
    if is_erased(item):
        return []
    return differing(entry.marks, {field: str(item.get(field, "")) for field in RECORDED_FIELDS})


def described(entry: Entry, item: Mapping[str, Any], number: int) -> str:
    """Return the state of a stored order, how it differs from that of a file, and what to do; without any values."""
    if is_erased(item):  # Only its marker is left, which cannot be compared.
        return f"the stored order was {item.get('Status')}, and was erased at {item['ErasedAt']}{_OTHER_ID}"
    status, fields = item.get("Status"), differing_fields(entry, item)
    name = execution_name(str(item.get("ExecutionArn", "")))
    # A later submission than this one, a resubmission from a case, or another system.
    of = f", recorded by execution {name}," if fields and name != submission_name(entry.order_id, number) else ""
    differs = f" and differs in {', '.join(fields)}" if fields else ""
    if status == OrderStatus.ESCALATED:
        following = max(number, submission_number(entry.order_id, name) or number) + 1
        hint = f"; to start this one in its place, use --submission {following}"
    elif status == OrderStatus.RECEIVED:
        hint = f", in progress; see `orders show {entry.order_id}`"
    else:
        hint = _OTHER_ID if fields else "; if this is a new order, it needs an OrderId of its own"
    return f"the stored order{of} is {status}{differs}{hint}"
