"""Which orders count as stuck: the limit, the queues' ages, outages, and what is unknown."""

import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from deploy.stacks import template
from tests.workers.operations.fakes import NOW, FakeClient, fake_stack, refused
from workers.operations.errors import OperationError
from workers.operations.stack import Stack
from workers.operations.stuck import DEFAULT_LIMIT, Deferred, Rule, read_rule, sweep_arn

MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:p-OrderFulfillmentStateMachine"
SWEEP = "arn:aws:states:us-east-1:000000000000:stateMachine:p-StuckOrderSweep"
HOUR = timedelta(hours=1)
REDRIVE = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ"})
COUNTS = ("Messages", "MessagesNotVisible", "MessagesDelayed")


class World:
    """A stack whose metrics, in the order in which they are asked for, and whose numbers of messages are given."""

    def __init__(
        self,
        *metrics: list[float],
        waiting: dict[str, str] | None = None,
        tag: str = "360",
        state: str = "ENABLED",
        status: str = "Complete",
    ) -> None:
        self.metrics = metrics
        self.status = status  # Of CloudWatch's last result.
        self.asked: list[tuple[str, str, str]] = []
        counts = {f"ApproximateNumberOf{name}": "0" for name in COUNTS} | (waiting or {})
        self.sqs = FakeClient(
            get_queue_url=lambda QueueName: {"QueueUrl": f"http://sqs/{QueueName}"},  # noqa: N803 - the SDK's name.
            get_queue_attributes=lambda **_: {"Attributes": counts | {"RedrivePolicy": REDRIVE}},
        )
        self.states = FakeClient(
            list_tags_for_resource=lambda **_: {
                "tags": [{"key": "StuckAfterMinutes", "value": tag}, {"key": "SweepState", "value": state}]
            }
        )
        self.cloudwatch = FakeClient(get_metric_data=self._metric_data)

    def _metric_data(self, **asked: Any) -> Any:
        assert (asked["StartTime"], asked["EndTime"]) == (NOW - timedelta(minutes=15), NOW)
        assert {query["MetricStat"]["Period"] for query in asked["MetricDataQueries"]} == {60}
        metrics = [query["MetricStat"]["Metric"] for query in asked["MetricDataQueries"]]
        self.asked = [(m["Namespace"], m["MetricName"], m["Dimensions"][0]["Value"]) for m in metrics]
        return {
            "MetricDataResults": [
                {"Id": query["Id"], "Values": values, "StatusCode": self.status if query["Id"] == "m3" else "Complete"}
                for query, values in zip(asked["MetricDataQueries"], self.metrics, strict=True)
            ]
        }

    @property
    def stack(self) -> Stack:
        return fake_stack(MACHINE, sqs=self.sqs, stepfunctions=self.states, cloudwatch=self.cloudwatch)


async def test_an_order_may_wait_for_the_greatest_age_of_a_message_and_then_for_the_limit() -> None:
    world = World([7.2, 3600.5], [1.0], [], [], tag="90")
    rule = await read_rule(world.stack)
    assert rule == Rule(limit=1.5 * HOUR, queue_age=timedelta(seconds=3601), deferred=None)
    assert rule.before(NOW) == NOW - timedelta(seconds=5400 + 3601)
    assert world.states.requests == [("list_tags_for_resource", {"resourceArn": SWEEP})]
    assert world.asked == [
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "OrderFulfillmentQueue"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "EscalationQueue"),
        ("p-OrderFulfillment", "OutagesProlonged", "fulfillment"),
        ("p-OrderFulfillment", "OutagesProlonged", "escalation"),
    ]


async def test_an_empty_queue_without_a_metric_has_the_age_0() -> None:
    assert (await read_rule(World([], [], [], []).stack)).queue_age == timedelta()


@pytest.mark.parametrize("state", COUNTS)
async def test_if_messages_wait_and_a_metric_is_missing_no_order_counts_as_stuck(state: str) -> None:
    world = World([4.0], [], [], [], waiting={f"ApproximateNumberOf{state}": "1"})
    rule = await read_rule(world.stack)
    assert (rule.deferred, rule.queue_age) == (Deferred.AGE_UNKNOWN, None)
    with pytest.raises(OperationError) as raised:
        rule.before(NOW)
    assert str(raised.value) == (
        "no order counts as stuck: messages wait, and CloudWatch does not say for how long (a local AWS never does);"
        " `orders list --status RECEIVED --older-than 6h` lists all that wait"
    )


@pytest.mark.parametrize("status", ["PartialData", "InternalError"])
async def test_if_an_answer_of_cloudwatch_is_not_complete_no_order_counts_as_stuck(status: str) -> None:
    rule = await read_rule(World([4.0], [4.0], [], [], status=status).stack)
    assert (rule.deferred, rule.queue_age) == (Deferred.AGE_UNKNOWN, None)
    rule = await read_rule(World([4.0], [4.0], [1.0], [], status=status).stack)
    assert rule.deferred is Deferred.OUTAGE


async def test_while_the_sweep_waits_for_new_workers_no_order_counts_as_stuck() -> None:
    rule = await read_rule(World([4.0], [4.0], [1.0], [], state="PENDING").stack)
    assert rule.deferred is Deferred.PENDING
    with pytest.raises(OperationError, match=r"^no order counts as stuck: workers of an earlier release, which do not"):
        rule.before(NOW)


@pytest.mark.parametrize("outages", [([1.0], []), ([], [0.0, 2.0])])
async def test_in_an_outage_no_order_counts_as_stuck(outages: tuple[list[float], list[float]]) -> None:
    rule = await read_rule(World([4.0], [4.0], *outages).stack)
    assert rule.deferred is Deferred.OUTAGE
    with pytest.raises(
        OperationError, match=r"^no order counts as stuck: a worker has reported an outage in the last 15"
    ):
        rule.before(NOW)


async def test_the_limit_may_be_the_longest_that_the_template_takes() -> None:
    assert (await read_rule(World([], [], [], [], tag="99999").stack)).limit == timedelta(minutes=99_999)


@pytest.mark.parametrize("tag", ["", "6h", "-1", "100000", "1000000", "٣٦٠"])
async def test_a_tag_that_was_edited_is_refused(tag: str) -> None:
    with pytest.raises(OperationError, match=r"^the tag StuckAfterMinutes of p-StuckOrderSweep must be a number of"):
        await read_rule(World(tag=tag).stack)


@pytest.mark.parametrize("code", ["ResourceNotFound", "StateMachineDoesNotExist"])
async def test_a_pipeline_without_a_sweep_is_named(code: str) -> None:
    def missing(**_: Any) -> Any:
        raise refused(code, "ListTagsForResource")

    world = World()
    world.states = FakeClient(list_tags_for_resource=missing)
    with pytest.raises(OperationError, match=r"^there is no state machine p-StuckOrderSweep: deploy the pipeline of"):
        await read_rule(world.stack)


async def test_a_pipeline_whose_tags_may_not_be_read_is_not_called_missing() -> None:
    def refuse(**_: Any) -> Any:
        raise refused("AccessDeniedException", "ListTagsForResource")

    world = World()
    world.states = FakeClient(list_tags_for_resource=refuse)
    with pytest.raises(ClientError, match="AccessDenied"):
        await read_rule(world.stack)


async def test_the_sweep_of_a_workflow_with_a_name_of_its_own_is_unknown() -> None:
    with pytest.raises(OperationError, match=r"^STATE_MACHINE names Orders, must end in OrderFulfillmentStateMachine"):
        await sweep_arn(fake_stack())


def test_the_limit_that_status_takes_is_the_default_of_the_pipeline() -> None:
    parameter = template.load(template.PIPELINE)["Parameters"]["StuckAfterMinutes"]
    assert timedelta(minutes=parameter["Default"]) == DEFAULT_LIMIT
