"""Shows a person a dead letter in their editor, until it is a message that a worker can decode."""

import click

from workers.cli.output import note
from workers.domain.text import clean
from workers.operations.dead_letters import DeadLetter
from workers.operations.letter_edits import Fault


def edit_letter(letter: DeadLetter, body: str, fault_of: Fault) -> str | None:
    """
    Return the body of *letter* as a person has edited it; None if they leave it as it is.

    *body* is what the editor shows. *fault_of* says why a worker could not decode an edited body.
    """
    note(f"{letter.id}: {letter.reason}")
    text = body
    while True:
        edited = click.edit(text, extension=".json")
        if edited is None or edited.strip() == body.strip():
            note(f"{letter.id}: not changed, so it stays here")
            return None
        text = edited
        fault = fault_of(edited.strip())
        if fault is None:
            return edited.strip()
        note(f"{letter.id}: no worker could decode it: {clean(fault)}")
        if not click.confirm("Edit it again?", default=True, err=True):
            return None
