"""DynamoDB's condition and update expressions, as far as workers use them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.bench.stub_errors import AwsError

Item = dict[str, Any]


class Names:
    """Resolves the placeholders of a request's expressions: `#name` and `:value`."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._names: Mapping[str, str] = request.get("ExpressionAttributeNames") or {}
        self._values: Mapping[str, Any] = request.get("ExpressionAttributeValues") or {}

    def name(self, token: str) -> str:
        if not token.startswith("#"):
            return token
        if token not in self._names:
            raise _invalid(f"An expression attribute name used in the document path is not defined: {token}")
        return self._names[token]

    def value(self, token: str) -> Any:
        if token not in self._values:
            raise _invalid(f"An expression attribute value used in expression is not defined: {token}")
        return self._values[token]


# The value of an operand for an item, None if the item has no such attribute.
Operand = Callable[[Item, Names], Any]
Condition = Callable[[Item, Names], bool]


@dataclass(frozen=True, slots=True)
class Update:
    """The changes of an update expression. Values are computed from the item before the update, as DynamoDB does."""

    sets: tuple[tuple[tuple[str, ...], Operand], ...] = ()
    adds: tuple[tuple[str, str], ...] = ()
    removes: tuple[tuple[str, ...], ...] = ()

    def apply(self, old: Item, names: Names) -> Item:
        new = dict(old)
        for path, operand in self.sets:
            _put(new, [names.name(token) for token in path], operand(old, names))
        for token, value in self.adds:
            name, added = names.name(token), names.value(value)
            new[name] = _sum(new.get(name, {"N": "0"}), added, 1)
        for path in self.removes:
            _put(new, [names.name(token) for token in path], None)
        return new

    def changed(self, names: Names) -> set[str]:
        """Return the names of the attributes that it sets."""
        return {names.name(path[0]) for path, _ in self.sets} | {names.name(token) for token, _ in self.adds}


def _always(_item: Item, _names: Names) -> bool:
    return True


@lru_cache
def parse_condition(expression: str | None) -> Condition:
    """Parse a condition, a filter or a key condition. Without one, every item meets it."""
    if expression is None:
        return _always
    parser = _Parser(expression)
    condition = parser.condition()
    parser.end()
    return condition


@lru_cache
def parse_update(expression: str) -> Update:
    parser = _Parser(expression)
    update = parser.update()
    parser.end()
    return update


_TOKEN = re.compile(r"\s*(?:([#:]?\w+)|(<>|<=|>=|[=<>(),.+-]))", re.ASCII)
_CLAUSES = {"SET", "ADD", "REMOVE"}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda left, right: left == right,
    "<>": lambda left, right: left != right,
    "<": lambda left, right: _order(left) < _order(right),
    "<=": lambda left, right: _order(left) <= _order(right),
    ">": lambda left, right: _order(left) > _order(right),
    ">=": lambda left, right: _order(left) >= _order(right),
}


class _Parser:
    """A recursive-descent parser. Each method parses one construct from the current token on."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._tokens: list[str] = []
        at = 0
        while expression[at:].strip():
            found = _TOKEN.match(expression, at)
            if found is None:
                raise self._unreadable()
            self._tokens.append(found[1] or found[2])
            at = found.end()
        self._at = 0

    def end(self) -> None:
        if self._at < len(self._tokens):
            raise self._unreadable()

    def condition(self) -> Condition:
        parts = [self._conjunction()]
        while self._accept("OR"):
            parts.append(self._conjunction())
        return parts[0] if len(parts) == 1 else lambda item, names: any(part(item, names) for part in parts)

    def update(self) -> Update:
        sets: list[tuple[tuple[str, ...], Operand]] = []
        adds: list[tuple[str, str]] = []
        removes: list[tuple[str, ...]] = []
        while self._at < len(self._tokens):
            clause = self._next().upper()
            if clause not in _CLAUSES:
                raise self._unreadable()
            while True:
                path = self._path()
                match clause:
                    case "SET":
                        self._expect("=")
                        sets.append((path, self._sum()))
                    case "ADD":
                        adds.append((path[0], self._next()))
                    case _:
                        removes.append(path)
                if not self._accept(","):
                    break
        return Update(tuple(sets), tuple(adds), tuple(removes))

    def _conjunction(self) -> Condition:
        parts = [self._negation()]
        while self._accept("AND"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else lambda item, names: all(part(item, names) for part in parts)

    def _negation(self) -> Condition:
        if self._accept("NOT"):
            negated = self._negation()
            return lambda item, names: not negated(item, names)
        if self._accept("("):
            inner = self.condition()
            self._expect(")")
            return inner
        if (function := self._peek().lower()) in {"attribute_exists", "attribute_not_exists", "begins_with"}:
            return self._function(function)
        left, operator, right = self._operand(), self._next(), self._operand()
        if operator not in _COMPARISONS:
            raise self._unreadable()
        compare = _COMPARISONS[operator]

        def holds(item: Item, names: Names) -> bool:
            first, second = left(item, names), right(item, names)
            if first is None or second is None:
                return operator == "<>"  # DynamoDB: an attribute that is missing differs from every value.
            return compare(first, second)

        return holds

    def _function(self, function: str) -> Condition:
        self._next()
        self._expect("(")
        operand = _at(self._path())
        if function == "begins_with":
            self._expect(",")
            prefix = self._operand()
            self._expect(")")
            return lambda item, names: str((operand(item, names) or {}).get("S", "")).startswith(
                prefix(item, names)["S"]
            )
        self._expect(")")
        exists = function == "attribute_exists"
        return lambda item, names: (operand(item, names) is not None) is exists

    def _sum(self) -> Operand:
        left = self._operand()
        for sign, token in ((1, "+"), (-1, "-")):
            if self._accept(token):
                right = self._operand()
                return lambda item, names: _sum(left(item, names), right(item, names), sign)
        return left

    def _operand(self) -> Operand:
        token = self._peek()
        if token.startswith(":"):
            self._next()
            return lambda _item, names: names.value(token)
        if token.lower() in {"list_append", "if_not_exists"}:
            self._next()
            self._expect("(")
            first = self._operand()
            self._expect(",")
            second = self._operand()
            self._expect(")")
            if token.lower() == "list_append":
                return lambda item, names: _appended(first(item, names), second(item, names))
            return lambda item, names: second(item, names) if (found := first(item, names)) is None else found
        return _at(self._path())

    def _path(self) -> tuple[str, ...]:
        path = [self._name()]
        while self._accept("."):
            path.append(self._name())
        return tuple(path)

    def _name(self) -> str:
        token = self._next()
        if not re.fullmatch(r"#?\w+", token, re.ASCII):
            raise self._unreadable()
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        if self._at == len(self._tokens):
            raise self._unreadable()
        self._at += 1
        return self._tokens[self._at - 1]

    def _accept(self, token: str) -> bool:
        if self._peek().upper() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise self._unreadable()

    def _unreadable(self) -> AwsError:
        return _invalid(f"the stub cannot read the expression {self._expression!r}")


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def _at(path: Sequence[str]) -> Operand:
    """Return the operand that is an attribute, or a member of a map."""

    def operand(item: Item, names: Names) -> Any:
        found: Any = {"M": item}
        for token in path:
            found = found.get("M", {}).get(names.name(token))
            if found is None:
                return None
        return found

    return operand


def _put(item: Item, path: Sequence[str], value: Any) -> None:
    """Set (None: remove) what is at *path*. Maps on the way are copied, because the old item has them too."""
    name, *rest = path
    if rest:
        if name not in item:
            raise _invalid("The document path provided in the update expression is invalid for update")
        members = dict(item[name]["M"])
        _put(members, rest, value)
        item[name] = {"M": members}
    elif value is None:
        item.pop(name, None)
    else:
        item[name] = value


def _sum(left: Any, right: Any, sign: int) -> Any:
    if left is None:
        raise _invalid("The provided expression refers to an attribute that does not exist in the item")
    return {"N": str(int(left["N"]) + sign * int(right["N"]))}


def _appended(first: Any, second: Any) -> Any:
    if first is None or second is None:
        raise _invalid("The provided expression refers to an attribute that does not exist in the item")
    return {"L": [*first["L"], *second["L"]]}


def _order(value: Any) -> tuple[str, Any]:
    """Return the sort key of a value: numbers by size, strings by their characters."""
    ((kind, plain),) = value.items()
    return kind, float(plain) if kind == "N" else plain
