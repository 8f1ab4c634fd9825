"""`orders logs`: shows the workers' JSON log lines in a readable form."""

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workers.cli.output import InterruptedCommandError, note
from workers.cli.running import run
from workers.domain.cards import mask_all
from workers.operations.lines import Line, follow_file, read
from workers.operations.log_lines import Selection, parse, readable, readable_foreign

if TYPE_CHECKING:
    from workers.operations.stack import Stack

_STYLES: Mapping[str, Mapping[str, Any]] = {
    "debug": {"dim": True},
    "warning": {"fg": "yellow"},
    "error": {"fg": "red"},
    "critical": {"fg": "red", "bold": True},
}
_DEFAULT_EVENT_STYLE = {"bold": True}


@click.command(
    "logs",
    short_help="Show the workers' log lines in a readable form.",
    epilog="""\b
Examples:
  orders logs .local-aws/workers.log --escalations
  orders logs .local-aws/workers.log --order 004
  orders logs workers.log --follow
  docker logs workers 2>&1 | orders logs -""",
)
@click.argument(
    "file", type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True, path_type=Path), metavar="FILE"
)
@click.option("--order", "order_id", metavar="ID", help="Only lines about this order or case.")
@click.option("--escalations", is_flag=True, help="Only escalations: one line for each, escalation.routed.")
@click.option(
    "--follow", is_flag=True, help="Wait for new lines in the file and show them, until Ctrl-C (exit code 0)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the matching lines as JSON lines, for scripts.")
@click.pass_obj
def command(
    stack: "Stack", file: Path, *, order_id: str | None, escalations: bool, follow: bool, as_json: bool
) -> None:
    """
    Show the log lines of FILE, or of standard input (-): time, level, worker, event, ids and values.

    Lines that are not JSON are shown as they are; --order, --escalations and --json leave them out. Process names that
    honcho and foreman print before each line are recognized. --follow continues when the file is rotated or truncated.
    Card numbers are masked in every line.
    """
    printer = _Printer(Selection(order_id, escalations), as_json=as_json, live=follow or str(file) == "-")
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
    sys.stdout.flush()
    if not (printer.printed or follow or printer.selection.everything):
        note("no matching lines")


async def _follow(file: Path, printer: "_Printer") -> None:
    async with contextlib.aclosing(follow_file(file, note)) as lines:
        async for line in lines:
            printer.print_line(line)


class _Printer:
    """Prints the selected lines. If *live*, it flushes each line, because the next one may come much later."""

    def __init__(self, selection: Selection, *, as_json: bool, live: bool) -> None:
        self.selection = selection
        self.printed = False
        self._as_json = as_json
        self._live = live
        self._color = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def print_lines(self, lines: Iterable[Line]) -> None:
        for line in lines:
            self.print_line(line)

    def print_line(self, line: Line) -> None:
        text = self._text(line)
        if text is None:
            return
        self.printed = True
        sys.stdout.write(f"{text}\n")
        if self._live:
            sys.stdout.flush()

    def _text(self, line: Line) -> str | None:
        """Return what is printed for *line*; None if it is not selected."""
        if not self.selection.may_match(line.raw):
            return None
        fields = parse(line.raw) if not line.omitted_bytes else None
        if fields is not None:
            if not self.selection.matches(fields):
                return None
            with contextlib.suppress(RecursionError):  # JSON nested a thousand levels deep: no worker logs that.
                return json.dumps(mask_all(fields)) if self._as_json else render(fields, color=self._color)
        if self._as_json or not self.selection.everything:
            return None
        omitted = f" ({line.omitted_bytes} more bytes)" if line.omitted_bytes else ""
        return f"{readable_foreign(line.raw)}{omitted}"


def render(fields: Mapping[str, Any], *, color: bool) -> str:
    """Return a log line in columns, with its traceback indented below."""
    line = readable(fields)
    head = f"{line.time:<23} {line.level:<7} {line.worker:<11}"
    event = line.event
    if color:
        style = _STYLES.get(line.level)
        head = click.style(head, **style) if style else head
        event = click.style(event, **(style or _DEFAULT_EVENT_STYLE))
    first = f"{head} {event} {line.values}".rstrip()
    return "\n".join([first, *(f"    {traceback_line}" for traceback_line in line.traceback)])
