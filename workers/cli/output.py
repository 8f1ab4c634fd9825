"""Prints results to standard output and everything else to standard error. Card numbers are masked in both."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from workers.domain.cards import mask_all
from workers.operations.text import clean


class CliError(Exception):
    """The command failed. The error's text is one line for the operator."""

    exit_code = 1


class InterruptedCommandError(CliError):
    """Ctrl-C ended the command. The text says how much is done, and whether the command can be repeated."""

    exit_code = 130


def note(text: str) -> None:
    """Print a line on standard error."""
    click.echo(clean(text), err=True)


def print_line(text: str = "") -> None:
    click.echo(clean(text))


def print_json(value: Any) -> None:
    """Print *value* as JSON for scripts. Card numbers are masked. ASCII output also escapes control characters."""
    click.echo(json.dumps(mask_all(value), indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """
    Print rows in columns; the columns named in *right* are aligned to the right. None is shown as `-`.

    On a terminal, long cells are folded so that the table fits its width.
    """
    cells = [[clean("-" if value is None else value) for value in row] for row in rows]
    if sys.stdout.isatty():
        _print_folded(headings, cells, right)
        return
    from rich.cells import cell_len  # noqa: PLC0415 - takes 0.1 s to import; not all commands need it.

    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    for row in ([heading.upper() for heading in headings], *cells):
        padded = (
            f"{' ' * (width - cell_len(cell))}{cell}" if heading in right else f"{cell}{' ' * (width - cell_len(cell))}"
            for heading, cell, width in zip(headings, row, widths, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def _print_folded(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - as in `print_table`.
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(heading.upper(), justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(table)


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """
    During the block, show a progress bar on standard error if standard error is a terminal.

    Yields a function to call with the number of items that were just done. Without *total*, the bar only moves
    and does not show how much is left.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - as in `print_table`.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
