"""Cases resolved by operators, with the workflow, both workers, and late messages."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import aioboto3
import pytest

from deploy.check_state_machine import DEFINITIONS
from tests.integration.conftest import Running
from tests.integration.pipeline import SCRIPTED, Pipeline, fulfilled, wait_until
from tests.support import DeployedStack, DeployStack, StartWorker
from workers.aws.cases import DynamoCases
from workers.aws.executions import Executions
from workers.aws.orders import DynamoOrders
from workers.domain.resolutions import Action, Request, ResolutionError, claim_resubmission
from workers.escalation.resolver import Resolver

CARD = "4929123412345678"
NOW = "2026-11-22T11:00:00.000000Z"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, running: Running) -> None:
    for name, value in running.pipeline.stack.worker_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)


@pytest.fixture
async def resolver(environment: None, running: Running) -> AsyncIterator[Resolver]:  # noqa: ARG001 - sets the address of AWS.
    async with resolver_of(running.pipeline.stack) as resolver:
        yield resolver


@asynccontextmanager
async def resolver_of(stack: DeployedStack) -> AsyncIterator[Resolver]:
    session = aioboto3.Session()
    async with session.client("dynamodb") as dynamodb, session.client("stepfunctions") as stepfunctions:
        yield Resolver(
            orders=DynamoOrders(dynamodb, stack.order_table),
            cases=DynamoCases(dynamodb, stack.escalation_table, stack.order_table),
            executions=Executions(stepfunctions, stack.state_machine_arn),
        )


def request(action: str, **changes: Any) -> Request:
    more = {"shipment_id": "S-1"} if action == "fulfill" else {}
    return Request(**({"action": Action(action), "actor": "ada", "note": "as agreed"} | more | changes))


def sample(order_id: str, **changes: str) -> dict[str, str]:
    """Return the sample order with the invalid price, under another id."""
    found: dict[str, str] = json.loads((DEFINITIONS / "samples" / "002.json").read_text(encoding="utf-8"))
    return found | {"OrderId": order_id} | changes


def submit(running: Running, order: dict[str, str]) -> str:
    """Submit an invalid order; return the ARN of its execution once the order is escalated."""
    started = running.pipeline.client("stepfunctions").start_execution(
        stateMachineArn=running.pipeline.stack.state_machine_arn, input=json.dumps(order)
    )
    arn: str = started["executionArn"]
    running.escalation.wait_for("message.acknowledged", order_id=order["OrderId"], execution_arn=arn)
    return arn


def escalate(running: Running, order_id: str) -> None:
    """Store an order and escalate it, without an execution."""
    running.pipeline.put_order(order_id)
    notice = {"OrderId": order_id, "Reasons": ["INVALID_PRICE"], "ExecutionArn": running.pipeline.arn(f"of-{order_id}")}
    message_id = running.pipeline.send_escalation(notice)
    running.escalation.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")


def stored(running: Running, order_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    order, case = running.pipeline.order(order_id), running.pipeline.case(order_id)
    assert order is not None
    assert case is not None
    return order, case


def send_stale(running: Running, order_id: str, execution_arn: str) -> tuple[str, str]:
    """
    Send a late message of an execution to both queues; return the outcomes.

    Check that the order stays as it is, and the case resolved as it was.
    """
    before = stored(running, order_id)
    pipeline = running.pipeline
    named = {"OrderId": order_id, "ExecutionArn": execution_arn}
    first = pipeline.send_fulfillment(json.dumps(named))
    second = pipeline.send_escalation(named | {"Reasons": ["INVALID_PRICE"], "Source": "workflow"})
    outcomes = (
        running.fulfillment.wait_for("message.acknowledged", message_id=first)["outcome"],
        running.escalation.wait_for("message.acknowledged", message_id=second)["outcome"],
    )
    after = stored(running, order_id)
    assert after[0] == before[0]
    same = ("State", "Episode", "Resolutions", "Routed", "OpenKey", "OpenedBy")
    assert [after[1].get(name) for name in same] == [before[1].get(name) for name in same]
    return outcomes


def routed(running: Running, case_id: str) -> list[int]:
    """Return the routed episodes of a case."""
    lines = running.escalation.lines()
    return [line["episode"] for line in lines if line["event"] == "escalation.routed" and line["case_id"] == case_id]


async def test_an_order_resubmitted_with_the_right_price_is_fulfilled(running: Running, resolver: Resolver) -> None:
    first = submit(running, sample("resubmit-1"))
    started_at = stored(running, "resubmit-1")[0]["StartedAt"]
    corrected = sample("resubmit-1", Price="80000", CC=CARD)
    second = await resolver.resubmit("resubmit-1", corrected, request("resubmit"))
    running.fulfillment.wait_for("order.fulfilled", order_id="resubmit-1", execution_arn=second)
    order, case = stored(running, "resubmit-1")
    assert (order["Status"], order["ExecutionArn"], order["Price"]) == ("FULFILLED", second, "80000")
    assert (order["CC"], order["OpenKey"][:-13], "Reasons" in order) == ("************5678", "FULFILLED", False)
    assert order["StartedAt"] > started_at
    assert case["Resolutions"] == [
        {
            "At": case["UpdatedAt"],
            "Action": "resubmit",
            "Episode": 1,
            "Actor": "ada",
            "Note": "as agreed",
            "ExecutionArn": second,
        }
    ]
    assert (case["State"], case["OpenKey"][:-13]) == ("RESOLVED", "RESOLVED")

    assert await resolver.resubmit("resubmit-1", corrected, request("resubmit")) == second
    assert stored(running, "resubmit-1") == (order, case)
    assert send_stale(running, "resubmit-1", first) == ("superseded", "superseded")
    assert send_stale(running, "resubmit-1", second) == ("already_fulfilled", "order_already_final")
    assert (fulfilled(running.fulfillment)["resubmit-1"], routed(running, "resubmit-1")) == (1, [1])


async def test_an_interrupted_resubmission_is_completed_by_repeating_it(running: Running, resolver: Resolver) -> None:
    escalate(running, "cut-short-1")
    case = await resolver.cases.get("cut-short-1")
    assert case is not None
    corrected = MappingProxyType(sample("cut-short-1", Price="1"))
    claim, claimed = claim_resubmission(case, request("resubmit"), "cut-short-1", NOW, resolver.executions.arn)
    assert claimed is not None
    await resolver.cases.put(claimed)
    started = await resolver.executions.start(claim.execution_arn.rpartition(":")[2], corrected)
    assert started == claim.execution_arn
    running.fulfillment.wait_for("order.fulfilled", order_id="cut-short-1", execution_arn=started)
    running.escalation.wait_for("case.closed", case_id="cut-short-1")  # The worker closes it in that person's name.
    _, closed = stored(running, "cut-short-1")
    assert [(each["Action"], each["Actor"]) for each in closed["Resolutions"]] == [("resubmit", "ada")]
    assert await resolver.resubmit("cut-short-1", corrected, request("resubmit")) == started
    order, after = stored(running, "cut-short-1")
    assert after == closed
    assert (after["State"], order["Status"], order["ExecutionArn"]) == ("RESOLVED", "FULFILLED", started)
    wait_until(lambda: fulfilled(running.fulfillment)["cut-short-1"] == 1)


async def test_an_invalid_resubmission_opens_the_next_episode(running: Running, resolver: Resolver) -> None:
    first = submit(running, sample("resubmit-2"))
    wrong = sample("resubmit-2", CC="123412345678", Price="80000")
    second = await resolver.resubmit("resubmit-2", wrong, request("resubmit"))
    line = running.escalation.wait_for("escalation.routed", case_id="resubmit-2", episode=2)
    assert (line["reasons"], line["execution_arn"]) == (["INVALID_CARD_NUMBER"], second)
    order, case = stored(running, "resubmit-2")
    assert (order["Status"], order["ExecutionArn"]) == ("ESCALATED", second)
    assert (case["State"], case["Episode"], case["Reasons"]) == ("OPEN", 2, ["INVALID_CARD_NUMBER"])
    assert [(episode["Number"], episode["Reasons"]) for episode in case["Episodes"]] == [(1, ["INVALID_PRICE"])]
    assert [(resolution["Action"], resolution["Episode"]) for resolution in case["Resolutions"]] == [("resubmit", 1)]
    assert case["ExecutionArns"] == [first, second]
    assert case["OpenKey"].startswith("OPEN#")
    assert send_stale(running, "resubmit-2", first) == ("superseded", "added_to_case")

    third = await resolver.resubmit("resubmit-2", sample("resubmit-2", Price="1"), request("resubmit", actor="grace"))
    running.fulfillment.wait_for("order.fulfilled", order_id="resubmit-2", execution_arn=third)
    _, case = stored(running, "resubmit-2")
    assert [(resolution["Actor"], resolution["Episode"]) for resolution in case["Resolutions"]] == [
        ("ada", 1),
        ("grace", 2),
    ]
    assert (case["State"], routed(running, "resubmit-2")) == ("RESOLVED", [1, 2])
    for earlier in (first, second):
        assert send_stale(running, "resubmit-2", earlier) == ("superseded", "superseded")


async def test_an_order_fulfilled_by_hand_is_not_shipped(running: Running, resolver: Resolver) -> None:
    arn = submit(running, sample("by-hand-1", ItemName="fail"))  # The provider would fail, too.
    asked = request("fulfill", shipment_id="S-4711")
    await resolver.resolve("by-hand-1", asked)
    order, case = stored(running, "by-hand-1")
    assert (order["Status"], order["ShipmentId"], order["OpenKey"][:-13]) == ("FULFILLED", "S-4711", "FULFILLED")
    assert order["FulfilledAt"] == order["UpdatedAt"] == case["UpdatedAt"]
    assert (case["State"], case["Resolutions"][0]["ShipmentId"]) == ("RESOLVED", "S-4711")
    assert send_stale(running, "by-hand-1", arn) == ("already_fulfilled", "order_already_final")
    await resolver.resolve("by-hand-1", asked)
    assert stored(running, "by-hand-1")[0] == order
    assert "Attempts" not in order
    assert (fulfilled(running.fulfillment)["by-hand-1"], routed(running, "by-hand-1")) == (0, [1])


async def test_a_cancelled_order_stays_cancelled(running: Running, resolver: Resolver) -> None:
    arn = submit(running, sample("cancel-1"))
    await resolver.resolve("cancel-1", request("cancel"))
    order, case = stored(running, "cancel-1")
    assert (order["Status"], order["OpenKey"][:-13], "ShipmentId" in order) == ("CANCELLED", "CANCELLED", False)
    assert (case["State"], case["Resolutions"][0]["Action"]) == ("RESOLVED", "cancel")
    assert send_stale(running, "cancel-1", arn) == ("superseded", "order_already_final")
    await resolver.resolve("cancel-1", request("cancel"))
    with pytest.raises(ResolutionError, match="already resolved by ada"):
        await resolver.resubmit("cancel-1", sample("cancel-1", Price="1"), request("resubmit"))
    assert stored(running, "cancel-1")[0] == order
    assert (fulfilled(running.fulfillment)["cancel-1"], routed(running, "cancel-1")) == (0, [1])


PAIRS = [("fulfill", "cancel"), ("resubmit", "cancel"), ("resubmit", "resubmit"), ("cancel", "cancel")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
async def test_of_two_concurrent_resolutions_one_wins(
    running: Running, resolver: Resolver, one: str, other: str
) -> None:
    order_id = f"{one}-or-{other}"
    escalate(running, order_id)

    async def resolve(asked: Request) -> None:
        if asked.action is Action.RESUBMIT:
            await resolver.resubmit(order_id, sample(order_id, Price="1"), asked)
        else:
            await resolver.resolve(order_id, asked)

    asked = [request(one), request(other, actor="grace")]
    ended = await asyncio.gather(*map(resolve, asked), return_exceptions=True)
    (error,) = [result for result in ended if result is not None]
    assert isinstance(error, ResolutionError)
    won = asked[ended.index(None)]
    case = stored(running, order_id)[1]
    assert case["State"] == "RESOLVED"
    assert [(resolution["Action"], resolution["Actor"]) for resolution in case["Resolutions"]] == [
        (won.action, won.actor)
    ]
    status = "CANCELLED" if won.action is Action.CANCEL else "FULFILLED"
    wait_until(lambda: running.pipeline.status(order_id) == status)
    # The worker writes its line after the status.
    wait_until(lambda: fulfilled(running.fulfillment)[order_id] == (1 if won.action is Action.RESUBMIT else 0))


@pytest.mark.usefixtures("environment")
async def test_a_resubmitted_card_number_is_written_nowhere(
    deploy_stack: DeployStack, start_worker: StartWorker
) -> None:
    pipeline = Pipeline(deploy_stack("resolutions-"))
    stack, debug = pipeline.stack, {"LOG_LEVEL": "DEBUG", "FULFILLMENT_PROVIDER": SCRIPTED}
    queued: list[str] = []

    def pass_on(queue_url: str) -> str:
        """Keep a copy of one message and send it again, for the worker that starts next; return the new id."""
        (message,) = wait_until(lambda: pipeline.take(queue_url))
        queued.append(json.dumps(message))
        message_id: str = pipeline.client("sqs").send_message(QueueUrl=queue_url, MessageBody=message["Body"])[
            "MessageId"
        ]
        return message_id

    logs = []
    note = f"The customer says it is {CARD}, or 4929-1234-1234-5678."
    asked = request("resubmit", actor=f"ada {CARD}", note=note)
    order = sample("card-1", CC=CARD, Name=f"Ada {CARD}")
    async with resolver_of(stack) as resolver:
        pipeline.client("stepfunctions").start_execution(
            stateMachineArn=stack.state_machine_arn, input=json.dumps(order)
        )
        for price in ("-1", "80000"):
            message_id = pass_on(stack.escalation_queue_url)
            worker = start_worker("escalation", stack=stack, env=debug)
            worker.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")
            assert worker.stop() == 0
            logs.append(worker.output())
            with pytest.raises(ResolutionError) as raised:
                await resolver.resubmit("card-1", order | {"OrderId": CARD}, asked)
            logs.append(repr(raised.value))
            await resolver.resubmit("card-1", order | {"Price": price}, asked)
    message_id = pass_on(stack.order_fulfillment_queue_url)
    worker = start_worker("fulfillment", stack=stack, env=debug)
    worker.wait_for("message.acknowledged", message_id=message_id, outcome="fulfilled")
    assert worker.stop() == 0
    cloudwatch = pipeline.client("logs")
    pages = cloudwatch.get_paginator("describe_log_groups").paginate()
    groups = [group["logGroupName"] for page in pages for group in page["logGroups"]]
    ours = [group for group in groups if "resolutions-" in group]
    assert stack.outputs["StateMachineLogGroupName"] in ours
    logs.extend(json.dumps(cloudwatch.filter_log_events(logGroupName=group)["events"]) for group in ours)

    tables = [pipeline.scan(table) for table in (stack.order_table, stack.escalation_table)]
    (case,) = (case for case in tables[1] if case["CaseId"] == "card-1")
    assert len(case["Resolutions"]) == 2
    assert case["Resolutions"][0]["Actor"] == "ada ****"
    dead = [pipeline.take(url) for url in (stack.order_fulfillment_dlq_url, stack.escalation_dlq_url)]
    assert dead == [[], []]
    assert len(queued) == 3
    written = "".join([*logs, *queued, worker.output(), json.dumps(tables, default=str)])
    assert CARD not in re.sub(r"[ -]", "", written)
