"""Items: conditional writes, reads, the sparse index of open orders, limits."""

import json
from pathlib import Path
from typing import Any

from tests.aws_facts.fact import RECORDED, facts_of
from tests.aws_facts.lab import Lab, error_of
from tests.aws_facts.tables import (
    DYNAMODB_API,
    DYNAMODB_GUIDE,
    answer_of,
    code_of,
    get_order,
    n,
    put_order,
    remove_table,
    s,
    table_of,
    wait_until_active,
)

fact = facts_of("dynamodb")

_CONDITIONS = DYNAMODB_GUIDE + "Expressions.ConditionExpressions.html"
_OPERATORS = DYNAMODB_GUIDE + "Expressions.OperatorsAndFunctions.html"
_UPDATES = DYNAMODB_GUIDE + "Expressions.UpdateExpressions.html"
_DEFINITION = Path(__file__).parents[3] / "statemachine" / "order-fulfillment.asl.json"
_COUNT = {
    "UpdateExpression": "SET #Last = :event ADD #Counter :one",
    "ConditionExpression": "#Status = :received AND (attribute_not_exists(#Last) OR #Last <> :event)",
    "ExpressionAttributeNames": {"#Status": "Status", "#Last": "LastAttempt", "#Counter": "Attempts"},
    "ExpressionAttributeValues": {":event": s("1"), ":one": n(1), ":received": s("RECEIVED")},
    "ReturnValues": "ALL_NEW",
    "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
}


def _count(lab: Lab, order_id: str) -> dict[str, Any]:
    return answer_of(lab.dynamodb.update_item, TableName=table_of(lab), Key={"OrderId": s(order_id)}, **_COUNT)


@fact(
    "A failed condition is ConditionalCheckFailedException with status 400. With ALL_OLD, the answer has the item "
    "beside the error; without an item, it has none, and none is made.",
    source=RECORDED + "dynamodb/test_dynamodb.py (test_return_values_on_conditions_check_failure)",
    relied_on_by=("workers/aws/orders.py::_count", "workers/aws/trials.py::count_trial"),
    expected=[["ConditionalCheckFailedException", 400, "FULFILLED"], ["ConditionalCheckFailedException", None, None]],
)
def a_failed_condition_returns_the_item(lab: Lab) -> object:
    failed = _count(lab, put_order(lab, Status=s("FULFILLED")))
    unknown_id = lab.name()
    missing = _count(lab, unknown_id)
    status = failed["ResponseMetadata"]["HTTPStatusCode"]
    return [
        [code_of(failed), status, failed.get("Item", {}).get("Status", {}).get("S")],
        [code_of(missing), missing.get("Item"), get_order(lab, unknown_id)],
    ]


@fact(
    "One update sets an attribute and adds to a counter, which starts at 0 if it is missing; ALL_NEW returns both.",
    source=_UPDATES,
    relied_on_by=("workers/aws/orders.py::ALL_NEW", "workers/aws/trials.py::ALL_NEW"),
    expected=["1", "1"],
)
def a_counter_starts_at_0(lab: Lab) -> object:
    new = _count(lab, put_order(lab)).get("Attributes", {})
    return [new.get("Attempts", {}).get("N"), new.get("LastAttempt", {}).get("S")]


@fact(
    "An update subtracts from a counter and removes an attribute.",
    source=_UPDATES,
    relied_on_by=("workers/aws/orders.py::take_back_trial", "workers/aws/trials.py::take_back_trial"),
    expected=["1", False],
)
def a_counter_is_taken_back(lab: Lab) -> object:
    order_id = put_order(lab, Trials=n(2), LastTrial=s("t"))
    lab.dynamodb.update_item(
        TableName=table_of(lab),
        Key={"OrderId": s(order_id)},
        UpdateExpression="SET Trials = Trials - :one REMOVE LastTrial",
        ConditionExpression="LastTrial = :trial",
        ExpressionAttributeValues={":one": n(1), ":trial": s("t")},
    )
    item = get_order(lab, order_id) or {}
    return [item["Trials"]["N"], "LastTrial" in item]


@fact(
    "An update appends to a list and adds to a number under a condition.",
    source=_UPDATES,
    relied_on_by=("workers/aws/cases.py::list_append",),
    expected=[2, "2"],
)
def a_list_is_appended_to(lab: Lab) -> object:
    order_id = put_order(lab, Routed={"L": [s("a")]}, Version=n(1), Episode=n(1))
    lab.dynamodb.update_item(
        TableName=table_of(lab),
        Key={"OrderId": s(order_id)},
        UpdateExpression="SET Routed = list_append(Routed, :sent) ADD Version :one",
        ConditionExpression="Episode = :episode",
        ExpressionAttributeValues={":sent": {"L": [s("b")]}, ":one": n(1), ":episode": n(1)},
    )
    item = get_order(lab, order_id) or {}
    return [len(item["Routed"]["L"]), item["Version"]["N"]]


@fact(
    "Compared with a missing attribute, = is false and <> is true.",
    source=_OPERATORS,
    relied_on_by=(
        "workers/aws/orders.py::ExecutionArn = :execution",
        "statemachine/order-fulfillment.asl.json::<> :this",
    ),
    expected=["ConditionalCheckFailedException", "ok"],
)
def a_missing_attribute_equals_nothing(lab: Lab) -> object:
    def put(operator: str) -> str:
        return error_of(
            lab.dynamodb.put_item,
            TableName=table_of(lab),
            Item={"OrderId": s(put_order(lab))},
            ConditionExpression=f"ShipmentId {operator} :x",
            ExpressionAttributeValues={":x": s("x")},
        )

    return [put("="), put("<>")]


@fact(
    "PutItem with ReturnValues ALL_OLD answers with Attributes only if it has replaced an item.",
    source=DYNAMODB_API + "API_PutItem.html",
    relied_on_by=("statemachine/order-fulfillment.asl.json::ALL_OLD",),
    expected=[False, True],
)
def a_put_says_whether_it_has_replaced_an_item(lab: Lab) -> object:
    item = {"OrderId": s(lab.name())}
    puts = [lab.dynamodb.put_item(TableName=table_of(lab), Item=item, ReturnValues="ALL_OLD") for _ in range(2)]
    return ["Attributes" in answer for answer in puts]


@fact(
    "The workflow's condition lets a new order, a later execution of an escalated order, and a repeated put pass; it "
    "refuses all others.",
    source=_CONDITIONS,
    relied_on_by=("statemachine/order-fulfillment.asl.json::ConditionExpression",),
    expected={
        "new": "ok",
        "escalated, later execution": "ok",
        "escalated, earlier execution": "ConditionalCheckFailedException",
        "received, same execution": "ok",
        "received, same execution, attempted": "ConditionalCheckFailedException",
        "received, other execution": "ConditionalCheckFailedException",
    },
)
def the_workflows_condition_protects_orders(lab: Lab) -> object:
    put = json.loads(_DEFINITION.read_text(encoding="utf-8"))["States"]["Update the order table"]["Arguments"]

    def result(order_id: str, this: str, started: str) -> str:
        return error_of(
            lab.dynamodb.put_item,
            TableName=table_of(lab),
            Item={"OrderId": s(order_id)},
            ConditionExpression=put["ConditionExpression"],
            ExpressionAttributeNames=put["ExpressionAttributeNames"],
            ExpressionAttributeValues={
                ":escalated": s("ESCALATED"),
                ":received": s("RECEIVED"),
                ":started": s(started),
                ":this": s(this),
            },
        )

    def escalated() -> str:
        return put_order(lab, Status=s("ESCALATED"), StartedAt=s("2025"))

    return {
        "new": result(lab.name(), "a", "2026"),
        "escalated, later execution": result(escalated(), "b", "2026"),
        "escalated, earlier execution": result(escalated(), "b", "2024"),
        "received, same execution": result(put_order(lab), "a", "2026"),
        "received, same execution, attempted": result(put_order(lab, Attempts=n(1)), "a", "2026"),
        "received, other execution": result(put_order(lab), "b", "2026"),
    }


@fact(
    "A read of what is not there has no `Item`. With a projection of a missing attribute, an item is there but empty.",
    source=DYNAMODB_API + "API_GetItem.html",
    relied_on_by=("workers/aws/orders.py::get", "workers/aws/batch_reads.py::_found"),
    expected=["absent", {}, "absent"],
)
def a_missing_item_is_absent(lab: Lab) -> object:
    def get(order_id: str, **projection: str) -> object:
        key = {"OrderId": s(order_id)}
        answer = lab.dynamodb.get_item(TableName=table_of(lab), Key=key, ConsistentRead=True, **projection)
        return answer.get("Item", "absent")

    projection = {"ProjectionExpression": "RejectedExecutions"}
    return [get(lab.name()), get(put_order(lab), **projection), get(lab.name(), **projection)]


@fact(
    "A batch read takes 100 keys, leaves out missing items, and has no UnprocessedKeys if all were read. A table in "
    "which nothing was found has an empty list. It refuses a key that is twice in it, and 101 keys.",
    source=DYNAMODB_API + "API_BatchGetItem.html",
    relied_on_by=(
        "workers/aws/batch_reads.py::readable_tables",
        "workers/aws/cases.py::MAX_KEYS",
        "workers/operations/order_table.py::batch_get_item",
    ),
    expected=[1, {}, [], "ValidationException", "ValidationException"],
)
def a_batch_read_has_100_different_keys(lab: Lab) -> object:
    def read(*order_ids: str) -> dict[str, Any]:
        keys = [{"OrderId": s(order_id)} for order_id in order_ids]
        wanted = {table_of(lab): {"Keys": keys, "ConsistentRead": True}}
        return answer_of(lab.dynamodb.batch_get_item, RequestItems=wanted)

    found = read(put_order(lab), *(lab.name() for _ in range(99)))
    return [
        len(found["Responses"][table_of(lab)]),
        found.get("UnprocessedKeys"),
        read(lab.name())["Responses"].get(table_of(lab)),
        code_of(read("twice", "twice")),
        code_of(read(*(lab.name() for _ in range(101)))),
    ]


@fact(
    "A missing table is ResourceNotFoundException.",
    source=DYNAMODB_API + "API_DescribeTable.html",
    relied_on_by=("workers/aws/errors.py::ResourceNotFoundException", "workers/aws/orders.py::check_table"),
    expected=["ResourceNotFoundException", "ResourceNotFoundException"],
)
def a_missing_table_is_not_found(lab: Lab) -> object:
    name, key = lab.name(), {"OrderId": s("x")}
    return [
        error_of(lab.dynamodb.describe_table, TableName=name),
        error_of(lab.dynamodb.get_item, TableName=name, Key=key),
    ]


_BARE = (
    *(
        "CaseId",
        "Episode",
        "EscalatedAt",
        "ExecutionArn",
        "ExpiresAt",
        "FulfilledAt",
        "LastTrial",
        "OpenKey",
        "OrderId",
    ),
    *("Reasons", "RejectedExecutions", "Routed", "ShipmentId", "StartedAt", "Trials", "UpdatedAt", "Version"),
)


@fact(
    "`Status` is a reserved word and needs a placeholder; the other names in our expressions are not reserved.",
    source=DYNAMODB_GUIDE + "ReservedWords.html",
    relied_on_by=(
        "workers/aws/orders.py::#Status",
        "workers/aws/case_writes.py::#Status",
        "workers/aws/trials.py::LastTrial",
    ),
    expected=["Status"],
)
def only_status_is_a_reserved_word(lab: Lab) -> object:
    def is_reserved(name: str) -> bool:
        item = {"OrderId": s(lab.name())}
        condition = f"attribute_not_exists({name})"
        return (
            error_of(lab.dynamodb.put_item, TableName=table_of(lab), Item=item, ConditionExpression=condition) != "ok"
        )

    return [name for name in ("Status", *_BARE) if is_reserved(name)]


@fact(
    "A value that no expression uses is refused.",
    source=DYNAMODB_GUIDE + "Expressions.ExpressionAttributeValues.html",
    relied_on_by=("workers/aws/items.py::to_item",),
    expected="ValidationException",
)
def an_unused_value_is_refused(lab: Lab) -> object:
    return error_of(
        lab.dynamodb.put_item,
        TableName=table_of(lab),
        Item={"OrderId": s(lab.name())},
        ConditionExpression="attribute_not_exists(OrderId)",
        ExpressionAttributeValues={":unused": s("x")},
    )


@fact(
    "An item has at most 400 KB.",
    source=DYNAMODB_GUIDE + "Constraints.html",
    relied_on_by=("workers/aws/errors.py::ITEM_FAULTS",),
    expected="ValidationException",
)
def an_item_has_at_most_400_kb(lab: Lab) -> object:
    item = {"OrderId": s(lab.name()), "Name": s("x" * 410_000)}
    return error_of(lab.dynamodb.put_item, TableName=table_of(lab), Item=item)


@fact(
    "An item is in the index as long as it has OpenKey, under its newest value. The index returns its keys only, and "
    "can be read page by page, oldest or newest first, within a range.",
    source=DYNAMODB_GUIDE + "bp-indexes-general-sparse-indexes.html",
    relied_on_by=(
        "workers/aws/status_index.py::STATUS_KEY",
        "workers/operations/status_index.py::ScanIndexForward",
        "workers/operations/erase.py::marker",
    ),
    expected=[["OpenKey", "OrderId", "UpdatedAt"], 3, ["2021", "2020"], 2, 1],
)
def the_index_holds_items_with_a_key_only(lab: Lab) -> object:
    key = lab.name("open-")
    orders = [put_order(lab, OpenKey=s(key), UpdatedAt=s(f"202{year}"), Name=s("x")) for year in range(3)]
    put_order(lab)  # Without OpenKey.
    query = {
        "TableName": table_of(lab),
        "IndexName": "OpenOrders",
        "KeyConditionExpression": "OpenKey = :key AND UpdatedAt < :before",
        "ExpressionAttributeValues": {":key": s(key), ":before": s("9999")},
    }

    def items() -> list[dict[str, Any]]:
        pages = lab.dynamodb.get_paginator("query").paginate(**query, PaginationConfig={"PageSize": 1})
        return [item for page in pages for item in page["Items"]]

    found = lab.eventually(lambda: len(items()), 3)
    names = sorted(items()[0])
    bounds = {":key": s(key), ":since": s("2020"), ":before": s("2021")}
    newest = lab.dynamodb.query(
        **query
        | {
            "KeyConditionExpression": "OpenKey = :key AND UpdatedAt BETWEEN :since AND :before",
            "ExpressionAttributeValues": bounds,
            "ScanIndexForward": False,
        }
    )
    times = [item["UpdatedAt"]["S"] for item in newest["Items"]]
    lab.dynamodb.update_item(TableName=table_of(lab), Key={"OrderId": s(orders[0])}, UpdateExpression="REMOVE OpenKey")
    removed = lab.eventually(lambda: len(items()), 2)
    put_order(lab, OrderId=s(orders[1]), OpenKey=s(lab.name("final-")), UpdatedAt=s("2026"))
    return [names, found, times, removed, lab.eventually(lambda: len(items()), 1)]


@fact(
    "A table with deletion protection cannot be deleted.",
    source=DYNAMODB_API + "API_DeleteTable.html",
    relied_on_by=("deploy/pipeline.yaml::DeletionProtectionEnabled",),
    expected=["ValidationException", "ACTIVE"],
)
def deletion_protection_keeps_a_table(lab: Lab) -> object:
    name = lab.name()
    lab.removes(lambda: remove_table(lab, name), "ResourceNotFoundException")
    lab.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
        AttributeDefinitions=[{"AttributeName": "OrderId", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "OrderId", "KeyType": "HASH"}],
    )
    wait_until_active(lab, name)
    code = error_of(lab.dynamodb.delete_table, TableName=name)
    return [code, lab.dynamodb.describe_table(TableName=name)["Table"]["TableStatus"]]
