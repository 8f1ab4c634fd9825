"""
What a command prints: results on standard output, everything else on standard error.

Names and texts in orders and messages are foreign. Nothing of them reaches a terminal before card-like digit runs are
masked and control characters replaced: a name could hold the sequence that retitles the window or hides what follows.
"""

import contextlib
import json
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from workers.domain.cards import mask, mask_all

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories; Cf can turn the direction of text.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class CliError(Exception):
    """The command cannot do what was asked. Its text is the one line that the operator reads."""

    exit_code = 1


class InterruptedCommandError(CliError):
    """Ctrl-C. The text says what is done by now, and whether repeating the command is safe."""

    exit_code = 130


def clean(text: object) -> str:
    """Return *text* on one line, masked and without anything that does more to a terminal than to show itself."""
    shown = str(text)
    if not (shown.isascii() and shown.isprintable()):
        shown = "".join(
            " " if each in "\t\r\n" else REPLACEMENT if unicodedata.category(each) in _UNPRINTABLE else each
            for each in shown
        )
    return mask(shown)  # Last: groups of digits on lines of their own are one card number now.


def note(text: str) -> None:
    """Say something on standard error."""
    click.echo(clean(text), err=True)


def print_line(text: str = "") -> None:
    click.echo(clean(text))


def print_json(value: Any) -> None:
    """Print *value* for scripts, masked. All of it ASCII: so no control character gets out either."""
    click.echo(json.dumps(mask_all(value), indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()) -> None:
    """
    Print rows in columns, those called *right* aligned to the right. A terminal gets them folded to its width.

    None is shown as `-`.
    """
    cells = [[clean("-" if each is None else each) for each in row] for row in rows]
    if sys.stdout.isatty():
        _print_folded(headings, cells, right)
        return
    from rich.cells import cell_len  # noqa: PLC0415 - takes a tenth of a second that not all commands need.

    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    for row in ([heading.upper() for heading in headings], *cells):
        padded = (
            f"{' ' * (width - cell_len(each))}{each}" if heading in right else f"{each}{' ' * (width - cell_len(each))}"
            for heading, each, width in zip(headings, row, widths, strict=True)
        )
        click.echo("  ".join(padded).rstrip())


def _print_folded(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> None:
    from rich.console import Console  # noqa: PLC0415 - see above.
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for heading in headings:
        table.add_column(heading.upper(), justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(each) for each in row))
    Console(highlight=False).print(table)


@contextlib.contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """
    Show a bar on standard error for the length of the block, where that is a terminal.

    Yields what is to be called with how many more are done, from any thread. Without *total* it only shows that
    something goes on.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - see above.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
