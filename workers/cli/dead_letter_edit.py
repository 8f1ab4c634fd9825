"""Shows a person a dead letter in their editor, until it is a message that a worker can decode."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import click

from workers.cli.output import CliError, note
from workers.domain.text import clean
from workers.operations.dead_letters import DeadLetter
from workers.operations.letter_edits import Fault

_STDIN = 0
_MAX_ANSWER_BYTES = 1024
_editor_is_open = threading.Event()


def edit_letter(letter: DeadLetter, body: str, fault_of: Fault) -> str | None:
    """
    Return the body of *letter* as a person has edited it; None if they leave it as it is.

    *body* is what the editor shows. *fault_of* says why a worker could not decode an edited body.

    Raises:
        CliError: The editor failed.
    """
    note(f"{letter.id}: {letter.reason}")
    text = body
    while True:
        edited = _edit(text)
        if edited is None or edited.strip() == body.strip():
            note(f"{letter.id}: not changed, so it stays here")
            return None
        text = edited
        fault = fault_of(edited.strip())
        if fault is None:
            return edited.strip()
        note(f"{letter.id}: no worker could decode it: {clean(fault)}")
        click.echo("Edit it again? [Y/n]: ", nl=False, err=True)
        if not _read_answer().lower().startswith(("y", "\n")):
            note(f"{letter.id}: it stays here")
            return None


def _edit(text: str) -> str | None:
    _editor_is_open.set()
    try:
        return click.edit(text, extension=".json")
    except click.ClickException as error:
        raise CliError(f"nothing was sent: {error.format_message()}") from None
    finally:
        _editor_is_open.clear()


def _read_answer() -> str:
    """Return the line that a person types; it is empty at the end of standard input."""
    # Not with `input`: a thread in it holds a lock, without which Python aborts when Ctrl-C ends the command.
    return os.read(_STDIN, _MAX_ANSWER_BYTES).decode(errors="replace")


@contextlib.contextmanager
def ctrl_c_for_editor() -> Iterator[None]:
    """During the block, Ctrl-C is for the editor while one is open. The terminal sends it to both."""
    before = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: object) -> None:
        if callable(before) and not (_editor_is_open.is_set() and number == signal.SIGINT):
            before(number, frame)  # type: ignore[arg-type]

    # A handler, because an editor would inherit that the signal is ignored.
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
