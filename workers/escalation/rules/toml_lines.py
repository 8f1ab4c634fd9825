"""Finds the line of a value in a TOML file."""

import bisect
import functools
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

KeyPath = tuple[str | int, ...]


def statement_ends(text: str) -> list[int]:
    """Return the numbers of the lines that end a statement or are empty. A statement may span several lines."""
    lines = text.split("\n")
    ends = [0]
    for number in range(1, len(lines) + 1):
        with suppress(tomllib.TOMLDecodeError):
            tomllib.loads("\n".join(lines[ends[-1] : number]))
            ends.append(number)
    return ends[1:]


def line_of(text: str, ends: Sequence[int], path: Sequence[str | int]) -> int:
    """
    Return the line of the statement that sets *path*. If *path* does not exist, use its longest beginning that exists.

    It is the first statement that, together with everything before it, makes a document that has the key. So a key is
    found in any notation (a header, a dotted key, an inline table), and text that only looks like a key is not.
    """
    while path and not _has(_document(text), path):
        path = path[:-1]
    lines = text.split("\n")
    # If the first lines of the document have a key, any larger number of first lines has it too.
    found = bisect.bisect_left(ends, True, key=lambda end: _has(_document("\n".join(lines[:end])), path))
    return ends[found - 1] + 1 if found else 1


@functools.lru_cache(maxsize=64)  # The mistakes of a file are looked for with mostly the same beginnings of it.
def _document(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _has(value: Any, path: Sequence[str | int]) -> bool:
    for key in path:
        if isinstance(key, int):
            if not isinstance(value, list) or key >= len(value):
                return False
        elif not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True
