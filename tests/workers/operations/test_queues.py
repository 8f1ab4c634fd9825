import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.workers.operations.fakes import NOW, FakeClient, FakeSession, fake_stack, refused
from workers.aws.pauses import PAUSED_TAG
from workers.operations.queues import PAUSE_FIELDS, Depth, queue_depths, read_pause_fields
from workers.operations.stack import Queue, Stack


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
        Depth("OrderFulfillmentQueue", 1, 2, 3, 70, "OrderFulfillmentQueue-dead", 15, 3600, paused=False),
        Depth("EscalationQueue", 0, 0, 0, None, "EscalationQueue-dead", 15, None, paused=False),
    ]


async def test_without_cloudwatch_ages_are_unknown() -> None:
    def statistics(**_: Any) -> None:
        raise refused("AccessDenied", "GetMetricStatistics")

    stack = fake_stack(sqs=SQS, cloudwatch=FakeClient(get_metric_statistics=statistics))
    assert [(queue.oldest_s, queue.oldest_dead_letter_s) for queue in await queue_depths(stack)] == [(None, None)] * 2


@pytest.mark.parametrize(("account", "ages"), [("111122223333", [7, 7]), ("444455556666", [None, None])])
async def test_ages_are_those_of_a_queue_in_the_callers_account(account: str, ages: list[int | None]) -> None:
    """CloudWatch would answer with the age of another queue that has the same name."""
    own = {"Timestamp": NOW, "Maximum": 7.0}
    clients = {
        "sqs": FakeClient(
            get_queue_url=lambda **request: {"QueueUrl": f"http://sqs/{request['QueueName']}"},
            get_queue_attributes=attributes,
        ),
        "sts": FakeClient(get_caller_identity=lambda: {"Arn": f"arn:aws:sts::{account}:assumed-role/ops/ada"}),
        "cloudwatch": FakeClient(get_metric_statistics=lambda **_: {"Datapoints": [own]}),
    }
    address = "arn:aws:sqs:us-east-1:111122223333:EscalationQueue"
    stack = Stack({"ESCALATION_QUEUE": address}, now=lambda: NOW, session=FakeSession(clients))
    _, queue = await queue_depths(stack)
    assert (queue.queue, queue.dead_letter_queue) == ("EscalationQueue", "EscalationQueue-dead")
    assert [queue.oldest_s, queue.oldest_dead_letter_s] == ages


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
    assert depths[0] == Depth("OrderFulfillmentQueue", 0, 0, 0, None, "dead", 0, None, paused=False)


@pytest.mark.parametrize(
    ("tag", "known"),
    [
        ("2026-11-22T11:00:00Z/ada/new prices", ("2026-11-22T11:00:00Z", "ada", "new prices")),
        ("edited", (None, None, "edited")),
    ],
)
async def test_a_paused_queue_says_by_whom_and_since_when(tag: str, known: tuple[str | None, ...]) -> None:
    stack = fake_stack(sqs=FakeClient(list_queue_tags=lambda **_: {"Tags": {PAUSED_TAG: tag}}))
    queue = Queue("Returns", "http://sqs/Returns", {}, "DLQ", "http://sqs/DLQ")
    assert await read_pause_fields(stack, queue) == dict(zip(PAUSE_FIELDS, (True, *known), strict=True))
