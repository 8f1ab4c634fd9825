"""The orders of executions, which are found without their inputs."""

from datetime import timedelta
from typing import Any

import pytest

from tests.workers.console.histories import ORDERS, at, execution_arn, tables
from tests.workers.operations.fakes import NOW, FakeClient, fake_stack
from workers.aws.status_index import status_key
from workers.domain.submissions import submission_name
from workers.operations.execution_orders import Linked, find_orders, is_order_of, read_linked

TIME = "2026-11-22T11:00:00.000000Z"


def order(order_id: str, arn: str, status: str = "ESCALATED") -> dict[str, str]:
    key = status_key(status, order_id, TIME)
    return {"OrderId": order_id, "Status": status, "ExecutionArn": arn, "OpenKey": key, "UpdatedAt": TIME}


async def test_an_order_is_found_by_the_execution_that_it_names_or_by_the_executions_name() -> None:
    named, second = execution_arn("sample-001"), execution_arn(submission_name("002", 2))
    stored = [order("001", named), order("002", execution_arn("newer"), "FULFILLED"), order("003", execution_arn("x"))]
    stack = fake_stack(ORDERS, dynamodb=tables(stored))
    misnamed = execution_arn(submission_name("003", 2).removesuffix("2") + "x")
    found = await find_orders(stack, [named, second, execution_arn("unknown"), misnamed], at(0))
    assert found == {named: "001", second: "002"}


async def test_only_executions_of_others_need_a_look_at_the_orders() -> None:
    named, second = execution_arn("sample-001"), execution_arn(submission_name("002", 2))
    client = tables([order("001", named), order("002", execution_arn("newer"))])
    stack = fake_stack(ORDERS, dynamodb=client)
    assert await find_orders(stack, [second], at(0)) == {second: "002"}
    assert {operation for operation, _ in client.requests} == {"query"}
    assert await find_orders(stack, [named], at(0)) == {named: "001"}


async def test_clocks_may_differ_by_some_seconds() -> None:
    client = tables()
    await find_orders(fake_stack(ORDERS, dynamodb=client), [execution_arn("one")], at(5))
    since = {request["ExpressionAttributeValues"][":since"]["S"] for _, request in client.requests}
    assert since == {TIME}


async def test_days_that_are_looked_through_are_few() -> None:
    client = tables()
    await find_orders(fake_stack(ORDERS, dynamodb=client), [execution_arn("one")], NOW - timedelta(days=80))
    assert len(client.requests) <= 2 * 16 * 2 + 2 * 16
    client.requests.clear()
    since = NOW - timedelta(days=80)
    await find_orders(fake_stack(ORDERS, dynamodb=client), [execution_arn("one")], since, since + timedelta(hours=2))
    keys = {request["ExpressionAttributeValues"][":key"]["S"] for _, request in client.requests}
    assert status_key("FULFILLED", "001", "2026-09-03T12:00:00Z") in keys
    assert len(client.requests) <= 2 * 16 * 2 + 2 * 16


async def test_an_id_is_believed_if_the_name_or_the_stored_order_agrees() -> None:
    named, own = execution_arn(submission_name("001", 3)), execution_arn("sample-002")
    stack = fake_stack(ORDERS, dynamodb=tables([order("002", own)]))
    assert await is_order_of(stack, "001", named)
    assert await is_order_of(stack, "002", own)
    assert not await is_order_of(stack, "003", named)
    assert not await is_order_of(stack, "4111111111111111", named)


async def test_an_order_has_its_status_and_case() -> None:
    arn = execution_arn("one")
    client = tables([order("001", arn)], [{"CaseId": "001", "State": "OPEN"}])
    linked = await read_linked(fake_stack(ORDERS, dynamodb=client), arn, "001")
    assert linked == Linked("001", "ESCALATED", is_of_other=False, case_id="001", case_state="OPEN")


async def test_a_case_says_why_this_execution_was_escalated() -> None:
    arn, other = execution_arn("one"), execution_arn("two")
    evidence = [
        {"ExecutionArn": arn, "Reasons": ["INVALID_PRICE"]},
        {"ExecutionArn": other, "Reasons": ["ORDER_STUCK"]},
    ]
    case: dict[str, Any] = {"CaseId": "001", "State": "OPEN", "Evidence": evidence}
    client = tables([order("001", other)], [case])
    assert (await read_linked(fake_stack(ORDERS, dynamodb=client), arn, "001")).reasons == ("INVALID_PRICE",)


@pytest.mark.parametrize("evidence", ["text", 7, [None], [{"ExecutionArn": execution_arn("one"), "Reasons": 7}]])
async def test_an_edited_case_says_nothing_of_it(evidence: object) -> None:
    case: dict[str, Any] = {"CaseId": "001", "State": "OPEN", "Evidence": evidence}
    client = tables([order("001", execution_arn("one"))], [case])
    assert (await read_linked(fake_stack(ORDERS, dynamodb=client), execution_arn("one"), "001")).reasons == ()


async def test_an_order_that_was_started_again_is_of_another_execution() -> None:
    client = tables([order("001", execution_arn("two"))])
    linked = await read_linked(fake_stack(ORDERS, dynamodb=client), execution_arn("one"), "001")
    assert linked == Linked("001", "ESCALATED", is_of_other=True)


async def test_an_execution_without_an_order_may_have_a_case() -> None:
    case = {"CaseId": "one", "State": "RESOLVED"}
    client = tables(cases=[case])
    assert await read_linked(fake_stack(ORDERS, dynamodb=client), execution_arn("one"), None) == Linked(
        case_id="one", case_state="RESOLVED"
    )


async def test_a_merged_case_is_the_one_of_the_order() -> None:
    cases = [{"CaseId": "one", "MergedInto": "001"}, {"CaseId": "001", "State": "OPEN", "OrderId": "001"}]
    linked = await read_linked(fake_stack(ORDERS, dynamodb=tables(cases=cases)), execution_arn("one"), None)
    assert linked == Linked("001", case_id="001", case_state="OPEN")


async def test_a_card_number_is_never_sent() -> None:
    client: FakeClient = tables()
    await read_linked(fake_stack(ORDERS, dynamodb=client), execution_arn("one"), "4111111111111111")
    assert client.requests == []
