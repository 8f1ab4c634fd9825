"""Orders that hang, in each way one can make them hang: the sweep escalates each of them, once."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.command_line import CARD, CommandLine
from tests.integration.pipeline import Pipeline, wait_until
from tests.statemachine.workflow import Workflow
from tests.support import DeployStack, StartWorker

PREFIX = "hangs-"
# Orders whose name begins with `aborted` are verified for so long that their execution can be aborted meanwhile.
FUNCTION = """
import re, time

def handler(order, context):
    if order["OrderId"].startswith("aborted"):
        time.sleep(20)
    reasons = [] if re.fullmatch("[0-9]+", order["Price"]) else ["INVALID_PRICE"]
    return {"OrderId": order["OrderId"], "Status": 0 if reasons else 1, "Reasons": reasons}
"""
HANGING = {
    "message-deleted": "its message was deleted from the OrderFulfillmentQueue",
    "escalation-deleted": "its message was deleted from the EscalationQueue",
    "aborted": "its execution was aborted between two states, and the notice was dropped",
    "aborted-noticed": "the same, and the notice opens a case without the order",
    "write-lost": "its message was acknowledged, and the worker's write is lost",
}


@pytest.fixture
def pipeline(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack(PREFIX))


def order(order_id: str, price: str = "12") -> dict[str, str]:
    return {"OrderId": order_id, "Name": "Ada", "ItemName": "Lamp", "Price": price, "CC": CARD}


def hang(pipeline: Pipeline, workflow: Workflow) -> None:
    """Make each order hang. No worker runs yet."""
    workflow.replace_function(FUNCTION)
    for order_id, price in (("message-deleted", "12"), ("escalation-deleted", "x")):
        assert workflow.run(order(order_id, price)).status == "SUCCEEDED"
    pipeline.put_order("write-lost")
    for url in (pipeline.stack.order_fulfillment_queue_url, pipeline.stack.escalation_queue_url):
        assert len(pipeline.take(url)) == 1

    def abort(order_id: str) -> None:
        arn = workflow.start(order(order_id))
        wait_until(lambda: pipeline.status(order_id) == "RECEIVED")
        workflow.abort(arn)
        wait_until(lambda: pipeline.queued(pipeline.stack.escalation_queue_url))

    abort("aborted")
    assert len(pipeline.take(pipeline.stack.escalation_queue_url)) == 1, "the notice"
    abort("aborted-noticed")


def make_older(pipeline: Pipeline, order_id: str, hours: float) -> None:
    at = (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    pipeline.client("dynamodb").update_item(
        TableName=pipeline.stack.order_table,
        Key={"OrderId": {"S": order_id}},
        UpdateExpression="SET UpdatedAt = :at",
        ExpressionAttributeValues={":at": {"S": at}},
    )


def test_every_order_that_hangs_is_escalated_by_the_sweep_once(pipeline: Pipeline, start_worker: StartWorker) -> None:
    orders = CommandLine(pipeline.stack)
    hang(pipeline, Workflow(pipeline.stack))
    for order_id in HANGING:
        make_older(pipeline, order_id, hours=7)
    pipeline.put_order("behind-the-backlog")
    make_older(pipeline, "behind-the-backlog", hours=6.01)
    # As SQS reports them on AWS. Below the threshold of alarms: the local AWS rings those of other stacks, too.
    for queue, age_s in (("OrderFulfillmentQueue", 800.0), ("EscalationQueue", 1.0)):
        pipeline.client("cloudwatch").put_metric_data(
            Namespace="AWS/SQS",
            MetricData=[
                {
                    "MetricName": "ApproximateAgeOfOldestMessage",
                    "Dimensions": [{"Name": "QueueName", "Value": f"{PREFIX}{queue}"}],
                    "Value": age_s,
                }
            ],
        )

    listed = orders("list", "--stuck", "--json")
    assert (listed.code, sorted(found["order_id"] for found in json.loads(listed.out))) == (0, sorted(HANGING))
    for _ in range(2):  # The messages of the first sweep still wait.
        swept = orders("sweep", "--now", "--json")
        assert (swept.code, sorted(json.loads(swept.out)["escalated"])) == (0, sorted(HANGING)), swept.err

    worker = start_worker("escalation", stack=pipeline.stack)
    wait_until(lambda: all(pipeline.status(order_id) == "ESCALATED" for order_id in HANGING))
    wait_until(lambda: pipeline.queued(pipeline.stack.escalation_queue_url) == 0)
    assert worker.stop() == 0, worker.output()
    outcomes = Counter(line["outcome"] for line in worker.lines() if line["event"] == "message.acknowledged")
    assert outcomes["escalated"] + outcomes["added_to_case"] >= len(HANGING)
    assert outcomes["superseded"] >= len(HANGING), "the messages of the second sweep"
    routed = Counter(line["order_id"] for line in worker.lines() if line["event"] == "escalation.routed")
    for order_id in HANGING:
        check_case(pipeline, order_id)
        assert routed[order_id] == 1
    assert pipeline.status("behind-the-backlog") == "RECEIVED"

    swept = orders("sweep", "--now", "--json")
    assert (swept.code, json.loads(swept.out)["escalated"]) == (0, [])
    assert orders("list", "--stuck", "--json").out == "[]\n"


def check_case(pipeline: Pipeline, order_id: str) -> None:
    """Check that the sweep is on the order's case once, bound to its execution."""
    case, stored = pipeline.case(order_id), pipeline.order(order_id)
    assert case is not None
    assert stored is not None
    assert (case["State"], case["Episode"], "ORDER_STUCK" in case["Reasons"]) == ("OPEN", 1, True)
    evidence: list[Any] = [item for item in case["Evidence"] if item.get("Source") == "sweep"]
    assert [item["ExecutionArn"] for item in evidence] == [stored["ExecutionArn"]]
    assert evidence[0]["Detail"].startswith("RECEIVED since 20")
