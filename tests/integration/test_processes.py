"""Worker processes that are stopped, frozen, killed and replaced while they work."""

import json
import re
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from tests.integration.pipeline import ENVIRONMENT, SCRIPTED, Pipeline, endings, fulfilled, of, wait_until
from tests.integration.providers import CRASHED
from tests.support import SHORT_VISIBILITY, DeployStack, StartWorker, Worker, free_port


@pytest.fixture(scope="module")
def pipeline(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("stopping-"))


def wait_until_drained(pipeline: Pipeline) -> None:
    """Wait until the fulfillment queue is empty."""
    wait_until(lambda: pipeline.queued(pipeline.stack.order_fulfillment_queue_url) == 0)


def start(start_worker: StartWorker, pipeline: Pipeline, **environment: str) -> Worker:
    worker = start_worker(
        "fulfillment",
        stack=pipeline.stack,
        env=ENVIRONMENT | SHORT_VISIBILITY | {"FULFILLMENT_PROVIDER": SCRIPTED} | environment,
    )
    worker.wait_for("worker.started")
    return worker


def test_a_worker_stopped_under_load_loses_and_repeats_nothing(pipeline: Pipeline, start_worker: StartWorker) -> None:
    orders = [f"stopped-{n}" for n in range(30)]
    for order_id in orders:
        pipeline.put_order(order_id, ItemName="slow", Price="0.3")
        pipeline.send_order(order_id)
    first = start(start_worker, pipeline, WORKER_CONCURRENCY="5")
    first.wait_for("order.fulfilled")
    assert first.stop() == 0
    assert first.lines()[-1]["event"] == "worker.stopped"
    ended = endings(first)
    assert len({message_id for message_id, *_ in ended}) == len(ended)
    outcomes = {(event, outcome) for _, event, outcome in ended}
    assert outcomes <= {("message.acknowledged", "fulfilled"), ("message.released", "stopping")}
    assert {order_id for order_id in orders if pipeline.status(order_id) == "FULFILLED"} == set(fulfilled(first))

    second = start(start_worker, pipeline)  # Released messages are visible at once.
    wait_until(lambda: len(fulfilled(first, second)) == 30)
    wait_until_drained(pipeline)
    assert second.stop() == 0
    assert fulfilled(first, second) == dict.fromkeys(orders, 1)


def test_an_idle_worker_stops_at_once(pipeline: Pipeline, start_worker: StartWorker) -> None:
    worker = start(start_worker, pipeline)
    worker.process.send_signal(signal.SIGINT)
    assert worker.wait() == 0
    assert [line["event"] for line in worker.lines()] == [
        *("worker.starting", "worker.started", "signal.received", "consumer.stopping", "worker.stopped"),
    ]


def test_a_long_poll_may_exceed_the_drain_time(pipeline: Pipeline, start_worker: StartWorker) -> None:
    worker = start(
        start_worker, pipeline, WORKER_WAIT_S="12", WORKER_DRAIN_S="0"
    )  # Longer by more than `FORCED_EXIT_MARGIN_S`.
    assert worker.stop() == 0
    assert worker.lines()[-1]["event"] == "worker.stopped"


def test_messages_that_exceed_the_drain_time_are_released(pipeline: Pipeline, start_worker: StartWorker) -> None:
    pipeline.put_order("long-1", ItemName="slow", Price="60")
    message_id = pipeline.send_order("long-1")
    worker = start(start_worker, pipeline, WORKER_DRAIN_S="0.5", WORKER_WAIT_S="0")
    wait_until(lambda: in_flight(pipeline) == 1)
    assert worker.stop() == 0
    assert endings(worker) == [(message_id, "message.released", "stopping")]
    assert in_flight(pipeline) == 0
    assert [message["MessageId"] for message in pipeline.take(pipeline.stack.order_fulfillment_queue_url)] == [
        message_id
    ]


def in_flight(pipeline: Pipeline) -> int:
    """Return how many messages of the fulfillment queue are in flight."""
    name = "ApproximateNumberOfMessagesNotVisible"
    found = pipeline.client("sqs").get_queue_attributes(
        QueueUrl=pipeline.stack.order_fulfillment_queue_url, AttributeNames=[name]
    )
    return int(found["Attributes"][name])


def test_a_second_signal_ends_a_busy_worker_at_once(pipeline: Pipeline, start_worker: StartWorker) -> None:
    pipeline.put_order("stuck-1", ItemName="slow", Price="60")
    pipeline.send_order("stuck-1")
    # Without long polls: the last one of a process that has ended would receive messages of the next test.
    worker = start(start_worker, pipeline, WORKER_DRAIN_S="60", WORKER_WAIT_S="0")
    wait_until(lambda: in_flight(pipeline) == 1)
    worker.process.send_signal(signal.SIGTERM)
    worker.wait_for("consumer.stopping")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.wait() == -signal.SIGTERM
    assert endings(worker) == []
    pipeline.client("sqs").purge_queue(QueueUrl=pipeline.stack.order_fulfillment_queue_url)


def test_a_message_that_reappears_while_handled_changes_its_order_once(
    deploy_stack: DeployStack, start_worker: StartWorker
) -> None:
    pipeline = Pipeline(deploy_stack("visible-"))
    pipeline.client("sqs").set_queue_attributes(
        QueueUrl=pipeline.stack.order_fulfillment_queue_url, Attributes={"VisibilityTimeout": "2"}
    )
    pipeline.put_order("visible-1", ItemName="slow", Price="3")
    message_id = pipeline.send_order("visible-1")
    frozen = start(start_worker, pipeline)
    wait_until(lambda: in_flight(pipeline) == 1)
    frozen.process.send_signal(signal.SIGSTOP)  # It no longer extends visibility, so SQS shows the message again.
    other = start(start_worker, pipeline)
    assert other.wait_for("message.acknowledged", message_id=message_id)["outcome"] == "fulfilled"
    fulfilled_order = pipeline.order("visible-1")
    frozen.process.send_signal(signal.SIGCONT)
    wait_until(lambda: len(endings(frozen)) == 1)
    assert of(message_id, endings(frozen)) in (
        [("message.abandoned", "receipt_lost")],
        [("message.acknowledged", "already_fulfilled")],
    )
    assert pipeline.order("visible-1") == fulfilled_order
    assert fulfilled(frozen, other) == {"visible-1": 1}
    wait_until_drained(pipeline)
    assert (frozen.stop(), other.stop()) == (0, 0)


def test_a_killed_worker_loses_nothing(pipeline: Pipeline, start_worker: StartWorker) -> None:
    pipeline.client("sqs").set_queue_attributes(
        QueueUrl=pipeline.stack.order_fulfillment_queue_url, Attributes={"VisibilityTimeout": "2"}
    )
    orders = [f"killed-{n}" for n in range(20)]
    for order_id in orders:
        pipeline.put_order(order_id, ItemName="slow", Price="0.2")
        pipeline.send_order(order_id)
    first = start(start_worker, pipeline, WORKER_CONCURRENCY="5")
    first.wait_for("order.fulfilled")
    first.kill()
    second = start(start_worker, pipeline)
    wait_until_drained(pipeline)
    assert {pipeline.status(order_id) for order_id in orders} == {"FULFILLED"}
    assert max(fulfilled(first, second).values()) == 1
    assert second.stop() == 0


# The second delivery is a trial already, so that a few processes are enough. The unit tests play forty stops.
ON_TRIAL = {"WORKER_MAX_DELIVERIES": "1", "WORKER_DRAIN_S": "0", "WORKER_WAIT_S": "0"}


def stop_in_flight(start_worker: StartWorker, pipeline: Pipeline, **environment: str) -> Worker:
    """Start a worker, and stop it once it handles the message on the queue."""
    wait_until(lambda: in_flight(pipeline) == 0)  # After a crash it is still in flight.
    worker = start(start_worker, pipeline, **environment)
    worker.wait_for("provider.called")
    assert worker.stop() == 0
    return worker


def test_an_order_that_never_failed_survives_any_number_of_stops(
    deploy_stack: DeployStack, start_worker: StartWorker
) -> None:
    pipeline = Pipeline(deploy_stack("stops-"))
    pipeline.put_order("stops-1", ItemName="slow", Price="60")  # In flight until its worker is stopped.
    message_id = pipeline.send_order("stops-1")
    for stop in range(6):
        worker = stop_in_flight(start_worker, pipeline, **ON_TRIAL)
        assert endings(worker) == [(message_id, "message.released", "stopping")]
        assert ("trial.taken_back" in {line["event"] for line in worker.lines()}) == (stop > 0)
    order = pipeline.order("stops-1")
    assert order is not None
    assert (order["Status"], order["Trials"], "LastTrial" in order) == ("RECEIVED", 0, False)

    pipeline.client("dynamodb").update_item(
        TableName=pipeline.stack.order_table,
        Key={"OrderId": {"S": "stops-1"}},
        UpdateExpression="SET Price = :quick",
        ExpressionAttributeValues={":quick": {"S": "0.1"}},
    )
    last = start(start_worker, pipeline, **ON_TRIAL)
    wait_until_drained(pipeline)
    assert last.stop() == 0
    assert endings(last) == [(message_id, "message.acknowledged", "fulfilled")]
    assert pipeline.status("stops-1") == "FULFILLED"
    assert pipeline.queued(pipeline.stack.escalation_queue_url) == 0


def test_a_message_that_crashes_its_worker_is_escalated_despite_stops(
    deploy_stack: DeployStack, start_worker: StartWorker
) -> None:
    pipeline = Pipeline(deploy_stack("crashes-"))
    pipeline.client("sqs").set_queue_attributes(
        QueueUrl=pipeline.stack.order_fulfillment_queue_url, Attributes={"VisibilityTimeout": "2"}
    )
    pipeline.put_order("crashes-1", ItemName="crash")
    pipeline.send_order("crashes-1")
    for _ in range(3):  # The first delivery is a stop; each crash is a trial.
        stopped = stop_in_flight(start_worker, pipeline, **ON_TRIAL, CRASH_AFTER_S="60")
        assert [outcome for *_, outcome in endings(stopped)] == ["stopping"]
        assert start(start_worker, pipeline, **ON_TRIAL, CRASH_AFTER_S="0").wait() == CRASHED
    worker = start(start_worker, pipeline, **ON_TRIAL, CRASH_AFTER_S="0")
    wait_until_drained(pipeline)
    assert worker.stop() == 0
    assert [(event, outcome) for _, event, outcome in endings(worker)] == [("message.acknowledged", "escalated")]
    assert [json.loads(sent["Body"])["Reasons"] for sent in pipeline.take(pipeline.stack.escalation_queue_url)] == [
        ["FULFILLMENT_EXHAUSTED"]
    ]


PLAIN = {"FULFILLMENT_PROVIDER": "tests.integration.providers:PlainProvider"}


def test_a_provider_that_is_not_async_ships_in_parallel_and_stops_in_time(
    deploy_stack: DeployStack, start_worker: StartWorker
) -> None:
    pipeline = Pipeline(deploy_stack("plain-"))
    orders = [f"plain-{n}" for n in range(30)]
    for order_id in orders:
        pipeline.put_order(order_id, Price="0.5")
        pipeline.send_order(order_id)
    worker = start(start_worker, pipeline, **PLAIN, WORKER_DRAIN_S="1")
    wait_until_drained(pipeline)
    assert max(line["at_once"] for line in worker.lines() if line["event"] == "provider.called") > 1
    assert {pipeline.status(order_id) for order_id in orders} == {"FULFILLED"}

    pipeline.put_order("plain-hangs", Price="600")
    message_id = pipeline.send_order("plain-hangs")
    worker.wait_for("provider.called", order_id="plain-hangs")
    assert worker.stop() == 0
    assert of(message_id, endings(worker)) == [("message.released", "stopping")]
    assert worker.lines()[-1]["event"] == "worker.stopped"
    assert not [line for line in worker.lines() if line["event"] == "library.logged"]


def test_a_handler_that_blocks_the_event_loop_is_named_in_the_log(
    deploy_stack: DeployStack, start_worker: StartWorker
) -> None:
    pipeline = Pipeline(deploy_stack("blocks-"))
    port = free_port()
    worker = start(start_worker, pipeline, WORKER_HEALTH_PORT=str(port))
    for order_id in ("blocks-1", "blocks-2"):
        pipeline.put_order(order_id, Name="Ada 4929123412345678", ItemName="block", Price="2.5")
        message_id = pipeline.send_order(order_id)
        worker.wait_for("message.acknowledged", message_id=message_id)
    (line,) = [line for line in worker.lines() if line["event"] == "event_loop.blocked"]  # At most one a minute.
    assert (line["level"], line["worker"], line["queue"]) == (
        *("warning", "fulfillment"),
        pipeline.stack.outputs["OrderFulfillmentQueueName"],
    )
    assert line["duration_ms"] >= 1500
    assert not line["still_blocked"]
    assert line["function"] == "ScriptedProvider.ship"
    assert Path(line["file"]).name == "providers.py"
    assert Path(line["file"]).read_text().splitlines()[line["line"] - 1].strip().startswith("time.sleep(")
    assert line["callers"][0].startswith("FulfillmentHandler._call (")
    assert line["late"] == "visibility extensions, polls and health checks"
    assert "Ada" not in json.dumps(line)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        (blocked_s,) = re.findall(
            r"^workers_event_loop_blocked_seconds_total (.*)", answer.read().decode(), re.MULTILINE
        )
    assert float(blocked_s) >= 3.5
    assert worker.stop() == 0


def test_a_slow_handler_and_a_frozen_process_block_no_event_loop(pipeline: Pipeline, start_worker: StartWorker) -> None:
    pipeline.put_order("not-blocked-1", ItemName="slow", Price="4")
    message_id = pipeline.send_order("not-blocked-1")
    worker = start(start_worker, pipeline)
    wait_until(lambda: in_flight(pipeline) == 1)
    worker.process.send_signal(signal.SIGSTOP)
    time.sleep(2)
    worker.process.send_signal(signal.SIGCONT)
    worker.wait_for("message.acknowledged", message_id=message_id)
    assert not [line for line in worker.lines() if line["event"] == "event_loop.blocked"]
    assert worker.stop() == 0
