"""What an order is, and what a message may do to it."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

from workers.domain.cards import looks_like_card
from workers.domain.ids import fingerprint

MAX_TEXT_CHARS = 256  # Of each text of an order: Name, ItemName, Price, CC.
MAX_SHIPMENT_ID_CHARS = 128

_NUMBERED = re.compile(r".*-r[0-9]+", re.ASCII)
_ORDER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)

_SHIPMENT_ID = re.compile(rf"[!-~]{{1,{MAX_SHIPMENT_ID_CHARS}}}", re.ASCII)


class OrderStatus(StrEnum):
    RECEIVED = "RECEIVED"
    FULFILLED = "FULFILLED"
    ESCALATED = "ESCALATED"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the table holds it; `cc` is masked there already. Times are RFC 3339 UTC."""

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
    attempts: int = 0
    rejections: int = 0  # How many of its earlier executions the provider refused; the case knows, the item does not.

    @property
    def idempotency_key(self) -> str:
        """
        By which a provider tells a repeated request from a new one: the OrderId, `<OrderId>-r<n>` after n rejections.

        An OrderId that ends like that itself always gets the suffix, so that no two orders ever share a key.
        """
        numbered = self.rejections > 0 or _NUMBERED.fullmatch(self.order_id) is not None
        return f"{self.order_id}-r{self.rejections}" if numbered else self.order_id

    def belongs_to(self, execution_arn: str | None) -> bool:
        """Tell whether a message that names *execution_arn* speaks of this order; one that names none, always does."""
        return execution_arn is None or execution_arn == self.execution_arn


class FulfillmentDecision(StrEnum):
    """What a message on the fulfillment queue leads to; the values are the outcomes in the log."""

    FULFILL = "fulfilled"
    ALREADY_FULFILLED = "already_fulfilled"
    SUPERSEDED = "superseded"
    NOT_FOUND = "order_not_found"


def decide_fulfillment(order: Order | None, execution_arn: str | None) -> FulfillmentDecision:
    """Decide on a message that names *execution_arn* (None: whichever execution is current)."""
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


def is_order_id(text: str) -> bool:
    """Tell whether *text* is an OrderId: 1 to 64 ASCII characters, nothing that looks like a card number."""
    return _ORDER_ID.fullmatch(text) is not None and not looks_like_card(text)


def is_shipment_id(value: object) -> TypeGuard[str]:
    """Return whether *value* is a shipment id: 1 to 128 visible ASCII characters, nothing like a card number."""
    return isinstance(value, str) and _SHIPMENT_ID.fullmatch(value) is not None and not looks_like_card(value)


def shipment_id(order_id: str) -> str:
    """Derive a shipment id that is the same however often it is asked for."""
    return f"SHIP-{fingerprint(order_id, 16)}"
