"""The stub's DynamoDB: items in dicts, and the parts of the expression languages that order workers use."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from tests.bench.stub_errors import AwsError

Item = dict[str, Any]

MAX_STATEMENTS = 25  # DynamoDB: statements per BatchExecuteStatement.
_CONDITION_FAILED = "The conditional request failed"


@dataclass(frozen=True, slots=True)
class _Test:
    """One comparison of a condition. `value` is a placeholder or a literal, None if the operator takes none."""

    operator: str
    name: str
    value: str | None = None


@dataclass(frozen=True, slots=True)
class _Change:
    """The changes of an update or statement, with names and values still as placeholders."""

    sets: tuple[tuple[str, str], ...] = ()
    adds: tuple[tuple[str, str], ...] = ()
    removes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Statement:
    table: str
    change: _Change
    tests: tuple[_Test, ...]
    returning: bool


@dataclass(slots=True)
class Table:
    """One table: its key attribute, and its items by key."""

    key: str
    items: dict[str, Item] = field(default_factory=dict)


class DynamoDb:
    """Tables by name. Every action takes the request's parameters and returns the answer's, or raises `AwsError`."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self.tables = {name: Table(key) for name, key in keys.items()}

    def act(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        actions: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "DescribeTable": self._describe_table,
            "GetItem": self._get_item,
            "PutItem": self._put_item,
            "UpdateItem": self._update_item,
            "ExecuteStatement": self._execute_statement,
            "BatchExecuteStatement": self._batch_execute_statement,
        }
        if action not in actions:
            raise AwsError("UnknownOperationException", f"the stub does not know {action}")
        return actions[action](request)

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise AwsError("ResourceNotFoundException", "Requested resource not found")
        return self.tables[name]

    def _describe_table(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(request["TableName"])
        schema = [{"AttributeName": table.key, "KeyType": "HASH"}]
        return {"Table": {"TableName": request["TableName"], "TableStatus": "ACTIVE", "KeySchema": schema}}

    def _get_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(request["TableName"])
        item = table.items.get(request["Key"][table.key]["S"])
        return {} if item is None else {"Item": item}

    def _put_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(request["TableName"])
        key = request["Item"][table.key]["S"]
        self._check(_parse_condition(request.get("ConditionExpression")), table.items.get(key), request)
        table.items[key] = request["Item"]
        return {}

    def _update_item(self, request: Mapping[str, Any]) -> dict[str, Any]:
        table = self._table(request["TableName"])
        key = request["Key"][table.key]["S"]
        old = table.items.get(key)
        self._check(_parse_condition(request.get("ConditionExpression")), old, request)
        change, names = _parse_update(request["UpdateExpression"]), _Names(request)
        new = _changed(old or request["Key"], change, names)
        table.items[key] = new
        match request.get("ReturnValues", "NONE"):
            case "ALL_NEW":
                return {"Attributes": new}
            case "UPDATED_NEW":
                updated = [names.name(name) for name, _ in change.sets + change.adds]
                return {"Attributes": {name: new[name] for name in updated}}
            case _:
                return {}

    def _check(self, tests: Sequence[_Test], item: Item | None, request: Mapping[str, Any]) -> None:
        if not _holds(tests, item or {}, _Names(request)):
            raise _condition_failed(item, request)

    def _execute_statement(self, request: Mapping[str, Any]) -> dict[str, Any]:
        statement = _parse_statement(request["Statement"])
        new = self._apply(statement, request)
        return {"Items": [new] if statement.returning else []}

    def _batch_execute_statement(self, request: Mapping[str, Any]) -> dict[str, Any]:
        requests: list[Mapping[str, Any]] = request["Statements"]
        if not 1 <= len(requests) <= MAX_STATEMENTS:
            raise AwsError("ValidationException", f"1 to {MAX_STATEMENTS} statements, not {len(requests)}")
        statements = [_parse_statement(asked["Statement"]) for asked in requests]
        keys = {self._key(statement, asked) for statement, asked in zip(statements, requests, strict=True)}
        if len(keys) < len(statements):
            raise AwsError("ValidationException", "Provided list of item keys contains duplicates")
        return {
            "Responses": [
                self._respond(statement, asked) for statement, asked in zip(statements, requests, strict=True)
            ]
        }

    def _respond(self, statement: _Statement, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            new = self._apply(statement, request)
        except AwsError as error:
            code = error.code.removesuffix("Exception")
            return {"TableName": statement.table, "Error": {"Code": code, "Message": error.message} | error.extra}
        return {"TableName": statement.table, "Item": new} if statement.returning else {"TableName": statement.table}

    def _apply(self, statement: _Statement, request: Mapping[str, Any]) -> Item:
        table = self._table(statement.table)
        key = self._key(statement, request)
        old = table.items.get(key)
        values = _Positions(request)
        if old is None or not _holds(statement.tests, old, values):
            raise _condition_failed(old, request)
        new = table.items[key] = _changed(old, statement.change, values)
        return new

    def _key(self, statement: _Statement, request: Mapping[str, Any]) -> str:
        name = self._table(statement.table).key
        for test in statement.tests:
            if test.name == name and test.operator == "=" and test.value is not None:
                return str(_Positions(request).value(test.value)["S"])
        raise AwsError(
            "ValidationException", "Where clause does not contain a mandatory equality on all key attributes"
        )


def _condition_failed(old: Item | None, request: Mapping[str, Any]) -> AwsError:
    shown = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and old is not None
    return AwsError("ConditionalCheckFailedException", _CONDITION_FAILED, {"Item": old} if shown else None)


class _Names:
    """Resolves the placeholders of expressions: `#name` and `:value`."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._names: Mapping[str, str] = request.get("ExpressionAttributeNames") or {}
        self._values: Mapping[str, Any] = request.get("ExpressionAttributeValues") or {}

    def name(self, token: str) -> str:
        return self._names[token] if token.startswith("#") else token

    def value(self, token: str) -> Any:
        return self._values[token]


class _Positions:
    """Resolves the values of PartiQL: literals, and parameters by position (`?0`, `?1`, numbered by the parser)."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._parameters: Sequence[Any] = request.get("Parameters") or ()

    def name(self, token: str) -> str:
        return token

    def value(self, token: str) -> Any:
        if token.startswith("'"):
            return {"S": token[1:-1].replace("''", "'")}
        if token.startswith("?"):
            return self._parameters[int(token[1:])]
        return {"N": token}


def _holds(tests: Sequence[_Test], item: Item, values: _Names | _Positions) -> bool:
    for test in tests:
        found = item.get(values.name(test.name))
        match test.operator:
            case "=":
                held = test.value is not None and found == values.value(test.value)
            case "<>":
                held = test.value is not None and found != values.value(test.value)
            case "attribute_exists":
                held = found is not None
            case _:
                held = found is None
        if not held:
            return False
    return True


def _changed(old: Item, change: _Change, values: _Names | _Positions) -> Item:
    new = dict(old)
    for name, value in change.sets:
        new[values.name(name)] = values.value(value)
    for name, value in change.adds:
        name = values.name(name)  # noqa: PLW2901 - replaces the placeholder.
        new[name] = {"N": str(int(new.get(name, {"N": "0"})["N"]) + int(values.value(value)["N"]))}
    for name in change.removes:
        new.pop(values.name(name), None)
    return new


_CLAUSE = re.compile(r"\b(SET|ADD|REMOVE)\b", re.IGNORECASE)
_COMPARISON = re.compile(r"([#\w]+)\s*(=|<>)\s*(:\w+)", re.ASCII)
_FUNCTION = re.compile(r"(attribute_exists|attribute_not_exists)\s*\(\s*([#\w]+)\s*\)", re.ASCII | re.IGNORECASE)


@lru_cache
def _parse_condition(expression: str | None) -> tuple[_Test, ...]:
    """Parse comparisons and existence functions joined by AND."""
    if expression is None:
        return ()
    tests = []
    for part in re.split(r"\s+AND\s+", expression.strip(), flags=re.IGNORECASE):
        if found := _COMPARISON.fullmatch(part.strip()):
            tests.append(_Test(found[2], found[1], found[3]))
        elif found := _FUNCTION.fullmatch(part.strip()):
            tests.append(_Test(found[1].lower(), found[2]))
        else:
            raise AwsError("ValidationException", f"the stub cannot read the condition {part!r}")
    return tuple(tests)


@lru_cache
def _parse_update(expression: str) -> _Change:
    """Parse `SET a = :b, ... ADD c :d REMOVE e`; no functions, no nested paths."""
    _, *parts = _CLAUSE.split(expression)
    sets: list[tuple[str, str]] = []
    adds: list[tuple[str, str]] = []
    removes: list[str] = []
    for clause, text in zip(parts[::2], parts[1::2], strict=True):
        for part in text.split(","):
            words = part.replace("=", " ").split()
            match clause.upper(), words:
                case "SET", [name, value]:
                    sets.append((name, value))
                case "ADD", [name, value]:
                    adds.append((name, value))
                case "REMOVE", [name]:
                    removes.append(name)
                case _:
                    raise AwsError("ValidationException", f"the stub cannot read the update {part!r}")
    return _Change(tuple(sets), tuple(adds), tuple(removes))


_STATEMENT = re.compile(
    r'\s*UPDATE\s+"?(?P<table>[\w.-]+)"?(?P<change>\s.*?)\sWHERE\s(?P<where>.*?)(?P<returning>\sRETURNING\s+ALL\s+NEW\s+\*)?\s*',
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_ASSIGNMENT = re.compile(r"\"?(\w+)\"?\s*(=|<>)\s*(\?\d+|'(?:[^']|'')*'|-?\d+)", re.ASCII)


@lru_cache
def _parse_statement(text: str) -> _Statement:
    """Parse `UPDATE "table" SET a=? ... REMOVE b WHERE key=? AND c=? [RETURNING ALL NEW *]`."""
    pieces = text.split("?")
    numbered = "".join(f"{piece}?{position}" for position, piece in enumerate(pieces[:-1])) + pieces[-1]
    statement = _STATEMENT.fullmatch(numbered)
    if statement is None:
        raise AwsError("ValidationException", f"the stub cannot read the statement {text!r}")
    sets: list[tuple[str, str]] = []
    removes: list[str] = []
    _, *parts = _CLAUSE.split(statement["change"])
    for clause, part in zip(parts[::2], parts[1::2], strict=True):
        for clause_part in part.split(","):
            assignment = _ASSIGNMENT.fullmatch(clause_part.strip())
            if clause.upper() == "SET" and assignment is not None and assignment[2] == "=":
                sets.append((assignment[1], assignment[3]))
            elif clause.upper() == "REMOVE":
                removes.append(clause_part.strip().strip('"'))
            else:
                raise AwsError("ValidationException", f"the stub cannot read {clause_part!r} in {text!r}")
    tests = []
    for comparison in re.split(r"\s+AND\s+", statement["where"].strip(), flags=re.IGNORECASE):
        test = _ASSIGNMENT.fullmatch(comparison.strip())
        if test is None:
            raise AwsError("ValidationException", f"the stub cannot read {comparison!r} in {text!r}")
        tests.append(_Test(test[2], test[1], test[3]))
    change = _Change(sets=tuple(sets), removes=tuple(removes))
    return _Statement(statement["table"], change, tuple(tests), statement["returning"] is not None)
