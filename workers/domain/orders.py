"""Orders, and what a message on the fulfillment queue does to an order."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from workers.domain.cards import looks_like_card
from workers.domain.ids import fingerprint

MAX_TEXT_CHARS = 256  # Name, ItemName, Price and CC of an order.
MAX_SHIPMENT_ID_CHARS = 128
MAX_ORDER_ID_CHARS = 64
ORDER_ID_RULE = f"1 to {MAX_ORDER_ID_CHARS} of A-Z a-z 0-9 . _ -, first a letter or digit, and not like a card number"

_NUMBERED = re.compile(r".*-r[0-9]+", re.ASCII)
_ORDER_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_ORDER_ID_CHARS - 1}}}", re.ASCII)

_SHIPMENT_ID = re.compile(rf"[!-~]{{1,{MAX_SHIPMENT_ID_CHARS}}}", re.ASCII)


class OrderStatus(StrEnum):
    RECEIVED = "RECEIVED"
    FULFILLED = "FULFILLED"
    ESCALATED = "ESCALATED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Order:
    """An order as in the table, where `cc` is masked. Times are RFC 3339 UTC."""

    order_id: str
    status: OrderStatus
    execution_arn: str | None
    name: str | None = None
    item_name: str | None = None
    price: str | None = None
    cc: str | None = None
    created_at: str | None = None
    shipment_id: str | None = None
    fulfilled_at: str | None = None
    cancelled_at: str | None = None  # Only if it was cancelled before anything had escalated it.
    attempts: int = 0
    # These come from the case, not from the order's item:
    rejections: int = 0  # How many earlier executions the provider refused.
    has_open_case: bool = False

    @property
    def idempotency_key(self) -> str:
        """
        The key by which a provider recognizes a repeated request: the OrderId, or `<OrderId>-r<n>` after n rejections.

        An OrderId that itself ends in `-r<n>` always gets the suffix, so that two orders never share a key.
        """
        numbered = self.rejections > 0 or _NUMBERED.fullmatch(self.order_id) is not None
        return f"{self.order_id}-r{self.rejections}" if numbered else self.order_id

    @property
    def is_final(self) -> bool:
        """Whether nothing changes this order any more."""
        return self.status in {OrderStatus.FULFILLED, OrderStatus.CANCELLED}

    def belongs_to(self, execution_arn: str | None) -> bool:
        """Return whether a message with *execution_arn* is about this order. Without an execution, it always is."""
        return execution_arn is None or execution_arn == self.execution_arn


class FulfillmentDecision(StrEnum):
    """The result of a message on the fulfillment queue. The values are the outcomes in the log."""

    FULFILL = "fulfilled"
    ALREADY_FULFILLED = "already_fulfilled"
    SUPERSEDED = "superseded"
    NOT_FOUND = "order_not_found"


def decide_fulfillment(order: Order | None, execution_arn: str | None) -> FulfillmentDecision:
    """Decide what a message with *execution_arn* (None: the current execution) does to *order* (None: missing)."""
    if order is None:
        return FulfillmentDecision.NOT_FOUND
    if not order.belongs_to(execution_arn):
        return FulfillmentDecision.SUPERSEDED
    match order.status:
        case OrderStatus.RECEIVED:
            return FulfillmentDecision.FULFILL
        case OrderStatus.FULFILLED:
            return FulfillmentDecision.ALREADY_FULFILLED
        case OrderStatus.ESCALATED | OrderStatus.CANCELLED:
            return FulfillmentDecision.SUPERSEDED


def unrecorded_shipment(order: Order | None, execution_arn: str | None, shipment: str) -> str | None:
    """
    Say why *shipment*, which the provider has made for *execution_arn*, is not recorded; None if it is.

    *order* is the order after the attempt to record the shipment. Something else has changed it while it was shipped.
    """
    if order is not None and (order.shipment_id == shipment or _is_in_progress(order, execution_arn)):
        return None
    if order is None:
        return f"Shipped as {shipment}, but the order is not in the table any more."
    if order.status is OrderStatus.FULFILLED:
        return f"Shipped as {shipment}, but the order is already FULFILLED by another shipment."
    newer = "" if order.belongs_to(execution_arn) else ", in another execution"
    return f"Shipped as {shipment}, but the order is {order.status} now{newer}."


def _is_in_progress(order: Order, execution_arn: str | None) -> bool:
    return order.status is OrderStatus.RECEIVED and order.belongs_to(execution_arn)


def is_cancelled_in_progress(order: Order | None, execution_arn: str | None) -> bool:
    """Return whether a person has cancelled *order* while this execution's message was waiting or being handled."""
    return order is not None and order.cancelled_at is not None and order.belongs_to(execution_arn)


def is_order_id(text: str) -> bool:
    """Return whether *text* is an OrderId: 1 to 64 ASCII characters that do not look like a card number."""
    return _ORDER_ID.fullmatch(text) is not None and not looks_like_card(text)


def order_id_fault(text: str) -> str | None:
    """Return what is wrong with *text* as an OrderId, as the end of a sentence; None if it is one."""
    if is_order_id(text):
        return None
    if not text:
        return "is empty"
    if looks_like_card(text):
        return "looks like a card number"
    if len(text) > MAX_ORDER_ID_CHARS:
        return f"is longer than {MAX_ORDER_ID_CHARS} characters"
    if is_order_id(text.strip()):
        return "has white space around it"
    return "does not begin with a letter or digit" if text[0] in "._-" else "has a character that is not allowed"


def is_shipment_id(value: object) -> TypeGuard[str]:
    """Return whether *value* is a shipment id: 1 to 128 visible ASCII characters, not looking like a card number."""
    return isinstance(value, str) and _SHIPMENT_ID.fullmatch(value) is not None and not looks_like_card(value)


def shipment_id(order_id: str) -> str:
    """Return a shipment id that is derived from an OrderId. The same OrderId always gives the same id."""
    return f"SHIP-{fingerprint(order_id, 16)}"
