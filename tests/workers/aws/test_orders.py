import asyncio
import functools
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.support import DeployedStack
from workers.aws.errors import MissingResourceError
from workers.aws.items import from_item, to_item
from workers.aws.orders import DynamoOrders, check_table
from workers.aws.status_index import status_key
from workers.domain.orders import Order, OrderStatus
from workers.domain.retention import Retention
from workers.errors import SuspectedOutageError, UnreadableOrderError
from workers.testing import sdk

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:Orders:one"
ANOTHER = "arn:aws:states:us-east-1:123456789012:execution:Orders:two"
THEN, NOW = "2026-11-22T10:00:00.000000Z", "2026-11-22T11:00:00.000000Z"


@pytest.fixture
def orders(stack: DeployedStack, dynamodb: "DynamoDBClient") -> DynamoOrders:
    return DynamoOrders(dynamodb, stack.order_table)


@functools.cache
def client(endpoint: str) -> Any:
    """Return the test's own client. Building one takes longer than its requests."""
    return sdk.client("dynamodb", endpoint)


def put(stack: DeployedStack, order_id: str, status: str = "RECEIVED", **more: Any) -> dict[str, Any]:
    item = {
        "OrderId": order_id,
        "Name": "Zo\u00eb",
        "ItemName": "Bicycle",
        "Price": "12.50",
        "CC": "************5678",
        "Status": status,
        "ExecutionArn": EXECUTION,
        "StartedAt": THEN,
        "CreatedAt": THEN,
        "UpdatedAt": THEN,
        "OpenKey": f"{status}#a",
    } | more
    client(stack.local_aws.endpoint).put_item(TableName=stack.order_table, Item=to_item(item))
    return item


def stored(stack: DeployedStack, order_id: str) -> dict[str, Any]:
    return from_item(
        client(stack.local_aws.endpoint).get_item(TableName=stack.order_table, Key={"OrderId": {"S": order_id}})["Item"]
    )


async def test_an_order_is_read(stack: DeployedStack, orders: DynamoOrders) -> None:
    put(stack, "read-1", Attempts=2)
    assert await orders.get("read-1") == Order(
        order_id="read-1",
        status=OrderStatus.RECEIVED,
        execution_arn=EXECUTION,
        name="Zo\u00eb",
        item_name="Bicycle",
        price="12.50",
        cc="************5678",
        created_at=THEN,
        attempts=2,
    )
    assert await orders.get("read-2") is None


@pytest.mark.parametrize("named", [EXECUTION, None])
async def test_a_received_order_of_the_named_execution_is_fulfilled(
    stack: DeployedStack, orders: DynamoOrders, named: str | None
) -> None:
    order_id = f"fulfill-{named is None}"
    item = put(stack, order_id)
    order = await orders.fulfill(order_id, named, "SHIP-1", NOW)
    assert order is not None
    assert (order.status, order.shipment_id, order.fulfilled_at) == (OrderStatus.FULFILLED, "SHIP-1", NOW)
    assert stored(stack, order_id) == item | {
        "Status": "FULFILLED",
        "OpenKey": status_key("FULFILLED", order_id, NOW),
        "ShipmentId": "SHIP-1",
        "FulfilledAt": NOW,
        "UpdatedAt": NOW,
    }


@pytest.mark.parametrize(
    ("status", "execution"),
    [("FULFILLED", EXECUTION), ("ESCALATED", EXECUTION), ("CANCELLED", EXECUTION), ("RECEIVED", ANOTHER)],
)
async def test_any_other_order_is_returned_unchanged(
    stack: DeployedStack, orders: DynamoOrders, status: str, execution: str
) -> None:
    order_id = f"other-{status}"
    item = put(stack, order_id, status, ExecutionArn=execution)
    order = await orders.fulfill(order_id, EXECUTION, "SHIP-1", NOW)
    assert order is not None
    assert (order.status, order.execution_arn, order.fulfilled_at) == (OrderStatus(status), execution, None)
    assert stored(stack, order_id) == item


async def test_a_missing_order_is_none_and_is_not_created(orders: DynamoOrders) -> None:
    assert await orders.fulfill("missing-1", EXECUTION, "SHIP-1", NOW) is None
    assert await orders.count_attempt("missing-1", EXECUTION, "m/1") is None
    assert await orders.get("missing-1") is None


async def test_concurrent_orders_each_get_their_own_result(stack: DeployedStack, orders: DynamoOrders) -> None:
    for n in range(60):
        if n % 3:
            put(stack, f"many-{n}", "RECEIVED" if n % 3 == 1 else "ESCALATED")
    results = await asyncio.gather(*(orders.fulfill(f"many-{n}", EXECUTION, f"SHIP-{n}", NOW) for n in range(60)))
    found = [None if order is None else (order.order_id, str(order.status), order.shipment_id) for order in results]
    assert found == [
        [None, (f"many-{n}", "FULFILLED", f"SHIP-{n}"), (f"many-{n}", "ESCALATED", None)][n % 3] for n in range(60)
    ]


async def test_an_order_is_fulfilled_once_by_concurrent_calls(stack: DeployedStack, orders: DynamoOrders) -> None:
    put(stack, "twice-1")
    results = await asyncio.gather(*(orders.fulfill("twice-1", EXECUTION, "SHIP-1", at) for at in (NOW, THEN, NOW)))
    assert len({order.fulfilled_at for order in results if order is not None}) == 1
    assert stored(stack, "twice-1")["FulfilledAt"] in {NOW, THEN}


async def test_attempts_are_counted_only_on_received_orders(stack: DeployedStack, orders: DynamoOrders) -> None:
    item = put(stack, "attempts-1")
    assert await orders.count_attempt("attempts-1", EXECUTION, "m/1") == 1
    assert await orders.count_attempt("attempts-1", EXECUTION, "m/1") == 1, (
        "a repeated write, after its response was lost"
    )
    assert await orders.count_attempt("attempts-1", None, "m/2") == 2
    assert await orders.count_attempt("attempts-1", ANOTHER, "m/3") is None
    assert stored(stack, "attempts-1") == item | {"Attempts": 2, "LastAttempt": "m/2"}
    put(stack, "attempts-2", "ESCALATED")
    assert await orders.count_attempt("attempts-2", EXECUTION, "m/1") is None


async def test_a_trial_is_taken_back_once_and_only_if_it_is_the_last_one(
    stack: DeployedStack, orders: DynamoOrders
) -> None:
    item = put(stack, "trials-1")
    assert await orders.count_trial("trials-1", EXECUTION, "m/11") == 1
    assert await orders.count_trial("trials-1", EXECUTION, "m/12") == 2
    assert not await orders.take_back_trial("trials-1", EXECUTION, "m/11")
    assert not await orders.take_back_trial("trials-1", ANOTHER, "m/12")
    assert await orders.take_back_trial("trials-1", EXECUTION, "m/12")
    assert not await orders.take_back_trial("trials-1", EXECUTION, "m/12"), "a repeated write"
    assert stored(stack, "trials-1") == item | {"Trials": 1}
    assert await orders.count_trial("trials-1", None, "m/13") == 2
    assert await orders.take_back_trial("trials-1", None, "m/13")


async def test_a_trial_of_a_fulfilled_or_missing_order_is_not_taken_back(
    stack: DeployedStack, orders: DynamoOrders
) -> None:
    put(stack, "trials-2")
    await orders.count_trial("trials-2", EXECUTION, "m/11")
    await orders.fulfill("trials-2", EXECUTION, "SHIP-1", NOW)
    item = stored(stack, "trials-2")
    assert not await orders.take_back_trial("trials-2", EXECUTION, "m/11")
    assert stored(stack, "trials-2") == item
    assert not await orders.take_back_trial("trials-3", EXECUTION, "m/11")
    assert await orders.get("trials-3") is None


async def test_a_missing_table_is_reported_by_name(stack: DeployedStack, dynamodb: "DynamoDBClient") -> None:
    await check_table(dynamodb, stack.order_table)
    with pytest.raises(MissingResourceError, match=r"^there is no table NoSuchTable: deploy the stack, or "):
        await check_table(dynamodb, "NoSuchTable")
    with pytest.raises(MissingResourceError):
        await DynamoOrders(dynamodb, "NoSuchTable").get("001")


async def test_an_unreadable_order_does_not_affect_others_in_its_batch(
    stack: DeployedStack, orders: DynamoOrders
) -> None:
    for number in range(3):
        put(stack, f"with-odd-{number}")
    put(stack, "odd-1", "PENDING")
    names = ["with-odd-0", "odd-1", "with-odd-1", "with-odd-2"]
    results = await asyncio.gather(
        *(orders.fulfill(name, EXECUTION, "SHIP-1", NOW) for name in names), return_exceptions=True
    )
    assert [getattr(result, "fulfilled_at", None) for result in results] == [NOW, None, NOW, NOW]
    assert isinstance(results[1], UnreadableOrderError)
    assert str(results[1]) == "the order's Status in the table is not a valid status"


class RefusingDynamo:
    """A client that refuses a whole request because of one of its orders; it accepts all others."""

    def __init__(self, bad: str, code: str = "ValidationException") -> None:
        self.bad = bad
        self.code = code
        self.sizes: list[int] = []

    async def batch_execute_statement(self, *, Statements: list[Any]) -> dict[str, Any]:  # noqa: N803 - the SDK's name.
        self.sizes.append(len(Statements))
        if self.bad in {statement["Parameters"][4]["S"] for statement in Statements}:
            raise ClientError({"Error": {"Code": self.code}}, "BatchExecuteStatement")
        return {"Responses": [{} for _ in Statements]}


async def fulfilled(dynamodb: Any, order_ids: list[str]) -> list[Order | BaseException | None]:
    orders = DynamoOrders(dynamodb, "Orders")
    return await asyncio.gather(
        *(orders.fulfill(order_id, EXECUTION, "S-1", NOW) for order_id in order_ids), return_exceptions=True
    )


async def test_a_request_that_is_refused_because_of_one_order_fails_only_that_order() -> None:
    dynamodb = RefusingDynamo("bad")
    order_ids = [*(f"good-{n}" for n in range(12)), "bad", *(f"good-{n}" for n in range(12, 24))]
    results = await fulfilled(dynamodb, order_ids)
    for order_id, result in zip(order_ids, results, strict=True):
        if order_id == "bad":
            assert isinstance(result, ClientError)
        else:
            assert isinstance(result, Order), (order_id, result)
    assert dynamodb.sizes[0] == 25
    assert len(dynamodb.sizes) <= 11, "it is halved, not sent order by order"


async def test_an_unknown_code_for_a_whole_request_is_an_outage_for_all_its_orders() -> None:
    dynamodb = RefusingDynamo("bad", "CodeOfTomorrow")
    results = await fulfilled(dynamodb, ["good", "bad"])
    assert [type(result) for result in results] == [SuspectedOutageError] * 2
    assert dynamodb.sizes == [2]


@pytest.mark.parametrize("named", [EXECUTION, None])
async def test_a_fulfilled_order_expires_if_the_stack_says_so(
    stack: DeployedStack, dynamodb: "DynamoDBClient", named: str | None
) -> None:
    order_id = f"expires-{named is None}"
    put(stack, order_id)
    await DynamoOrders(dynamodb, stack.order_table, retention=Retention(90)).fulfill(order_id, named, "SHIP-1", NOW)
    item = stored(stack, order_id)
    assert (item["Status"], item["ExpiresAt"]) == ("FULFILLED", Retention(90).expires_at(NOW))


async def test_an_expired_order_that_is_not_deleted_yet_is_as_any_other(
    stack: DeployedStack, orders: DynamoOrders
) -> None:
    item = put(stack, "expired-1", "FULFILLED", ShipmentId="SHIP-1", FulfilledAt=THEN, ExpiresAt=1)
    order = await orders.fulfill("expired-1", EXECUTION, "SHIP-2", NOW)
    assert order is not None
    assert (order.status, order.shipment_id, order.fulfilled_at) == (OrderStatus.FULFILLED, "SHIP-1", THEN)
    assert stored(stack, "expired-1") == item
