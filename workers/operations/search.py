"""What a listing reads and finds: text is searched in what a window loaded, because no index has it."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.operations.status_index import Entry

MAX_READ = 100_000  # Items of a listing for a person: a thousand requests, some cents. Files get the whole window.


@dataclass(slots=True)
class Found:
    """How far a listing has come: what it has read and found, and why there may be more."""

    read: int = 0
    matched: int = 0
    is_cut: bool = False  # It stopped at the largest number of items to read.
    is_limited: bool = False  # It stopped at the limit of matches.
    oldest_final: str | None = None  # When the oldest final item that was read became final.

    async def ids(self, entries: "AsyncIterable[Entry]", at_most: int | None) -> AsyncIterator[str]:
        """
        Yield each id once: the lagging index can have an item under two keys. Stop after *at_most*.

        Only ids of open items and of one day are remembered: a final item has no other day.
        """
        seen, of_day, day, count = set[str](), set[str](), "", 0
        async for entry in entries:
            if entry.is_final and entry.updated_at[:10] != day:
                of_day, day = set(), entry.updated_at[:10]
            if entry.id in seen or entry.id in of_day:
                continue
            if count == at_most:
                self.is_cut = True
                return
            count += 1
            (of_day if entry.is_final else seen).add(entry.id)
            yield entry.id


def contains(text: object, part: str | None) -> bool:
    """Return whether *text* contains *part*, in upper or lower case. None is part of every text."""
    return part is None or (isinstance(text, str) and part.casefold() in text.casefold())


def contains_any(values: Iterable[object], part: str | None) -> bool:
    """Return whether one of the texts among *values* contains *part*."""
    return part is None or any(contains(value, part) for value in values)
