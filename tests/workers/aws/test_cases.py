from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import DeployedStack
from tests.workers.aws.test_orders import ANOTHER, EXECUTION, NOW, THEN, put, stored
from workers.aws.cases import DynamoCases
from workers.aws.items import from_item, to_item
from workers.aws.orders import DynamoOrders
from workers.aws.orders_to_ship import DynamoOrdersToShip
from workers.aws.status_index import status_key
from workers.domain.cases import Case, CaseState, Dropped, HandledReminder, OrderCopy, Resolution, SentNotification
from workers.domain.escalations import Assessment, Escalation, plan_escalation
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.resolutions import Action, Request, claim_resubmission, plan_resolution
from workers.domain.retention import Retention
from workers.errors import ConflictError, UnreadableOrderError

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

ASSESSMENT = Assessment(Severity.WARNING, ("log", "pager"))


@pytest.fixture
def cases(stack: DeployedStack, dynamodb: "DynamoDBClient") -> DynamoCases:
    return DynamoCases(dynamodb, stack.escalation_table, stack.order_table)


@pytest.fixture
def orders(stack: DeployedStack, dynamodb: "DynamoDBClient") -> DynamoOrders:
    return DynamoOrders(dynamodb, stack.order_table)


@pytest.fixture
def to_ship(stack: DeployedStack, dynamodb: "DynamoDBClient") -> DynamoOrdersToShip:
    return DynamoOrdersToShip(dynamodb, stack.order_table, stack.escalation_table)


def escalation(order_id: str | None, message_id: str = "m1", **changes: Any) -> Escalation:
    return replace(
        Escalation(
            message_id=message_id,
            order_id=order_id,
            reasons=(Reason.INVALID_PRICE,),
            source=Source.WORKFLOW,
            detail="The order's details are not proper.",
            execution_arn=EXECUTION,
            attempts=3,
        ),
        **changes,
    )


async def opened(cases: DynamoCases, order_id: str, order: Order | None = None, **changes: Any) -> Case:
    """Open a case in the table and return the stored case."""
    await cases.apply(plan_escalation(escalation(order_id, **changes), order, None, NOW, ASSESSMENT), order)
    case = await cases.get(order_id)
    assert case is not None
    return case


async def rejections(to_ship: DynamoOrdersToShip, order_id: str, execution_arn: str | None = None) -> int:
    order = await to_ship.get_to_ship(order_id, execution_arn)
    assert order is not None
    return order.rejections


def case_item(stack: DeployedStack, case_id: str) -> dict[str, Any]:
    found = stack.client("dynamodb").get_item(TableName=stack.escalation_table, Key={"CaseId": {"S": case_id}})
    return from_item(found["Item"])


async def test_a_case_is_read_as_it_was_written(cases: DynamoCases) -> None:
    plan = plan_escalation(escalation("case-1"), None, None, NOW, ASSESSMENT)
    assert plan.case is not None
    await cases.apply(plan, None)
    assert await cases.get("case-1") == replace(plan.case, version=1)
    assert await cases.get("case-none") is None


async def test_a_case_and_its_order_are_read_together(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders
) -> None:
    put(stack, "together")
    put(stack, "together-odd", "PENDING")
    assert await cases.read("together", "together") == (None, await orders.get("together"), None)
    case = await opened(cases, "together")
    assert await cases.read("together", None) == (case, None, None)
    assert await cases.read("together", "together-none", "together") == (case, None, None)
    assert await cases.read("none", "together-none", "together") == (None, None, case)
    read, odd, _ = await cases.read("together", "together-odd")
    assert read == case
    assert isinstance(odd, UnreadableOrderError)


async def test_of_two_concurrent_claims_only_the_first_is_written(cases: DynamoCases) -> None:
    case = await opened(cases, "claimed")
    asked = [Request(action=Action.RESUBMIT, actor=actor, note="as agreed") for actor in ("ada", "grace")]
    plans = [claim_resubmission(case, request, "claimed", NOW, lambda name: f"arn:{name}")[1] for request in asked]
    assert plans[0] is not None
    assert plans[1] is not None
    await cases.put(plans[0])
    with pytest.raises(ConflictError):
        await cases.put(plans[1])
    assert await cases.get("claimed") == replace(plans[0], version=2)


async def test_open_cases_are_read_in_batches_of_a_hundred(stack: DeployedStack, cases: DynamoCases) -> None:
    expected = {}
    for number in range(101):
        case = await opened(cases, f"listed-{number}")
        expected[case.case_id] = case
    resolved = await opened(cases, "listed-resolved")
    request = Request(action=Action.CANCEL, actor="ada", note="as agreed")
    await cases.resolve(plan_resolution(resolved, None, request, NOW), None)
    stack.client("dynamodb").put_item(
        TableName=stack.escalation_table,
        Item=to_item({"CaseId": "listed-broken", "OpenKey": "OPEN#0", "UpdatedAt": NOW, "State": "OPEN"}),
    )
    found, unreadable = await cases.open_cases()
    assert {case.case_id: case for case in found if case.case_id.startswith("listed-")} == expected
    assert unreadable == ["listed-broken"]
    stack.client("dynamodb").delete_item(TableName=stack.escalation_table, Key=to_item({"CaseId": "listed-broken"}))


async def test_a_case_is_in_the_index_by_its_state_and_the_day_of_its_resolution(
    stack: DeployedStack, cases: DynamoCases
) -> None:
    case = await opened(cases, "case-open")
    item = case_item(stack, "case-open")
    assert item["OpenKey"] == status_key("OPEN", "case-open", NOW)
    assert (item["CaseId"], item["State"], item["Severity"], item["ExecutionArn"]) == (
        *("case-open", "OPEN", "warning"),
        EXECUTION,
    )
    resolved_at, later = "2026-11-22T23:59:59.000000Z", "2026-11-24T00:00:00.000000Z"
    record = Resolution(action="close", episode=1, actor="ada", note="as agreed", at=resolved_at)
    await cases.put(replace(case, state=CaseState.RESOLVED, resolutions=(record,), updated_at=later))
    assert case_item(stack, "case-open")["OpenKey"] == status_key("RESOLVED", "case-open", resolved_at)


async def test_order_and_case_change_in_one_transaction(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders
) -> None:
    item = put(stack, "both-1")
    await opened(cases, "both-1", await orders.get("both-1"))
    changed = stored(stack, "both-1")
    assert changed == item | {
        "Status": "ESCALATED",
        "OpenKey": status_key("ESCALATED", "both-1", NOW),
        "Reasons": ["INVALID_PRICE"],
        "EscalatedAt": NOW,
        "UpdatedAt": NOW,
    }


@pytest.mark.parametrize(("status", "execution"), [("FULFILLED", EXECUTION), ("RECEIVED", ANOTHER)])
async def test_if_the_order_has_changed_neither_is_written(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders, status: str, execution: str
) -> None:
    order_id = f"conflict-{status}"
    put(stack, order_id)
    order = await orders.get(order_id)
    item = put(stack, order_id, status, ExecutionArn=execution)
    with pytest.raises(ConflictError):
        await cases.apply(plan_escalation(escalation(order_id), order, None, NOW, ASSESSMENT), order)
    assert await cases.get(order_id) is None
    assert stored(stack, order_id) == item


async def test_if_the_case_has_changed_neither_is_written(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders
) -> None:
    item = put(stack, "conflict-case")
    order = await orders.get("conflict-case")
    stale = plan_escalation(escalation("conflict-case", "late"), order, None, NOW, ASSESSMENT)
    case = await opened(cases, "conflict-case")
    with pytest.raises(ConflictError):
        await cases.apply(stale, order)
    escalated = Order("conflict-case", OrderStatus.ESCALATED, EXECUTION)
    second = plan_escalation(escalation("conflict-case", "m2"), escalated, case, NOW, ASSESSMENT)
    third = plan_escalation(escalation("conflict-case", "m3"), escalated, case, NOW, ASSESSMENT)
    await cases.apply(second, escalated)
    with pytest.raises(ConflictError):
        await cases.apply(third, escalated)
    written = await cases.get("conflict-case")
    assert written is not None
    assert (written.message_ids, written.version) == (("m1", "m2"), 2)
    assert stored(stack, "conflict-case") == item


async def test_a_case_is_found_by_its_newest_execution(cases: DynamoCases) -> None:
    execution = f"{EXECUTION}-found"
    await opened(cases, "found-1", execution_arn=execution)
    assert await cases.find_by_execution(execution) == "found-1"
    assert await cases.find_by_execution(f"{execution}-not") is None


@pytest.mark.parametrize("order_id", ["a-both", "z-both"])
async def test_the_case_of_an_order_is_found_before_that_of_its_execution(cases: DynamoCases, order_id: str) -> None:
    execution = f"{EXECUTION}-{order_id}"
    for case_id in (execution.rpartition(":")[2], order_id):
        await opened(cases, case_id, execution_arn=execution)
    assert await cases.find_by_execution(execution) == order_id


async def test_the_case_of_an_execution_is_found_if_there_is_no_other(cases: DynamoCases) -> None:
    execution = f"{EXECUTION}-only"
    own_id = execution.rpartition(":")[2]
    await opened(cases, own_id, execution_arn=execution)
    assert await cases.find_by_execution(execution) == own_id


async def test_order_case_and_merged_case_change_in_one_transaction(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders
) -> None:
    execution = f"{EXECUTION}-merged"
    own_id = execution.rpartition(":")[2]
    notice = escalation(None, "e1", execution_arn=execution)
    await cases.apply(plan_escalation(notice, None, None, NOW, ASSESSMENT), None)
    put(stack, "merged-1", ExecutionArn=execution)
    order = await orders.get("merged-1")
    case, _, execution_case = await cases.read("merged-1", "merged-1", own_id)
    later = escalation("merged-1", "m1", execution_arn=execution)
    plan = plan_escalation(later, order, case, THEN, ASSESSMENT, execution_case=execution_case)
    assert execution_case is not None
    await cases.put(replace(execution_case, severity=Severity.INFO))
    with pytest.raises(ConflictError):
        await cases.apply(plan, order)
    assert await cases.get("merged-1") is None
    _, _, execution_case = await cases.read("merged-1", "merged-1", own_id)
    plan = plan_escalation(later, order, case, THEN, ASSESSMENT, execution_case=execution_case)
    await cases.apply(plan, order)
    assert plan.case is not None
    assert plan.merged is not None
    assert await cases.get("merged-1") == replace(plan.case, version=1)
    assert await cases.get(own_id) == replace(plan.merged, version=3)
    assert stored(stack, "merged-1")["Status"] == "ESCALATED"
    assert case_item(stack, own_id)["OpenKey"].startswith("RESOLVED#2026-")


def handled(tries: int, message_id: str, at: str = NOW, episode: int = 1) -> HandledReminder:
    return HandledReminder(episode=episode, tries=tries, message_id=message_id, at=at)


async def test_a_reminder_is_claimed_once_by_one_message(cases: DynamoCases) -> None:
    case = await opened(cases, "reminded-1")
    before, long_after = "2026-11-22T10:00:00.000000Z", "2026-11-22T23:00:00.000000Z"
    claimed = await cases.claim_reminder("reminded-1", handled(2, "r1"), before)
    assert claimed == replace(case, reminder=handled(2, "r1"), version=2)
    assert await cases.claim_reminder("reminded-1", handled(2, "r1"), before) is not None
    for again in (handled(2, "r2"), handled(1, "r1"), handled(3, "r2", episode=2)):
        assert await cases.claim_reminder("reminded-1", again, before) is None
    assert await cases.claim_reminder("reminded-1", handled(1, "r2"), long_after) is not None
    assert await cases.claim_reminder("reminded-1", handled(3, "r3"), before) is not None
    reminded = await cases.get("reminded-1")
    assert reminded is not None
    await cases.put(replace(reminded, episode=2))
    assert await cases.claim_reminder("reminded-1", handled(1, "r4", episode=2), before) is not None
    reminded = await cases.get("reminded-1")
    assert reminded is not None
    await cases.put(replace(reminded, state=CaseState.RESOLVED))
    assert await cases.claim_reminder("reminded-1", handled(9, "r9"), before) is None
    assert await cases.claim_reminder("reminded-none", handled(1, "r1"), before) is None


async def test_what_a_case_has_dropped_is_read_as_it_was_written(cases: DynamoCases) -> None:
    case = await opened(cases, "dropped-1")
    await cases.put(replace(case, dropped=Dropped(evidence=3, rejected_executions=1)))
    assert await cases.get("dropped-1") == replace(case, dropped=Dropped(evidence=3, rejected_executions=1), version=2)


async def test_a_sent_notification_is_recorded_on_its_episode(cases: DynamoCases) -> None:
    case = await opened(cases, "routing-1")
    sent = SentNotification(channel="pager", episode=1, at=THEN)
    await cases.record_sent(case, sent)
    written = await cases.get("routing-1")
    assert written == replace(case, routed=(*case.routed, sent), version=2)
    assert [recorded.channel for recorded in written.routed] == ["log", "pager"]


async def test_order_history_and_channels_are_read_as_they_were_written(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders
) -> None:
    put(stack, "history-1")
    order = await orders.get("history-1")
    assert order is not None
    first = await opened(cases, "history-1", order)
    assert first.order == OrderCopy.of(order)
    assert case_item(stack, "history-1")["Order"]["CC"] == order.cc
    await cases.put(replace(first, state=CaseState.RESOLVED))
    resolved = await cases.get("history-1")
    later = plan_escalation(escalation("history-1", "m2", execution_arn=ANOTHER), None, resolved, THEN, ASSESSMENT)
    assert later.case is not None
    await cases.apply(later, None)
    written = await cases.get("history-1")
    assert written == replace(later.case, version=3)
    assert [(episode.number, episode.opened_at) for episode in written.episodes] == [(1, NOW)]
    assert written.unrouted == ("pager",)
    item = case_item(stack, "history-1")
    assert (item["FirstSeenAt"], item["LastSeenAt"]) == (NOW, THEN)


async def test_a_notification_of_an_earlier_episode_is_not_recorded(cases: DynamoCases) -> None:
    case = await opened(cases, "routing-2")
    await cases.put(replace(case, episode=2))
    await cases.record_sent(case, SentNotification(channel="pager", episode=1, at=THEN))
    written = await cases.get("routing-2")
    assert written is not None
    assert (written.episode, written.routed) == (2, case.routed)


async def test_rejections_of_earlier_executions_are_counted(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders, to_ship: DynamoOrdersToShip
) -> None:
    put(stack, "rejected")
    first = await orders.get("rejected")
    assert await rejections(to_ship, "rejected", EXECUTION) == 0
    await opened(cases, "rejected", first, reasons=(Reason.FULFILLMENT_REJECTED,))
    message = "the rejection of its own execution does not change its key"
    assert await rejections(to_ship, "rejected", EXECUTION) == await rejections(to_ship, "rejected") == 0, message
    put(stack, "rejected", ExecutionArn=ANOTHER)
    assert await rejections(to_ship, "rejected", ANOTHER) == await rejections(to_ship, "rejected") == 1
    put(stack, "another")
    assert await rejections(to_ship, "another", EXECUTION) == 0


async def test_a_rejection_is_not_counted_once_the_next_execution_began(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders, to_ship: DynamoOrdersToShip
) -> None:
    put(stack, "late-rejection")
    order = await orders.get("late-rejection")
    case = await opened(cases, "late-rejection", order)
    escalated = await orders.get("late-rejection")
    assert escalated is not None
    rejected = escalation("late-rejection", "m2", reasons=(Reason.FULFILLMENT_REJECTED,))
    plan = plan_escalation(rejected, escalated, case, NOW, ASSESSMENT)
    put(stack, "late-rejection", ExecutionArn=ANOTHER)
    with pytest.raises(ConflictError):
        await cases.apply(plan, escalated)
    assert await cases.get("late-rejection") == case
    put(stack, "late-rejection", Status="ESCALATED")
    await cases.apply(plan, escalated)
    put(stack, "late-rejection", ExecutionArn=ANOTHER)
    assert await rejections(to_ship, "late-rejection", ANOTHER) == 1


async def test_no_case_gets_a_copy_of_an_order_that_is_erased_meanwhile(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders
) -> None:
    item = put(stack, "erased", Status="FULFILLED")
    order = await orders.get("erased")
    late = escalation("erased", execution_arn=ANOTHER)
    marker = {name: item[name] for name in ("OrderId", "Status", "ExecutionArn")}
    stack.client("dynamodb").put_item(TableName=stack.order_table, Item=to_item(marker))
    with pytest.raises(ConflictError):
        await cases.apply(plan_escalation(late, order, None, NOW, ASSESSMENT), order)
    assert await cases.get("erased") is None
    case = await opened(cases, "erased", await orders.get("erased"), execution_arn=ANOTHER)
    assert case.order is not None
    assert case.order.name is None


async def test_a_rejection_without_an_execution_is_counted(
    stack: DeployedStack, cases: DynamoCases, to_ship: DynamoOrdersToShip
) -> None:
    put(stack, "by-hand", ExecutionArn=None, Status="ESCALATED")
    order = Order("by-hand", OrderStatus.ESCALATED, None)
    case = await opened(cases, "by-hand", order, execution_arn=None)
    rejected = escalation("by-hand", "m2", reasons=(Reason.FULFILLMENT_REJECTED,), execution_arn=None)
    plan = plan_escalation(rejected, order, case, NOW, ASSESSMENT)
    await cases.apply(plan, order)
    assert await rejections(to_ship, "by-hand") == 1


@pytest.mark.parametrize(("action", "status"), [(Action.FULFILL, "FULFILLED"), (Action.CANCEL, "CANCELLED")])
async def test_order_and_case_are_resolved_together_or_not_at_all(
    stack: DeployedStack, cases: DynamoCases, orders: DynamoOrders, action: Action, status: str
) -> None:
    order_id = f"settled-{action}"
    put(stack, order_id)
    await opened(cases, order_id, await orders.get(order_id))
    item = stored(stack, order_id)
    case, order = await cases.get(order_id), await orders.get(order_id)
    request = Request(action=action, actor="ada", note="as agreed", shipment_id="S-1")
    plan = plan_resolution(case, order, request, THEN)
    for changes in ({"Status": "RECEIVED"}, {"Status": "CANCELLED"}, {"ExecutionArn": ANOTHER}):
        changed = put(stack, order_id, **item | changes)
        with pytest.raises(ConflictError):
            await cases.resolve(plan, order)
        assert (stored(stack, order_id), await cases.get(order_id)) == (changed, case)
    put(stack, order_id, **item)
    await cases.resolve(plan, order)
    shipped = {"ShipmentId": "S-1", "FulfilledAt": THEN} if action is Action.FULFILL else {}
    key = status_key(status, order_id, THEN)
    settled = item | {"Status": status, "UpdatedAt": THEN, "OpenKey": key, "ResolvedBy": "ada"} | shipped
    assert stored(stack, order_id) == settled
    assert plan.case is not None
    assert await cases.get(order_id) == replace(plan.case, version=2)
    with pytest.raises(ConflictError):
        await cases.resolve(plan, order)
    assert stored(stack, order_id) == settled


async def test_a_resolved_case_and_its_order_expire_until_the_case_is_opened_again(
    stack: DeployedStack, dynamodb: "DynamoDBClient"
) -> None:
    cases = DynamoCases(dynamodb, stack.escalation_table, stack.order_table, retention=Retention(90))
    orders = DynamoOrders(dynamodb, stack.order_table)
    put(stack, "expiring")
    case = await opened(cases, "expiring", await orders.get("expiring"))
    assert "ExpiresAt" not in case_item(stack, "expiring")
    assert "ExpiresAt" not in stored(stack, "expiring")

    order = await orders.get("expiring")
    request = Request(action=Action.CANCEL, actor="ada", note="as agreed")
    await cases.resolve(plan_resolution(case, order, request, NOW), order)
    assert case_item(stack, "expiring")["ExpiresAt"] == Retention(90).expires_at(NOW)
    assert stored(stack, "expiring")["ExpiresAt"] == Retention(90).expires_at(NOW)

    resolved, later = await cases.get("expiring"), escalation("expiring", "m2", execution_arn=ANOTHER)
    await cases.apply(plan_escalation(later, None, resolved, NOW, ASSESSMENT), None)
    assert "ExpiresAt" not in case_item(stack, "expiring")


async def test_without_a_retention_nothing_expires(stack: DeployedStack, cases: DynamoCases) -> None:
    case = await opened(cases, "kept")
    await cases.resolve(plan_resolution(case, None, Request(action=Action.CANCEL, actor="a", note="b"), NOW), None)
    assert "ExpiresAt" not in case_item(stack, "kept")
