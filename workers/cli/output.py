"""Prints results to standard output and everything else to standard error. Card numbers are masked in both."""

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TextIO

import click

from workers.cli.tables import print_wrapped
from workers.domain.cards import mask_all
from workers.domain.text import clean
from workers.streams import discard


class CliError(Exception):
    """The command failed. The error's text is one line for the operator."""

    exit_code = 1


class InterruptedCommandError(CliError):
    """Ctrl-C ended the command. The text says how much is done, and whether the command can be repeated."""

    exit_code = 130


def note(text: str) -> None:
    """Print a line on standard error, if that is possible: an action must not end because nobody can read about it."""
    try:
        print_wrapped(clean(text), err=True)
    except OSError:
        discard(sys.stderr)


class _Results(io.StringIO):
    """Holds what is printed. It looks the same as on *stream*."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def isatty(self) -> bool:
        return self._stream.isatty()


@contextlib.contextmanager
def results() -> Iterator[None]:
    """
    For the lines that say what the command has done: if standard output does not take them, standard error gets them.

    Notes in the block are printed after what is on standard output: the sum of a long table stays in sight.

    Raises:
        CliError: Standard output does not take them.
    """
    held, notes = _Results(sys.stdout), _Results(sys.stderr)
    try:
        with contextlib.redirect_stdout(held), contextlib.redirect_stderr(notes):
            yield
    except CliError:  # Something failed, and the lines say what was done before.
        _print_results(held.getvalue())
        _print_notes(notes.getvalue())
        raise
    error = _print_results(held.getvalue())
    _print_notes(notes.getvalue())
    if error is not None:
        raise CliError(f"standard output: {error.strerror}") from error


def _print_results(text: str) -> OSError | None:
    """Print *text* on standard output. If that fails, print it on standard error, and return the error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        for line in text.splitlines():
            note(line)
        return error
    return None


def _print_notes(text: str) -> None:
    for line in text.splitlines():
        note(line)


def print_line(text: str = "", *, styled: bool = False) -> None:
    """Print a line on standard output. On a terminal, a long one is wrapped, and has colours if it is *styled*."""
    shown = clean(text)
    indent = len(shown) - len(shown.lstrip())
    print_wrapped(shown[indent:], shown[:indent], styled=styled)


def print_json(value: Any) -> None:
    """
    Print *value* as one JSON document for scripts, by the convention of docs/json.md.

    Dataclasses are objects of their fields; `workers.operations.documents` converts stored orders and cases. Card
    numbers are masked. ASCII output also escapes control characters.
    """
    click.echo(json_text(value))


def json_text(value: Any, indent: int | None = 2) -> str:
    """Return *value* as `print_json` prints it; without *indent* on one line."""
    return json.dumps(mask_all(_plain(value)), indent=indent)


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


class ProgressLines:
    """Says on standard error now and then how far something has come, such as `reading: 40 %`."""

    EVERY_S = 10

    def __init__(self, what: str, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._total, self._clock = what, total, clock
        self._done = 0
        self._last = clock()

    def add(self, done: int) -> None:
        self._done += done
        now = self._clock()
        if now - self._last >= self.EVERY_S and self._total:
            self._last = now
            note(f"{self._what}: {min(100, 100 * self._done // self._total)} %")


@contextlib.contextmanager
def progress(
    what: str, total: int | None, *, in_bytes: bool = False, always: bool = False
) -> Iterator[Callable[[int], None]]:
    """
    During the block, show a progress bar on standard error if standard error is a terminal.

    Yields a function to call with the number of items that were just done. Without *total*, the bar only moves
    and does not show how much is left. If *always*, a line says it every ten seconds if there is no terminal.
    """
    if not sys.stderr.isatty():
        yield ProgressLines(what, total).add if always else lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - takes 0.1 s to import; not all commands need it.
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}", markup=False)  # The name of a file may have brackets.
    columns = (text, BarColumn(), DownloadColumn() if in_bytes else MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
