"""Tables and single lines in Markdown."""

from collections.abc import Sequence
from typing import Any


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(line(str(cell)).replace('|', chr(92) + '|') for cell in row)} |" for row in lines]


def line(text: str) -> str:
    return " ".join(text.split())
