"""Reads files of orders: a JSON object, an array, objects one after the other (JSON lines), or CSV."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, BinaryIO

from workers.bodies import kind_of, missing
from workers.domain.cards import is_masked_card_number
from workers.domain.orders import MAX_TEXT_CHARS, ORDER_ID_RULE, is_order_id, order_id_fault
from workers.domain.submissions import malformed_fields
from workers.operations.errors import OperationError
from workers.operations.files.encodings import Encoding
from workers.operations.files.findings import Findings
from workers.operations.files.header import FIELDS
from workers.operations.json_records import DuplicateFields, from_array, from_stream
from workers.operations.ledger import Ledger
from workers.operations.order_record import Record
from workers.operations.order_text import open_text
from workers.operations.records import BadRecord, RawRecord, from_csv

# Step Functions: the longest input of an execution, in UTF-8.
MAX_INPUT_BYTES = 262_144

_NOT_UTF_8 = "is not valid UTF-8: save the file as UTF-8, or name its --encoding, such as windows-1252"

_RULES = {
    "OrderId": ORDER_ID_RULE,
    **dict.fromkeys(("Name", "ItemName"), f"a string of 1 to {MAX_TEXT_CHARS} characters"),
    **dict.fromkeys(("Price", "CC"), f"a string of up to {MAX_TEXT_CHARS} characters"),
}


@dataclass(slots=True)
class Reading:
    """
    How a file is read, and what was found in it.

    *columns* are the headers of fields that have others than their names. Without an *encoding*, it is found out.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    encoding: Encoding | None = None
    findings: Findings = field(default_factory=Findings)


def read_orders(
    name: str, stream: BinaryIO, ledger: Ledger | None = None, reading: Reading | None = None
) -> Iterator[Record | BadRecord]:
    """
    Yield the records of the file *name*, good and bad, in the order of the file.

    *stream* must be seekable; it is closed at the end. Good records are added to *ledger*, which has those of other
    files already: a second record of an OrderId is bad. The findings of *reading* are complete at the end.

    Raises:
        OperationError: The file is not text, or is CSV with a wrong header.
    """
    known = Ledger() if ledger is None else ledger
    how = reading or Reading()
    for raw, record in read_records(name, stream, how):
        if isinstance(record, BadRecord):
            yield record
        elif place := known.add(record):
            yield repeated(raw, record, place)
        else:
            how.findings.add_order(raw.value, raw.line, raw.corrections)
            yield record


def repeated(raw: RawRecord, record: Record, place: str) -> BadRecord:
    """Return a record whose OrderId the record at *place* has, too, as a bad one."""
    return _bad(record.file, raw, f"OrderId is already in {place}")


def read_records(
    name: str, stream: BinaryIO, reading: Reading | None = None
) -> Iterator[tuple[RawRecord, Record | BadRecord]]:
    """Yield the records as in `read_orders`, but without a look at repeated OrderIds, with what they were read from."""
    how = reading or Reading()
    text = open_text(name, stream, how.encoding)
    how.findings.encoding = text.encoding
    try:
        suffix, first = PurePath(name).suffix.lower(), text.peek()[:1]
        if suffix in {".csv", ".tsv"} or (suffix not in {".json", ".jsonl", ".ndjson"} and first not in {"{", "["}):
            records = from_csv(text, how.columns, how.findings)
        elif how.columns:
            raise OperationError(f"{name} is JSON: its fields cannot be mapped, only columns of CSV")
        else:
            records = from_array(text) if first == "[" else from_stream(text)
        for record in records:
            yield record, _checked(name, record)
    finally:
        stream.close()


def _checked(file: str, record: RawRecord) -> Record | BadRecord:
    """Return the record if it can be submitted."""
    problem, order_id = record.problem or _problem(record), _known_id(record.value)
    if problem is None and order_id is not None:
        return Record(record.line, order_id, record.text, file, record.element)
    return _bad(file, record, problem)


def _bad(file: str, record: RawRecord, problem: str | None) -> BadRecord:
    where = "" if record.element is None else f"{record.place}: "
    return BadRecord(record.line, f"{where}{problem}", _known_id(record.value), file)


def _problem(record: RawRecord) -> str | None:
    """Return why the workflow would refuse this order as malformed; None if it would accept or escalate the order."""
    order = record.value
    if isinstance(order, DuplicateFields):
        return f"has {', '.join(order.names)} twice"
    if not isinstance(order, Mapping):
        return "is not a JSON object"
    if wrong := {**{field: _fault(field, order) for field in malformed_fields(order)}, **record.faults}:
        return "; ".join(wrong[field] for field in FIELDS if field in wrong)
    return "CC is masked: fill in the whole card number" if is_masked_card_number(order["CC"]) else _unsendable(record)


def _unsendable(record: RawRecord) -> str | None:
    """Return why a well-formed order cannot be the input of an execution; None if it can."""
    order = record.value
    if not all(map(_is_unicode, (record.text, *(order[field] for field in FIELDS)))):
        # JSON can also escape half of a surrogate pair.
        return "is not valid UTF-8" if _is_unicode(record.text) else _NOT_UTF_8
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
