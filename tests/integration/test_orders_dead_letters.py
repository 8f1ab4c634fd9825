"""`orders dead-letters` against a local AWS: list, replay, discard."""

import json
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.proxy import EXTEND, RECEIVE, Fault, FaultProxy, Rule
from tests.integration.command_line import CARD, CommandLine
from tests.integration.cutting import killed_after
from tests.integration.pipeline import Pipeline, fulfilled, wait_until
from tests.support import DeployStack, StartWorker
from workers.aws.sdk.blocking import AsyncClient
from workers.operations.hold import Hold

UNDECODABLE = "UNDECODABLE_MESSAGE: OrderId is missing"


@pytest.fixture(scope="module")
def deployed(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("dead-"))


@pytest.fixture
def pipeline(deployed: Pipeline) -> Iterator[Pipeline]:
    """A pipeline without workers, with empty dead-letter queues before and after."""
    yield deployed
    stack = deployed.stack
    for url in (stack.order_fulfillment_dlq_url, stack.escalation_dlq_url, stack.order_fulfillment_queue_url):
        deployed.client("sqs").purge_queue(QueueUrl=url)


@pytest.fixture
def orders(pipeline: Pipeline) -> CommandLine:
    return CommandLine(pipeline.stack)


def add_dead_letter(
    pipeline: Pipeline, body: str, reason: str | None = UNDECODABLE, url: str | None = None, **sent: str
) -> str:
    """Put a message into a dead-letter queue, as a worker does; without *reason*, as SQS does."""
    labels = {
        "Reason": reason,
        "OriginMessageId": f"origin-of-{body[:10]}",
        "OriginQueue": "dead-OrderFulfillmentQueue",
        "FirstReceivedAt": "2020-01-01T00:00:00.000000Z",
        "ErrorClass": "UndecodableError",
    }
    attributes = sent | (labels if reason else {})
    answer = pipeline.client("sqs").send_message(
        QueueUrl=url or pipeline.stack.order_fulfillment_dlq_url,
        MessageBody=body,
        MessageAttributes={
            name: {"DataType": "String", "StringValue": str(value)} for name, value in attributes.items()
        },
    )
    message_id: str = answer["MessageId"]
    return message_id


def visible(pipeline: Pipeline, url: str) -> int:
    """Return how many messages of a queue can be received."""
    name = "ApproximateNumberOfMessages"
    found = pipeline.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(found["Attributes"][name])


def taken(pipeline: Pipeline, url: str) -> list[tuple[str, dict[str, str]]]:
    """Take all messages from a queue; return bodies and attributes."""
    return sorted(
        (message["Body"], {name: value["StringValue"] for name, value in message.get("MessageAttributes", {}).items()})
        for message in pipeline.take(url)
    )


def document(order_id: str) -> str:
    return json.dumps({"OrderId": order_id})


def test_dead_letters_are_listed_and_left_visible(pipeline: Pipeline, orders: CommandLine) -> None:
    stack = pipeline.stack
    ids = [
        add_dead_letter(pipeline, document("list-1"), "delivered 11 times without an outcome"),
        add_dead_letter(pipeline, f'{{"OrderId": "{CARD}", "\x1b[2J'.replace("\x1b", "\\u001b")),
        add_dead_letter(pipeline, "bare-1", None, stack.escalation_dlq_url),
    ]
    listed = orders("dead-letters", "list", "--bodies")
    rows = [re.split(r"  +", line) for line in listed.lines]
    queue, age = "dead-OrderFulfillmentDLQ", rows[1][2]
    assert rows[0] == ["QUEUE", "ID", "AGE", "ORDER", "REASON", "ERROR", "CASE", "BODY"]
    assert [queue, ids[0], age, "list-1", "delivered 11 times without an outcome", "undecodable error", "-"] in [
        row[:7] for row in rows
    ]
    undecodable = next(row for row in rows if row[1] == ids[1])
    assert undecodable[3:7] == ["-", UNDECODABLE, "undecodable error", 'message-origin-of-{"OrderId"']
    assert undecodable[7] == '{"OrderId": "****", "\\u001b[2J'
    assert rows[3][:1] + rows[3][3:] == ["dead-EscalationDLQ", "bare-1", "not given", "-", "-", "bare-1"]
    assert age.endswith("d")  # Since it was first received, not since it was dead-lettered.
    assert listed.code == 0
    assert listed.err.splitlines() == [
        f"{name}: {n} selected of {n} dead {'letter' if n == 1 else 'letters'}"
        for name, n in (("dead-OrderFulfillmentDLQ", 2), ("dead-EscalationDLQ", 1))
    ]
    assert [visible(pipeline, url) for url in (stack.order_fulfillment_dlq_url, stack.escalation_dlq_url)] == [2, 1]

    selected = orders("dead-letters", "list", "fulfillment", "--order", "list-1", "--older-than", "1h", "--json")
    (found,) = json.loads(selected.out)
    assert (found["id"], found["order_id"], found["body"]) == (ids[0], "list-1", None)
    nothing = orders("dead-letters", "list", "escalation", "--older-than", "1h")
    assert (nothing.code, nothing.out) == (0, "")


def test_a_replay_is_tried_without_effect_then_sends_the_originals(pipeline: Pipeline, orders: CommandLine) -> None:
    stack = pipeline.stack
    body = '{ "OrderId":"replay-1",  "x": "\\u00e9 \u20ac" }'
    ids = [
        add_dead_letter(pipeline, body, trace="t-1"),
        add_dead_letter(pipeline, document("replay-2"), None),
        add_dead_letter(pipeline, "not me !"),
    ]
    chosen = ("--id", ids[0], "--id", ids[1])
    dry = orders("dead-letters", "replay", "fulfillment", *chosen, "--dry-run")
    assert [line.split()[-3:] for line in dry.lines[1:]] == [["would", "be", "replayed"]] * 2
    assert dry.err.splitlines()[-1] == "This was a dry run: nothing was changed"
    assert dry.code == 0
    assert visible(pipeline, stack.order_fulfillment_dlq_url) == 3

    done = orders("dead-letters", "replay", "fulfillment", *chosen, "--yes", "--rate", "1000", "--json")
    assert (done.code, [letter["outcome"] for letter in json.loads(done.out)]) == (0, ["replayed", "replayed"])
    assert taken(pipeline, stack.order_fulfillment_queue_url) == [(body, {"trace": "t-1"}), (document("replay-2"), {})]
    assert [body for body, _ in taken(pipeline, stack.order_fulfillment_dlq_url)] == ["not me !"]


def test_only_selected_messages_are_discarded(pipeline: Pipeline, orders: CommandLine) -> None:
    for body in ("keep", "drop !", "drop, too"):
        add_dead_letter(pipeline, body, UNDECODABLE if body != "keep" else "delivered 11 times")
    arguments = ("dead-letters", "discard", "fulfillment", "--reason", "undecodable", "--limit", "2")
    assert orders(*arguments, "--dry-run").lines[1].endswith("would be discarded")
    for expected in (2, 0):
        done = orders(*arguments, "--yes", "--rate", "1000")
        assert (done.code, done.out.count("discarded")) == (0, expected)
    assert [body for body, _ in taken(pipeline, pipeline.stack.order_fulfillment_dlq_url)] == ["keep"]
    assert taken(pipeline, pipeline.stack.order_fulfillment_queue_url) == []


def test_an_interrupted_replay_makes_the_rest_visible_again(pipeline: Pipeline, orders: CommandLine) -> None:
    stack = pipeline.stack
    for n in range(20):
        add_dead_letter(pipeline, document(f"interrupted-{n}"))
    with orders.start("dead-letters", "replay", "fulfillment", "--yes", "--rate", "2") as process:
        wait_until(lambda: visible(pipeline, stack.order_fulfillment_queue_url) >= 2)
        ended = orders.interrupt(process)
    replayed = visible(pipeline, stack.order_fulfillment_queue_url)
    assert (ended.code, visible(pipeline, stack.order_fulfillment_dlq_url)) == (130, 20 - replayed)
    last = ended.err.splitlines()[-1]
    assert re.fullmatch(r"orders: interrupted: \d+ of 20 dead letters replayed; the command can be repeated", last)
    again = orders("dead-letters", "replay", "fulfillment", "--yes", "--rate", "1000")
    assert again.code == 0
    bodies = [body for body, _ in taken(pipeline, stack.order_fulfillment_queue_url)]
    assert {*bodies} == {document(f"interrupted-{n}") for n in range(20)}
    assert taken(pipeline, stack.order_fulfillment_dlq_url) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_receive_makes_its_messages_visible_again(
    pipeline: Pipeline, orders: CommandLine, number: signal.Signals, code: int
) -> None:
    stack = pipeline.stack
    add_dead_letter(pipeline, document("under-way"))
    with FaultProxy(stack.local_aws.endpoint, seed=7) as proxy:
        proxy.inject(Rule(Fault.LATENCY, delay_s=3, actions={RECEIVE}))
        with orders.start("dead-letters", "list", "fulfillment", AWS_ENDPOINT_URL=proxy.url) as process:
            wait_until(lambda: proxy.count(RECEIVE))
            ended = orders.interrupt(process, number)
        assert (ended.code, ended.err.strip()) == (code, "orders: interrupted; the command can be repeated")
        assert (proxy.count(RECEIVE), proxy.count(EXTEND)) == (1, 1)
    assert len(taken(pipeline, stack.order_fulfillment_dlq_url)) == 1


def test_a_replay_killed_before_removal_and_repeated_changes_the_order_once(
    pipeline: Pipeline, orders: CommandLine, start_worker: StartWorker
) -> None:
    stack = pipeline.stack
    for n in range(3):
        pipeline.put_order(f"killed-{n}")
        add_dead_letter(
            pipeline, json.dumps({"OrderId": f"killed-{n}", "ExecutionArn": pipeline.arn(f"of-killed-{n}")})
        )
    arguments = ("dead-letters", "replay", "fulfillment", "--yes", "--rate", "1000")
    killed_after(orders, "SendMessage", 2, *arguments)
    assert visible(pipeline, stack.order_fulfillment_queue_url) == 2
    wait_until(lambda: visible(pipeline, stack.order_fulfillment_dlq_url) == 2)  # Their hold has run out.
    assert orders(*arguments).code == 0
    assert pipeline.queued(stack.order_fulfillment_dlq_url) == 0
    worker = start_worker("fulfillment", stack=stack)
    wait_until(lambda: sum(line["event"] == "message.acknowledged" for line in worker.lines()) == 4)
    assert fulfilled(worker) == {f"killed-{n}": 1 for n in range(3)}
    assert worker.stop() == 0


async def test_held_messages_are_extended_and_released_in_a_real_queue(pipeline: Pipeline) -> None:
    sqs, url = pipeline.client("sqs"), pipeline.stack.order_fulfillment_dlq_url
    ids = [add_dead_letter(pipeline, f"held-{n}") for n in range(2)]
    now = 0.0
    async with Hold(AsyncClient(lambda: sqs), url, now_s=lambda: now) as hold:
        receipts = {message["MessageId"]: message["ReceiptHandle"] async for message in hold.messages()}
        assert receipts.keys() == set(ids)
        now = 31.0
        await hold.extend()
        now = 89.0
        assert [hold.holds(message_id) for message_id in ids] == [True, True]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=receipts[ids[0]])  # Another receiver is faster.
        await hold.extend()
        assert [hold.holds(message_id) for message_id in ids] == [False, True]
        assert visible(pipeline, url) == 0
    assert visible(pipeline, url) == 1


def test_a_message_that_cannot_be_replayed_is_reported_and_stays(pipeline: Pipeline, orders: CommandLine) -> None:
    stack, sqs = pipeline.stack, pipeline.client("sqs")
    add_dead_letter(pipeline, "refused-1")
    (policy,) = sqs.get_queue_attributes(
        QueueUrl=stack.order_fulfillment_queue_url, AttributeNames=["MaximumMessageSize"]
    )["Attributes"].values()
    too_long = add_dead_letter(pipeline, json.dumps({"OrderId": "refused-2", "x": "y" * 2000}))
    change: dict[str, Any] = {"QueueUrl": stack.order_fulfillment_queue_url}
    sqs.set_queue_attributes(**change, Attributes={"MaximumMessageSize": "1024"})
    try:
        done = orders("dead-letters", "replay", "fulfillment", "--yes", "--rate", "1000")
    finally:
        sqs.set_queue_attributes(**change, Attributes={"MaximumMessageSize": policy})
    assert done.code == 1
    (row,) = [line for line in done.lines if too_long in line]
    assert "failed: AWS refused SendMessage" in row
    assert done.err.splitlines()[-1] == ("orders: 1 of 2 dead letters failed; the command can be repeated")
    assert [body for body, _ in taken(pipeline, stack.order_fulfillment_queue_url)] == ["refused-1"]
    assert visible(pipeline, stack.order_fulfillment_dlq_url) == 1


def test_bad_usage_and_a_missing_queue_are_one_line(orders: CommandLine) -> None:
    for arguments, code, problem in (
        (["replay"], 2, "orders dead-letters replay: Missing argument '{fulfillment|escalation|QUEUE}'. Choose from:"),
        (["list", "--older-than", "old"], 2, "must be a whole number and a unit: 90s, 10m, 2h or 3d"),
        (["replay", "fulfillment", "--rate", "0"], 2, "0.0 is not in the range 0.1<=x<=1000"),
    ):
        refused = orders("dead-letters", *arguments)
        assert (refused.code, refused.out, refused.err.count("\n")) == (code, "", 1)
        assert problem in refused.err
    missing = orders("dead-letters", "list", ORDER_FULFILLMENT_QUEUE="nobody")
    assert (missing.code, missing.err) == (
        1,
        "orders: there is no queue nobody: deploy the stack, or correct the variable that names it\n",
    )
