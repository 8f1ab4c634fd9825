"""Reads the records in a text: JSON objects in an array, JSON objects one after the other, or rows of CSV."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.operations.errors import OperationError

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")

_DELIMITERS = (",", ";", "\t")
_CSV_ERRORS = {"unexpected end of data": "a quote is never closed"}
_SPACE = re.compile(r"[\s\ufeff]*")  # U+FEFF: a byte order mark, inside if files were joined.
# A line that starts like this continues an object of an earlier line.
_CONTINUED = re.compile(r'[ \t\r]*["}\],]|[ \t]+[^ \t\r\n]')
_NOT_READ = "the rest of the file was not read"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be submitted. *reason* names bad fields, but never shows their values."""

    line: int
    reason: str
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class RawRecord:
    """
    A record of the file: its value, and its JSON as *text*, which is as it is in the file or made from a row of CSV.

    *element* is its number in an array: the line is not enough, because a whole array may be on one line.
    """

    line: int
    value: Any
    text: str
    element: int | None = None

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.element is None else f"element {self.element}"


class DuplicateFields:
    """A JSON object that has a field twice, so that it is unclear which value counts."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names


def from_csv(name: str, text: str) -> Iterator[RawRecord | BadRecord]:
    """
    Yield the rows of a CSV text, which must not be empty.

    Raises:
        OperationError: The header lacks a field or has it twice.
    """
    # Not `splitlines`, which also splits at characters that are not line ends in CSV.
    lines = list(io.StringIO(text, newline=""))
    rows = (row for row in _rows(lines, _delimiter(next(filter(str.strip, lines)))) if not _is_blank(row[1]))
    first = next(rows, None)
    if first is None:  # All rows are blank: their columns are quoted, or have only spaces.
        return
    header_line, header = first
    names = [name.strip() for name in header] if isinstance(header, list) else []
    if wrong := _wrong_columns(names):
        raise OperationError(f"{name}:{header_line}: the header must have each of {', '.join(FIELDS)} once; {wrong}")
    for line, row in rows:
        if isinstance(row, csv.Error):
            yield BadRecord(line, f"is not CSV: {_CSV_ERRORS.get(str(row), row)}")
        elif len(row) != len(names):
            yield BadRecord(line, f"has {len(row)} columns, the header has {len(names)}")
        else:
            order = {field: row[names.index(field)].strip() for field in FIELDS}
            yield RawRecord(line, order, json.dumps(order, ensure_ascii=False))


def _wrong_columns(names: Sequence[str]) -> str:
    """Return which columns are missing or repeated. It names no other column: without a header, these are values."""
    missing = ", ".join(field for field in FIELDS if field not in names)
    repeated = ", ".join(field for field in FIELDS if names.count(field) > 1)
    return "; ".join([*([f"missing: {missing}"] if missing else []), *([f"repeated: {repeated}"] if repeated else [])])


def _is_blank(row: list[str] | csv.Error) -> bool:
    return isinstance(row, list) and not "".join(row).strip() and len(row) <= 1


def _delimiter(header: str) -> str:
    """Return the delimiter of the columns: spreadsheets use a different one in different countries."""
    return max(_DELIMITERS, key=header.count)


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """
    Yield each row with the number of its first line.

    After a bad row it continues with the next line: a quote that is never closed costs only one row.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[n] for n in range(start, len(lines))), delimiter=delimiter, strict=True)
        row_start = start
        try:
            for row in reader:
                yield row_start + 1, row
                row_start = start + reader.line_num
            start = len(lines)
        except csv.Error as error:
            yield row_start + 1, error
            start = row_start + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | DuplicateFields:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    return DuplicateFields([field for field in FIELDS if names.count(field) > 1] or ["a field"])


def _constant(_name: str) -> None:
    raise json.JSONDecodeError("not a number in JSON", "", 0)


# It only matters that a value is a number, not which number. Reading a number of a million digits takes minutes.
_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=lambda _: 0, parse_float=lambda _: 0.0, parse_constant=_constant
)


def value_of(text: str) -> Any:
    """Return the value of a JSON text that was read before."""
    return _decoder.decode(text)


@dataclass(slots=True)
class _Reader:
    """Reads JSON values from a text, one after the other. `line` is the line number of `position`."""

    text: str
    position: int = 0
    line: int = 1

    def go_to(self, position: int) -> None:
        self.line += self.text.count("\n", self.position, position)
        self.position = position

    def step(self) -> None:
        self.go_to(self.position + 1)

    def skip_space(self) -> str:
        """Go to the next character that is not a space, and return it; an empty string at the end."""
        match = _SPACE.match(self.text, self.position)
        self.go_to(match.end() if match else self.position)
        return self.text[self.position : self.position + 1]

    def take(self) -> RawRecord | BadRecord:
        """Read the value at `position` and go to its end. A bad value is not skipped."""
        try:
            value, end = _decoder.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            where = f" in line {error.lineno}" if error.lineno > self.line else ""
            problem = error.msg.removesuffix(" at").removesuffix(" starting")  # A column would follow these words.
            return BadRecord(self.line, f"is not JSON: {problem}{where}")
        except RecursionError:
            return BadRecord(self.line, "is nested too deep")
        record = RawRecord(self.line, value, self.text[self.position : end])
        self.go_to(end)
        return record


def from_array(text: str) -> Iterator[RawRecord | BadRecord]:
    """Yield the elements of an array, up to the first error: after it, the start of the next element is unknown."""
    reader = _Reader(text)
    reader.skip_space()
    reader.step()
    following = reader.skip_space()
    element = 0
    while following != "]":
        element += 1
        record = reader.take()
        if isinstance(record, BadRecord):
            yield replace(record, reason=f"element {element}: {record.reason}; {_NOT_READ}")
            return
        yield replace(record, element=element)
        following = reader.skip_space()
        if following not in {",", "]"}:
            yield BadRecord(reader.line, f"after element {element}: expected a comma or the array's end; {_NOT_READ}")
            return
        reader.step()
        reader.skip_space()
    if element == 0:
        reader.step()
    if reader.skip_space():
        yield BadRecord(reader.line, f"follows the array's end; {_NOT_READ}")


def from_stream(text: str) -> Iterator[RawRecord | BadRecord]:
    """Yield the objects of a text, each on one line or several. After a bad object, continue with the next one."""
    reader = _Reader(text)
    while reader.skip_space():
        record = reader.take()
        yield record
        if isinstance(record, BadRecord):
            while True:
                end = text.find("\n", reader.position)
                reader.go_to(len(text) if end < 0 else end + 1)
                if not _CONTINUED.match(text, reader.position):
                    break
