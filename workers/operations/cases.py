"""Reads escalation cases."""

import functools
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from workers.aws.case_items import case_of
from workers.aws.cases import DynamoCases
from workers.aws.orders import DynamoOrders, order_of
from workers.aws.sdk.clients import calling_config, open_session
from workers.aws.sdk.parsing import plain_session
from workers.domain.cases import Case
from workers.domain.orders import Order
from workers.domain.reasons import Severity
from workers.domain.retention import FOR_EVER, Retention
from workers.domain.text import clean
from workers.errors import UnreadableOrderError
from workers.operations.ages import seconds_since
from workers.operations.errors import OperationError
from workers.operations.order_table import get_items, get_orders, is_key
from workers.operations.progress import Progress, unreported
from workers.operations.search import contains, contains_any
from workers.operations.windows import Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack

CALLS_AT_ONCE = 16  # The queries of an index of open orders or cases, one for each of its keys.


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Selects cases. The default is all of them.

    An open case is as old as its current episode, a resolved one as its resolution; *window* is about the same time.
    *name*, *item*, *actor* and *text* are parts of texts. The actors are all who have resolved an episode; *text* may
    be in any text or id of the case. *detail* is the whole detail of one of its messages.
    """

    severity: str | None = None
    reason: str | None = None
    source: str | None = None
    older_than: timedelta | None = None
    window: Window = field(default_factory=Window)
    name: str | None = None
    item: str | None = None
    actor: str | None = None
    text: str | None = None
    detail: str | None = None

    def includes(self, case: Case, now: datetime) -> bool:
        at, order = case.resolved_at or case.opened_at, case.order
        age_s = seconds_since(at, now)
        return (
            (self.severity is None or self.severity == case.severity)
            and (self.reason is None or self.reason in case.reasons)
            and (self.source is None or self.source in case.sources)
            and (self.older_than is None or (age_s is not None and age_s > self.older_than.total_seconds()))
            and self.window.includes(at)
            and contains(order and order.name, self.name)
            and contains(order and order.item_name, self.item)
            and (self.actor is None or any(contains(each.actor, self.actor) for each in case.resolutions))
            and (self.detail is None or any(each.detail == self.detail for each in case.evidence))
            and (self.text is None or contains_any(_texts_of(case), self.text))
        )


def _texts_of(case: Case) -> Iterator[str | None]:
    yield from (case.case_id, case.order_id, case.merged_into, *case.reasons, *case.execution_arns, *case.message_ids)
    if case.order is not None:
        yield from (case.order.name, case.order.item_name, case.order.price, case.order.shipment_id)
    for evidence in case.evidence:
        yield from (evidence.detail, evidence.queue, evidence.message_id, evidence.origin_message_id)
    for resolution in case.resolutions:
        yield from (resolution.actor, resolution.note, resolution.shipment_id)


@dataclass(frozen=True, slots=True)
class OpenCases:
    """
    The selected open cases: the most severe first, and the oldest first within a severity.

    `total` counts all open cases. `unreadable` has the ids of cases that were edited in the table and cannot be read.
    """

    selected: list[Case]
    total: int
    unreadable: list[str]


async def read_open_cases(stack: "Stack", selection: Selection) -> OpenCases:
    """Read all open cases; return those of *selection*."""
    async with tables(stack) as (_, cases):
        found, unreadable = await cases.open_cases()
    return OpenCases(select(found, selection, stack.now()), len(found), unreadable)


async def read_orders(stack: "Stack", cases: Iterable[Case]) -> dict[str, Order]:
    """Return the orders of *cases* as they are now, by id. Left out: orders that are missing or cannot be read."""
    orders = await orders_by_id(stack, cases)
    return {order_id: order for order_id, order in orders.items() if isinstance(order, Order)}


async def orders_by_id(stack: "Stack", cases: Iterable[Case]) -> dict[str, Order | UnreadableOrderError]:
    """Return the orders of *cases* that exist, by id; an error instead of an order that cannot be read."""
    found = dict[str, Order | UnreadableOrderError]()
    order_ids = [case.order_id for case in cases if case.order_id is not None and is_key(case.order_id)]
    async with aclosing(get_orders(stack, dict.fromkeys(order_ids))) as batches:
        async for batch in batches:
            for item in batch:
                try:
                    found[item["OrderId"]] = order_of(item)
                except UnreadableOrderError as error:
                    found[item["OrderId"]] = error
    return found


def select(cases: list[Case], selection: Selection, now: datetime) -> list[Case]:
    """Return the cases of *selection* in the order of `OpenCases`."""
    severities = list(Severity)
    selected = [case for case in cases if selection.includes(case, now)]
    return sorted(selected, key=lambda case: (-severities.index(case.severity), case.opened_at))


async def read_case(stack: "Stack", case_id: str) -> tuple[Case, Order | None]:
    """
    Return a case and its order, as they are now; None for an order that the table does not have.

    Raises:
        OperationError: The case does not exist, or it cannot be read.
    """
    if not is_key(case_id):
        raise _no_case(case_id)
    async with tables(stack) as (orders, cases):
        return await find_case(orders, cases, case_id)


async def find_case(orders: DynamoOrders, cases: DynamoCases, case_id: str) -> tuple[Case, Order | None]:
    """Do what `read_case` does: for many cases with one connection."""
    if not is_key(case_id):
        raise _no_case(case_id)
    order = None
    try:
        case = await cases.get(case_id)
        if case is not None and case.order_id is not None:
            order = await orders.get(case.order_id)
    except (KeyError, TypeError, ValueError):
        raise _unreadable(case_id) from None
    if case is None:
        raise _no_case(case_id)
    return case, order


async def read_cases(
    stack: "Stack", case_ids: Collection[str], *, progress: Progress = unreported
) -> dict[str, tuple[Case, Order | None] | OperationError]:
    """Return what `read_case` returns or raises, by id: for many cases with few requests."""
    cases = await cases_by_id(stack, filter(is_key, case_ids), progress)
    orders = await orders_by_id(stack, (case for case in cases.values() if isinstance(case, Case)))
    return {case_id: with_order(case_id, cases.get(case_id), orders) for case_id in case_ids}


def with_order(
    case_id: str, case: Case | OperationError | None, orders: Mapping[str, Order | UnreadableOrderError]
) -> tuple[Case, Order | None] | OperationError:
    """Return what is known about a case: itself and its order, or why it is not."""
    if not isinstance(case, Case):
        return case or _no_case(case_id)
    order = None if case.order_id is None else orders.get(case.order_id)
    return OperationError(str(order)) if isinstance(order, UnreadableOrderError) else (case, order)


async def cases_by_id(
    stack: "Stack", case_ids: Iterable[str], progress: Progress = unreported
) -> dict[str, Case | OperationError]:
    """Return the cases that exist, by id; an error instead of a case that cannot be read."""
    found = dict[str, Case | OperationError]()
    items = get_items(stack, stack.names.escalation_table, "CaseId", dict.fromkeys(case_ids))
    async with aclosing(items) as batches:
        async for batch in batches:
            for item in batch:
                try:
                    found[item["CaseId"]] = case_of(item)
                except (KeyError, TypeError, ValueError):
                    found[item["CaseId"]] = _unreadable(item["CaseId"])
            progress(len(batch))
    return found


def _unreadable(case_id: str) -> OperationError:
    return OperationError(f"case {clean(case_id)} cannot be read: it was edited in the table")


def _no_case(case_id: str) -> OperationError:
    return OperationError(f"there is no case {clean(case_id)!r}; `orders escalations list` shows the open ones")


@asynccontextmanager
async def tables(stack: "Stack", retention: Retention = FOR_EVER) -> AsyncIterator[tuple[DynamoOrders, DynamoCases]]:
    """Yield the tables of orders and of cases. *retention* is for what is written to them."""
    names = stack.names
    async with sdk_client(stack, "dynamodb") as dynamodb:
        yield (
            DynamoOrders(dynamodb, names.order_table, retention=retention),
            DynamoCases(dynamodb, names.escalation_table, names.order_table, retention=retention),
        )


@asynccontextmanager
async def sdk_client(stack: "Stack", service: str) -> AsyncIterator[Any]:
    """
    Yield an aioboto3 client of *service*, as the workers' adapters use it.

    Raises:
        OperationError: The SDK's configuration allows no calls: for example, its endpoint is not a URL.
    """
    async with AsyncExitStack() as opened:
        try:
            client = await opened.enter_async_context(
                _session(await stack.region()).client(service, config=calling_config(CALLS_AT_ONCE))
            )
        except ValueError as error:
            raise OperationError(f"the AWS SDK cannot make calls: {error}") from error
        yield client


@functools.cache  # The session keeps the SDK's data files for the next client.
def _session(region: str) -> Any:
    # This session's parser treats a response that is not JSON as an error. The SDK's own parser treats it as an empty
    # response, which would mean that the order does not exist.
    return open_session(plain_session(), region)
