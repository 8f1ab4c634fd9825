"""DynamoDB's PartiQL, as far as workers use it: one conditional update per statement."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.bench.stub_errors import AwsError
from tests.bench.stub_expressions import Item

_STATEMENT = re.compile(
    r'\s*UPDATE\s+"?(?P<table>[\w.-]+)"?(?P<change>\s.*?)\sWHERE\s(?P<where>.*?)(?P<returning>\sRETURNING\s+ALL\s+NEW\s+\*)?\s*',
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_CLAUSE = re.compile(r"\b(SET|REMOVE)\b", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"\"?(\w+)\"?\s*(=|<>)\s*(\?\d+|'(?:[^']|'')*'|-?\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Statement:
    """One `UPDATE`. Values are literals, or parameters by position: `?0`, `?1`."""

    table: str
    sets: tuple[tuple[str, str], ...]
    removes: tuple[str, ...]
    tests: tuple[tuple[str, str, str], ...]  # Attribute, operator, value.
    returning: bool

    def key(self, attribute: str, parameters: Sequence[Any]) -> str:
        """Return the key of the item that it updates."""
        for name, operator, value in self.tests:
            if name == attribute and operator == "=":
                return str(_value(value, parameters)["S"])
        raise AwsError(
            "ValidationException", "Where clause does not contain a mandatory equality on all key attributes"
        )

    def holds(self, item: Item, parameters: Sequence[Any]) -> bool:
        return all(
            (item.get(name) == _value(value, parameters)) is (operator == "=") for name, operator, value in self.tests
        )

    def apply(self, old: Item, parameters: Sequence[Any]) -> Item:
        new = dict(old)
        for name, value in self.sets:
            new[name] = _value(value, parameters)
        for name in self.removes:
            new.pop(name, None)
        return new


@lru_cache
def parse_statement(text: str) -> Statement:
    """Parse `UPDATE "table" SET a=? ... REMOVE b WHERE key=? AND c=? [RETURNING ALL NEW *]`."""
    pieces = text.split("?")
    numbered = "".join(f"{piece}?{position}" for position, piece in enumerate(pieces[:-1])) + pieces[-1]
    statement = _STATEMENT.fullmatch(numbered)
    if statement is None:
        raise _unreadable(text)
    sets: list[tuple[str, str]] = []
    removes: list[str] = []
    _, *parts = _CLAUSE.split(statement["change"])
    for clause, part in zip(parts[::2], parts[1::2], strict=True):
        for clause_part in part.split(","):
            assignment = _ASSIGNMENT.fullmatch(clause_part.strip())
            if clause.upper() == "REMOVE":
                removes.append(clause_part.strip().strip('"'))
            elif assignment is not None and assignment[2] == "=":
                sets.append((assignment[1], assignment[3]))
            else:
                raise _unreadable(text)
    tests = []
    for comparison in re.split(r"\s+AND\s+", statement["where"].strip(), flags=re.IGNORECASE):
        test = _ASSIGNMENT.fullmatch(comparison.strip())
        if test is None:
            raise _unreadable(text)
        tests.append((test[1], test[2], test[3]))
    return Statement(statement["table"], tuple(sets), tuple(removes), tuple(tests), statement["returning"] is not None)


def parameters_of(request: Mapping[str, Any]) -> Sequence[Any]:
    parameters: Sequence[Any] = request.get("Parameters") or ()
    return parameters


def _value(token: str, parameters: Sequence[Any]) -> Any:
    if token.startswith("'"):
        return {"S": token[1:-1].replace("''", "'")}
    return parameters[int(token[1:])] if token.startswith("?") else {"N": token}


def _unreadable(text: str) -> AwsError:
    return AwsError("ValidationException", f"the stub cannot read the statement {text!r}")
