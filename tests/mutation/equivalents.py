"""Mutants that no test can see, because the program does the same: named in equivalents.toml, each with its reason."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.mutation.changes import Change
from tests.mutation.mutants import Mutant

EQUIVALENTS = Path(__file__).with_name("equivalents.toml")


@dataclass(frozen=True, slots=True)
class Equivalent:
    """`line` and `becomes` are the line's text before and after, without the spaces around them."""

    file: str
    operator: str
    line: str
    becomes: str
    reason: str

    def may_be(self, mutant: Mutant) -> bool:
        return (self.file, self.operator, self.line) == (mutant.file, mutant.operator, mutant.text)

    def is_made_by(self, mutant: Mutant, change: Change) -> bool:
        return self.may_be(mutant) and self.becomes == change.becomes


def read(path: Path = EQUIVALENTS) -> list[Equivalent]:
    tables = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    return [Equivalent(**table) for table in tables]


def stale(equivalents: Iterable[Equivalent], changes: Iterable[tuple[Mutant, Change]]) -> list[Equivalent]:
    """Return the entries that match no mutant any more."""
    known = list(changes)
    return [entry for entry in equivalents if not any(entry.is_made_by(mutant, change) for mutant, change in known)]
