"""
Orders with a faulty provider over HTTP: real workers, the local AWS, a provider in this process.

`PROVIDER_SEED` repeats a run's faults; `PROVIDER_ORDERS` sets the number of orders. Every test run plays the short
version, `-m chaos` the long one.
"""

import itertools
import json
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.faulty_provider import Fault, FaultyProvider, State
from tests.support import DeployedStack, DeployStack, StartWorker, Worker
from workers import clock
from workers.aws.items import from_item, to_item
from workers.aws.status_index import status_key
from workers.domain.ids import execution_arn
from workers.domain.orders import OrderStatus

CARD_DIGITS = ("4929123412345678", "4929 1234 1234 5678", "4929-1234-1234-5678", "1234123456785678")
CC = "1234123456785678"
SECRET = "bearer-s3cret"
RATE = 0.2
CONCURRENCY = 20
LONG = [pytest.mark.chaos, pytest.mark.timeout(900)]
THROUGH_THE_WORKFLOW = 2  # Resubmissions made with real executions; the test writes the others itself.

_numbers = itertools.count(1)


class Run:
    """One run: a separate stack, its orders, and their results. A failure message names the seed."""

    def __init__(self, stack: DeployedStack, seed: int, orders: int) -> None:
        self.stack = stack
        self.seed = seed
        self.order_ids = [f"order-{n:04d}" for n in range(orders)]
        self.workers: list[Worker] = []

    def explain(self, text: str) -> str:
        """Return *text* with the variables that repeat this run."""
        return f"{text}\n[PROVIDER_SEED={self.seed} PROVIDER_ORDERS={len(self.order_ids)}]"

    def submit(self, order_ids: list[str]) -> None:
        """Store orders as the workflow does, replacing existing ones, and send their messages."""
        dynamodb, sqs = self.stack.client("dynamodb"), self.stack.client("sqs")
        for order_id in order_ids:
            now = clock.now()
            arn = execution_arn(self.stack.state_machine_arn, str(uuid.uuid4()))
            item = {
                "OrderId": order_id,
                "Name": "Jane",
                "ItemName": "Lamp",
                "Price": "80000",
                "CC": "************5678",
                "Status": OrderStatus.RECEIVED,
                "ExecutionArn": arn,
                "OpenKey": status_key(OrderStatus.RECEIVED, order_id, now),
                "CreatedAt": now,
                "UpdatedAt": now,
            }
            dynamodb.put_item(TableName=self.stack.order_table, Item=to_item(item))
            body = json.dumps({"OrderId": order_id, "ExecutionArn": arn})
            sqs.send_message(QueueUrl=self.stack.order_fulfillment_queue_url, MessageBody=body)

    def execute(self, order_id: str) -> None:
        """Send an order through the workflow."""
        order = {"OrderId": order_id, "Name": "Jane", "ItemName": "Lamp", "Price": "80000", "CC": CC}
        self.stack.client("stepfunctions").start_execution(
            stateMachineArn=self.stack.state_machine_arn, input=json.dumps(order)
        )

    def orders(self) -> dict[str, dict[str, Any]]:
        return {item["OrderId"]: item for item in self._scan(self.stack.order_table)}

    def cases(self) -> dict[str, dict[str, Any]]:
        return {item["CaseId"]: item for item in self._scan(self.stack.escalation_table)}

    def _scan(self, table: str) -> list[dict[str, Any]]:
        pages = self.stack.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [from_item(item) for page in pages for item in page["Items"]]

    def count(self, status: OrderStatus) -> int:
        return sum(item["Status"] == status for item in self.orders().values())

    def depth(self, url: str) -> int:
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
        answer = self.stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    def assert_nothing_dead_lettered(self) -> None:
        for url in (self.stack.order_fulfillment_dlq_url, self.stack.escalation_dlq_url):
            assert self.depth(url) == 0, self.explain(f"messages in {url}")

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            ends = "\n".join(worker.output()[-3000:] for worker in self.workers)
            assert time.monotonic() < deadline, self.explain(f"{timeout_s} s were not enough for {what}\n{ends}")
            time.sleep(0.2)

    def until_none_is_received(self, timeout_s: float) -> None:
        self.until(lambda: self.count(OrderStatus.RECEIVED) == 0, "all orders to be processed", timeout_s)

    def assert_no_card_number_outside_executions(self, provider: FaultyProvider) -> None:
        """Search logs, tables and requests for a card number or a token."""
        written = {worker.log_path.name: worker.output() for worker in self.workers}
        written["the order table"] = json.dumps(self.orders())
        written["the case table"] = json.dumps(self.cases())
        written["the requests"] = "\n".join(provider.bodies).replace(f"Bearer {SECRET}", "")
        for where, text in written.items():
            found = [secret for secret in (*CARD_DIGITS, SECRET, "query-s3cret") if secret in text]
            assert not found, self.explain(f"{found} in {where}")


@pytest.fixture(
    params=[
        pytest.param((40, 2.0), id="short"),
        pytest.param((500, 60.0), id="long", marks=LONG),
    ]
)
def size(request: pytest.FixtureRequest) -> tuple[int, float]:
    """The number of orders, and for how many seconds a provider is down."""
    orders, down_s = request.param
    return int(os.environ.get("PROVIDER_ORDERS", orders)), down_s


@pytest.fixture
def run(deploy_stack: DeployStack, size: tuple[int, float]) -> Run:
    seed = int(os.environ.get("PROVIDER_SEED", random.SystemRandom().randrange(1_000_000)))
    return Run(deploy_stack(f"provider-{next(_numbers)}-"), seed, size[0])


@pytest.fixture
def provider(run: Run) -> Iterator[FaultyProvider]:
    with FaultyProvider(run.seed) as serving:
        yield serving


@pytest.fixture
def provider_without_faults() -> Iterator[FaultyProvider]:
    with FaultyProvider(seed=0) as serving:
        yield serving


@pytest.fixture
def start(start_worker: StartWorker, run: Run, provider: FaultyProvider) -> Callable[..., Worker]:
    def started(name: str = "fulfillment", **env: str) -> Worker:
        environment = {
            "FULFILLMENT_PROVIDER": "http",
            "FULFILLMENT_URL": provider.url,
            "FULFILLMENT_TOKEN": SECRET,
            "FULFILLMENT_TIMEOUT_S": "2",  # With less, a busy machine would look like an outage.
            "WORKER_CONCURRENCY": str(CONCURRENCY),
            "WORKER_MAX_ATTEMPTS": "3",
            **env,
        }
        worker = start_worker(name, stack=run.stack, env=environment)
        run.workers.append(worker)
        return worker

    return started


def test_every_order_ships_once_despite_provider_faults(
    run: Run, provider: FaultyProvider, start: Callable[..., Worker]
) -> None:
    provider.rate = RATE
    # Whatever the seed, two orders always fail and one is always refused.
    lost, broken, refused = run.order_ids[:3]
    provider.curses = {lost: Fault.LOST_ANSWER, broken: Fault.ERROR, refused: Fault.REFUSED}
    run.submit(run.order_ids)
    start(), start("escalation")
    run.until_none_is_received(60 + len(run.order_ids) * 0.5)
    orders, cases = run.orders(), run.cases()
    escalated = [order_id for order_id in run.order_ids if orders[order_id]["Status"] == OrderStatus.ESCALATED]

    assert orders[lost]["Reasons"] == orders[broken]["Reasons"] == ["FULFILLMENT_EXHAUSTED"], run.explain(
        "an order that always fails"
    )
    for order_id in run.order_ids:
        order = orders[order_id]
        shipments = provider.shipped.get(order_id, [])
        assert set(provider.keys[order_id]) == {order_id}, run.explain(
            f"{order_id} was sent with the keys {provider.keys[order_id]}"
        )
        if order_id not in escalated:
            assert order["Status"] == OrderStatus.FULFILLED, run.explain(f"{order_id} is {order['Status']}")
            assert [order["ShipmentId"]] == shipments, run.explain(
                f"{order_id}: {order['ShipmentId']} is not {shipments}"
            )
        elif order_id in provider.refused:
            assert order["Reasons"] == ["FULFILLMENT_REJECTED"], run.explain(f"{order_id}: {order['Reasons']}")
            assert shipments == [], run.explain(f"{order_id} was refused, and shipped as {shipments}")
            detail = cases[order_id]["Evidence"][-1]["Detail"]
            assert detail == 'The provider refused: HTTP 400: {"error": "no such street", "card": ****}', detail
        else:
            assert order["Reasons"] == ["FULFILLMENT_EXHAUSTED"], run.explain(f"{order_id}: {order['Reasons']}")
            assert order["Attempts"] == 3, run.explain(f"{order_id} had {order['Attempts']} attempts")
            assert len(shipments) <= 1, run.explain(f"{order_id} was shipped as {shipments}")
            detail = cases[order_id]["Evidence"][-1]["Detail"]
            assert detail.startswith("Failed 3 times; last error: "), run.explain(f"{order_id}: {detail}")
    assert {order_id for order_id in run.order_ids if order_id in provider.refused} <= set(escalated)
    run.assert_nothing_dead_lettered()

    # Resubmit every escalated order, now without faults.
    provider.rate, provider.curses = 0.0, {}
    for order_id in escalated[:THROUGH_THE_WORKFLOW]:
        run.execute(order_id)
    run.submit(escalated[THROUGH_THE_WORKFLOW:])
    run.until(lambda: run.count(OrderStatus.FULFILLED) == len(run.order_ids), "all orders to be fulfilled", 60)
    orders = run.orders()
    for order_id in escalated:
        key = f"{order_id}-r1" if order_id in provider.refused else order_id
        assert provider.keys[order_id][-1] == key, run.explain(
            f"{order_id} was sent again with {provider.keys[order_id]}"
        )
    for order_id in run.order_ids:
        shipments = provider.shipped[order_id]
        assert [orders[order_id]["ShipmentId"]] == shipments, run.explain(f"{order_id} was shipped as {shipments}")
    run.assert_no_card_number_outside_executions(provider)
    print(f"PROVIDER_SEED={run.seed}: {len(provider.requests)} requests, {dict(provider.faults)}, {escalated}")  # noqa: T201


@pytest.mark.parametrize(
    "down",
    [State.REFUSING, State.SILENT, *(pytest.param(state, marks=LONG) for state in (State.BUSY, State.FAILING))],
)
def test_a_provider_outage_holds_orders_and_uses_few_attempts(
    run: Run, provider: FaultyProvider, start: Callable[..., Worker], size: tuple[int, float], down: State
) -> None:
    down_s = size[1]
    half = len(run.order_ids) // 2
    run.submit(run.order_ids[:half])
    worker, _ = start(), start("escalation")
    run.until(lambda: run.count(OrderStatus.FULFILLED) >= half // 2, "some fulfilled orders", 60)
    provider.become(down)
    run.submit(run.order_ids[half:])
    worker.wait_for("downstream.failed")
    time.sleep(down_s)
    during = [key for key, state in provider.requests if state is down]
    # Up to three tries for each order in flight, then occasional probes.
    assert len(during) <= 3 * CONCURRENCY + 10 + 2 * down_s, run.explain(
        f"{len(during)} requests in {down_s} s of {down}"
    )
    assert run.depth(run.stack.escalation_queue_url) == 0, run.explain("something was escalated")
    provider.become(State.UP)
    run.until_none_is_received(60 + len(run.order_ids) * 0.1)

    orders = run.orders()
    for order_id in run.order_ids:
        order = orders[order_id]
        assert order["Status"] == OrderStatus.FULFILLED, run.explain(f"{order_id} is {order['Status']}")
        assert order.get("Attempts", 0) <= 1, run.explain(f"{order_id} used {order['Attempts']} attempts")
        assert provider.shipped[order_id] == [order["ShipmentId"]], run.explain(
            f"{order_id}: {provider.shipped[order_id]}"
        )
    used = sum(order.get("Attempts", 0) for order in orders.values())
    assert used <= CONCURRENCY, run.explain(f"{used} attempts used by a provider that was {down}")
    print(f"PROVIDER_SEED={run.seed}: {down} for {down_s} s, {len(during)} requests, {used} attempts used")  # noqa: T201
    assert run.cases() == {}, run.explain("there are cases")
    run.assert_nothing_dead_lettered()
    assert worker.stop() == 0


def test_the_token_comes_from_secrets_manager(
    deploy_stack: DeployStack, start_worker: StartWorker, provider_without_faults: FaultyProvider
) -> None:
    run = Run(deploy_stack(f"provider-{next(_numbers)}-"), provider_without_faults.seed, 1)
    environment = {
        "FULFILLMENT_PROVIDER": "http",
        "FULFILLMENT_URL": provider_without_faults.url,
        "FULFILLMENT_TOKEN_SECRET": "provider-token",
    }
    early = start_worker("fulfillment", stack=run.stack, env=environment)
    assert early.wait_for("worker.failed")["reason"] == (
        "FULFILLMENT_TOKEN_SECRET is 'provider-token', which cannot be used: the secret does not exist"
    )
    assert early.wait() == 1
    assert "Traceback" not in early.output()

    run.stack.client("secretsmanager").create_secret(Name="provider-token", SecretString=SECRET)
    run.workers.append(start_worker("fulfillment", stack=run.stack, env=environment))
    run.submit(run.order_ids)
    run.until_none_is_received(30)
    assert f"'Bearer {SECRET}'" in provider_without_faults.bodies[-1]
    run.assert_no_card_number_outside_executions(provider_without_faults)
