"""Reads the rows of CSV, and defines what all records of files have in common."""

import csv
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from workers.operations.errors import OperationError
from workers.operations.order_text import MAX_RECORD_CHARS, OrderText

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")

_DELIMITERS = (",", ";", "\t")
_CSV_ERRORS = {
    "unexpected end of data": "a quote is never closed",
    f"field larger than field limit ({csv.field_size_limit()})": (
        f"a quote is never closed, or a column is longer than {csv.field_size_limit():,} characters"
    ),
}
TOO_LONG = f"is longer than {MAX_RECORD_CHARS:,} characters"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be submitted. *reason* names bad fields, but never shows their values."""

    line: int
    reason: str
    order_id: str | None = None
    file: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The header of a CSV file, as it is in the file. *card* is the place of the column with the card numbers."""

    header: Sequence[str]
    delimiter: str
    card: int


@dataclass(frozen=True, slots=True)
class RawRecord:
    """
    A record of a file: its value, and its JSON as *text*, which is as it is in the file or made from a row of CSV.

    A record that cannot be read has a *problem* and no value; its *text* is what there is of it.
    *element* is its number in an array: the line is not enough, because a whole array may be on one line.
    *columns* is a row of CSV as it is in the file, which has the header *table*.
    """

    line: int
    value: Any = None
    text: str = ""
    element: int | None = None
    problem: str | None = None
    table: Table | None = None
    columns: Sequence[str] = ()

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.element is None else f"element {self.element}"


def from_csv(text: OrderText) -> Iterator[RawRecord]:
    """
    Yield the rows of a CSV text.

    Raises:
        OperationError: The header lacks a field or has it twice.
    """
    blank, lines = list[str](), text.lines()
    for line in lines:
        blank.append(line)
        if line.strip():
            break
    else:
        return
    delimiter = _delimiter(blank[-1])
    rows = (row for row in _rows(chain(blank, lines), delimiter) if not _is_blank(row.columns))
    first = next(rows, None)
    if first is None:  # All rows are blank: their columns are quoted, or have only spaces.
        return
    names = [name.strip() for name in first.columns or ()]
    if wrong := _wrong_columns(names):
        raise OperationError(
            f"{text.name}:{first.line}: the header must have each of {', '.join(FIELDS)} once; {wrong}"
        )
    table = Table(first.columns or (), delimiter, names.index("CC"))
    for row in rows:
        yield _record(row, names, table)


def _record(row: "_Row", names: Sequence[str], table: Table) -> RawRecord:
    if row.columns is None:
        return RawRecord(row.line, text=row.text, problem=row.problem, table=table)
    if len(row.columns) != len(names):
        problem = f"has {len(row.columns)} columns, the header has {len(names)}"
        return RawRecord(row.line, problem=problem, table=table, columns=row.columns)
    order = {field: row.columns[names.index(field)].strip() for field in FIELDS}
    return RawRecord(row.line, order, json.dumps(order, ensure_ascii=False), table=table, columns=row.columns)


def _wrong_columns(names: Sequence[str]) -> str:
    """Return which columns are missing or repeated. It names no other column: without a header, these are values."""
    missing = ", ".join(field for field in FIELDS if field not in names)
    repeated = ", ".join(field for field in FIELDS if names.count(field) > 1)
    return "; ".join([*([f"missing: {missing}"] if missing else []), *([f"repeated: {repeated}"] if repeated else [])])


def _is_blank(columns: Sequence[str] | None) -> bool:
    return columns is not None and not "".join(columns).strip() and len(columns) <= 1


def _delimiter(header: str) -> str:
    """Return the delimiter of the columns: spreadsheets use a different one in different countries."""
    return max(_DELIMITERS, key=header.count)


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of CSV. If it is not CSV, *columns* is None and *text* its first line."""

    line: int
    columns: Sequence[str] | None
    problem: str | None = None
    text: str = ""


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[_Row]:
    """
    Yield each row with the number of its first line.

    After a bad row it continues with the next line: a quote that is never closed costs only one row.
    """
    source = _RowLines(lines)
    while True:
        try:
            for columns in csv.reader(source, delimiter=delimiter, strict=True):
                yield _Row(source.line, columns)
                source.end_row()
        except csv.Error as error:
            problem = f"is not CSV: {_CSV_ERRORS.get(str(error), error)}"
            yield _Row(source.line, None, problem, source.row[0])
            source.skip_line()
        except _TooLongError:
            yield _Row(source.line, None, TOO_LONG, source.row[0])
            source.skip_line()
        else:
            return


class _TooLongError(Exception):
    """A row is longer than `MAX_RECORD_CHARS`."""


class _RowLines:
    """Supplies a CSV reader with lines, and keeps those of the current `row`, whose first one has the number `line`."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.row: list[str] = []
        self.line = 1
        self._lines = lines
        self._again: deque[str] = deque()
        self._chars = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.row.append(line)
        self._chars += len(line)
        if self._chars > MAX_RECORD_CHARS or not _is_whole(line):
            raise _TooLongError
        return line

    def end_row(self) -> None:
        self.line += len(self.row)
        self._start_row()

    def skip_line(self) -> None:
        """Drop the row's first line, and supply its other lines again."""
        line, *others = self.row
        self._again.extendleft(reversed(others))
        while not _is_whole(line):
            line = self._again.popleft() if self._again else next(self._lines, "\n")
        self.line += 1
        self._start_row()

    def _start_row(self) -> None:
        self.row, self._chars = [], 0


def _is_whole(line: str) -> bool:
    """Return whether this is a line, and not a part of one that is too long."""
    return len(line) < MAX_RECORD_CHARS or line.endswith(("\n", "\r"))
