"""Dead letters, as an operator looks at them, sends them back and throws them away."""

import json
import re
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

UNDECODABLE = "UNDECODABLE_MESSAGE: wrong or missing: OrderId"


@pytest.fixture(scope="module")
def deployed(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("dead-"))


@pytest.fixture
def pipeline(deployed: Pipeline) -> Iterator[Pipeline]:
    """A pipeline without workers, whose dead-letter queues are empty, before and after."""
    yield deployed
    stack = deployed.stack
    for url in (stack.order_fulfillment_dlq_url, stack.escalation_dlq_url, stack.order_fulfillment_queue_url):
        deployed.client("sqs").purge_queue(QueueUrl=url)


@pytest.fixture
def orders(pipeline: Pipeline) -> CommandLine:
    return CommandLine(pipeline.stack)


def bury(pipeline: Pipeline, body: str, reason: str | None = UNDECODABLE, url: str | None = None, **own: str) -> str:
    """Put a message into a dead-letter queue as a worker does, with its reason; or as SQS does, without one."""
    labels = {
        "Reason": reason,
        "OriginMessageId": f"origin-of-{body[:10]}",
        "OriginQueue": "dead-OrderFulfillmentQueue",
        "FirstReceivedAt": "2020-01-01T00:00:00.000000Z",
        "ErrorClass": "UndecodableError",
    }
    attributes = own | (labels if reason else {})
    sent = pipeline.client("sqs").send_message(
        QueueUrl=url or pipeline.stack.order_fulfillment_dlq_url,
        MessageBody=body,
        MessageAttributes={name: {"DataType": "String", "StringValue": str(each)} for name, each in attributes.items()},
    )
    message_id: str = sent["MessageId"]
    return message_id


def visible(pipeline: Pipeline, url: str) -> int:
    """Return how many messages of a queue anybody could receive."""
    name = "ApproximateNumberOfMessages"
    found = pipeline.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(found["Attributes"][name])


def taken(pipeline: Pipeline, url: str) -> list[tuple[str, dict[str, str]]]:
    """Take everything a queue holds: bodies and attributes."""
    return sorted(
        (each["Body"], {name: value["StringValue"] for name, value in each.get("MessageAttributes", {}).items()})
        for each in pipeline.take(url)
    )


def document(order_id: str) -> str:
    return json.dumps({"OrderId": order_id})


def test_dead_letters_are_listed_with_why_how_old_and_which_order_and_left_as_they_were(
    pipeline: Pipeline, orders: CommandLine
) -> None:
    stack = pipeline.stack
    ids = [
        bury(pipeline, document("list-1"), "delivered 11 times without an outcome"),
        bury(pipeline, f'{{"OrderId": "{CARD}", "\x1b[2J'.replace("\x1b", "\\u001b")),
        bury(pipeline, "bare-1", None, stack.escalation_dlq_url),
    ]
    listed = orders("dead-letters", "list", "--bodies")
    rows = [re.split(r"  +", line) for line in listed.lines]
    queue, age = "dead-OrderFulfillmentDLQ", rows[1][2]
    assert rows[0] == ["QUEUE", "ID", "AGE", "ORDER", "REASON", "ERROR", "CASE", "BODY"]
    assert [queue, ids[0], age, "list-1", "delivered 11 times without an outcome", "UndecodableError", "-"] in [
        row[:7] for row in rows
    ]
    undecodable = next(row for row in rows if row[1] == ids[1])
    assert undecodable[3:7] == ["-", UNDECODABLE, "UndecodableError", 'message-origin-of-{"OrderId"']
    assert undecodable[7] == '{"OrderId": "****", "\\u001b[2J'
    assert rows[3][:1] + rows[3][3:] == ["dead-EscalationDLQ", "bare-1", "not given", "-", "-", "bare-1"]
    assert age.endswith("d")  # Since it was first received, not since it was put here.
    assert listed.code == 0
    assert listed.err.splitlines() == [
        f"{name}: {n} selected of {n} looked at, of about {n} dead letters."
        " A listing is a sample: messages that another receiver holds are not in it"
        for name, n in (("dead-OrderFulfillmentDLQ", 2), ("dead-EscalationDLQ", 1))
    ]
    assert [visible(pipeline, url) for url in (stack.order_fulfillment_dlq_url, stack.escalation_dlq_url)] == [2, 1]

    selected = orders("dead-letters", "list", "fulfillment", "--order", "list-1", "--older-than", "1h", "--json")
    (found,) = json.loads(selected.out)
    assert (found["id"], found["order_id"], "body" in found) == (ids[0], "list-1", False)
    nothing = orders("dead-letters", "list", "escalation", "--older-than", "1h")
    assert (nothing.code, nothing.out) == (0, "")


def test_a_replay_is_a_trial_unless_it_is_meant_and_then_sends_what_was_sent(
    pipeline: Pipeline, orders: CommandLine
) -> None:
    stack = pipeline.stack
    body = '{ "OrderId":"replay-1",  "x": "\\u00e9 \u20ac" }'
    ids = [bury(pipeline, body, trace="t-1"), bury(pipeline, document("replay-2"), None), bury(pipeline, "not me !")]
    chosen = ("--id", ids[0], "--id", ids[1])
    trial = orders("dead-letters", "replay", "fulfillment", *chosen)
    assert [line.split()[-3:] for line in trial.lines[1:]] == [["would", "be", "replayed"]] * 2
    assert trial.err.splitlines()[-1] == "This was a dry run: nothing was changed. --execute does it"
    assert trial.code == 0
    assert visible(pipeline, stack.order_fulfillment_dlq_url) == 3

    done = orders("dead-letters", "replay", "fulfillment", *chosen, "--execute", "--rate", "1000", "--json")
    assert (done.code, [each["outcome"] for each in json.loads(done.out)]) == (0, ["replayed", "replayed"])
    assert taken(pipeline, stack.order_fulfillment_queue_url) == [(body, {"trace": "t-1"}), (document("replay-2"), {})]
    assert [each for each, _ in taken(pipeline, stack.order_fulfillment_dlq_url)] == ["not me !"]


def test_a_discarded_message_is_gone_and_the_others_are_not(pipeline: Pipeline, orders: CommandLine) -> None:
    for body in ("keep", "drop !", "drop, too"):
        bury(pipeline, body, UNDECODABLE if body != "keep" else "delivered 11 times")
    arguments = ("dead-letters", "discard", "fulfillment", "--reason", "undecodable", "--limit", "2")
    assert orders(*arguments).lines[1].endswith("would be discarded")
    for expected in (2, 0):
        done = orders(*arguments, "--execute", "--rate", "1000")
        assert (done.code, done.out.count("discarded")) == (0, expected)
    assert [body for body, _ in taken(pipeline, pipeline.stack.order_fulfillment_dlq_url)] == ["keep"]
    assert taken(pipeline, pipeline.stack.order_fulfillment_queue_url) == []


def test_interrupted_it_gives_back_what_it_has_not_replayed(pipeline: Pipeline, orders: CommandLine) -> None:
    stack = pipeline.stack
    for n in range(20):
        bury(pipeline, document(f"interrupted-{n}"))
    with orders.start("dead-letters", "replay", "fulfillment", "--execute", "--rate", "2") as process:
        wait_until(lambda: visible(pipeline, stack.order_fulfillment_queue_url) >= 2)
        ended = orders.interrupt(process)
    replayed = visible(pipeline, stack.order_fulfillment_queue_url)
    assert (ended.code, visible(pipeline, stack.order_fulfillment_dlq_url)) == (130, 20 - replayed)
    last = ended.err.splitlines()[-1]
    assert re.fullmatch(r"orders: interrupted: \d+ of 20 dead letters replayed; the command can be repeated", last)
    again = orders("dead-letters", "replay", "fulfillment", "--execute", "--rate", "1000")
    assert again.code == 0
    bodies = [body for body, _ in taken(pipeline, stack.order_fulfillment_queue_url)]
    assert {*bodies} == {document(f"interrupted-{n}") for n in range(20)}
    assert taken(pipeline, stack.order_fulfillment_dlq_url) == []


def test_interrupted_while_it_receives_it_gives_back_what_that_brings(pipeline: Pipeline, orders: CommandLine) -> None:
    stack = pipeline.stack
    bury(pipeline, document("under-way"))
    with FaultProxy(stack.local_aws.endpoint, seed=7) as proxy:
        proxy.inject(Rule(Fault.LATENCY, delay_s=3, actions={RECEIVE}))
        with orders.start("dead-letters", "list", "fulfillment", AWS_ENDPOINT_URL=proxy.url) as process:
            wait_until(lambda: proxy.count(RECEIVE))
            ended = orders.interrupt(process)
        assert (ended.code, ended.err.strip()) == (130, "orders: interrupted; the command can be repeated")
        assert (proxy.count(RECEIVE), proxy.count(EXTEND)) == (1, 1)
    assert visible(pipeline, stack.order_fulfillment_dlq_url) == 1


def test_killed_between_sending_and_removing_it_sends_twice_at_worst_which_changes_the_order_once(
    pipeline: Pipeline, orders: CommandLine, start_worker: StartWorker
) -> None:
    stack = pipeline.stack
    for n in range(3):
        pipeline.put_order(f"killed-{n}")
        bury(pipeline, json.dumps({"OrderId": f"killed-{n}", "ExecutionArn": pipeline.arn(f"of-killed-{n}")}))
    arguments = ("dead-letters", "replay", "fulfillment", "--execute", "--rate", "1000")
    killed_after(orders, "SendMessage", 2, *arguments)
    assert visible(pipeline, stack.order_fulfillment_queue_url) == 2
    wait_until(lambda: visible(pipeline, stack.order_fulfillment_dlq_url) == 2)  # By themselves: nobody gave them back.
    assert orders(*arguments).code == 0
    assert pipeline.queued(stack.order_fulfillment_dlq_url) == 0
    worker = start_worker("fulfillment", stack=stack)
    wait_until(lambda: sum(line["event"] == "message.acknowledged" for line in worker.lines()) == 4)
    assert fulfilled(worker) == {f"killed-{n}": 1 for n in range(3)}
    assert worker.stop() == 0


async def test_held_messages_are_extended_and_released_in_a_real_queue(pipeline: Pipeline) -> None:
    sqs, url = pipeline.client("sqs"), pipeline.stack.order_fulfillment_dlq_url
    ids = [bury(pipeline, f"held-{n}") for n in range(2)]
    now = 0.0
    async with Hold(AsyncClient(lambda: sqs), url, clock=lambda: now) as hold:
        receipts = {message["MessageId"]: message["ReceiptHandle"] async for message in hold.messages()}
        assert receipts.keys() == set(ids)
        now = 31.0
        await hold.extend()
        now = 89.0
        assert [hold.holds(each) for each in ids] == [True, True]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=receipts[ids[0]])  # Another receiver is faster.
        await hold.extend()
        assert [hold.holds(each) for each in ids] == [False, True]
        now = 150.0
        assert not hold.holds(ids[1])
        assert visible(pipeline, url) == 0
    assert visible(pipeline, url) == 1


def test_what_cannot_be_replayed_is_named_and_stays(pipeline: Pipeline, orders: CommandLine) -> None:
    stack, sqs = pipeline.stack, pipeline.client("sqs")
    bury(pipeline, "refused-1")
    (policy,) = sqs.get_queue_attributes(
        QueueUrl=stack.order_fulfillment_queue_url, AttributeNames=["MaximumMessageSize"]
    )["Attributes"].values()
    too_long = bury(pipeline, json.dumps({"OrderId": "refused-2", "x": "y" * 2000}))
    change: dict[str, Any] = {"QueueUrl": stack.order_fulfillment_queue_url}
    sqs.set_queue_attributes(**change, Attributes={"MaximumMessageSize": "1024"})
    try:
        done = orders("dead-letters", "replay", "fulfillment", "--execute", "--rate", "1000")
    finally:
        sqs.set_queue_attributes(**change, Attributes={"MaximumMessageSize": policy})
    assert done.code == 1
    (row,) = [line for line in done.lines if too_long in line]
    assert "failed: AWS refused SendMessage" in row
    assert done.err.splitlines()[-1] == ("orders: 1 of 2 dead letters failed; the command can be repeated")
    assert [body for body, _ in taken(pipeline, stack.order_fulfillment_queue_url)] == ["refused-1"]
    assert visible(pipeline, stack.order_fulfillment_dlq_url) == 1


def test_bad_usage_and_what_is_not_there_are_one_line(orders: CommandLine) -> None:
    for arguments, code, problem in (
        (["replay"], 2, "Error: Missing argument '{fulfillment|escalation}'. Choose from:"),
        (["list", "--older-than", "old"], 2, "must be a whole number and a unit: 90s, 10m, 2h or 3d"),
        (["replay", "fulfillment", "--rate", "0"], 2, "0.0 is not in the range 0.1<=x<=1000"),
    ):
        refused = orders("dead-letters", *arguments)
        assert (refused.code, refused.out) == (code, "")
        assert problem in refused.err
    missing = orders("dead-letters", "list", ORDER_FULFILLMENT_QUEUE="nobody")
    assert (missing.code, missing.err) == (
        1,
        "orders: there is no queue nobody: deploy the stack, or correct the variable that names it\n",
    )
