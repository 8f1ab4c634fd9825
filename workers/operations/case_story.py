"""Reads one case with its order, as far as it can be read: a person may have edited them in the table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.aws.case_items import case_of
from workers.aws.orders import order_of
from workers.domain.cases import Case, OrderCopy
from workers.domain.orders import Order
from workers.domain.text import clean
from workers.errors import UnreadableOrderError
from workers.operations.order_table import get_orders, is_key
from workers.operations.related_cases import stored_case
from workers.operations.story import UnknownIdError

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@dataclass(frozen=True, slots=True)
class CaseStory:
    """
    A case as its *item* is stored, and its order as it is now.

    *case* is None if the item is no case any more. *order* is None if the table does not have it, or if it cannot be
    read: then *order_problem* says why.
    """

    case_id: str
    item: Mapping[str, Any]
    case: Case | None
    order: Order | None = None
    order_problem: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A field of an order: as it *was* when it was escalated, and as it *is* now."""

    field: str
    was: str | None
    now: str | None

    @property
    def is_changed(self) -> bool:
        return self.was != self.now


async def read_case_story(stack: "Stack", case_id: str) -> CaseStory:
    """
    Return a case and its order, in two requests.

    Raises:
        UnknownIdError: There is no such case.
    """
    item = await stored_case(stack, case_id) if is_key(case_id) else None
    if item is None:
        raise UnknownIdError(f"there is no case {clean(case_id)}")
    try:
        case = case_of(item)
    except (AttributeError, KeyError, TypeError, ValueError):
        return CaseStory(case_id, item, None)
    if case.order_id is None or not is_key(case.order_id):
        return CaseStory(case_id, item, case)
    try:
        orders = [order_of(found) async for page in get_orders(stack, [case.order_id]) for found in page]
    except UnreadableOrderError as error:
        return CaseStory(case_id, item, case, order_problem=str(error))
    return CaseStory(case_id, item, case, orders[0] if orders else None)


def differences(copy: OrderCopy, order: Order | None) -> list[Difference]:
    """Compare the order when it was escalated with what it is now, both as a case copies it: texts masked and cut."""
    now = None if order is None else OrderCopy.of(order)
    fields = (
        ("Status", "status"),
        ("Name", "name"),
        ("Item", "item_name"),
        ("Price", "price"),
        ("Card", "cc"),
        ("Attempts", "attempts"),
        ("Shipment", "shipment_id"),
        ("Recorded", "created_at"),
        ("Execution", "execution_arn"),
    )
    return [Difference(title, _text(copy, name), _text(now, name)) for title, name in fields]


def _text(copy: OrderCopy | None, name: str) -> str | None:
    value = None if copy is None else getattr(copy, name)
    return None if value is None else str(value)
