"""What the console's process keeps for a person between two requests, each under an address that nobody can guess."""

import secrets
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar("Value")

_ID_CHARS = 20


def new_id() -> str:
    """Return an id of letters only: digits could look like a card number, and be masked in an address."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(_ID_CHARS))


@dataclass(slots=True)
class _Entry(Generic[Value]):
    value: Value
    used_s: float


class Kept(Generic[Value]):
    """
    Values by their id: *at_most* of them, each for *for_s* seconds after its last use.

    Values that are *busy* are never dropped. If all are busy, nothing can be added.
    """

    def __init__(
        self, at_most: int, for_s: float, busy: Callable[[Value], bool], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._at_most, self._for_s, self._busy, self._now_s = at_most, for_s, busy, now_s
        self._entries: dict[str, _Entry[Value]] = {}

    def __iter__(self) -> Iterator[Value]:
        return iter([entry.value for entry in self._entries.values()])

    def add(self, key: str, value: Value) -> bool:
        """Keep *value* as *key*, instead of the one that was not used for the longest. Return whether there is room."""
        self.drop_expired()
        if len(self._entries) >= self._at_most:
            idle = [each for each, entry in self._entries.items() if not self._busy(entry.value)]
            if not idle:
                return False
            del self._entries[min(idle, key=lambda each: self._entries[each].used_s)]
        self._entries[key] = _Entry(value, self._now_s())
        return True

    def get(self, key: str) -> Value | None:
        """Return the value *key*, which counts as a use; None if it is not kept, or not any more."""
        self.drop_expired()
        entry = self._entries.get(key)
        if entry is None:
            return None
        entry.used_s = self._now_s()
        return entry.value

    def drop_expired(self) -> list[Value]:
        """Drop the values that were not used for too long, and return them."""
        oldest_s = self._now_s() - self._for_s
        expired = [
            key for key, entry in self._entries.items() if entry.used_s < oldest_s and not self._busy(entry.value)
        ]
        return [self._entries.pop(key).value for key in expired]
