import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW, FakeClient, fake_stack, refused
from workers.operations.queues import Depth, queue_depths


def attributes(**request: Any) -> dict[str, Any]:
    name = request["QueueUrl"].rpartition("/")[2]
    numbers = {"OrderFulfillmentQueue": (1, 2, 3), "EscalationQueue": (0, 0, 0)}.get(name, (4, 5, 6))
    found = {
        f"ApproximateNumberOfMessages{state}": str(number)
        for state, number in zip(("", "NotVisible", "Delayed"), numbers, strict=True)
    }
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:0:{name}-dead"})}
    return {"Attributes": found | policy}


SQS = FakeClient(
    get_queue_url=lambda QueueName: {"QueueUrl": f"http://sqs/{QueueName}"},  # noqa: N803 - boto3's name.
    get_queue_attributes=attributes,
)


async def test_a_queue_is_counted_with_its_dead_letters_and_ages() -> None:
    def statistics(**request: Any) -> dict[str, Any]:
        ((dimension, queue),) = (each.values() for each in request.pop("Dimensions"))
        assert dimension == "QueueName"
        assert request == {
            "Namespace": "AWS/SQS",
            "MetricName": "ApproximateAgeOfOldestMessage",
            "StartTime": NOW - timedelta(minutes=15),
            "EndTime": NOW,
            "Period": 60,
            "Statistics": ["Maximum"],
        }
        ages = {"OrderFulfillmentQueue": [(59, 70.4), (58, 700.0)], "OrderFulfillmentQueue-dead": [(57, 3600.0)]}
        return {
            "Datapoints": [
                {"Timestamp": datetime(2026, 11, 22, 11, minute, tzinfo=UTC), "Maximum": age}
                for minute, age in ages.get(queue, [])
            ]
        }

    stack = fake_stack(sqs=SQS, cloudwatch=FakeClient(get_metric_statistics=statistics))
    assert await queue_depths(stack) == [
        Depth("OrderFulfillmentQueue", 1, 2, 3, 70, "OrderFulfillmentQueue-dead", 15, 3600),
        Depth("EscalationQueue", 0, 0, 0, None, "EscalationQueue-dead", 15, None),
    ]


async def test_without_cloudwatch_ages_are_unknown() -> None:
    def statistics(**_: Any) -> None:
        raise refused("AccessDenied", "GetMetricStatistics")

    stack = fake_stack(sqs=SQS, cloudwatch=FakeClient(get_metric_statistics=statistics))
    assert [(queue.oldest_s, queue.oldest_dead_letter_s) for queue in await queue_depths(stack)] == [(None, None)] * 2


async def test_an_internal_error_is_not_taken_for_an_unknown_age() -> None:
    def statistics(**_: Any) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await queue_depths(fake_stack(sqs=SQS, cloudwatch=FakeClient(get_metric_statistics=statistics)))


async def test_counts_that_sqs_leaves_out_are_zero() -> None:
    policy = json.dumps({"deadLetterTargetArn": "arn:aws:sqs:us-east-1:0:dead"})
    sqs = FakeClient(
        get_queue_url=SQS.operations["get_queue_url"],
        get_queue_attributes=lambda **_: {"Attributes": {"RedrivePolicy": policy}},
    )
    stack = fake_stack(sqs=sqs, cloudwatch=FakeClient(get_metric_statistics=lambda **_: {"Datapoints": []}))
    depths = await queue_depths(stack)
    assert depths[0] == Depth("OrderFulfillmentQueue", 0, 0, 0, None, "dead", 0, None)
