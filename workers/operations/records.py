"""Reads the rows of CSV, and defines what all records of files have in common."""

import csv
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from workers.operations.files.encodings import without_marks
from workers.operations.files.findings import Findings, Skipped
from workers.operations.files.header import Header, delimiter_of, header_of, separator_hint, separator_of, wrong_width
from workers.operations.files.values import Correction, corrected_fields
from workers.operations.order_text import MAX_RECORD_CHARS, OrderText

_CSV_ERRORS = {
    "unexpected end of data": "a quote is never closed",
    f"field larger than field limit ({csv.field_size_limit()})": (
        f"a quote is never closed, or a column is longer than {csv.field_size_limit():,} characters"
    ),
}
_BETWEEN_EMPTY = ' \t,;|"\r\n\u00a0'
# Each bad row costs a look at the lines after it, as many as it may have.
MAX_ROW_LINES = 1_000
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
    """The header of a CSV file, as it is in the file, and the place of the column of each field."""

    header: Sequence[str]
    delimiter: str
    places: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RawRecord:
    """
    A record of a file: its value, and its JSON as *text*, which is as it is in the file or made from a row of CSV.

    A record that cannot be read has a *problem* and no value; its *text* is what there is of it.
    *element* is its number in an array: the line is not enough, because a whole array may be on one line.
    *columns* is a row of CSV as it is in the file, which has the header *table*. *corrections* are what was
    corrected in its values, *faults* what is wrong with others, by field.
    """

    line: int
    value: Any = None
    text: str = ""
    element: int | None = None
    problem: str | None = None
    table: Table | None = None
    columns: Sequence[str] = ()
    corrections: Sequence[Correction] = ()
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"line {self.line}" if self.element is None else f"element {self.element}"


def from_csv(text: OrderText, mapped: Mapping[str, str], findings: Findings) -> Iterator[RawRecord]:
    """
    Yield the rows of a CSV text; *mapped* are the headers of fields that have others than their names.

    Values that a spreadsheet has changed are corrected, if they can only mean one thing; *findings* counts them.

    Raises:
        OperationError: The header lacks a field or has it twice.
    """
    lines = text.lines()
    start, separator = _start(lines)
    if not start:
        return
    delimiter = separator or delimiter_of(start[-1], mapped)
    rows = _rows(chain(start, lines), delimiter)
    first = next((row for row in rows if not _is_empty(row.columns)), None)
    if first is None:  # All rows are empty: their columns are quoted, or have only spaces.
        return
    header = header_of(f"{text.name}:{first.line}", first.columns or (), mapped, delimiter, named=separator is not None)
    findings.renamed = header.renamed
    table = Table(first.columns or (), delimiter, header.places)
    for row in rows:
        if _is_empty(row.columns):
            if len(row.columns or ()) > 1:
                findings.skipped(Skipped.EMPTY_ROWS, row.line)
        elif row.columns and [without_marks(row.columns[0]), *row.columns[1:]] == table.header:  # Files were joined.
            findings.skipped(Skipped.HEADERS, row.line)
        else:
            yield _record(row, header, table, findings)


def _start(lines: Iterator[str]) -> tuple[list[str], str | None]:
    """Return the lines up to the one that begins the header, with an empty one for one that names the separator."""
    start, separator = list[str](), None
    is_first = True
    for line in lines:
        named = separator_of(line) if is_first else None
        is_first = is_first and not line.strip()
        separator = named or separator
        start.append("\n" if named else line)
        if not named and line.strip(_BETWEEN_EMPTY):
            return start, separator
    return [], None


def _record(row: "_Row", header: Header, table: Table, findings: Findings) -> RawRecord:
    if row.columns is None:
        return RawRecord(row.line, text=row.text, problem=row.problem, table=table)
    is_short, surplus = len(row.columns) < header.width, "".join(row.columns[header.width :]).strip()
    order = {} if surplus else header.order_of(row.columns)
    values = corrected_fields(order) if order else {}
    order |= {name: value.text for name, value in values.items()}
    # Excel leaves out a row's last columns if they are empty. If another one is missing, the fields are not in place.
    if not order or (is_short and corrected_fields(order)):
        problem = wrong_width(row.columns, header.width)
        if hint := separator_hint(row.columns, header.width, table.delimiter):
            problem += f"; {hint}"
        if surplus and table.delimiter.isprintable():
            problem += f"; values with {table.delimiter} must be in double quotes"
        return RawRecord(row.line, problem=problem, table=table, columns=row.columns)
    if len(row.columns) != header.width:
        findings.skipped(Skipped.MISSING_COLUMNS if is_short else Skipped.EMPTY_COLUMNS, row.line)
    return RawRecord(
        row.line,
        order,
        json.dumps(order, ensure_ascii=False),
        table=table,
        columns=row.columns,
        corrections=tuple({correction: None for value in values.values() for correction in value.corrections}),
        faults={name: value.fault for name, value in values.items() if value.fault is not None},
    )


def _is_empty(columns: Sequence[str] | None) -> bool:
    return columns is not None and not "".join(columns).strip()


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
        self.line = 1
        self._lines = lines
        self._again: deque[str] = deque()
        self._start_row()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.row.append(line)
        if len(self.row) > MAX_ROW_LINES:
            raise csv.Error(f"a quote is never closed, or it has more than {MAX_ROW_LINES:,} lines")
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
        self.row: list[str] = []
        self._chars = 0


def _is_whole(line: str) -> bool:
    """Return whether this is a line, and not a part of one that is too long."""
    return len(line) < MAX_RECORD_CHARS or line.endswith(("\n", "\r"))
