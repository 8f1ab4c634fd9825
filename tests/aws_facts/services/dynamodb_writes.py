"""Writes of several items: batches of PartiQL statements, and transactions."""

from typing import Any

from tests.aws_facts.fact import RECORDED, facts_of
from tests.aws_facts.lab import Lab
from tests.aws_facts.tables import (
    DYNAMODB_API,
    DYNAMODB_GUIDE,
    answer_of,
    code_of,
    get_order,
    n,
    other_table_of,
    put_order,
    s,
    status_of,
    table_of,
)

fact = facts_of("dynamodb")

_BATCHES = DYNAMODB_API + "API_BatchExecuteStatement.html"
_ERRORS = DYNAMODB_API + "API_BatchStatementError.html"
# Another emulator's record of what AWS answered.
_MEASURED = "https://docs.rs/crate/dynoxide-rs/3.2.0/source/tests/batch_statement_member_fields.rs"
_PARTIQL = DYNAMODB_GUIDE + "ql-reference.update.html"
_TRANSACTIONS = DYNAMODB_API + "API_TransactWriteItems.html"


def _fulfill(lab: Lab, *order_ids: str, table: str = "") -> dict[str, Any]:
    """Send the statement of `DynamoOrders` for each order, as execution "a"."""
    statement = (
        f'UPDATE "{table or table_of(lab)}" SET "Status"=\'FULFILLED\''
        " SET ShipmentId=? SET FulfilledAt=? SET UpdatedAt=? SET OpenKey=?"
        " WHERE OrderId=? AND \"Status\"='RECEIVED' AND ExecutionArn=?"
    )
    return answer_of(
        lab.dynamodb.batch_execute_statement,
        Statements=[
            {
                "Statement": statement,
                "Parameters": [s("shipment"), s("2026"), s("2026"), s("final"), s(order_id), s("a")],
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
            for order_id in order_ids
        ],
    )


def _codes(answer: dict[str, Any]) -> list[str]:
    return [code_of(response) for response in answer["Responses"]] if "Responses" in answer else [code_of(answer)]


@fact(
    "A statement updates an item if key and conditions match: several SETs, even of a missing attribute.",
    source=_PARTIQL,
    relied_on_by=("workers/aws/orders.py::UPDATE",),
    expected=[["ok"], "FULFILLED", s("final"), ["ok"]],
)
def a_statement_updates_an_item(lab: Lab) -> object:
    order_id = put_order(lab, OpenKey=s(lab.name()))
    codes = _codes(_fulfill(lab, order_id))
    item = get_order(lab, order_id) or {}
    return [codes, status_of(item), item["OpenKey"], _codes(_fulfill(lab, put_order(lab)))]


@fact(
    "Of several statements, each has its own result, in order. A condition that does not hold is "
    "ConditionalCheckFailed, without `Exception`; it has the item, if there is one.",
    source=f"{_ERRORS}, {_MEASURED}",
    relied_on_by=("workers/aws/orders.py::ConditionalCheckFailed", "workers/aws/errors.py::statement_error"),
    expected=[
        ["ok", "ConditionalCheckFailed", "ConditionalCheckFailed", "ok"],
        ["ESCALATED", None],
        ["FULFILLED", "ESCALATED", None, "FULFILLED"],
    ],
)
def each_statement_has_its_own_result(lab: Lab) -> object:
    escalated, unknown = put_order(lab, Status=s("ESCALATED")), lab.name()
    order_ids = [put_order(lab), escalated, unknown, put_order(lab)]
    answer = _fulfill(lab, *order_ids)
    failed = [response["Error"] for response in answer.get("Responses", []) if "Error" in response]
    return [
        _codes(answer),
        [status_of(error.get("Item")) for error in failed],
        [status_of(get_order(lab, order_id)) for order_id in order_ids],
    ]


@fact(
    "A batch has at most 25 statements.",
    source=_BATCHES,
    relied_on_by=("workers/aws/orders.py::MAX_STATEMENTS",),
    expected=["ValidationException"],
)
def a_batch_has_at_most_25_statements(lab: Lab) -> object:
    return _codes(_fulfill(lab, *(lab.name() for _ in range(26))))


@fact(
    "A statement about a missing table has the error ResourceNotFound; the request itself has none.",
    source=_ERRORS,
    relied_on_by=("workers/aws/errors.py::ResourceNotFound",),
    expected=["ResourceNotFound"],
)
def a_statement_about_a_missing_table_fails_alone(lab: Lab) -> object:
    return _codes(_fulfill(lab, "x", table=lab.name()))


@fact(
    "A table name with a dash needs quotes in a statement.",
    source=_PARTIQL,
    relied_on_by=('workers/aws/orders.py::UPDATE "{table}"',),
    expected=False,
)
def a_table_name_needs_quotes(lab: Lab) -> object:
    statement = f"UPDATE {table_of(lab)} SET ShipmentId=? WHERE OrderId=?"
    answer = answer_of(
        lab.dynamodb.batch_execute_statement,
        Statements=[{"Statement": statement, "Parameters": [s("x"), s(put_order(lab))]}],
    )
    return "ok" in _codes(answer)


@fact(
    "A cancelled transaction is TransactionCanceledException with status 400 and a reason for each item, in order; "
    "nothing of it is written.",
    source=RECORDED + "dynamodb/test_dynamodb.py (test_transaction_write_canceled)",
    relied_on_by=("workers/aws/errors.py::cancellation_codes", "workers/aws/transactions.py::_sort_out"),
    expected=["TransactionCanceledException", 400, ["None", "ConditionalCheckFailed"], None],
)
def a_cancelled_transaction_has_a_reason_for_each_item(lab: Lab) -> object:
    new, known, table = lab.name(), put_order(lab), table_of(lab)
    answer = answer_of(
        lab.dynamodb.transact_write_items,
        TransactItems=[
            {"Put": {"TableName": table, "Item": {"OrderId": s(new)}}},
            {
                "ConditionCheck": {
                    "TableName": table,
                    "Key": {"OrderId": s(known)},
                    "ConditionExpression": "ExecutionArn = :execution",
                    "ExpressionAttributeValues": {":execution": s("other")},
                }
            },
        ],
    )
    reasons = [reason.get("Code") for reason in answer.get("CancellationReasons", [])]
    return [code_of(answer), answer["ResponseMetadata"]["HTTPStatusCode"], reasons, get_order(lab, new)]


@fact(
    "One transaction puts, updates and checks items of two tables.",
    source=_TRANSACTIONS,
    relied_on_by=("workers/aws/cases.py::apply", "workers/aws/cases.py::resolve"),
    expected=["ok", "ESCALATED", True],
)
def a_transaction_spans_tables(lab: Lab) -> object:
    order_id, checked, case_id = put_order(lab), put_order(lab), lab.name()
    table, other = table_of(lab), other_table_of(lab)
    answer = answer_of(
        lab.dynamodb.transact_write_items,
        TransactItems=[
            {
                "Put": {
                    "TableName": other,
                    "Item": {"OrderId": s(case_id), "Version": n(1)},
                    "ConditionExpression": "attribute_not_exists(OrderId)",
                }
            },
            {
                "Update": {
                    "TableName": table,
                    "Key": {"OrderId": s(order_id)},
                    "UpdateExpression": "SET #Status = :status, OpenKey = :open REMOVE ShipmentId",
                    "ConditionExpression": "#Status = :before AND ExecutionArn = :execution",
                    "ExpressionAttributeNames": {"#Status": "Status"},
                    "ExpressionAttributeValues": {
                        ":status": s("ESCALATED"),
                        ":open": s(lab.name()),
                        ":before": s("RECEIVED"),
                        ":execution": s("a"),
                    },
                }
            },
            {
                "ConditionCheck": {
                    "TableName": table,
                    "Key": {"OrderId": s(checked)},
                    "ConditionExpression": "ExecutionArn = :execution",
                    "ExpressionAttributeValues": {":execution": s("a")},
                }
            },
        ],
    )
    stored = lab.dynamodb.get_item(TableName=other, Key={"OrderId": s(case_id)}, ConsistentRead=True)
    return [code_of(answer), status_of(get_order(lab, order_id)), "Item" in stored]


@fact(
    "A transaction about a missing table is ResourceNotFoundException.",
    source=_TRANSACTIONS,
    relied_on_by=("workers/aws/errors.py::ResourceNotFoundException",),
    expected="ResourceNotFoundException",
)
def a_transaction_about_a_missing_table_is_not_found(lab: Lab) -> object:
    put = {"Put": {"TableName": lab.name(), "Item": {"OrderId": s("x")}}}
    return code_of(answer_of(lab.dynamodb.transact_write_items, TransactItems=[put]))
