"""Finds the columns of a table by their headers: its own names, other spellings of them, and those a person maps."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.domain.text import clean
from workers.operations.errors import OperationError

FIELDS = ("OrderId", "Name", "ItemName", "Price", "CC")

DELIMITERS = (",", ";", "\t", "|")
# A program that writes this line says with which character it separates columns. Excel hides the line.
_SEPARATOR_LINE = re.compile(r'"?sep=([^\r\n"])"?\1*[\r\n]*', re.IGNORECASE)
_BETWEEN = re.compile(r"[\s_.-]+")
_PAIR = re.compile(r'\s*([^=,"]*?)\s*=\s*("(?:[^"]|"")*"|[^,"]*?)\s*(?:,|$)')
_MAX_SHOWN, _MAX_SHOWN_CHARS = 20, 40


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a table: the place of each field, and which other names were read as fields."""

    width: int
    places: Mapping[str, int]
    renamed: Mapping[str, str]

    def order_of(self, row: Sequence[str]) -> dict[str, str]:
        """Return the fields in *row*; none if the row has not the column of each."""
        if len(row) <= max(self.places.values()):
            return {}
        return {field: row[place].strip() for field, place in self.places.items()}


def separator_of(line: str) -> str | None:
    """Return the delimiter that a table's first line names, such as `sep=;`; None if it is another line."""
    match = _SEPARATOR_LINE.fullmatch(line)
    return match[1] if match else None


def delimiter_of(line: str, columns: Mapping[str, str]) -> str:
    """
    Return the delimiter of the columns: spreadsheets use a different one in different countries.

    It is the one by which the header *line* has the most fields; of several, the most frequent.
    """
    known = [*map(_spelling, FIELDS), *map(_spelling, columns.values())]

    def found(delimiter: str) -> tuple[int, int]:
        names = {_spelling(name.strip().strip('"')) for name in line.split(delimiter)}
        return sum(name in names for name in known), line.count(delimiter)

    return max(DELIMITERS, key=found)


def read_columns(text: str) -> dict[str, str]:
    """
    Return the headers by field that *text* maps, such as `OrderId=Number,CC="Card, number"`.

    Raises:
        ValueError: It is not like that; the text says what is wrong.
    """
    columns: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            raise ValueError("must be like OrderId=Number,CC=Card; a header with a comma in double quotes")
        position = match.end()
        field = next((field for field in FIELDS if _spelling(field) == _spelling(match[1])), None)
        if field is None:
            raise ValueError(f"{_shown([match[1]])} is not a field: it must be one of {', '.join(FIELDS)}")
        header = match[2][1:-1].replace('""', '"').strip() if match[2].startswith('"') else match[2]
        if not header or field in columns or header in columns.values():
            raise ValueError(f"{field} {'has no header' if not header else 'or its header is there twice'}")
        columns[field] = header
    return columns


def wrong_width(row: Sequence[str], width: int) -> str:
    """Return what is wrong with a row that has not as many columns as the header."""
    columns = "1 column" if len(row) == 1 else f"{len(row)} columns"
    return f"has {columns}, the header has {width}"


def separator_hint(row: Sequence[str], width: int, delimiter: str) -> str | None:
    """Return why a row probably has fewer than *width* columns, as a part of a sentence; None if that is unknown."""
    if len(row) >= width:
        return None
    if len(row) == 1 and row[0].count(delimiter) >= width - 1:
        return "all of it is in one pair of double quotes"
    text = delimiter.join(row)
    for other in DELIMITERS:
        if other != delimiter and text.count(other) >= width - 1:
            return f"its columns seem to be separated by {_name(other)}, not by {_name(delimiter)}"
    return None


def _name(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else delimiter


def header_of(
    where: str, row: Sequence[str] | csv.Error, columns: Mapping[str, str], delimiter: str = ",", *, named: bool = False
) -> Header:
    """
    Return the columns of the header *row*, of which *columns* maps some. *where* is its file and line.

    *named* says that a line such as `sep=;` has named the *delimiter*.

    Raises:
        OperationError: A field has no column, or several.
    """
    names = [name.strip() for name in row] if not isinstance(row, csv.Error) else []
    found = {field: _places(names, field, columns) for field in FIELDS}
    repeated = {field: [names[place] for place in places] for field, places in found.items() if len(places) > 1}
    wrong = [
        *_problem("missing", [_wanted(field, columns) for field, places in found.items() if not places]),
        *_problem("repeated", [_repeated(field, headers) for field, headers in repeated.items()]),
    ]
    if wrong:
        # Without a header, the names would be values.
        is_header = any(found.values())
        separated = None if is_header else separator_hint(names, len(FIELDS), delimiter)
        has = f"; it has {_shown(names)}" if is_header else f"; {separated or 'is this line the header?'}"
        if separated and named:
            has += f" as the line with sep={delimiter} says"
        hint = "" if columns else "; --columns maps others"
        raise OperationError(
            f"{where}: the header must have each of {', '.join(FIELDS)} once; {'; '.join(wrong)}{has}{hint}"
        )
    places = {field: place for field, (place,) in found.items()}
    if doubled := [field for field, place in places.items() if list(places.values()).count(place) > 1]:
        raise OperationError(
            f"{where}: {' and '.join(doubled)} have the same column, {_shown([names[places[doubled[0]]]])}"
        )
    renamed = {names[place]: field for field, place in places.items() if names[place] != field}
    return Header(len(names), places, renamed)


def _places(names: Sequence[str], field: str, columns: Mapping[str, str]) -> list[int]:
    """Return the places of the columns that may be *field*, in any spelling; a header that a person mapped is exact."""
    wanted = columns.get(field, field)
    alike = [place for place, name in enumerate(names) if _spelling(name) == _spelling(wanted)]
    if field in columns:
        preferred = [place for place in alike if names[place] == wanted]
    else:
        preferred = [place for place in alike if names[place] not in columns.values()]
    return preferred or alike


def _spelling(name: str) -> str:
    """Return *name* without what people write differently: upper case, spaces, underscores, dashes, points."""
    return _BETWEEN.sub("", name).casefold()


def _wanted(field: str, columns: Mapping[str, str]) -> str:
    return f"{field} ({_shown([columns[field]])})" if field in columns else field


def _repeated(field: str, headers: Sequence[str]) -> str:
    """Return a field that several columns may be, with the first two of their headers."""
    return f"{field} ({_shown(headers[:2])})" if set(headers) != {field} else field


def _problem(kind: str, fields: Sequence[str]) -> list[str]:
    return [f"{kind}: {', '.join(fields)}"] if fields else []


def _shown(names: Sequence[str]) -> str:
    """Return headers of a file as they can be shown: masked, cut, and not more than a line has room for."""
    shown = [f'"{clean(name)[:_MAX_SHOWN_CHARS]}"' for name in names if name][:_MAX_SHOWN]
    return ", ".join([*shown, *(["..."] if len(names) > _MAX_SHOWN else [])])
