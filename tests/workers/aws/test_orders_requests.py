"""The requests for orders as they are sent, and answers that the local AWS never gives."""

import asyncio
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.workers.aws.paged_dynamo import PagedDynamo
from tests.workers.aws.sdk_fakes import Waiting, refusal, two_at_once
from tests.workers.fakes import ANOTHER, EXECUTION, NOW
from workers.aws.errors import MissingResourceError
from workers.aws.items import to_item
from workers.aws.orders import DynamoOrders, check_table
from workers.domain.orders import Order, OrderStatus
from workers.domain.retention import FOR_EVER, Retention
from workers.errors import OutageError, SuspectedOutageError, UnreadableOrderError, WorkerError

THEN = "2026-11-22T10:00:00.000000Z"
CONDITION_FAILED = "ConditionalCheckFailedException"
KEPT = Retention(90)
KEY = "FULFILLED#2026-11-22#7"
ITEM = {
    "OrderId": "001",
    "Status": "FULFILLED",
    "ExecutionArn": EXECUTION,
    "Name": "Ada",
    "ItemName": "Bicycle",
    "Price": "12.50",
    "CC": "************5678",
    "CreatedAt": THEN,
    "ShipmentId": "S-1",
    "FulfilledAt": NOW,
    "Attempts": 3,
}
ORDER = Order(
    "001",
    OrderStatus.FULFILLED,
    EXECUTION,
    name="Ada",
    item_name="Bicycle",
    price="12.50",
    cc="************5678",
    created_at=THEN,
    shipment_id="S-1",
    fulfilled_at=NOW,
    attempts=3,
)


def table(dynamodb: PagedDynamo, retention: Retention = FOR_EVER) -> DynamoOrders:
    return DynamoOrders(cast("Any", dynamodb), "Orders", retention=retention)


async def test_a_table_is_looked_up_by_its_name() -> None:
    dynamodb = PagedDynamo(describe_table=[{}, refusal("ResourceNotFoundException"), refusal("ValidationException")])
    await check_table(cast("Any", dynamodb), "Orders")
    with pytest.raises(MissingResourceError) as raised:
        await check_table(cast("Any", dynamodb), "Orders")
    assert str(raised.value) == ("there is no table Orders: deploy the stack, or correct the variable that names it")
    with pytest.raises(SuspectedOutageError):  # No code is this request's own fault.
        await check_table(cast("Any", dynamodb), "Orders")
    assert dynamodb.requests == [("describe_table", {"TableName": "Orders"})] * 3


async def test_an_order_is_read_consistently() -> None:
    dynamodb = PagedDynamo(get_item=[{"Item": to_item(ITEM)}, {}])
    assert await table(dynamodb).get("001") == ORDER
    assert await table(dynamodb).get("002") is None
    assert dynamodb.requests == [
        ("get_item", {"TableName": "Orders", "Key": {"OrderId": {"S": order_id}}, "ConsistentRead": True})
        for order_id in ("001", "002")
    ]


async def test_an_order_of_only_an_id_and_a_status_is_read() -> None:
    item = to_item({"OrderId": "001", "Status": "RECEIVED", "Attempts": "many"})
    assert await table(PagedDynamo(get_item=[{"Item": item}])).get("001") == Order("001", OrderStatus.RECEIVED, None)


@pytest.mark.parametrize("edited", [{"Status": "PENDING"}, {"Status": None}])
async def test_an_order_that_was_edited_is_unreadable(edited: dict[str, Any]) -> None:
    with pytest.raises(UnreadableOrderError, match=r"^the order's Status in the table is not a valid status$"):
        await table(PagedDynamo(get_item=[{"Item": to_item(ITEM | edited)}])).get("001")


async def test_an_unreadable_answer_is_an_outage_not_a_missing_order() -> None:
    with pytest.raises(OutageError, match=r"^GetItem: an unreadable response$"):
        await table(PagedDynamo(get_item=[{"Item": {"OrderId": "001"}}])).get("001")


@pytest.mark.parametrize(
    ("execution", "retention", "expires", "bound", "parameters"),
    [
        (EXECUTION, FOR_EVER, "", " AND ExecutionArn=?", [{"S": "001"}, {"S": EXECUTION}]),
        (None, FOR_EVER, "", "", [{"S": "001"}]),
        (
            EXECUTION,
            KEPT,
            " SET ExpiresAt=?",
            " AND ExecutionArn=?",
            [{"N": str(KEPT.expires_at(NOW))}, {"S": "001"}, {"S": EXECUTION}],
        ),
        (None, KEPT, " SET ExpiresAt=?", "", [{"N": str(KEPT.expires_at(NOW))}, {"S": "001"}]),
    ],
)
async def test_an_order_is_fulfilled_by_one_statement(
    execution: str | None, retention: Retention, expires: str, bound: str, parameters: list[Any]
) -> None:
    dynamodb = PagedDynamo(batch_execute_statement=[{"Responses": [{}]}])
    fulfilled = await table(dynamodb, retention).fulfill("001", execution, "S-1", NOW)
    assert fulfilled == Order("001", OrderStatus.FULFILLED, execution, shipment_id="S-1", fulfilled_at=NOW)
    statement = (
        f'UPDATE "Orders" SET "Status"=\'FULFILLED\' SET ShipmentId=? SET FulfilledAt=? SET UpdatedAt=?'
        f" SET OpenKey=?{expires} WHERE OrderId=? AND \"Status\"='RECEIVED'{bound}"
    )
    assert dynamodb.requests == [
        (
            "batch_execute_statement",
            {
                "Statements": [
                    {
                        "Statement": statement,
                        "Parameters": [{"S": "S-1"}, {"S": NOW}, {"S": NOW}, {"S": KEY}, *parameters],
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                ]
            },
        )
    ]


def failed(code: str, **more: Any) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": "no", **more}}


async def test_each_order_of_a_group_gets_its_own_result() -> None:
    responses = [
        {},
        failed("ConditionalCheckFailed", Item=to_item(ITEM)),
        failed("ConditionalCheckFailed"),
        failed("ConditionalCheckFailed", Item={}),
        failed("ConditionalCheckFailed", Item=to_item(ITEM | {"Status": "PENDING"})),
        failed("ConditionalCheckFailed", Item={"OrderId": "broken"}),
        failed("ValidationError"),
        failed("ThrottlingError"),
        {"Error": {}},
    ]
    dynamodb = PagedDynamo(batch_execute_statement=[{"Responses": responses}])
    orders = table(dynamodb)
    results = await asyncio.gather(
        *(orders.fulfill(f"o{n}", ANOTHER, f"S-{n}", NOW) for n in range(len(responses))), return_exceptions=True
    )
    assert len(dynamodb.requests) == 1
    assert results[:4] == [
        Order("o0", OrderStatus.FULFILLED, ANOTHER, shipment_id="S-0", fulfilled_at=NOW),
        ORDER,
        None,
        None,
    ]
    assert [type(error) for error in results[4:]] == [
        UnreadableOrderError,
        SuspectedOutageError,
        WorkerError,
        OutageError,
        SuspectedOutageError,
    ]
    assert str(results[5]) == str(results[8]) == "BatchExecuteStatement: an unreadable response"


async def test_a_request_has_at_most_twenty_five_statements() -> None:
    dynamodb = PagedDynamo(batch_execute_statement=[{"Responses": [{}] * 25}, {"Responses": [{}] * 15}])
    orders = table(dynamodb)
    await asyncio.gather(*(orders.fulfill(f"o{n}", EXECUTION, "S-1", NOW) for n in range(40)))
    assert [len(request["Statements"]) for _, request in dynamodb.requests] == [25, 15]


async def test_two_requests_run_at_once() -> None:
    dynamodb = Waiting()
    orders = DynamoOrders(cast("Any", dynamodb), "Orders", retention=FOR_EVER)
    calls = [orders.fulfill(f"o{n}", EXECUTION, "S-1", NOW) for n in range(4)]
    await two_at_once(dynamodb, calls, {"Responses": [{}, {}]})


@pytest.mark.parametrize("responses", [{}, {"Responses": []}, {"Responses": [{}, {}, {}]}])
async def test_an_answer_with_too_few_or_too_many_results_fulfills_nothing(responses: Any) -> None:
    orders = table(PagedDynamo(batch_execute_statement=[responses]))
    results = await asyncio.gather(
        *(orders.fulfill(f"o{n}", EXECUTION, "S-1", NOW) for n in range(2)), return_exceptions=True
    )
    assert [str(error) for error in results] == ["BatchExecuteStatement: an incomplete response"] * 2
    assert all(isinstance(error, OutageError) for error in results)


async def test_an_answer_that_is_not_a_list_fulfills_nothing() -> None:
    with pytest.raises(OutageError, match=r"^BatchExecuteStatement: an unreadable response$"):
        await table(PagedDynamo(batch_execute_statement=[{"Responses": 3}])).fulfill("001", None, "S-1", NOW)


@pytest.mark.parametrize("error", [refusal("ValidationException"), ParamValidationError(report="no")], ids=repr)
async def test_a_refused_request_of_one_order_is_not_sent_again(error: Exception) -> None:
    dynamodb = PagedDynamo(batch_execute_statement=[error])
    with pytest.raises(type(error)):
        await table(dynamodb).fulfill("001", EXECUTION, "S-1", NOW)
    assert len(dynamodb.requests) == 1


async def test_a_refused_request_of_several_orders_is_halved() -> None:
    refused = refusal("ValidationException")
    dynamodb = PagedDynamo(batch_execute_statement=[refused, {"Responses": [{}]}, refused])
    orders = table(dynamodb)
    first, second = await asyncio.gather(
        *(orders.fulfill(f"o{n}", EXECUTION, "S-1", NOW) for n in range(2)), return_exceptions=True
    )
    assert [len(request["Statements"]) for _, request in dynamodb.requests] == [2, 1, 1]
    assert isinstance(first, Order)
    assert first.order_id == "o0"
    assert second is refused


async def test_an_outage_of_a_group_is_not_halved() -> None:
    dynamodb = PagedDynamo(batch_execute_statement=[refusal("InternalServerError", status=500)])
    orders = table(dynamodb)
    results = await asyncio.gather(
        *(orders.fulfill(f"o{n}", EXECUTION, "S-1", NOW) for n in range(2)), return_exceptions=True
    )
    assert [type(error) for error in results] == [OutageError] * 2
    assert len(dynamodb.requests) == 1


COUNTERS = [("count_attempt", "Attempts", "LastAttempt"), ("count_trial", "Trials", "LastTrial")]


@pytest.mark.parametrize(("method", "counter", "last"), COUNTERS)
@pytest.mark.parametrize("execution", [EXECUTION, None])
async def test_an_event_is_counted_once_on_a_received_order(
    method: str, counter: str, last: str, execution: str | None
) -> None:
    dynamodb = PagedDynamo(update_item=[{"Attributes": to_item({counter: 4, "Others": 9})}])
    assert await getattr(table(dynamodb), method)("001", execution, "m/1") == 4
    bound = "" if execution is None else " AND ExecutionArn = :execution"
    bound_to = {} if execution is None else {":execution": {"S": execution}}
    assert dynamodb.requests == [
        (
            "update_item",
            {
                "TableName": "Orders",
                "Key": {"OrderId": {"S": "001"}},
                "UpdateExpression": "SET #Last = :event ADD #Counter :one",
                "ConditionExpression": f"#Status = :received{bound}"
                " AND (attribute_not_exists(#Last) OR #Last <> :event)",
                "ExpressionAttributeNames": {"#Status": "Status", "#Last": last, "#Counter": counter},
                "ExpressionAttributeValues": {
                    ":event": {"S": "m/1"},
                    ":one": {"N": "1"},
                    ":received": {"S": "RECEIVED"},
                    **bound_to,
                },
                "ReturnValues": "ALL_NEW",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            },
        )
    ]


@pytest.mark.parametrize(("method", "counter", "last"), COUNTERS)
@pytest.mark.parametrize(
    ("old", "expected"),
    [
        ({"Status": "RECEIVED", "last": "m/1", "counter": 2}, 2),
        ({"Status": "RECEIVED", "last": "m/0", "counter": 2}, None),
        ({"Status": "ESCALATED", "last": "m/1", "counter": 2}, None),
        ({"Status": "RECEIVED"}, None),
        ({}, None),
        (None, None),
    ],
)
async def test_an_event_that_was_counted_before_has_its_number(
    method: str, counter: str, last: str, old: dict[str, Any] | None, expected: int | None
) -> None:
    names = {"last": last, "counter": counter}
    item = None if old is None else to_item({names.get(name, name): value for name, value in old.items()})
    more: dict[str, Any] = {} if item is None else {"Item": item}
    dynamodb = PagedDynamo(update_item=[refusal(CONDITION_FAILED, "UpdateItem", **more)])
    assert await getattr(table(dynamodb), method)("001", EXECUTION, "m/1") == expected


@pytest.mark.parametrize("answer", [{}, {"Attributes": {}}, {"Attributes": {"Attempts": {"S": "many"}}}])
async def test_an_unreadable_count_is_an_outage(answer: Any) -> None:
    with pytest.raises(OutageError, match=r"^UpdateItem: an unreadable response$"):
        await table(PagedDynamo(update_item=[answer])).count_attempt("001", EXECUTION, "m/1")


async def test_an_unreadable_order_of_a_failed_condition_is_an_outage() -> None:
    error = refusal(CONDITION_FAILED, "UpdateItem", Item={"Status": "RECEIVED"})
    with pytest.raises(OutageError, match=r"^UpdateItem: an unreadable response$"):
        await table(PagedDynamo(update_item=[error])).count_attempt("001", EXECUTION, "m/1")


@pytest.mark.parametrize("execution", [EXECUTION, None])
async def test_the_last_trial_is_taken_back(execution: str | None) -> None:
    dynamodb = PagedDynamo(update_item=[{}])
    assert await table(dynamodb).take_back_trial("001", execution, "m/1") is True
    bound = "" if execution is None else " AND ExecutionArn = :execution"
    bound_to = {} if execution is None else {":execution": {"S": execution}}
    assert dynamodb.requests == [
        (
            "update_item",
            {
                "TableName": "Orders",
                "Key": {"OrderId": {"S": "001"}},
                "UpdateExpression": "SET Trials = Trials - :one REMOVE LastTrial",
                "ConditionExpression": f"#Status = :received{bound} AND LastTrial = :trial",
                "ExpressionAttributeNames": {"#Status": "Status"},
                "ExpressionAttributeValues": {
                    ":trial": {"S": "m/1"},
                    ":one": {"N": "1"},
                    ":received": {"S": "RECEIVED"},
                    **bound_to,
                },
            },
        )
    ]


async def test_a_trial_that_is_not_the_last_one_is_not_taken_back() -> None:
    dynamodb = PagedDynamo(update_item=[refusal(CONDITION_FAILED, "UpdateItem")])
    assert await table(dynamodb).take_back_trial("001", EXECUTION, "m/1") is False


@pytest.mark.parametrize("method", ["count_attempt", "count_trial", "take_back_trial"])
@pytest.mark.parametrize(
    ("code", "error"), [("ValidationException", ClientError), ("CodeOfTomorrow", SuspectedOutageError)]
)
async def test_any_other_refusal_of_an_update_is_raised(method: str, code: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await getattr(table(PagedDynamo(update_item=[refusal(code, "UpdateItem")])), method)("001", EXECUTION, "m/1")


async def test_a_read_that_aws_blames_is_not_an_outage() -> None:
    with pytest.raises(ClientError):
        await table(PagedDynamo(get_item=[refusal("ValidationException")])).get("001")
