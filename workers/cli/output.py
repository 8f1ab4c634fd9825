"""Prints results to standard output and everything else to standard error. Card numbers are masked in both."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import click

from workers.cli.tables import print_wrapped
from workers.domain.cards import mask_all
from workers.domain.text import clean


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
    """Print a line on standard output. On a terminal, a long one is wrapped between words."""
    shown = clean(text)
    indent = len(shown) - len(shown.lstrip())
    print_wrapped(shown[indent:], shown[:indent])


def print_json(value: Any) -> None:
    """
    Print *value* as one JSON document for scripts, by the convention of docs/json.md.

    Dataclasses are objects of their fields; `workers.operations.documents` converts stored orders and cases. Card
    numbers are masked. ASCII output also escapes control characters.
    """
    click.echo(json_text(value))


def json_text(value: Any) -> str:
    """Return *value* as `print_json` prints it."""
    return json.dumps(mask_all(_plain(value)), indent=2)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(member) for name, member in value.items()}
        case list() | tuple():
            return [_plain(member) for member in value]
        case _ if is_dataclass(value) and not isinstance(value, type):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value


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
    from rich.console import Console  # noqa: PLC0415 - takes 0.1 s to import; not all commands need it.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
