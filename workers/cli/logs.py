"""`orders logs`: shows the workers' JSON log lines in a readable form."""

import contextlib
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import json_option, order_option
from workers.cli.output import InterruptedCommandError, note
from workers.cli.running import run
from workers.domain.cards import mask_all
from workers.log_text import render, render_foreign, wants_color
from workers.log_values import plain
from workers.operations.lines import Line, follow_file, read
from workers.operations.log_lines import Selection
from workers.operations.log_records import Record, Records

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@click.command(
    "logs",
    short_help="Show the workers' log lines in a readable form.",
    epilog="""\b
Examples:
  orders logs .local-aws/workers.log --escalations
  orders logs .local-aws/workers.log --order 004
  orders logs workers.log --follow
  docker logs workers 2>&1 | orders logs -
  aws logs tail /ecs/order-fulfillment/escalation --follow | orders logs - --escalations""",
)
@click.argument(
    "file",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path),
    metavar="FILE|-",
)
@order_option("lines about")
@click.option("--escalations", is_flag=True, help="Only escalations: one line for each, escalation.routed.")
@click.option(
    "--follow", is_flag=True, help="Wait for new lines in the file and show them, until Ctrl-C (exit code 0)."
)
@click.option("--tracebacks", is_flag=True, help="Show the whole traceback of an exception below its line.")
@json_option("the matching lines, one document a line")
@click.pass_obj
def command(
    stack: "Stack",
    file: Path,
    *,
    order_id: str | None,
    escalations: bool,
    follow: bool,
    tracebacks: bool,
    as_json: bool,
) -> None:
    """
    Show the log lines of FILE, or of standard input (-): time, level, worker, event, ids and values.

    A log line is found behind whatever `aws logs tail`, journald, docker, compose, kubectl or honcho print before it,
    and in the files of docker and CRI. Other lines are shown as they are; --order, --escalations and --json leave them
    out. The last line on standard error says how many there were. --follow continues when the file is rotated or
    truncated. Card numbers are masked in every line.
    """
    live = follow or str(file) == "-"
    printer = _Printer(Selection(order_id, escalations), as_json=as_json, live=live, tracebacks=tracebacks)
    try:
        if str(file) == "-":
            printer.print_lines(read(sys.stdin.buffer))
        elif follow:
            run(stack, _follow(file, printer))
        else:
            with file.open("rb") as stream:
                printer.print_lines(read(stream))
    except (KeyboardInterrupt, InterruptedCommandError):
        if not follow:
            raise
    printer.end()
    if not (printer.printed or follow or printer.selection.everything):
        note("no matching lines")


async def _follow(file: Path, printer: "_Printer") -> None:
    async with contextlib.aclosing(follow_file(file, note)) as lines:
        async for line in lines:
            printer.print_line(line)


class _Printer:
    """Prints the selected lines. If *live*, it flushes each line, because the next one may come much later."""

    def __init__(self, selection: Selection, *, as_json: bool, live: bool, tracebacks: bool = False) -> None:
        self.selection = selection
        self.printed = False
        self._records = Records(selection.may_match)
        self._as_json = as_json
        self._live = live
        self._tracebacks = tracebacks
        self._color = wants_color(sys.stdout)

    def print_lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.print_line(line)

    def print_line(self, line: Line) -> None:
        self._print(self._records.add(line))

    def end(self) -> None:
        """Print what is left of lines that have not ended, and say how many lines could not be read."""
        self._print(self._records.end())
        sys.stdout.flush()
        if self._records.unread:
            damaged = f", {self._records.damaged} of them damaged" if self._records.damaged else ""
            shown = "shown as they are" if self._shows_foreign else "left out"
            of_all = f"{self._records.unread} of {self._records.read}"
            note(f"lines that could not be read as log lines: {of_all}{damaged} ({shown})")

    @property
    def _shows_foreign(self) -> bool:
        return self.selection.everything and not self._as_json

    def _print(self, records: Iterable[Record]) -> None:
        for record in records:
            text = self._text(record)
            if text is None:
                continue
            self.printed = True
            sys.stdout.write(f"{text}\n")
            if self._live:
                sys.stdout.flush()

    def _text(self, record: Record) -> str | None:
        """Return what is printed for *record*; None if it is not selected."""
        if record.fields is not None:
            if not self.selection.matches(record.fields):
                return None
            try:
                return self._shown(record.fields)
            except (RecursionError, ValueError):  # Nested a thousand levels deep, or NaN, which only Python reads.
                return self._shown(plain(record.fields))
        if not self._shows_foreign:
            return None
        omitted = f" ({record.omitted_bytes} more bytes)" if record.omitted_bytes else ""
        return f"{render_foreign(record.text, color=self._color)}{omitted}"

    def _shown(self, fields: Mapping[str, Any]) -> str:
        if self._as_json:
            return json.dumps(mask_all(fields), allow_nan=False)
        return render(fields, color=self._color, tracebacks=self._tracebacks)
