"""A backlog of escalations: grouped in few requests, and written exactly as one by one."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError

from tests.chaos.proxy import Fault, FaultProxy, Rule
from tests.integration.pipeline import Pipeline, endings, wait_until
from tests.support import DeployStack, StartWorker, Worker

ORDERS = 60


@pytest.fixture(scope="module")
def pipeline(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("backlog-"))


@pytest.fixture
def proxy(pipeline: Pipeline) -> Iterator[FaultProxy]:
    with FaultProxy(pipeline.stack.local_aws.endpoint, seed=7) as proxy:
        yield proxy


def send(pipeline: Pipeline, order_ids: list[str]) -> None:
    """Put an escalation of each of these orders on the queue."""
    bodies = [
        {
            "OrderId": order_id,
            "Reasons": ["INVALID_PRICE"],
            "Source": "workflow",
            "ExecutionArn": pipeline.arn(f"of-{order_id}"),
        }
        for order_id in order_ids
    ]
    for at in range(0, len(bodies), 10):
        entries = [
            {"Id": str(number), "MessageBody": json.dumps(body)} for number, body in enumerate(bodies[at : at + 10])
        ]
        pipeline.client("sqs").send_message_batch(QueueUrl=pipeline.stack.escalation_queue_url, Entries=entries)


def outcomes(*workers: Worker) -> Counter[str]:
    return Counter(outcome for _, _, outcome in endings(*workers))


def routed(*workers: Worker) -> Counter[str]:
    """Count the `escalation.routed` lines of each case."""
    lines = [line for worker in workers for line in worker.lines()]
    return Counter(line["case_id"] for line in lines if line["event"] == "escalation.routed")


def check(pipeline: Pipeline, order_ids: list[str], messages_each: int) -> None:
    """Check that each order is escalated and has one open case, with all of its messages."""
    cases = {case["CaseId"]: case for case in pipeline.scan(pipeline.stack.escalation_table)}
    for order_id in order_ids:
        case = cases[order_id]
        assert pipeline.status(order_id) == "ESCALATED"
        assert (case["State"], case["Episode"], [sent["Channel"] for sent in case["Routed"]]) == ("OPEN", 1, ["log"])
        assert len(set(case["MessageIds"])) == len(case["MessageIds"]) == messages_each


def test_a_backlog_of_new_orders_takes_few_requests(
    pipeline: Pipeline, proxy: FaultProxy, start_worker: StartWorker
) -> None:
    order_ids = [f"new-{n}" for n in range(ORDERS)]
    for order_id in order_ids:
        pipeline.put_order(order_id)
    send(pipeline, order_ids)
    worker = start_worker("escalation", stack=pipeline.stack, env={"AWS_ENDPOINT_URL": proxy.url})
    wait_until(lambda: outcomes(worker)["escalated"] == ORDERS)
    assert worker.stop() == 0
    check(pipeline, order_ids, messages_each=1)
    assert routed(worker) == Counter(order_ids)
    assert proxy.count("GetItem") == 0
    assert proxy.count("BatchGetItem") <= ORDERS / 4
    assert proxy.count("TransactWriteItems") <= ORDERS / 4


def test_lost_responses_to_transactions_repeat_nothing(
    pipeline: Pipeline, proxy: FaultProxy, start_worker: StartWorker
) -> None:
    order_ids = [f"lost-{n}" for n in range(ORDERS)]
    for order_id in order_ids:
        pipeline.put_order(order_id)
    proxy.inject(Rule(Fault.LOST_ANSWER, actions={"TransactWriteItems"}))
    send(pipeline, order_ids)
    worker = start_worker("escalation", stack=pipeline.stack, env={"AWS_ENDPOINT_URL": proxy.url})
    worker.wait_for("downstream.failed")
    proxy.clear()
    wait_until(lambda: outcomes(worker)["escalated"] == ORDERS)
    assert worker.stop() == 0
    check(pipeline, order_ids, messages_each=1)
    assert routed(worker) == Counter(order_ids)


def test_a_hundred_messages_about_one_order_make_one_case(pipeline: Pipeline, start_worker: StartWorker) -> None:
    pipeline.put_order("hundred")
    send(pipeline, ["hundred"] * 100)
    worker = start_worker("escalation", stack=pipeline.stack)
    wait_until(lambda: sum(outcomes(worker).values()) == 100)
    assert worker.stop() == 0
    assert outcomes(worker) == {"escalated": 1, "added_to_case": 99}
    check(pipeline, ["hundred"], messages_each=100)
    assert routed(worker) == {"hundred": 1}


def test_two_workers_on_one_backlog_lose_and_repeat_nothing(pipeline: Pipeline, start_worker: StartWorker) -> None:
    order_ids = [f"shared-{n}" for n in range(ORDERS)]
    for order_id in order_ids:
        pipeline.put_order(order_id)
    send(pipeline, [order_id for order_id in order_ids for _ in range(3)])
    workers = [start_worker("escalation", stack=pipeline.stack) for _ in range(2)]
    wait_until(lambda: outcomes(*workers)["escalated"] + outcomes(*workers)["added_to_case"] == 3 * ORDERS)
    assert [worker.stop() for worker in workers] == [0, 0]
    check(pipeline, order_ids, messages_each=3)
    assert routed(*workers) == Counter(order_ids)


@pytest.fixture(autouse=True)
def _empty_queues(pipeline: Pipeline) -> Iterator[None]:
    yield
    stack = pipeline.stack
    assert [pipeline.queued(url) for url in (stack.escalation_queue_url, stack.escalation_dlq_url)] == [0, 0]


def fill(pipeline: Pipeline, case_id: str) -> None:
    """Make a case as large as DynamoDB allows, so that another message would make it too large."""
    for size in range(400 * 1024 - 900, 0, -50):
        with contextlib.suppress(ClientError):
            pipeline.client("dynamodb").update_item(
                TableName=pipeline.stack.escalation_table,
                Key={"CaseId": {"S": case_id}},
                UpdateExpression="SET Evidence[0].Detail = :large",
                ExpressionAttributeValues={":large": {"S": "x" * size}},
            )
            return


def test_a_case_that_aws_refuses_holds_up_no_other(pipeline: Pipeline, start_worker: StartWorker) -> None:
    order_ids = [f"beside-{n}" for n in range(ORDERS)]
    pipeline.put_order("too-large", "ESCALATED")
    send(pipeline, ["too-large"])
    opener = start_worker("escalation", stack=pipeline.stack)
    wait_until(lambda: outcomes(opener)["escalated"] == 1)
    assert opener.stop() == 0
    fill(pipeline, "too-large")
    for order_id in order_ids:
        pipeline.put_order(order_id)
    send(pipeline, [*order_ids[:30], "too-large", *order_ids[30:]])
    worker = start_worker("escalation", stack=pipeline.stack)
    # Which of them ends first differs.
    wait_until(lambda: outcomes(worker)["escalated"] == ORDERS and outcomes(worker)["unexpected_error"] >= 1)
    assert worker.stop() == 0
    check(pipeline, order_ids, messages_each=1)
    check(pipeline, ["too-large"], messages_each=1)
    pipeline.client("sqs").purge_queue(QueueUrl=pipeline.stack.escalation_queue_url)
