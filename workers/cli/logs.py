"""`orders logs`: the workers' JSON lines for people."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from workers.cli import lines
from workers.cli.log_lines import Wanted, parse, render, render_foreign
from workers.cli.output import note
from workers.domain.cards import mask_all


@click.command(
    "logs",
    short_help="Read the workers' log lines as a person does.",
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
@click.option("--order", "order_id", metavar="ID", help="Only lines about this order, or this case.")
@click.option("--escalations", is_flag=True, help="Only escalations, each once: the lines escalation.routed.")
@click.option("--follow", is_flag=True, help="Go on with what is added to the file, until Ctrl-C (exit code 0).")
@click.option("--json", "as_json", is_flag=True, help="Print the lines found as JSON lines, for scripts.")
def command(file: Path, *, order_id: str | None, escalations: bool, follow: bool, as_json: bool) -> None:
    """
    Show the log lines of FILE, or of standard input (-), for people: time, level, worker, event, ids and values.

    Lines that are no JSON are shown as they are; with --order or --escalations, or for scripts, they are left out.
    The names before lines that honcho or foreman print are understood. --follow goes on where the file is rotated or
    truncated. Card numbers are masked, whoever has written them.
    """
    wanted = Wanted(order_id, escalations)
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    live = follow or str(file) == "-"
    found = False
    try:
        for line in _lines(file, follow=follow):
            shown = _shown(line, wanted, color=color, as_json=as_json)
            if shown is not None:
                found = True
                sys.stdout.write(f"{shown}\n")
                if live:
                    sys.stdout.flush()
    except KeyboardInterrupt:
        if not follow:
            raise
    sys.stdout.flush()
    if not (found or follow or wanted.everything):
        note("no such line")


def _lines(file: Path, *, follow: bool) -> Iterator[lines.Line]:
    if str(file) == "-":
        yield from lines.read(sys.stdin.buffer)
    elif follow:
        yield from lines.follow(file, note)
    else:
        with file.open("rb") as stream:
            yield from lines.read(stream)


def _shown(line: lines.Line, wanted: Wanted, *, color: bool, as_json: bool) -> str | None:
    """Return what is to be printed of a line, None for nothing."""
    if not wanted.may_be(line.raw):
        return None
    fields = parse(line.raw) if not line.left_out else None
    if fields is not None:
        if not wanted.includes(fields):
            return None
        with contextlib.suppress(RecursionError):  # Brackets in brackets, a thousand deep: no line of ours.
            return json.dumps(mask_all(fields)) if as_json else render(fields, color=color)
    if as_json or not wanted.everything:
        return None
    missing = f" ({line.left_out} more bytes)" if line.left_out else ""
    return f"{render_foreign(line.raw)}{missing}"
