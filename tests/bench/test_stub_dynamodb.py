"""The stub's DynamoDB answers as AWS does: conditions, transactions, batches, expressions."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.bench.stub_dynamodb import DynamoDb
from tests.bench.stub_errors import AwsError
from tests.bench.stub_expressions import Names, parse_condition, parse_update


@pytest.fixture
def dynamodb() -> DynamoDb:
    dynamodb = DynamoDb({"OrderTable": "OrderId", "EscalationTable": "CaseId"})
    for order_id in ("001", "002"):
        dynamodb.act("PutItem", {"TableName": "OrderTable", "Item": _order(order_id)})
    return dynamodb


def _order(order_id: str, status: str = "RECEIVED") -> dict[str, Any]:
    return {"OrderId": {"S": order_id}, "Status": {"S": status}, "ExecutionArn": {"S": f"arn-{order_id}"}}


def _put(case_id: str, version: int = 0) -> Mapping[str, Any]:
    put: dict[str, Any] = {
        "TableName": "EscalationTable",
        "Item": {"CaseId": {"S": case_id}, "Version": {"N": str(version + 1)}},
        "ConditionExpression": "Version = :version" if version else "attribute_not_exists(CaseId)",
    }
    if version:
        put["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
    return {"Put": put}


def _escalate(order_id: str, **more: str) -> Mapping[str, Any]:
    return {
        "Update": {
            "TableName": "OrderTable",
            "Key": {"OrderId": {"S": order_id}},
            "UpdateExpression": "SET #Status = :status",
            "ConditionExpression": "#Status = :before AND ExecutionArn = :execution",
            "ExpressionAttributeNames": {"#Status": "Status"},
            "ExpressionAttributeValues": {
                ":status": {"S": "ESCALATED"},
                ":before": {"S": "RECEIVED"},
                ":execution": {"S": f"arn-{order_id}"},
            },
        }
        | more
    }


def test_a_transaction_writes_both_tables(dynamodb: DynamoDb) -> None:
    writes = [_put("001"), _escalate("001"), _put("002"), _escalate("002")]
    assert dynamodb.act("TransactWriteItems", {"TransactItems": writes, "ClientRequestToken": "t"}) == {}
    assert [order["Status"]["S"] for order in dynamodb.tables["OrderTable"].items.values()] == ["ESCALATED"] * 2
    assert set(dynamodb.tables["EscalationTable"].items) == {"001", "002"}


def test_a_cancelled_transaction_writes_nothing_and_has_a_reason_for_each_item(dynamodb: DynamoDb) -> None:
    dynamodb.act("TransactWriteItems", {"TransactItems": [_escalate("002")]})
    escalated = dynamodb.tables["OrderTable"].items["002"]
    again = _escalate("002", ReturnValuesOnConditionCheckFailure="ALL_OLD")
    with pytest.raises(AwsError) as cancelled:
        dynamodb.act("TransactWriteItems", {"TransactItems": [_put("001"), _escalate("001"), again]})

    assert cancelled.value.code == "TransactionCanceledException"
    assert cancelled.value.message.endswith("[None, None, ConditionalCheckFailed]")
    assert cancelled.value.extra["CancellationReasons"] == [
        {"Code": "None"},
        {"Code": "None"},
        {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed", "Item": escalated},
    ]
    assert dynamodb.tables["OrderTable"].items["001"] == _order("001")
    assert dynamodb.tables["EscalationTable"].items == {}


def test_a_condition_check_changes_nothing(dynamodb: DynamoDb) -> None:
    check = {
        "ConditionCheck": {
            "TableName": "OrderTable",
            "Key": {"OrderId": {"S": "001"}},
            "ConditionExpression": "attribute_not_exists(ExecutionArn)",
        }
    }
    with pytest.raises(AwsError, match="ConditionalCheckFailed"):
        dynamodb.act("TransactWriteItems", {"TransactItems": [_put("001"), check]})
    check["ConditionCheck"]["ConditionExpression"] = "attribute_exists(ExecutionArn)"
    dynamodb.act("TransactWriteItems", {"TransactItems": [_put("001"), check]})
    assert dynamodb.tables["OrderTable"].items["001"] == _order("001")


def test_a_case_is_written_only_in_the_version_that_was_read(dynamodb: DynamoDb) -> None:
    dynamodb.act("TransactWriteItems", {"TransactItems": [_put("001")]})
    for outdated in (_put("001"), _put("001", version=2)):
        with pytest.raises(AwsError, match="ConditionalCheckFailed"):
            dynamodb.act("TransactWriteItems", {"TransactItems": [outdated]})
    dynamodb.act("TransactWriteItems", {"TransactItems": [_put("001", version=1)]})
    assert dynamodb.tables["EscalationTable"].items["001"]["Version"] == {"N": "2"}


@pytest.mark.parametrize(
    ("writes", "problem"),
    [
        ([_put("001"), _put("001")], "multiple operations on one item"),
        ([_put(str(number)) for number in range(101)], "1 to 100"),
        ([], "1 to 100"),
    ],
)
def test_a_transaction_that_aws_refuses(dynamodb: DynamoDb, writes: list[Any], problem: str) -> None:
    with pytest.raises(AwsError, match=problem) as refused:
        dynamodb.act("TransactWriteItems", {"TransactItems": writes})
    assert refused.value.code == "ValidationException"
    assert dynamodb.tables["EscalationTable"].items == {}


def test_a_batch_read_finds_items_of_both_tables_in_any_order(dynamodb: DynamoDb) -> None:
    dynamodb.act("TransactWriteItems", {"TransactItems": [_put("001")]})
    orders = {"Keys": [{"OrderId": {"S": order_id}} for order_id in ("001", "002", "003")], "ConsistentRead": True}
    cases = {
        "Keys": [{"CaseId": {"S": "001"}}],
        "ProjectionExpression": "#Version",
        "ExpressionAttributeNames": {"#Version": "Version"},
    }
    answer = dynamodb.act("BatchGetItem", {"RequestItems": {"OrderTable": orders, "EscalationTable": cases}})
    assert answer == {
        "Responses": {"OrderTable": [_order("002"), _order("001")], "EscalationTable": [{"Version": {"N": "1"}}]},
        "UnprocessedKeys": {},
    }


@pytest.mark.parametrize(
    ("order_ids", "problem"),
    [
        (["001", "001"], "duplicates"),
        ([str(number) for number in range(101)], "Too many items"),
        ([], "Too many items"),
    ],
)
def test_a_batch_read_that_aws_refuses(dynamodb: DynamoDb, order_ids: list[str], problem: str) -> None:
    keys = [{"OrderId": {"S": order_id}} for order_id in order_ids]
    with pytest.raises(AwsError, match=problem) as refused:
        dynamodb.act("BatchGetItem", {"RequestItems": {"OrderTable": {"Keys": keys}}})
    assert refused.value.code == "ValidationException"


def test_a_query_finds_the_items_of_a_key(dynamodb: DynamoDb) -> None:
    query = {
        "TableName": "OrderTable",
        "IndexName": "AnyIndex",
        "KeyConditionExpression": "ExecutionArn = :execution",
        "ExpressionAttributeValues": {":execution": {"S": "arn-002"}},
        "Limit": 1,
    }
    assert dynamodb.act("Query", query)["Items"] == [_order("002")]


ITEM = {
    "Status": {"S": "RECEIVED"},
    "UpdatedAt": {"S": "2026-01-02"},
    "Trials": {"N": "2"},
    "Routed": {"L": [{"S": "log"}]},
    "Claim": {"M": {"Actor": {"S": "kim"}}},
}
NAMES = Names(
    {
        "ExpressionAttributeNames": {"#Status": "Status"},
        "ExpressionAttributeValues": {
            ":received": {"S": "RECEIVED"},
            ":escalated": {"S": "ESCALATED"},
            ":at": {"S": "2026-01-03"},
            ":one": {"N": "1"},
            ":ten": {"N": "10"},
            ":sent": {"L": [{"S": "pager"}]},
            ":map": {"M": {"Deep": {"L": []}}},
        },
    }
)


@pytest.mark.parametrize(
    ("expression", "held"),
    [
        ("#Status = :received", True),
        ("#Status = :escalated", False),
        ("#Status <> :escalated AND UpdatedAt < :at", True),
        ("Trials < :ten", True),  # As numbers, not as texts.
        ("Trials >= :ten", False),
        ("Missing = :one", False),
        ("Missing <> :one", True),
        ("NOT attribute_exists(Missing)", True),
        ("attribute_not_exists(Claim.Actor)", False),
        ("Claim.Missing = :one OR Claim.Actor <> :one", True),
        ("begins_with(UpdatedAt, :at)", False),
        ("#Status = :escalated OR (Trials = :one OR attribute_exists(Routed)) AND #Status = :received", True),
        ("(#Status = :received OR attribute_exists(Routed)) AND #Status = :escalated", False),
    ],
)
def test_conditions(expression: str, *, held: bool) -> None:
    assert parse_condition(expression)(ITEM, NAMES) is held


@pytest.mark.parametrize(
    ("expression", "changed"),
    [
        ("SET Trials = Trials - :one REMOVE UpdatedAt", {"Trials": {"N": "1"}, "UpdatedAt": None}),
        ("SET Trials = Trials + :ten, LastTrial = :at", {"Trials": {"N": "12"}, "LastTrial": {"S": "2026-01-03"}}),
        (
            "SET Routed = list_append(Routed, :sent) ADD Version :one",
            {"Routed": {"L": [{"S": "log"}, {"S": "pager"}]}, "Version": {"N": "1"}},
        ),
        (
            "SET Routed = list_append(if_not_exists(Missing, :sent), Routed)",
            {"Routed": {"L": [{"S": "pager"}, {"S": "log"}]}},
        ),
        ("SET Trials = :ten, Version = Trials", {"Trials": {"N": "10"}, "Version": {"N": "2"}}),
        ("SET Claim.#Status = :map REMOVE Claim.Actor", {"Claim": {"M": {"Status": {"M": {"Deep": {"L": []}}}}}}),
    ],
)
def test_updates(expression: str, changed: dict[str, Any]) -> None:
    expected = {name: value for name, value in (ITEM | changed).items() if value is not None}
    before = repr(ITEM)
    assert parse_update(expression).apply(ITEM, NAMES) == expected
    assert repr(ITEM) == before


@pytest.mark.parametrize("expression", ["size(Routed) > :one", "#Status =", "#Status = :received AND", "a = :one)"])
def test_a_condition_that_the_stub_cannot_read_is_refused(expression: str) -> None:
    with pytest.raises(AwsError, match="cannot read"):
        parse_condition(expression)


@pytest.mark.parametrize("expression", ["DELETE Routed :one", "SET Trials", "SET Trials = :one Version = :one"])
def test_an_update_that_the_stub_cannot_read_is_refused(expression: str) -> None:
    with pytest.raises(AwsError, match="cannot read"):
        parse_update(expression)


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("SET Routed = list_append(Missing, :sent)", "does not exist"),
        ("SET Missing = Missing - :one", "does not exist"),
        ("SET Missing.Name = :one", "invalid for update"),
        ("SET Trials = :undefined", ":undefined"),
        ("SET #Undefined = :one", "#Undefined"),
    ],
)
def test_an_update_that_does_not_fit_the_item_is_refused(expression: str, problem: str) -> None:
    with pytest.raises(AwsError, match=problem):
        parse_update(expression).apply(ITEM, NAMES)
