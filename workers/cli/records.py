"""Takes the records out of a text: JSON objects in an array or one after the other, or rows of CSV."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.cli.output import CliError

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")

_DELIMITERS = (",", ";", "\t")
_CSV_ERRORS = {"unexpected end of data": "a quote is never closed"}
_SPACE = re.compile(r"[ \t\r\n]*")
# A line that begins like this goes on with an object that earlier lines began.
_CONTINUED = re.compile(r'[ \t\r]*["}\],]|[ \t]+[^ \t\r\n]')
_NOT_READ = "the rest of the file was not read"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """What cannot be submitted, and why: the fields at fault by name, never their values."""

    line: int
    reason: str
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """
    A record as the file has it: the value that was read, and the JSON it was read from or stands for.

    *element* is its number in an array: all of that may be on one line.
    """

    line: int
    value: Any
    text: str
    element: int | None = None

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.element is None else f"element {self.element}"


class Repeated:
    """A JSON object that has a field twice: which of the two is meant, nobody knows."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names


def from_csv(name: str, text: str) -> Iterator[Found | BadRecord]:
    # Not `splitlines`: that also splits where CSV does not.
    lines = list(io.StringIO(text, newline=""))
    rows = (row for row in _rows(lines, _delimiter(next(filter(str.strip, lines)))) if not _is_blank(row[1]))
    header_line, header = next(rows)
    names = header if isinstance(header, list) else []
    missing = [each for each in FIELDS if names.count(each) != 1]
    if missing:
        raise CliError(
            f"{name}:{header_line}: the header must have each of {', '.join(FIELDS)} once; not so: {', '.join(missing)}"
        )
    for line, row in rows:
        if isinstance(row, csv.Error):
            yield BadRecord(line, f"is no CSV: {_CSV_ERRORS.get(str(row), row)}")
        elif len(row) != len(names):
            yield BadRecord(line, f"has {len(row)} columns, the header has {len(names)}")
        else:
            order = {field: row[names.index(field)] for field in FIELDS}
            yield Found(line, order, json.dumps(order, ensure_ascii=False))


def _is_blank(row: list[str] | csv.Error) -> bool:
    return isinstance(row, list) and not "".join(row).strip() and len(row) <= 1


def _delimiter(header: str) -> str:
    """Return what the columns are divided by: spreadsheets take what their country does."""
    return max(_DELIMITERS, key=header.count)


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """
    Yield each row with the number of its first line.

    Behind a row that is none it goes on in the next line: a quote that is never closed must not swallow the rest.
    """
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[n] for n in range(start, len(lines))), delimiter=delimiter, strict=True)
        begun = start
        try:
            for row in reader:
                yield begun + 1, row
                begun = start + reader.line_num
            start = len(lines)
        except csv.Error as error:
            yield begun + 1, error
            start = begun + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Repeated:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    return Repeated([each for each in FIELDS if names.count(each) > 1] or ["a field"])


def _constant(_name: str) -> None:
    raise json.JSONDecodeError("no number of JSON's", "", 0)


# What a number is does not matter, only that it is one; and one of a million digits takes minutes to read.
_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=lambda _: 0, parse_float=lambda _: 0.0, parse_constant=_constant
)


@dataclass(slots=True)
class _Reader:
    """Reads JSON values out of a text, one after the other. `line` is that of `position`."""

    text: str
    position: int = 0
    line: int = 1

    def go_to(self, position: int) -> None:
        self.line += self.text.count("\n", self.position, position)
        self.position = position

    def step(self) -> None:
        self.go_to(self.position + 1)

    def skip_space(self) -> str:
        """Go to the next character that is no space, and return it; nothing at the end."""
        match = _SPACE.match(self.text, self.position)
        self.go_to(match.end() if match else self.position)
        return self.text[self.position : self.position + 1]

    def take(self) -> Found | BadRecord:
        """Take the value that begins here. What is none is not skipped."""
        try:
            value, end = _decoder.raw_decode(self.text, self.position)
        except json.JSONDecodeError as error:
            where = f" in line {error.lineno}" if error.lineno > self.line else ""
            said = error.msg.removesuffix(" at").removesuffix(" starting")  # A column would follow.
            return BadRecord(self.line, f"is no JSON: {said}{where}")
        except RecursionError:
            return BadRecord(self.line, "is no order: nested too deep")
        found = Found(self.line, value, self.text[self.position : end])
        self.go_to(end)
        return found


def from_array(text: str) -> Iterator[Found | BadRecord]:
    """Read an array. Behind an error in it nobody knows where the next element begins: what is there is not read."""
    reader = _Reader(text)
    reader.skip_space()
    reader.step()
    after = reader.skip_space()
    element = 0
    while after != "]":
        element += 1
        found = reader.take()
        if isinstance(found, BadRecord):
            yield replace(found, reason=f"element {element}: {found.reason}; {_NOT_READ}")
            return
        yield replace(found, element=element)
        after = reader.skip_space()
        if after not in {",", "]"}:
            yield BadRecord(reader.line, f"behind element {element}: neither a comma nor the array's end; {_NOT_READ}")
            return
        reader.step()
        reader.skip_space()
    if element == 0:
        reader.step()
    if reader.skip_space():
        yield BadRecord(reader.line, f"stands behind the array's end; {_NOT_READ}")


def from_stream(text: str) -> Iterator[Found | BadRecord]:
    """Read objects one after the other, each in a line or in several. Behind an error it goes on with the next one."""
    reader = _Reader(text)
    while reader.skip_space():
        found = reader.take()
        yield found
        if isinstance(found, BadRecord):
            while True:
                end = text.find("\n", reader.position)
                reader.go_to(len(text) if end < 0 else end + 1)
                if not _CONTINUED.match(text, reader.position):
                    break
