"""Which line of a TOML file a value stands in."""

import bisect
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

KeyPath = tuple[str | int, ...]


def statement_ends(text: str) -> list[int]:
    """Return the lines that end a statement, or are empty: a list may go over several."""
    lines = text.split("\n")
    ends = [0]
    for number in range(1, len(lines) + 1):
        with suppress(tomllib.TOMLDecodeError):
            tomllib.loads("\n".join(lines[ends[-1] : number]))
            ends.append(number)
    return ends[1:]


def line_of(text: str, ends: Sequence[int], path: Sequence[str | int]) -> int:
    """
    Return the line of the statement that sets *path*, or as much of it as there is.

    It is the first one without which the document has no such key. So whatever way a key is written in (a header, a
    dotted key, an inline table), it is found, and nothing that merely looks like it is.
    """
    while path and not _has(tomllib.loads(text), path):
        path = path[:-1]
    lines = text.split("\n")
    # What a document has, it has however much follows.
    found = bisect.bisect_left(ends, True, key=lambda end: _has(tomllib.loads("\n".join(lines[:end])), path))
    return ends[found - 1] + 1 if found else 1


def _has(value: Any, path: Sequence[str | int]) -> bool:
    for each in path:
        if isinstance(each, int):
            if not isinstance(value, list) or each >= len(value):
                return False
        elif not isinstance(value, dict) or each not in value:
            return False
        value = value[each]
    return True
