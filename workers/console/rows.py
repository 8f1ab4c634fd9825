"""What lists have in common: how many rows they show, and how many have changed since."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

ROWS: Final = 100  # Of a page of a list; each "show more" adds as many.
MAX_ROWS: Final = 500
MAX_READ: Final = 10_000  # Items of one list: what a page of a browser is still good for.
MARK_CHARS: Final = 6
_LETTERS = str.maketrans("0123456789", "ghijklmnop")  # No digits: an address must not look like a card number.


def mark(*state: object) -> str:
    """Return a short text that stands for the state of a row."""
    text = "\n".join(map(str, state))
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:MARK_CHARS].translate(_LETTERS)


def marks(text: str) -> list[str]:
    """Return the marks in the address of a live part."""
    return [text[at : at + MARK_CHARS] for at in range(0, len(text), MARK_CHARS)]


def changed(shown: Iterable[str], now: Sequence[str]) -> int:
    """Return how many rows are new, changed or gone. A row that takes the place of another counts once."""
    before, after = set(shown), set(now)
    return max(len(before - after), len(after - before))
