"""Who changes something with the console, and why: what forms ask for, and the log line that each action leaves."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import structlog
from aiohttp import web

from workers.domain.cards import mask
from workers.domain.characters import sendable
from workers.domain.resolutions import MAX_ACTOR_CHARS, MAX_NOTE_CHARS

MAX_TARGETS: Final = 100  # Named in one log line; all are counted.
NO_NOTE: Final = "no reason given"

log = structlog.get_logger(__name__)


class FormError(Exception):
    """A field of a form is wrong. The text says what is allowed, and quotes nothing."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field

    @property
    def sentence(self) -> str:
        text = str(self)
        return f"{text[:1].upper()}{text[1:]}."


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts, and why. Digits that look like a card number are masked already: nothing after the form sees them."""

    actor: str
    note: str


def person_of(form: Mapping[str, Any], *, note_required: bool = False) -> Person:
    """
    Return the person of a form's fields `actor` and `note`, with the lengths that `orders` allows.

    Without a note it is `NO_NOTE`, as for the commands whose note is optional.

    Raises:
        FormError: A field is missing or too long.
    """
    actor, note = text_field(form, "actor"), text_field(form, "note")
    if not note and not note_required:
        note = NO_NOTE
    for field, text, label, limit in (
        ("actor", actor, "your name", MAX_ACTOR_CHARS),
        ("note", note, "the note", MAX_NOTE_CHARS),
    ):
        if not 1 <= len(text) <= limit:
            raise FormError(field, f"{label} must be 1 to {limit:,} characters")
    return Person(actor, note)


def text_field(form: Mapping[str, Any], name: str) -> str:
    """Return a field of a form without space around it, masked; empty if it is missing or is no text."""
    value = form.get(name)
    return mask(sendable(value.strip())) if isinstance(value, str) else ""


def audit(request: web.Request, *, action: str, actor: str, note: str, targets: Collection[str], outcome: str) -> None:
    """
    Log one action: its name as in `orders`, such as `resolve`, the ids of what it was done to, and its *outcome*.

    Of very many targets, the first ones are named. *request* is the one that started the action.
    """
    log.info(
        "console.action",
        action=action,
        actor=actor,
        note=note,
        targets=[mask(target) for target in islice(targets, MAX_TARGETS)],
        target_count=len(targets),
        outcome=outcome,
        page=mask(request.path),
    )
