"""The sweep on the local AWS: which orders it escalates, when it escalates none, and what it says."""

import asyncio
import itertools
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.pipeline import Pipeline
from tests.statemachine.workflow import wait_until
from tests.support import DeployStack
from workers.operations.stack import Stack
from workers.operations.stuck import read_rule

HOUR, LIMIT_S = 3600, 6 * 3600
KEYS = "0123456789abcdef"
CARD = "4929123412345678"


class Sweep:
    """A deployed sweep, with orders and messages for it."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.stack = pipeline.stack
        self.client = pipeline.client
        self.arn = self.stack.outputs["StuckOrderSweepArn"]

    def run(self) -> dict[str, Any]:
        """Run the sweep to its end; return its output."""
        return json.loads(self.described(self.start())["output"])  # type: ignore[no-any-return]

    def start(self) -> str:
        started: str = self.client("stepfunctions").start_execution(stateMachineArn=self.arn, input="{}")[
            "executionArn"
        ]
        return started

    def described(self, execution: str) -> dict[str, Any]:
        """Wait until an execution has ended."""

        def look() -> dict[str, Any] | None:
            found: dict[str, Any] = self.client("stepfunctions").describe_execution(executionArn=execution)
            return None if found["status"] == "RUNNING" else found

        return wait_until(look)

    def put(self, order_id: str, age_s: float, status: str = "RECEIVED", **fields: str) -> None:
        """Store an order that has its status for *age_s*."""
        key = KEYS[hash(order_id) % len(KEYS)]
        self.pipeline.put_order(
            order_id, status, **{"UpdatedAt": ago(age_s), "OpenKey": f"{status}#{key}", "Name": CARD} | fields
        )

    def put_many(self, order_ids: Iterable[str], age_s: float) -> None:
        for some in chunks(list(order_ids), 25):
            items = [
                {
                    "OrderId": order_id,
                    "Status": "RECEIVED",
                    "OpenKey": f"RECEIVED#{key}",
                    "UpdatedAt": ago(age_s - second),
                    "ExecutionArn": self.pipeline.arn(f"of-{order_id}"),
                }
                for second, (order_id, key) in enumerate(zip(some, itertools.cycle(KEYS), strict=False))
            ]
            puts = [{"PutRequest": {"Item": {name: {"S": text} for name, text in item.items()}}} for item in items]
            self.client("dynamodb").batch_write_item(RequestItems={self.stack.order_table: puts})

    def escalations(self) -> dict[str, dict[str, Any]]:
        """Take the messages of the escalation queue, by order."""
        taken = [json.loads(found["Body"]) for found in self.pipeline.take(self.stack.escalation_queue_url)]
        assert len({body["OrderId"] for body in taken}) == len(taken), "each order once"
        return {body["OrderId"]: body for body in taken}

    def report(self, namespace: str, name: str, value: float, **dimensions: str) -> None:
        """Write a metric, as SQS or CloudWatch Logs do on AWS."""
        named = [{"Name": key, "Value": text} for key, text in dimensions.items()]
        self.client("cloudwatch").put_metric_data(
            Namespace=namespace, MetricData=[{"MetricName": name, "Dimensions": named, "Value": value}]
        )

    def clear(self) -> None:
        for url in (self.stack.escalation_queue_url, self.stack.order_fulfillment_queue_url):
            self.client("sqs").purge_queue(QueueUrl=url)
        for order in self.pipeline.scan(self.stack.order_table):
            self.client("dynamodb").delete_item(
                TableName=self.stack.order_table, Key={"OrderId": {"S": order["OrderId"]}}
            )


def chunks(ids: list[str], size: int) -> list[list[str]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.fixture(scope="module")
def deployed(deploy_stack: DeployStack) -> Sweep:
    return Sweep(Pipeline(deploy_stack("sweep-")))


@pytest.fixture
def sweep(deployed: Sweep) -> Sweep:
    deployed.clear()
    return deployed


def test_only_orders_that_are_received_for_longer_than_the_limit_are_escalated(sweep: Sweep) -> None:
    sweep.put("stuck", LIMIT_S + 60)
    sweep.put("older", 48 * HOUR)
    sweep.put("in-progress", LIMIT_S - 600)
    for status in ("ESCALATED", "FULFILLED", "CANCELLED"):
        sweep.put(f"is-{status}", 48 * HOUR, status)
        sweep.put(f"was-received-{status}", 48 * HOUR, status, OpenKey="RECEIVED#3")  # The index lags.
    sweep.put("resubmitted", 60, OpenKey="RECEIVED#4")

    output = sweep.run()

    assert sorted(output.pop("Escalated")) == ["older", "stuck"]
    assert output.pop("Before") is not None
    assert output == {"Deferred": None, "LimitSeconds": LIMIT_S, "QueueAgeSeconds": 0, "Stuck": 2, "More": False}
    found = sweep.escalations()
    assert found.keys() == {"older", "stuck"}
    detail = found["stuck"].pop("Detail")
    assert detail.startswith("RECEIVED since 20")
    assert found["stuck"] == {
        "OrderId": "stuck",
        "ExecutionArn": sweep.pipeline.arn("of-stuck"),
        "Reasons": ["ORDER_STUCK"],
        "Source": "sweep",
    }


def test_one_order_is_escalated_and_none_is_fine(sweep: Sweep) -> None:
    assert sweep.run()["Escalated"] == []
    sweep.put("only", 7 * HOUR)
    assert sweep.run()["Escalated"] == ["only"]
    assert sweep.escalations().keys() == {"only"}


def test_a_run_escalates_the_oldest_hundred_and_says_that_there_are_more(sweep: Sweep) -> None:
    sweep.put_many([f"older-{number}" for number in range(100)], 48 * HOUR)
    sweep.put_many([f"newer-{number}" for number in range(3)], 24 * HOUR)
    output = sweep.run()
    assert (output["Stuck"], len(output["Escalated"]), output["More"]) == (100, 100, True)
    found = sweep.escalations()
    assert len(found) == 100
    assert all(order_id.startswith("older-") for order_id in found)


@pytest.mark.parametrize("queue", ["OrderFulfillmentQueueUrl", "EscalationQueueUrl"])
@pytest.mark.parametrize("how", ["visible", "in flight", "delayed"])
def test_while_a_message_waits_and_its_age_is_unknown_nothing_is_escalated(sweep: Sweep, queue: str, how: str) -> None:
    sweep.put("waiting", 48 * HOUR)
    url, sqs = sweep.stack.outputs[queue], sweep.client("sqs")
    sqs.send_message(QueueUrl=url, MessageBody="waiting", DelaySeconds=900 if how == "delayed" else 0)
    if how == "in flight":
        assert sqs.receive_message(QueueUrl=url, VisibilityTimeout=600)["Messages"]
    assert sweep.run() == {
        "Deferred": "AGE_UNKNOWN",
        "Before": None,
        "LimitSeconds": LIMIT_S,
        "QueueAgeSeconds": None,
        "Stuck": 0,
        "Escalated": [],
        "More": False,
    }


def test_the_limit_counts_from_the_age_of_the_oldest_message_and_nothing_is_escalated_in_an_outage(
    deploy_stack: DeployStack,
) -> None:
    sweep = Sweep(Pipeline(deploy_stack("swept-ages-")))
    sweep.put("behind-the-backlog", LIMIT_S + 60)
    sweep.put("stuck", LIMIT_S + HOUR)
    sweep.pipeline.send_order("behind-the-backlog")
    # Below the threshold of alarms: on the local AWS, those of other stacks ring for these metrics, too.
    for queue, age_s in (("OrderFulfillmentQueue", 800), ("EscalationQueue", 5.5)):
        sweep.report("AWS/SQS", "ApproximateAgeOfOldestMessage", 1, QueueName=f"swept-ages-{queue}")
        sweep.report("AWS/SQS", "ApproximateAgeOfOldestMessage", age_s, QueueName=f"swept-ages-{queue}")

    output = sweep.run()
    assert (output["QueueAgeSeconds"], output["Escalated"]) == (800, ["stuck"])

    for worker in ("fulfillment", "escalation"):
        sweep.report("swept-ages-OrderFulfillment", "OutagesProlonged", 1, Worker=worker)
        output = sweep.run()
        assert (output["Deferred"], output["Escalated"]) == ("OUTAGE", [])


def test_stuck_orders_are_counted_and_no_card_number_or_name_is_in_the_history(sweep: Sweep) -> None:
    sweep.put("counted", 7 * HOUR)
    execution = sweep.start()
    assert sweep.described(execution)["status"] == "SUCCEEDED"
    history = json.dumps(
        sweep.client("stepfunctions").get_execution_history(executionArn=execution, maxResults=1000), default=str
    )
    assert "counted" in history
    assert "*5678" not in history  # Without the star, these four digits may be in an id.
    assert CARD not in history
    assert metric(sweep, {"MetricName": "OrdersStuck"}) >= 1


def test_a_sweep_that_cannot_do_its_work_fails_and_says_why(deploy_stack: DeployStack) -> None:
    sweep = Sweep(Pipeline(deploy_stack("swept-failing-")))
    sweep.put("stuck", 7 * HOUR)
    workflows = sweep.client("stepfunctions")
    definition = json.loads(workflows.describe_state_machine(stateMachineArn=sweep.arn)["definition"])
    states = definition["States"]

    def failure() -> tuple[str, str]:
        workflows.update_state_machine(stateMachineArn=sweep.arn, definition=json.dumps(definition))
        described = sweep.described(sweep.start())
        assert described["status"] == "FAILED"
        return described["error"], described["cause"]

    sending = states["Escalate the orders"]["ItemProcessor"]["States"]["Escalate an order"]["Arguments"]
    sending["QueueUrl"] += "-missing"
    assert failure() == (
        "EscalationNotSent",
        "1 of 1 stuck orders could not be put on the EscalationQueue.",
    )
    querying = states["Look for stuck orders"]["ItemProcessor"]["States"]["Query a shard"]["Arguments"]
    for arguments, name, cause in (
        (querying, "TableName", "The index of orders could not be read."),
        (
            states["Count escalation messages"]["Arguments"],
            "QueueUrl",
            "The messages of the EscalationQueue could not be counted.",
        ),
    ):
        arguments[name] += "-missing"
        assert failure() == ("SweepFailed", cause)
    assert sweep.escalations() == {}


def test_the_schedule_starts_the_sweep_once_it_is_enabled(deploy_stack: DeployStack) -> None:
    sweep = Sweep(Pipeline(deploy_stack("swept-by-schedule-")))
    scheduler, name = sweep.client("scheduler"), "swept-by-schedule-StuckOrderSweep"
    deployed = scheduler.get_schedule(Name=name)
    assert (deployed["State"], deployed["ScheduleExpression"]) == ("DISABLED", "rate(1 hour)")
    sweep.put("scheduled", 7 * HOUR)
    scheduler.update_schedule(
        Name=name,
        ScheduleExpression="at(2026-01-01T00:00:00)",  # Due at once.
        State="ENABLED",
        FlexibleTimeWindow=deployed["FlexibleTimeWindow"],
        Target=deployed["Target"],
    )
    assert wait_until(sweep.escalations).keys() == {"scheduled"}


def test_the_command_line_has_the_same_rule(deploy_stack: DeployStack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = deploy_stack("swept-by-rule-", SweepState="PENDING")
    sweep = Sweep(Pipeline(stack))
    for name, value in {"STATE_MACHINE": stack.state_machine_arn, **stack.worker_environment()}.items():
        monkeypatch.setenv(name, value)

    def rule() -> tuple[str | None, int | None, int]:
        found = asyncio.run(read_rule(Stack()))
        age = found.queue_age
        return found.deferred, None if age is None else int(age.total_seconds()), int(found.limit.total_seconds())

    def swept() -> tuple[str | None, int | None, int]:
        output = sweep.run()
        return output["Deferred"], output["QueueAgeSeconds"], output["LimitSeconds"]

    assert rule() == swept() == ("PENDING", 0, LIMIT_S)
    deploy_stack("swept-by-rule-", StuckAfterMinutes="30")
    assert rule() == swept() == (None, 0, 1800)
    deploy_stack("swept-by-rule-", StuckAfterMinutes="360")
    assert rule() == swept() == (None, 0, LIMIT_S)
    sweep.pipeline.send_order("waiting")
    assert rule() == swept() == ("AGE_UNKNOWN", None, LIMIT_S)
    for queue, age_s in (("OrderFulfillmentQueue", 20.5), ("EscalationQueue", 3)):
        sweep.report("AWS/SQS", "ApproximateAgeOfOldestMessage", age_s, QueueName=f"swept-by-rule-{queue}")
    assert rule() == swept() == (None, 21, LIMIT_S)
    sweep.report("swept-by-rule-OrderFulfillment", "OutagesProlonged", 1, Worker="fulfillment")
    assert rule() == swept() == ("OUTAGE", 21, LIMIT_S)


def metric(sweep: Sweep, named: Mapping[str, str]) -> float:
    query = {"Metric": {"Namespace": "sweep-OrderFulfillment", **named}, "Period": 60, "Stat": "Sum"}
    now = datetime.now(UTC)
    (result,) = sweep.client("cloudwatch").get_metric_data(
        MetricDataQueries=[{"Id": "m", "MetricStat": query}],
        StartTime=now - timedelta(hours=1),
        EndTime=now + timedelta(minutes=1),
    )["MetricDataResults"]
    return float(sum(result["Values"]))
