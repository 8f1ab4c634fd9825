"""Reads files of orders: a JSON object, an array, objects one after the other (JSON lines), or CSV."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from types import NoneType
from typing import Any

from workers.cli.output import CliError
from workers.cli.records import FIELDS, BadRecord, Found, Repeated, from_array, from_csv, from_stream
from workers.domain.orders import MAX_TEXT_CHARS, is_order_id
from workers.domain.submissions import malformed_fields

# Step Functions: the most that an execution's input may be, in UTF-8.
MAX_INPUT_BYTES = 262_144

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_KINDS = {bool: "a boolean", int: "a number", float: "a number", NoneType: "null", list: "an array"}


@dataclass(frozen=True, slots=True)
class Record:
    """An order that may be submitted; *text* is the execution's input."""

    line: int
    order_id: str
    text: str


def read_orders(name: str, data: bytes) -> Iterator[Record | BadRecord]:
    """
    Yield the records of the file *name*, good and bad, in its order.

    Raises:
        CliError: It is no text, or CSV without the header.
    """
    text = _decoded(name, data)
    suffix, first = PurePath(name).suffix.lower(), text.lstrip()[:1]
    if suffix in {".csv", ".tsv"} or (suffix not in {".json", ".jsonl", ".ndjson"} and first not in {"{", "["}):
        found = from_csv(name, text) if first else iter(())
    else:
        found = from_array(text) if first == "[" else from_stream(text)
    places: dict[str, str] = {}
    for each in found:
        yield each if isinstance(each, BadRecord) else _checked(each, places)


def _checked(found: Found, places: dict[str, str]) -> Record | BadRecord:
    """Return the record if it may be submitted, and note where its OrderId was."""
    problem, order_id = _problem(found), _known_id(found.value)
    if problem is None and order_id is not None:
        if order_id not in places:
            places[order_id] = found.place
            return Record(found.line, order_id, found.text)
        problem = f"OrderId is that of {places[order_id]} already"
    where = "" if found.element is None else f"{found.place}: "
    return BadRecord(found.line, f"{where}{problem}", order_id)


def _decoded(name: str, data: bytes) -> str:
    if data.startswith(_UTF_16):
        raise CliError(f"{name} is UTF-16: save it as UTF-8")
    if b"\0" in data:
        raise CliError(f"{name} is no text: it has zero bytes")
    # What is no UTF-8 is found in the record that has it: the others are good.
    return data.decode("utf-8-sig", "surrogateescape")


def _problem(found: Found) -> str | None:
    """Say why the workflow would not take this. What it takes and then escalates is its business."""
    order = found.value
    if isinstance(order, Repeated):
        return f"has {', '.join(order.names)} twice"
    if not isinstance(order, Mapping):
        return "is no JSON object"
    if wrong := malformed_fields(order):
        return "; ".join(_fault(each, order) for each in wrong)
    if not all(map(_is_unicode, (found.text, *(order[each] for each in FIELDS)))):
        return "is not valid UTF-8"
    if (size := len(found.text.encode())) > MAX_INPUT_BYTES:
        return f"is {size:,} bytes long, more than Step Functions' {MAX_INPUT_BYTES:,}"
    return None


def _known_id(order: Any) -> str | None:
    """Return the OrderId to name a bad record by, where it is one: anything else could be a card number."""
    order_id = order.get("OrderId") if isinstance(order, Mapping) else None
    return order_id if isinstance(order_id, str) and is_order_id(order_id) else None


def _fault(field: str, order: Mapping[str, Any]) -> str:
    """Say what is wrong with a malformed field."""
    if field not in order:
        return f"{field} is missing"
    value = order[field]
    if not isinstance(value, str):
        return f"{field} is {_KINDS.get(type(value), 'an object')}, must be a string"
    if not value:
        return f"{field} is empty"
    if field == "OrderId":
        return "OrderId must be 1 to 64 of A-Z a-z 0-9 . _ - and nothing like a card number"
    return f"{field} is longer than {MAX_TEXT_CHARS} characters"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
