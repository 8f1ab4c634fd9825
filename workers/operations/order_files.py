"""Reads files of orders: a JSON object, an array, objects one after the other (JSON lines), or CSV."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from workers.bodies import kind_of, missing
from workers.domain.orders import MAX_TEXT_CHARS, ORDER_ID_RULE, is_order_id, order_id_fault
from workers.domain.submissions import malformed_fields
from workers.operations.errors import OperationError
from workers.operations.records import (
    FIELDS,
    BadRecord,
    DuplicateFields,
    RawRecord,
    from_array,
    from_csv,
    from_stream,
    value_of,
)

# Step Functions: the longest input of an execution, in UTF-8.
MAX_INPUT_BYTES = 262_144

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_RULES = {
    "OrderId": ORDER_ID_RULE,
    **dict.fromkeys(("Name", "ItemName"), f"a string of 1 to {MAX_TEXT_CHARS} characters"),
    **dict.fromkeys(("Price", "CC"), f"a string of up to {MAX_TEXT_CHARS} characters"),
}


@dataclass(frozen=True, slots=True)
class Record:
    """An order that can be submitted; *text* is the execution's input."""

    line: int
    order_id: str
    text: str

    def fields(self) -> Mapping[str, str]:
        """Return the order's fields. Those of a record that can be submitted are strings."""
        order: Mapping[str, str] = value_of(self.text)
        return order


def read_orders(name: str, data: bytes) -> Iterator[Record | BadRecord]:
    """
    Yield the records of the file *name*, good and bad, in the order of the file.

    Raises:
        OperationError: The file is not text, or is CSV with a wrong header.
    """
    text = _decoded(name, data)
    suffix, first = PurePath(name).suffix.lower(), text.lstrip()[:1]
    if suffix in {".csv", ".tsv"} or (suffix not in {".json", ".jsonl", ".ndjson"} and first not in {"{", "["}):
        records = from_csv(name, text) if first else iter(())
    else:
        records = from_array(text) if first == "[" else from_stream(text)
    places: dict[str, str] = {}
    for record in records:
        yield record if isinstance(record, BadRecord) else _checked(record, places)


def _checked(record: RawRecord, places: dict[str, str]) -> Record | BadRecord:
    """Return the record if it can be submitted, and note the place of its OrderId."""
    problem, order_id = _problem(record), _known_id(record.value)
    if problem is None and order_id is not None:
        if order_id not in places:
            places[order_id] = record.place
            return Record(record.line, order_id, record.text)
        problem = f"OrderId is already in {places[order_id]}"
    where = "" if record.element is None else f"{record.place}: "
    return BadRecord(record.line, f"{where}{problem}", order_id)


def _decoded(name: str, data: bytes) -> str:
    try:
        # Bytes that are not UTF-8 make only their own record bad. PowerShell and Excel write UTF-16.
        text = data.decode("utf-16") if data.startswith(_UTF_16) else data.decode("utf-8", "surrogateescape")
    except UnicodeDecodeError:
        raise OperationError(f"{name} is not valid UTF-16: save it as UTF-8") from None
    if "\0" in text:
        raise OperationError(f"{name} is not text: it has zero bytes")
    return text.lstrip("\ufeff")


def _problem(record: RawRecord) -> str | None:
    """Return why the workflow would refuse this order as malformed; None if it would accept or escalate the order."""
    order = record.value
    if isinstance(order, DuplicateFields):
        return f"has {', '.join(order.names)} twice"
    if not isinstance(order, Mapping):
        return "is not a JSON object"
    if wrong := malformed_fields(order):
        return "; ".join(_fault(field, order) for field in wrong)
    if not all(map(_is_unicode, (record.text, *(order[field] for field in FIELDS)))):
        return "is not valid UTF-8"
    if (size := len(record.text.encode())) > MAX_INPUT_BYTES:
        return f"is {size:,} bytes long, more than Step Functions' {MAX_INPUT_BYTES:,}"
    return None


def _known_id(order: Any) -> str | None:
    """Return the OrderId of a bad record, to show it, if it is valid. Anything else could be a card number."""
    order_id = order.get("OrderId") if isinstance(order, Mapping) else None
    return order_id if isinstance(order_id, str) and is_order_id(order_id) else None


def _fault(field: str, order: Mapping[str, Any]) -> str:
    """Return what is wrong with a malformed field, and what is allowed."""
    value = order.get(field)
    if field not in order:
        fault: str | None = missing(field, order)
    elif not isinstance(value, str):
        fault = f"is {kind_of(value)}"
    elif field == "OrderId":
        fault = order_id_fault(value)
    else:
        fault = "is too long" if value else "is empty"
    return f"{field} {fault}, must be {_RULES[field]}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
