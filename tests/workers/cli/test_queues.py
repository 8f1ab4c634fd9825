"""What `orders queues` prints, against a scripted AWS."""

import json
from datetime import timedelta
from typing import Any

from tests.workers.cli.console import done, rows
from tests.workers.operations.fakes import NOW, FakeClient, fake_stack, refused
from workers.aws.pauses import PAUSED_TAG
from workers.cli.queues import command
from workers.operations.stack import Stack

COUNTS = {
    "OrderFulfillmentQueue": ("12", "3", "4"),
    "OrderFulfillmentQueue-DLQ": ("5", "6", "7"),
    "EscalationQueue": ("0", "1", "0"),
    "EscalationQueue-DLQ": ("0", "0", "0"),
    "Returns": ("1", "0", "0"),
    "Returns-DLQ": ("0", "0", "0"),
}
AGES = {"OrderFulfillmentQueue": 90.4, "OrderFulfillmentQueue-DLQ": 7200.0}


def get_queue_attributes(QueueUrl: str, AttributeNames: list[str]) -> Any:  # noqa: N803 - the SDK's names.
    assert AttributeNames == ["All"]
    name = QueueUrl.removeprefix("http://sqs/")
    states = zip(("", "NotVisible", "Delayed"), COUNTS[name], strict=True)
    counts = {f"ApproximateNumberOfMessages{state}": count for state, count in states}
    target = f"arn:aws:sqs:us-east-1:000000000000:{name}-DLQ"
    return {"Attributes": counts | {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target})}}


def get_metric_statistics(Dimensions: Any, **_: Any) -> Any:  # noqa: N803
    age_s = AGES.get(Dimensions[0]["Value"])
    return {"Datapoints": [] if age_s is None else [{"Timestamp": NOW - timedelta(minutes=2), "Maximum": age_s}]}


def denied(**_: Any) -> Any:
    raise refused("AccessDenied", "GetMetricStatistics", 403)


def stack(metrics: Any = get_metric_statistics) -> Stack:
    return fake_stack(
        sqs=FakeClient(
            get_queue_url=lambda QueueName: {"QueueUrl": f"http://sqs/{QueueName}"},  # noqa: N803
            get_queue_attributes=get_queue_attributes,
        ),
        cloudwatch=FakeClient(get_metric_statistics=metrics),
    )


def test_both_queues_and_their_dead_letters_are_a_table() -> None:
    ran = done(command, stack=stack())
    assert rows(ran.stdout) == [
        "QUEUE | DEPTH | IN FLIGHT | DELAYED | OLDEST | DEAD LETTERS | OLDEST DEAD",
        "OrderFulfillmentQueue | 12 | 3 | 4 | 90s | 18 | 2h",
        "EscalationQueue | 0 | 1 | 0 | - | 0 | -",
    ]
    assert ran.stderr == ""


def test_all_columns_but_the_name_are_aligned_to_the_right() -> None:
    headings, first, second = done(command, stack=stack()).stdout.splitlines()
    assert len({len(headings), len(first), len(second)}) == 1
    for name, value in (("DEPTH", "12"), ("OLDEST", "90s"), ("DEAD LETTERS", "18")):
        assert headings.index(f"{name}  ") + len(name) == first.index(f" {value} ") + 1 + len(value)
    assert second.startswith("EscalationQueue ")


def test_for_scripts_the_depths_are_json() -> None:
    fulfillment, escalation = json.loads(done(command, "--json", stack=stack()).stdout)
    assert fulfillment == {
        "queue": "OrderFulfillmentQueue",
        "depth": 12,
        "in_flight": 3,
        "delayed": 4,
        "oldest_s": 90,
        "dead_letter_queue": "OrderFulfillmentQueue-DLQ",
        "dead_letters": 18,
        "oldest_dead_letter_s": 7200,
        "paused": False,
        "paused_since_at": None,
        "paused_by": None,
        "paused_note": None,
    }
    assert (escalation["queue"], escalation["oldest_s"], escalation["oldest_dead_letter_s"]) == (
        *("EscalationQueue", None),
        None,
    )


def test_without_access_to_cloudwatch_only_the_ages_are_missing() -> None:
    assert rows(done(command, stack=stack(denied)).stdout)[1:] == [
        "OrderFulfillmentQueue | 12 | 3 | 4 | - | 18 | -",
        "EscalationQueue | 0 | 1 | 0 | - | 0 | -",
    ]


def tagged(QueueUrl: str) -> Any:  # noqa: N803
    paused = {PAUSED_TAG: "2026-11-22T11:55:00Z/ada/new prices"}
    return {"Tags": paused if QueueUrl == "http://sqs/OrderFulfillmentQueue" else {}}


def test_a_paused_queue_says_since_when_and_by_whom() -> None:
    given = stack()
    given.sqs.operations["list_queue_tags"] = tagged  # type: ignore[attr-defined]
    assert rows(done(command, stack=given).stdout) == [
        "QUEUE | DEPTH | IN FLIGHT | DELAYED | OLDEST | DEAD LETTERS | OLDEST DEAD | PAUSED",
        "OrderFulfillmentQueue | 12 | 3 | 4 | 90s | 18 | 2h | since 2026-11-22 11:55:00 by ada: new prices",
        "EscalationQueue | 0 | 1 | 0 | - | 0 | - | no",
    ]
    fulfillment, escalation = json.loads(done(command, "--json", stack=given).stdout)
    assert (fulfillment["paused"], fulfillment["paused_since_at"]) == (True, "2026-11-22T11:55:00Z")
    assert (fulfillment["paused_by"], fulfillment["paused_note"]) == ("ada", "new prices")
    assert escalation["paused"] is False


def test_without_access_to_tags_only_the_pause_is_unknown() -> None:
    given = stack()
    given.sqs.operations["list_queue_tags"] = denied  # type: ignore[attr-defined]
    assert len(rows(done(command, stack=given).stdout)) == 3
    assert [queue["paused"] for queue in json.loads(done(command, "--json", stack=given).stdout)] == [None, None]


def test_any_queue_with_a_dead_letter_queue_can_be_named() -> None:
    shown = rows(done(command, "EscalationQueue", "Returns", "fulfillment", stack=stack()).stdout)[1:]
    assert [row.split(" | ")[0] for row in shown] == ["EscalationQueue", "Returns", "OrderFulfillmentQueue"]
