"""Reads message bodies. People and other systems write some of them, so an error says exactly what is wrong."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails, from_json

from workers.domain.characters import sendable
from workers.domain.orders import ORDER_ID_RULE, is_order_id, order_id_fault
from workers.errors import UndecodableError

# Editors, shells and copied text put these around a body: white space of any kind (U+3000 is the last), the byte order
# mark U+FEFF, and two other characters without a width.
_AROUND = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "\ufeff\u200b\u2060"
_MISREAD_BOM = b"\xef\xbb\xbf".decode("latin-1")  # UTF-8's byte order mark, sent as Latin-1.
# An `order_id` may be meant as OrderId.
_BETWEEN = str.maketrans("", "", "_- ")
_MAX_BETWEEN_CHARS = 8

# What other services wrap around a message, by the fields that show it.
_ENVELOPES = {
    ("Type", "TopicArn", "Message"): "an SNS notification: turn on raw message delivery for the subscription",
    ("detail-type", "source", "detail"): "an EventBridge event: send only these fields, with an input transformer",
}
_FAULTS = {
    "enum": "is unknown",
    "greater_than_equal": "is too small",
    "less_than_equal": "is too large",
    "string_pattern_mismatch": "does not match",
    "string_too_long": "is too long",
    "string_too_short": "is empty",
    "too_long": "has too many elements",
    "too_short": "is empty",
}


def object_of(body: str) -> dict[str, Any] | None:
    """Return the JSON object that is *body*; None if it is something else."""
    value = _value(stripped(body))
    return value if isinstance(value, dict) else None


def order_id_of(body: str) -> str:
    """
    Return the OrderId that is *body*, which is not a JSON object.

    Raises:
        UndecodableError: It is not an OrderId either.
    """
    text = stripped(body)
    if not is_order_id(text):
        raise UndecodableError(f"neither a JSON object nor an OrderId: {_problem(text)}")
    return text


def kind_of(value: object) -> str:
    """Return what a JSON value is, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def fault_of(error: ErrorDetails) -> str:
    """Return which field is wrong, and what is wrong with it, but never its value."""
    name, *path = error["loc"]
    field = "".join([str(name), *(f"[{index}]" for index in path)])
    value = error["input"]
    if error["type"] == "missing":
        return f"{field} {missing(field, value)}"
    if error["type"] == "value_error":
        return f"{field} {error['ctx']['error']}"
    if value == "":
        return f"{field} is empty"
    if error["type"] == "enum" and not isinstance(value, str):
        return f"{field} is {kind_of(value)}"
    return f"{field} {_FAULTS.get(error['type'], f'is {kind_of(value)}')}"


def missing(field: str, document: Mapping[str, Any]) -> str:
    """Return that *field* is missing in *document*, and which other field or which envelope may be the reason."""
    for names, envelope in _ENVELOPES.items():
        if document.keys() >= set(names):
            return f"is missing (this is {envelope})"
    for name in document:
        letters = name.translate(_BETWEEN) if len(name) <= len(field) + _MAX_BETWEEN_CHARS else ""
        if letters.lower() == field.translate(_BETWEEN).lower():
            return f"is missing ({json.dumps(name)} is another name: it must be {field})"
    return "is missing"


def stripped(body: str) -> str:
    text = body.strip(_AROUND)
    return text[len(_MISREAD_BOM) :].strip(_AROUND) if text.startswith(_MISREAD_BOM) else text


def _value(text: str) -> Any:
    """Return the value of a JSON text; None if it is not JSON."""
    try:
        # Without its values: an OrderId is rarely used twice, but 16,384 of them would be kept, in up to 2 MB.
        return from_json(text, cache_strings="keys")
    except ValueError:
        return _value_with_halves(text) if "\\u" in text else None
    except TypeError:  # It cannot be encoded as UTF-8.
        return None


def _value_with_halves(text: str) -> Any:
    """
    Return the value of a JSON text that escapes half a surrogate pair, which `from_json` refuses.

    Senders that count UTF-16 units cut texts in the middle of an emoji.
    """
    try:
        return _whole(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _whole(value: Any) -> Any:
    match value:
        case str():
            return sendable(value)
        case list():
            return [_whole(element) for element in value]
        case dict():
            return {sendable(name): _whole(member) for name, member in value.items()}
        case _:
            return value


def _problem(text: str) -> str:
    if not text:
        return "it is empty"
    if text[0] in '{["':
        try:
            value = from_json(text)
        except ValueError as error:
            return f"invalid JSON, {error}"
        except TypeError:
            return "it is not valid Unicode"
        text_in_quotes = "a JSON string: send what is inside its quotes"
        return f"it is {text_in_quotes if isinstance(value, str) else kind_of(value)}"
    return f"it {order_id_fault(text)}; an OrderId must be {ORDER_ID_RULE}"
