"""Prints many rows for scripts as they are read: a JSON array, or CSV."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any, Protocol

import click

from workers.cli.output import json_text
from workers.domain.text import clean

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_FORMULAS = frozenset("=+-@\uff1d\uff0b\uff0d\uff20")  # Spreadsheets run a cell that begins so; the last four are wide.


class Rows(Protocol):
    """Takes the documents of a list, one by one."""

    def add(self, row: Mapping[str, Any]) -> None: ...

    def end(self) -> None:
        """Print what is left, after the last row."""


class JsonRows:
    """An array, as `print_json` prints it. If the command fails, the array is not closed."""

    def __init__(self) -> None:
        self._begun = False

    def add(self, row: Mapping[str, Any]) -> None:
        click.echo(("," if self._begun else "[") + "\n" + indent(json_text(row), "  "), nl=False)
        self._begun = True

    def end(self) -> None:
        click.echo("\n]" if self._begun else "[]")


class CsvRows:
    """
    CSV by RFC 4180 in UTF-8, with a header. Entries of a list are separated by semicolons, None is empty.

    Card numbers are masked. A text that a spreadsheet would run as a formula begins with an apostrophe; numbers do not.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._print(columns)

    def add(self, row: Mapping[str, Any]) -> None:
        self._print([_cell(row.get(column)) for column in self._columns])

    def end(self) -> None:
        """Everything is printed."""

    def _print(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        click.echo(line.getvalue().encode(), nl=False)  # As bytes: Windows would add another \r.


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = clean("; ".join(map(str, value)) if isinstance(value, list | tuple) else value)
    runs = text.lstrip()[:1] in _FORMULAS and _NUMBER.fullmatch(text) is None
    return f"'{text}" if text and runs else text
