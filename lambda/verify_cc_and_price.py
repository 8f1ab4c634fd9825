"""
Verify an order's card number and price.

The event contains the card number. Anything that this function printed, logged or raised would end up in its log group
or in the execution's history. So it never does any of these. It returns only the order's id, the verdict and fixed
reasons.
"""

import re
from collections.abc import Mapping
from typing import Any, TypedDict

# [0-9], not \d: \d matches the digits of every script. fullmatch, not `$`: `$` also matches before a final newline.
_CARD_NUMBER = re.compile(r"[0-9]{16}")
_PRICE = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?")


class Verdict(TypedDict):
    OrderId: str | None
    Status: int
    Reasons: list[str]


def handler(event: Any, _context: object) -> Verdict:
    """Return Status 1 if both are valid, else 0 and reasons. Never raises: an error means that Lambda has failed."""
    order: Mapping[str, Any] = event if isinstance(event, Mapping) else {}
    order_id = order.get("OrderId")
    reasons = []
    if not _is_card_number(order.get("CC")):
        reasons.append("INVALID_CARD_NUMBER")
    if not _is_price(order.get("Price")):
        reasons.append("INVALID_PRICE")
    return {
        "OrderId": order_id if isinstance(order_id, str) else None,
        "Status": 0 if reasons else 1,
        "Reasons": reasons,
    }


def _is_card_number(value: object) -> bool:
    return isinstance(value, str) and _CARD_NUMBER.fullmatch(value) is not None


def _is_price(value: object) -> bool:
    if not isinstance(value, str) or _PRICE.fullmatch(value) is None:
        return False
    return value.strip("0.") != ""  # More than zero. No arithmetic, so no rounding.
