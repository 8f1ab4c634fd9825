"""The format of a submitted order, and the name of its execution."""

import re
from collections.abc import Mapping
from typing import Any

from workers.domain.cards import recorded_card_number, recorded_text
from workers.domain.ids import fingerprint, letters
from workers.domain.orders import MAX_TEXT_CHARS, is_order_id
from workers.domain.reasons import Reason

# The same patterns as in the Lambda function that verifies orders.
_CARD_NUMBER = re.compile(r"[0-9]{16}", re.ASCII)
_PRICE = re.compile(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,2})?", re.ASCII)


# What the workflow records of an order, besides its OrderId.
RECORDED_FIELDS = ("Name", "ItemName", "Price", "CC")

# Why the workflow escalates a well-formed order, by the field that is improper.
IMPROPER_REASONS = {"CC": Reason.INVALID_CARD_NUMBER, "Price": Reason.INVALID_PRICE}


def malformed_fields(order: Any) -> list[str]:
    """Return the fields of an order that the workflow would reject as malformed, always in the same sequence."""
    if not isinstance(order, Mapping):
        return ["OrderId", "Name", "ItemName", "Price", "CC"]
    min_chars = {"Name": 1, "ItemName": 1, "Price": 0, "CC": 0}
    wrong = [] if isinstance(order.get("OrderId"), str) and is_order_id(order["OrderId"]) else ["OrderId"]
    for field, least in min_chars.items():
        value = order.get(field)
        if not isinstance(value, str) or not least <= len(value) <= MAX_TEXT_CHARS:
            wrong.append(field)
    return wrong


def improper_fields(order: Mapping[str, str]) -> list[str]:
    """Return the fields for which the verification would escalate a well-formed order."""
    price_is_proper = _PRICE.fullmatch(order["Price"]) is not None and float(order["Price"]) > 0
    return [
        *([] if price_is_proper else ["Price"]),
        *([] if _CARD_NUMBER.fullmatch(order["CC"]) else ["CC"]),
    ]


def recorded_fields(order: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a well-formed order, except its OrderId, as the workflow records them: masked."""
    return {
        **{field: recorded_text(order[field]) for field in ("Name", "ItemName", "Price")},
        "CC": recorded_card_number(order["CC"]),
    }


def submission_name(order_id: str, number: int) -> str:
    """
    Return the name of the execution that submits an order for the *number*-th time.

    - The same *order_id* and *number* always give the same name, so that a repeated command starts nothing twice.
    - It is derived from the OrderId, never from the card number.
    - It differs from the names of resubmissions from a case.
    - The workflow of bulk intake makes the same name, in JSONata: statemachine/bulk-order-intake.asl.json.
    """
    return f"submission-{letters(order_id, 26)}-{number}"


def submission_number(order_id: str, name: str) -> int | None:
    """Return the number of the order's submission whose execution has this name; None if it has another name."""
    _, _, number = name.rpartition("-")
    if not number.isdecimal():
        return None
    before = f"submission-{fingerprint(order_id, 26)}-{int(number)}"  # The name in version 1.
    return int(number) if name in {submission_name(order_id, int(number)), before} else None
