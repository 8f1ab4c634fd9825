"""Queues whose own visibility timeout is shorter than what handling a message takes, each with two workers."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.command_line import CommandLine
from tests.integration.conftest import Running
from tests.integration.hooks import Hooks
from tests.integration.pipeline import SCRIPTED, Pipeline, endings, fulfilled, wait_until
from tests.support import Worker

TIMEOUTS_S = (0, 1, 2, 5)
SLOW_S = "6"  # Longer than each of these timeouts.
EACH = 3  # Orders in each queue.


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue of its own on the stack's tables, with its dead-letter queue."""

    name: str
    url: str
    dead_letter_url: str

    @classmethod
    def create(cls, pipeline: Pipeline, name: str, timeout_s: int) -> "Queue":
        sqs, attributes = pipeline.client("sqs"), {"VisibilityTimeout": str(timeout_s)}
        dead_letter_url = sqs.create_queue(QueueName=f"{name}-dead", Attributes=attributes)["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=dead_letter_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        redrive = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 100})}
        return cls(name, sqs.create_queue(QueueName=name, Attributes=attributes | redrive)["QueueUrl"], dead_letter_url)

    def set_timeout(self, pipeline: Pipeline, timeout_s: int) -> None:
        pipeline.client("sqs").set_queue_attributes(QueueUrl=self.url, Attributes={"VisibilityTimeout": str(timeout_s)})


@pytest.fixture
def workers() -> Iterator[list[Worker]]:
    started = list[Worker]()
    yield started
    for worker in started:
        worker.kill()


def test_slow_orders_are_shipped_once_whatever_the_timeout_of_their_queue_is_or_becomes(
    running: Running, workers: list[Worker], tmp_path: Path
) -> None:
    pipeline = running.pipeline
    queues = {timeout_s: Queue.create(pipeline, f"short-{timeout_s}", timeout_s) for timeout_s in TIMEOUTS_S}
    pairs = dict[int, list[Worker]]()
    for timeout_s, queue in queues.items():
        pairs[timeout_s] = [
            pipeline.start(
                "fulfillment",
                tmp_path / f"{timeout_s}-{number}.log",
                FULFILLMENT_PROVIDER=SCRIPTED,
                ORDER_FULFILLMENT_QUEUE=queue.name,
            )
            for number in (1, 2)
        ]
        workers += pairs[timeout_s]
    for worker in workers:
        worker.wait_for("worker.started")
    for timeout_s, queue in queues.items():
        for number in range(EACH):
            order_id = f"short-{timeout_s}-{number}"
            pipeline.put_order(order_id, ItemName="slow", Price=SLOW_S)
            body = json.dumps({"OrderId": order_id, "ExecutionArn": pipeline.arn(f"of-{order_id}")})
            pipeline.client("sqs").send_message(QueueUrl=queue.url, MessageBody=body)
    for timeout_s, queue in queues.items():
        wait_until(lambda pair=pairs[timeout_s]: sum(called(*pair).values()) >= EACH)  # type: ignore[misc]
        queue.set_timeout(pipeline, 0 if timeout_s else 1)
    for timeout_s, queue in queues.items():
        wait_until(lambda url=queue.url: pipeline.queued(url) == 0)  # type: ignore[misc]
        pair = pairs[timeout_s]
        wait_until(lambda pair=pair: len(endings(*pair)) >= EACH)  # type: ignore[misc]
        assert [ending[1:] for ending in endings(*pair)] == [("message.acknowledged", "fulfilled")] * EACH
        once = Counter({f"short-{timeout_s}-{number}": 1 for number in range(EACH)})
        assert (called(*pair), fulfilled(*pair)) == (once, once)


def test_slow_escalations_are_routed_once_on_a_queue_with_a_short_timeout(
    running: Running, workers: list[Worker], hooks: Hooks, tmp_path: Path
) -> None:
    pipeline, queue = running.pipeline, Queue.create(running.pipeline, "short-escalations", 1)
    hooks.slow_s = 3.0
    rules = tmp_path / "rules.toml"
    rules.write_text(
        '[[rules]]\nseverity = "warning"\nchannels = ["desk"]\n'
        f'[channels.desk]\ntype = "webhook"\nurl = "{hooks.url("desk")}"\n',
        encoding="utf-8",
    )
    for number in (1, 2):
        environment = {"ESCALATION_QUEUE": queue.name, "ESCALATION_RULES": str(rules)}
        workers.append(pipeline.start("escalation", tmp_path / f"escalation-{number}.log", **environment))
    for worker in workers:
        worker.wait_for("worker.started")
    order_ids = [f"short-escalated-{number}" for number in range(EACH)]
    for order_id in order_ids:
        pipeline.put_order(order_id)
        body = {"OrderId": order_id, "Reasons": ["INVALID_PRICE"], "ExecutionArn": pipeline.arn(f"of-{order_id}")}
        pipeline.client("sqs").send_message(QueueUrl=queue.url, MessageBody=json.dumps(body))
    wait_until(lambda: hooks.asked)
    queue.set_timeout(pipeline, 0)
    wait_until(lambda: pipeline.queued(queue.url) == 0)
    wait_until(lambda: len(endings(*workers)) >= EACH)  # Its line comes after a message is deleted.
    assert {body["OrderId"] for body in hooks.notifications("desk")} == set(order_ids)
    lines = [line for worker in workers for line in worker.lines() if line["event"] == "escalation.routed"]
    assert Counter(line["order_id"] for line in lines) == Counter(order_ids)
    assert [ending[1:] for ending in endings(*workers)] == [("message.acknowledged", "escalated")] * EACH


def test_dead_letters_are_held_whatever_the_timeout_of_their_queue(running: Running) -> None:
    pipeline, orders = running.pipeline, CommandLine(running.pipeline.stack)
    none, short = (Queue.create(pipeline, f"short-letters-{timeout_s}", timeout_s) for timeout_s in (0, 1))
    bodies = [f"letter {number}" for number in range(12)]  # More than one receive brings.
    for queue in (none, short):
        for body in bodies:
            pipeline.client("sqs").send_message(QueueUrl=queue.dead_letter_url, MessageBody=body)
    named = {"ORDER_FULFILLMENT_QUEUE": none.name, "ESCALATION_QUEUE": short.name}
    listed = json.loads(orders("dead-letters", "list", "--bodies", "--json", **named).out)
    assert Counter(letter["body"] for letter in listed) == Counter(bodies * 2)
    command = ("dead-letters", "replay", "fulfillment", "--yes", "--rate", "5", "--json")  # Takes over two seconds.
    replayed = orders(*command, **named)
    assert (replayed.code, [letter["outcome"] for letter in json.loads(replayed.out)]) == (0, ["replayed"] * 12)
    assert (pipeline.queued(none.dead_letter_url), pipeline.queued(short.dead_letter_url)) == (0, 12)
    none.set_timeout(pipeline, 30)  # Or `take` would get the first messages again and again.
    assert Counter(message["Body"] for message in pipeline.take(none.url)) == Counter(bodies)


def called(*workers: Worker) -> Counter[str]:
    """Count how often the provider was called for each order."""
    lines = [line for worker in workers for line in worker.lines()]
    return Counter(line["order_id"] for line in lines if line["event"] == "provider.called")
