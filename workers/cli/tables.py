"""Prints tables and lists of fields. On a terminal they fit its width, and no id is broken."""

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from workers.domain.text import clean

if TYPE_CHECKING:
    from rich.text import Text

STACKED_BELOW = 100  # Columns of a terminal. On a narrower one, a table that does not fit shows each row as a block.
MIN_TEXT_WIDTH = 24  # A column of prose that is narrower than this is hard to read.
# On a narrow terminal, a table with one wide column of prose is easier to read than blocks.
MIN_TEXT_WIDTH_IF_NARROW = 40
_GAP = "  "
# A word, and the spaces before it. A command in backquotes is kept whole, so that it can be copied.
_WORDS = re.compile(r"( *)(\S*`[^`]*`\S*|\S+)")

StyledLine = Sequence[tuple[str, str]]  # Parts of a line, each with the name of its style.

_STYLED = {"status", "state", "severity", "outcome"}  # The columns whose values have a colour.
_STYLES = {
    "RECEIVED": "cyan",
    "ESCALATED": "yellow",
    "FULFILLED": "green",
    "CANCELLED": "dim",
    "OPEN": "yellow",
    "RESOLVED": "green",
    "critical": "bold red",
    "error": "red",
    "warning": "yellow",
    "resolved": "green",
    "failed": "red",
    "up": "green",
    "running": "green",
    "down": "bold red",
    "not running": "bold red",
    "unhealthy": "bold red",
    "unknown": "magenta",
}
# In a line of text: the statuses of orders and the states of cases, and severities.
_STYLED_WORD = re.compile(rf"(?<![\w.-])({'|'.join(filter(str.isupper, _STYLES))}|critical|warning)(?![\w.-])")


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    text: Sequence[str] = (),
    head: str | None = None,
    wide: bool = False,
    err: bool = False,
) -> None:
    """
    Print rows in columns; None is shown as `-`. The columns named in *right* are aligned to the right.

    On a terminal, a table that is wider than the terminal breaks the columns of prose, named in *text*, between words.
    If that is not enough, each row becomes a block of lines that begins with the column *head*, by default the first.
    *wide* turns this off: one line per row, as in a pipe. *err* prints on standard error.
    """
    width = terminal_width(sys.stderr if err else sys.stdout)
    lines = table_lines(headings, rows, right=right, text=text, head=head, wide=wide, width=width)
    print_styled(lines, err=err)


def table_lines(
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    right: Sequence[str] = (),
    text: Sequence[str] = (),
    head: str | None = None,
    wide: bool = False,
    width: int | None,
) -> Iterator[StyledLine]:
    """Return the lines that `print_table` prints on a terminal of *width* columns; None: in a pipe."""
    cells = [[clean("-" if value is None else value) for value in row] for row in rows]
    table = _Table([heading.upper() for heading in headings], cells, headings, frozenset(right), frozenset(text))
    if width is None or wide:
        return table.lines(table.widths())
    widths = table.widths_within(width)
    blocks = table.blocks(width, 0 if head is None else headings.index(head))
    return blocks if widths is None else table.lines(widths)


def wrapped_lines(text: str, width: int | None, before: str = "", style: str = "") -> Iterator[StyledLine]:
    """Yield *before* and *text*, wrapped between words to *width* columns; None: in a pipe, not wrapped."""
    shown = clean(text)
    for number, line in enumerate([shown] if width is None else _wrapped(shown, width - len(before))):
        yield [(" " * len(before) if number else before, ""), (line, style)]


def print_styled(lines: Iterable[StyledLine], *, err: bool = False) -> None:
    """Print lines, on a terminal in colour; *err* prints on standard error."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        for line in lines:
            click.echo("".join(part for part, _ in line).rstrip(), err=err)
        return
    from rich.console import Console  # noqa: PLC0415 - takes 0.1 s to import; only a terminal needs it.

    console = Console(highlight=False, soft_wrap=True, file=stream)
    for line in lines:
        console.print(styled_text(line))


def styled_text(line: StyledLine) -> "Text":
    """Return a line as rich prints it."""
    from rich.text import Text  # noqa: PLC0415 - as in `print_styled`.

    text = Text.assemble(*line)
    text.rstrip()
    return text


def terminal_width(stream: TextIO) -> int | None:
    """Return how many columns the terminal of *stream* has; None if it is not a terminal."""
    return _terminal_width() if stream.isatty() else None


def print_fields(fields: Sequence[tuple[str, object]], *, indent: int = 2) -> None:
    """Print names and values below each other, without those that are None. On a terminal, long values are wrapped."""
    shown = [(name, clean(value)) for name, value in fields if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print_wrapped(value, f"{' ' * indent}{name:<{width}}{_GAP}", styled=name.lower() in _STYLED)


def print_wrapped(text: str, before: str = "", *, err: bool = False, styled: bool = False) -> None:
    """
    Print *before* and *text*. On a terminal, *text* is wrapped between words, and continues below its beginning.

    *err* prints on standard error. If it is *styled*, statuses and severities have their colours on a terminal.
    """
    stream = sys.stderr if err else sys.stdout
    lines = _wrapped(text, _terminal_width() - len(before)) if stream.isatty() else [text]
    shown = [f"{' ' * len(before) if number else before}{line}".rstrip() for number, line in enumerate(lines)]
    if styled and stream.isatty() and _STYLED_WORD.search(text):
        print_styled(([(part, _STYLES.get(part, "")) for part in _STYLED_WORD.split(line)] for line in shown), err=err)
        return
    for line in shown:
        click.echo(line, err=err)


wide_option = click.option("--wide", is_flag=True, help="One line per row, however narrow the terminal is.")


@dataclass(frozen=True, slots=True)
class _Table:
    """A table's cells as they are shown. The columns are named by *names*."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: Sequence[str]
    right: frozenset[str]
    text: frozenset[str]

    def widths(self) -> list[int]:
        """Return how wide each column is if nothing is broken."""
        return [max(map(_width, column)) for column in zip(self.headings, *self.rows, strict=True)]

    def widths_within(self, total: int) -> list[int] | None:
        """Return how wide each column is on a terminal of *total* columns. None: the table does not fit."""
        widths = self.widths()
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - total
        if excess <= 0:
            return widths
        readable = MIN_TEXT_WIDTH_IF_NARROW if total < STACKED_BELOW else MIN_TEXT_WIDTH
        shrinkable = [index for index, name in enumerate(self.names) if name in self.text]
        while excess > 0 and shrinkable:
            # Take from the widest column of prose until all are equally wide.
            widest = max(shrinkable, key=lambda index: widths[index])
            if widths[widest] <= self._least(widest, readable):
                shrinkable.remove(widest)
                continue
            widths[widest] -= 1
            excess -= 1
        return widths if excess <= 0 else None

    def _least(self, column: int, readable: int) -> int:
        """Return the least width of a column of prose: that of its longest word, so that no id in it is broken."""
        words = (word for row in self.rows for _, word in _WORDS.findall(row[column]))
        return max(readable, _width(self.headings[column]), *map(_width, words))

    def lines(self, widths: Sequence[int]) -> Iterator[StyledLine]:
        """Yield the table's lines. Cells that are wider than their column continue on the next line."""
        yield self._line(self.headings, widths, ["bold"] * len(widths))
        for row in self.rows:
            styles = [self._style(column, cell) for column, cell in enumerate(row)]
            columns = [
                [cell] if _width(cell) <= width else _wrapped(cell, width)
                for cell, width in zip(row, widths, strict=True)
            ]
            for number in range(max(map(len, columns))):
                parts = [column[number] if number < len(column) else "" for column in columns]
                yield self._line(parts, widths, styles)

    def _line(self, cells: Sequence[str], widths: Sequence[int], styles: Sequence[str]) -> StyledLine:
        parts: list[tuple[str, str]] = []
        for name, cell, width, style in zip(self.names, cells, widths, styles, strict=True):
            padding = " " * (width - _width(cell))
            before, after = (padding, "") if name in self.right else ("", padding)
            parts += [(before, ""), (cell, style), (after + _GAP, "")]
        return parts

    def blocks(self, total: int, head: int) -> Iterator[StyledLine]:
        """Yield each row as a block: one cell, then the others with their headings, as many as fit in a line."""
        for number, row in enumerate(self.rows):
            if number:
                yield []
            yield [(row[head], "bold")]
            line: list[tuple[str, str]] = []
            for column, cell in enumerate(row):
                if column == head or cell == "-":
                    continue
                name = self.names[column]
                lines = _wrapped(cell, total - len(_GAP) - len(name) - 1)
                width = sum(_width(part) for part, _ in line) + len(_GAP) + len(name) + 1 + _width(lines[0])
                if line and (len(lines) > 1 or width > total):
                    yield line
                    line = []
                line += [(_GAP, ""), (f"{name} ", "dim"), (lines[0], self._style(column, cell))]
                for more in lines[1:]:
                    yield line
                    line = [(_GAP + " " * (len(name) + 1), ""), (more, "")]
                if len(lines) > 1:
                    yield line
                    line = []
            if line:
                yield line

    def _style(self, column: int, cell: str) -> str:
        return _STYLES.get(cell, "") if self.names[column] in _STYLED or cell == "unknown" else ""


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns


def _wrapped(text: str, width: int) -> list[str]:
    """Return *text* in lines of at most *width* cells, broken between words. A longer word has a line of its own."""
    if _width(text) <= width:
        return [text]
    lines = [""]
    for spaces, word in _WORDS.findall(text):
        longer = f"{lines[-1]}{spaces}{word}" if lines[-1] else word
        if lines[-1] and _width(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - as in `_print_lines`.

    return cell_len(text)
