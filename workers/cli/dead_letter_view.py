"""Dead letters as rows of a table and as JSON."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from workers import clock
from workers.cli.tables import print_table
from workers.operations.actions import FoundLetters, Outcome
from workers.operations.ages import format_age
from workers.operations.dead_letters import DeadLetter


def print_letters(
    rows: Sequence[tuple[DeadLetter, str]],
    last: str | None,
    now: datetime,
    *,
    wide: bool,
    err: bool = False,
) -> None:
    """Print a table of dead letters. The last column has the heading *last* and shows the texts; None omits it."""
    headings = ["queue", "id", "age", "order", "reason", "error", "case", *([last] if last else [])]
    print_table(
        headings,
        [
            (
                letter.queue,
                letter.id,
                format_age(letter.age_s(now)),
                letter.order_id,
                letter.reason,
                letter.error,
                letter.case_id,
                *([text] if last else []),
            )
            for letter, text in rows
        ],
        right=("age",),
        head="id",
        text=["reason", *([last] if last else [])],
        wide=wide,
        err=err,
    )


def letter_document(letter: DeadLetter, now: datetime) -> dict[str, Any]:
    age_s = letter.age_s(now)
    return {
        "queue": letter.queue,
        "id": letter.id,
        "origin_message_id": letter.origin_message_id,
        "reason": letter.reason,
        "error": letter.error,
        "order_id": letter.order_id,
        "case_id": letter.case_id,
        "first_received_at": clock.rfc_3339(letter.first_received_at),
        "sent_at": clock.rfc_3339(letter.sent_at),
        "age_s": None if age_s is None else round(age_s),
    }


def outcome_document(outcome: Outcome, now: datetime) -> dict[str, Any]:
    return letter_document(outcome.letter, now) | {"outcome": outcome.result, "problem": outcome.problem}


def summary(found: FoundLetters) -> str:
    """Return a line about how many dead letters were found."""
    name = found.source.queue.dead_letter_queue
    if not found.approximate_count:
        return f"{name}: no dead letters"
    selected = f"{len(found.letters)} selected of"
    if found.is_complete:
        return f"{name}: {selected} {found.seen} dead {'letter' if found.seen == 1 else 'letters'}"
    counts = f"{selected} {found.seen} looked at, of about {found.approximate_count} dead letters"
    return f"{name}: {counts}. The list is incomplete: {found.gap}"
