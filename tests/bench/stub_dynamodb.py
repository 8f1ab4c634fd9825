"""The stub's DynamoDB: items in dicts, and the calls that order workers make."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.stub_errors import AwsError
from tests.bench.stub_expressions import Item, Names, parse_condition, parse_update
from tests.bench.stub_partiql import Statement, parameters_of, parse_statement

MAX_STATEMENTS = 25  # DynamoDB: statements per BatchExecuteStatement.
MAX_KEYS = 100  # DynamoDB: keys per BatchGetItem.
MAX_WRITES = 100  # DynamoDB: items per TransactWriteItems.
_CONDITION_FAILED = "The conditional request failed"

Request = Mapping[str, Any]


@dataclass(slots=True)
class Table:
    """One table: its key attribute, and its items by key."""

    key: str
    items: dict[str, Item] = field(default_factory=dict)

    def key_of(self, item: Item) -> str:
        return str(item[self.key]["S"])


class DynamoDb:
    """Tables by name. Every action takes the request's parameters and returns the answer's, or raises `AwsError`."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self.tables = {name: Table(key) for name, key in keys.items()}
        self._actions: dict[str, Callable[[Request], dict[str, Any]]] = {
            "DescribeTable": self._describe_table,
            "GetItem": self._get_item,
            "BatchGetItem": self._batch_get_item,
            "Query": self._query,
            "PutItem": self._put_item,
            "UpdateItem": self._update_item,
            "TransactWriteItems": self._transact_write_items,
            "ExecuteStatement": self._execute_statement,
            "BatchExecuteStatement": self._batch_execute_statement,
        }

    def act(self, action: str, request: Request) -> dict[str, Any]:
        if action not in self._actions:
            raise AwsError("UnknownOperationException", f"the stub does not know {action}")
        return self._actions[action](request)

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            raise AwsError("ResourceNotFoundException", "Requested resource not found")
        return self.tables[name]

    def _describe_table(self, request: Request) -> dict[str, Any]:
        table = self._table(request["TableName"])
        schema = [{"AttributeName": table.key, "KeyType": "HASH"}]
        return {"Table": {"TableName": request["TableName"], "TableStatus": "ACTIVE", "KeySchema": schema}}

    def _get_item(self, request: Request) -> dict[str, Any]:
        table = self._table(request["TableName"])
        item = table.items.get(table.key_of(request["Key"]))
        return {} if item is None else {"Item": _projected(item, request)}

    def _batch_get_item(self, request: Request) -> dict[str, Any]:
        asked: Mapping[str, Request] = request["RequestItems"]
        keys = {name: [self._table(name).key_of(key) for key in of["Keys"]] for name, of in asked.items()}
        if not 1 <= sum(map(len, keys.values())) <= MAX_KEYS:
            raise AwsError("ValidationException", "Too many items requested for the BatchGetItem call")
        if any(len(set(of_table)) < len(of_table) for of_table in keys.values()):
            raise AwsError("ValidationException", "Provided list of item keys contains duplicates")
        found: dict[str, list[Item]] = {}
        for name, of_table in keys.items():
            items = self._table(name).items
            # DynamoDB returns items in any order, so here they are not in the order of the request.
            found[name] = [_projected(items[key], asked[name]) for key in reversed(of_table) if key in items]
        return {"Responses": found, "UnprocessedKeys": {}}

    def _query(self, request: Request) -> dict[str, Any]:
        """Answer with the items that meet the key condition. It looks at every item, as no index of DynamoDB does."""
        condition, names = parse_condition(request["KeyConditionExpression"]), Names(request)
        items = [item for item in self._table(request["TableName"]).items.values() if condition(item, names)]
        items = [_projected(item, request) for item in items[: request.get("Limit")]]
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    def _put_item(self, request: Request) -> dict[str, Any]:
        return self._write(_Put(self, request), request)

    def _update_item(self, request: Request) -> dict[str, Any]:
        return self._write(_Update(self, request), request)

    def _write(self, write: "_Write", request: Request) -> dict[str, Any]:
        old = write.old
        if not write.holds():
            raise _condition_failed(old, request)
        new = write.new()
        write.store(new)
        match request.get("ReturnValues", "NONE"):
            case "ALL_NEW":
                return {} if new is None else {"Attributes": new}
            case "ALL_OLD":
                return {} if old is None else {"Attributes": old}
            case "UPDATED_NEW":
                changed = parse_update(request["UpdateExpression"]).changed(Names(request))
                return {"Attributes": {name: value for name, value in (new or {}).items() if name in changed}}
            case _:
                return {}

    def _transact_write_items(self, request: Request) -> dict[str, Any]:
        """
        Check every condition, then apply every write.

        Nothing else happens in between, so there is no `TransactionConflict`. The token for repetitions is ignored.
        """
        entries: Sequence[Mapping[str, Request]] = request["TransactItems"]
        if not 1 <= len(entries) <= MAX_WRITES:
            raise AwsError("ValidationException", f"1 to {MAX_WRITES} items, not {len(entries)}")
        writes = [_WRITES[kind](self, of) for entry in entries for kind, of in entry.items()]
        if len({(write.request["TableName"], write.key) for write in writes}) < len(writes):
            raise AwsError("ValidationException", "Transaction request cannot include multiple operations on one item")
        reasons = [write.reason() for write in writes]
        if any(reason["Code"] != "None" for reason in reasons):
            codes = ", ".join(reason["Code"] for reason in reasons)
            raise AwsError(
                "TransactionCanceledException",
                f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
                {"CancellationReasons": reasons},
            )
        for write, new in [(write, write.new()) for write in writes]:
            write.store(new)
        return {}

    def _execute_statement(self, request: Request) -> dict[str, Any]:
        statement = parse_statement(request["Statement"])
        new = self._execute(statement, request)
        return {"Items": [new] if statement.returning else []}

    def _batch_execute_statement(self, request: Request) -> dict[str, Any]:
        requests: list[Request] = request["Statements"]
        if not 1 <= len(requests) <= MAX_STATEMENTS:
            raise AwsError("ValidationException", f"1 to {MAX_STATEMENTS} statements, not {len(requests)}")
        statements = [(parse_statement(asked["Statement"]), asked) for asked in requests]
        if len({self._statement_key(*statement) for statement in statements}) < len(statements):
            raise AwsError("ValidationException", "Provided list of item keys contains duplicates")
        return {"Responses": [self._respond(*statement) for statement in statements]}

    def _respond(self, statement: Statement, request: Request) -> dict[str, Any]:
        try:
            new = self._execute(statement, request)
        except AwsError as error:
            code = error.code.removesuffix("Exception")
            return {"TableName": statement.table, "Error": {"Code": code, "Message": error.message} | error.extra}
        return {"TableName": statement.table, "Item": new} if statement.returning else {"TableName": statement.table}

    def _execute(self, statement: Statement, request: Request) -> Item:
        items, key = self._table(statement.table).items, self._statement_key(statement, request)
        old = items.get(key)
        if old is None or not statement.holds(old, parameters_of(request)):
            raise _condition_failed(old, request)
        new = items[key] = statement.apply(old, parameters_of(request))
        return new

    def _statement_key(self, statement: Statement, request: Request) -> str:
        return statement.key(self._table(statement.table).key, parameters_of(request))


class _Write:
    """A conditional write of one item. This one only checks; subclasses change the item."""

    def __init__(self, dynamodb: DynamoDb, request: Request) -> None:
        self.request = request
        self.table = dynamodb._table(request["TableName"])
        self.key = self.table.key_of(self.key_source())
        self.old = self.table.items.get(self.key)

    def key_source(self) -> Item:
        key: Item = self.request["Key"]
        return key

    def holds(self) -> bool:
        condition = parse_condition(self.request.get("ConditionExpression"))
        return condition(self.old or {}, Names(self.request))

    def reason(self) -> dict[str, Any]:
        """Return the entry of `CancellationReasons` for this write."""
        if self.holds():
            return {"Code": "None"}
        failed = _condition_failed(self.old, self.request)
        return {"Code": "ConditionalCheckFailed", "Message": failed.message} | failed.extra

    def new(self) -> Item | None:
        """Return the item after the write, None if there is none."""
        return self.old

    def store(self, new: Item | None) -> None:
        if new is None:
            self.table.items.pop(self.key, None)
        else:
            self.table.items[self.key] = new


class _Put(_Write):
    def key_source(self) -> Item:
        item: Item = self.request["Item"]
        return item

    def new(self) -> Item:
        return self.key_source()


class _Update(_Write):
    def new(self) -> Item:
        update = parse_update(self.request["UpdateExpression"])
        return update.apply(self.old or self.request["Key"], Names(self.request))


class _Delete(_Write):
    def new(self) -> None:
        return None


_WRITES: Mapping[str, type[_Write]] = {
    "Put": _Put,
    "Update": _Update,
    "Delete": _Delete,
    "ConditionCheck": _Write,
}


def _condition_failed(old: Item | None, request: Request) -> AwsError:
    shown = request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD" and old is not None
    return AwsError("ConditionalCheckFailedException", _CONDITION_FAILED, {"Item": old} if shown else None)


def _projected(item: Item, request: Request) -> Item:
    """Return the attributes of a projection, all without one. No nested paths."""
    if "ProjectionExpression" not in request:
        return item
    names = Names(request)
    wanted = {names.name(token.strip()) for token in request["ProjectionExpression"].split(",")}
    return {name: value for name, value in item.items() if name in wanted}
