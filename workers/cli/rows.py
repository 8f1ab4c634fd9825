"""Prints many rows for scripts as they are read: a JSON array, or CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any, Protocol

import click

from workers.cli.output import json_text
from workers.operations.cells import cell_of


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
    """CSV by RFC 4180 in UTF-8, with a header."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._print(columns)

    def add(self, row: Mapping[str, Any]) -> None:
        self._print([cell_of(row.get(column)) for column in self._columns])

    def end(self) -> None:
        """Everything is printed."""

    def _print(self, cells: Sequence[str]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        click.echo(line.getvalue().encode(), nl=False)  # As bytes: Windows would add another \r.
