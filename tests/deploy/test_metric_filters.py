"""Metric filters, and the queries of docs/logs.md, against lines that worker processes really wrote."""

import re
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cloudwatch import alarmed, counted, fields_of, matches, of_type, selected
from tests.docs.pages import page, section
from tests.integration.pipeline import SCRIPTED, Pipeline, wait_until
from tests.support import SHORT_VISIBILITY, DeployStack, Worker
from workers.domain.reasons import Reason

FILTERS = of_type("AWS::Logs::MetricFilter")
ALARMS = of_type("AWS::CloudWatch::Alarm")
# The reasons of the escalations sent below. The workers add escalations of their own.
SENT = [*([reason] for reason in Reason), [Reason.INVALID_CARD_NUMBER, Reason.INVALID_PRICE]]
RULES = """
[[rules]]
reasons = ["UNDECODABLE_MESSAGE", "WORKFLOW_FAILED", "VERIFICATION_UNAVAILABLE"]
severity = "critical"
[[rules]]
sources = ["eventbridge"]
severity = "warning"
channels = ["hanging"]
[[rules]]
severity = "warning"
[channels.hanging]
type = "webhook"
url = "http://127.0.0.1:{port}/"
"""
RELEASE = "3f9a0c1b2d4e"
QUICK = SHORT_VISIBILITY | {"WORKER_DRAIN_S": "0", "WORKER_RELEASE": RELEASE}
Lines = Mapping[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def emitted(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """The lines of both workers, after everything has happened that a filter counts."""
    pipeline, logs = Pipeline(deploy_stack("metrics-")), tmp_path_factory.mktemp("logs")
    urls = {
        "fulfillment": pipeline.stack.order_fulfillment_queue_url,
        "escalation": pipeline.stack.escalation_queue_url,
    }
    for url in urls.values():  # Short, so that a worker soon extends it and finds the receipt lost.
        pipeline.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "2"})
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # Accepts connections, but never answers.
        rules = logs / "rules.toml"
        rules.write_text(RULES.format(port=hanging.getsockname()[1]), encoding="utf-8")
        started = {
            "fulfillment": pipeline.start(
                "fulfillment", logs / "fulfillment.log", FULFILLMENT_PROVIDER=SCRIPTED, **QUICK
            ),
            "escalation": pipeline.start("escalation", logs / "escalation.log", ESCALATION_RULES=str(rules), **QUICK),
        }
        try:
            fulfill(pipeline, started["fulfillment"])
            escalate(pipeline, started["escalation"])
            lose(pipeline, started, urls)
            for worker in started.values():
                assert worker.stop() == 0, worker.output()
        finally:
            for worker in started.values():
                worker.kill()
    lines = {name: [*worker.lines(), *failed(pipeline, name, logs), outage(name)] for name, worker in started.items()}
    lines["escalation"].append(given_up())
    return lines


def fulfill(pipeline: Pipeline, worker: Worker) -> None:
    pipeline.put_order("shipped")
    pipeline.send_order("shipped")
    worker.wait_for("order.fulfilled")
    pipeline.put_order("failing", ItemName="fail")
    pipeline.send_order("failing")
    worker.wait_for("message.released", outcome="unexpected_error")
    pipeline.send_fulfillment("no order at all")
    worker.wait_for("message.dead_lettered")


def escalate(pipeline: Pipeline, worker: Worker) -> None:
    for number, reasons in enumerate(SENT):
        pipeline.send_escalation({"OrderId": f"order-{number}", "Reasons": reasons, "Source": "workflow"})
    pipeline.send_escalation("no escalation at all")
    # An unreadable case.
    pipeline.client("dynamodb").put_item(
        TableName=pipeline.stack.escalation_table, Item={"CaseId": {"S": "unreadable"}, "Version": {"N": "1"}}
    )
    pipeline.send_escalation("unreadable")
    for number in range(len(SENT)):
        worker.wait_for("escalation.routed", order_id=f"order-{number}")
    worker.wait_for("message.dead_lettered")
    worker.wait_for("message.released", outcome="unexpected_error")


def lose(pipeline: Pipeline, workers: Mapping[str, Worker], urls: Mapping[str, str]) -> None:
    """Purge a message from its queue while the worker handles it, for both workers."""
    pipeline.put_order("slow", ItemName="slow", Price="20")
    pipeline.send_order("slow")
    pipeline.send_escalation({"OrderId": "held", "Reasons": ["ORDER_NOT_FOUND"], "Source": "eventbridge"})
    for name, url in urls.items():
        wait_until(lambda url=url: held(pipeline, url))  # type: ignore[misc]
        pipeline.client("sqs").purge_queue(QueueUrl=url)
        workers[name].wait_for("message.abandoned", outcome="receipt_lost")


def held(pipeline: Pipeline, url: str) -> bool:
    """Whether all messages of a queue are in flight."""
    visible, hidden = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    found = pipeline.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[visible, hidden])["Attributes"]
    return int(found[visible]) == 0 and int(found[hidden]) > 0


def failed(pipeline: Pipeline, name: str, logs: Path) -> list[dict[str, Any]]:
    """Return the lines of a worker that cannot start."""
    queues = {"ORDER_FULFILLMENT_QUEUE": "none", "ESCALATION_QUEUE": "none", **QUICK}
    worker = pipeline.start(name, logs / f"failed-{name}.log", **queues)
    try:
        worker.wait_for("worker.failed")
    finally:
        worker.kill()
    return worker.lines()


def outage(worker: str) -> dict[str, Any]:
    """Return the line that a worker writes once an outage has lasted for five minutes: too long for a test."""
    return {
        "timestamp": "2026-11-26T09:33:24.325000Z",
        "level": "error",
        "event": "outage.prolonged",
        "worker": worker,
        "release": RELEASE,
        "stage": "downstream",
        "reason": "the provider answers 503",
        "duration_ms": 300_000,
    }


def given_up() -> dict[str, Any]:
    """Return the line that an escalation worker writes if a channel refuses a notification for good."""
    return {
        "timestamp": "2026-11-26T09:33:24.325000Z",
        "level": "error",
        "event": "notification.given_up",
        "worker": "escalation",
        "release": RELEASE,
        "channel": "chat",
        "case_id": "001",
        "episode": 1,
        "reason": "HTTP 422",
    }


def matched(name: str, emitted: Lines) -> list[dict[str, Any]]:
    worker = FILTERS[name]["LogGroupName"]["Ref"].removesuffix("LogGroup").lower()
    return [line for line in emitted[worker] if matches(FILTERS[name]["FilterPattern"], line)]


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_counts_lines_that_its_worker_writes(name: str, emitted: Lines) -> None:
    lines = matched(name, emitted)
    assert lines
    (transformation,) = FILTERS[name]["MetricTransformations"]
    assert transformation["MetricValue"] == "1"
    for line in lines:
        for dimension in transformation.get("Dimensions", []):
            assert isinstance(selected(dimension["Value"], line), str), line


@pytest.mark.parametrize("worker", ["fulfillment", "escalation"])
@pytest.mark.parametrize(
    ("name", "event"),
    [
        ("ReleasedFilter", "message.released"),
        ("AbandonedFilter", "message.abandoned"),
        ("DeadLetteredFilter", "message.dead_lettered"),
        ("WorkerFailedFilter", "worker.failed"),
        ("OutageFilter", "outage.prolonged"),
    ],
)
def test_the_ends_of_messages_are_counted_for_each_worker(worker: str, name: str, event: str, emitted: Lines) -> None:
    lines = matched(f"{worker.title()}{name}", emitted)
    assert lines == [line for line in emitted[worker] if line["event"] == event]
    assert {line["worker"] for line in lines} == {worker}


def test_every_line_carries_the_release(emitted: Lines) -> None:
    assert {line.get("release") for lines in emitted.values() for line in lines} == {RELEASE}


@pytest.mark.parametrize("worker", ["Fulfillment", "Escalation"])
@pytest.mark.parametrize(
    ("alarm", "events"),
    [
        ("ReleaseWorkerFailed", {("worker.failed", None)}),
        (
            "ReleaseHandlingFails",
            {("message.released", "unexpected_error"), ("message.dead_lettered", "undecodable")},
        ),
    ],
)
def test_lines_of_an_old_release_do_not_judge_the_new_one(
    worker: str, alarm: str, events: set[tuple[str, str | None]], emitted: Lines
) -> None:
    (watched,) = alarmed(ALARMS[f"{worker}{alarm}"])
    assert watched.dimensions == {"Worker": worker.lower(), "Release": "WorkerRelease"}
    watched = replace(watched, dimensions={**watched.dimensions, "Release": RELEASE})
    lines = emitted[worker.lower()]

    new = counted(watched, f"{worker}LogGroup", lines)
    assert {(line["event"], line.get("outcome")) for line in new} == events
    assert counted(watched, f"{worker}LogGroup", [line | {"release": "older"} for line in lines]) == []
    without = [{name: value for name, value in line.items() if name != "release"} for line in lines]
    assert counted(watched, f"{worker}LogGroup", without) == []


def test_releases_are_counted_by_outcome(emitted: Lines) -> None:
    for worker in ("Fulfillment", "Escalation"):
        assert "unexpected_error" in {line["outcome"] for line in matched(f"{worker}ReleasedFilter", emitted)}


def test_an_order_is_counted_once_when_it_is_fulfilled(emitted: Lines) -> None:
    assert [line["order_id"] for line in matched("FulfilledFilter", emitted)] == ["shipped"]


def test_every_reason_has_a_filter() -> None:
    metrics = {properties["MetricTransformations"][0]["MetricName"] for properties in FILTERS.values()}
    assert {f"Escalated{''.join(word.title() for word in reason.split('_'))}" for reason in Reason} == {
        name for name in metrics if name.startswith("Escalated")
    }


@pytest.mark.parametrize("reason", Reason)
def test_an_escalation_counts_for_each_of_its_reasons(reason: Reason, emitted: Lines) -> None:
    name = f"Escalated{''.join(word.title() for word in reason.split('_'))}Filter"
    routed = [line for line in emitted["escalation"] if line["event"] == "escalation.routed"]
    assert matched(name, emitted) == [line for line in routed if reason in line["reasons"]]
    assert len(matched(name, emitted)) >= sum(reason in reasons for reasons in SENT)


def test_critical_escalations_are_counted_and_no_others(emitted: Lines) -> None:
    critical = {Reason.UNDECODABLE_MESSAGE, Reason.WORKFLOW_FAILED, Reason.VERIFICATION_UNAVAILABLE}
    lines = matched("CriticalFilter", emitted)
    assert {line["level"] for line in lines} == {"error"}
    assert {reason for line in lines for reason in line["reasons"]} == critical


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.event = "a" }', True),
        ('{ $.event = "b" }', False),
        ('{ $.none = "a" }', False),
        ('{ $.list[1] = "y" }', True),
        ('{ $.list[2] = "y" }', False),
        ('{ $.event = "a" && $.list[0] = "y" }', False),
        ('{ $.event = "b" || $.event = "a" && $.list[0] = "x" }', True),
        ('{ ($.event = "b" || $.event = "a") && $.list[0] = "y" }', False),
    ],
)
def test_patterns_match_as_in_cloudwatch(pattern: str, expected: bool) -> None:
    assert matches(pattern, {"event": "a", "list": ["x", "y"]}) is expected


@pytest.mark.parametrize("pattern", ['{ $.event != "a" }', '{ $.event = "a" } x', "{ $.n = 1 }", '{ ($.event = "a" }'])
def test_unsupported_patterns_are_refused(pattern: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        matches(pattern, {"event": "a"})


def queries() -> dict[str, str]:
    """Return the page's Logs Insights queries, by the sentence before each."""
    shown = section(page("docs/logs.md"), "Logs Insights")
    return dict(re.findall(r"\n([^\n]+):\n\n```\n(.*?)```", shown, flags=re.DOTALL))


@pytest.mark.parametrize("title", ["Escalations of the last day", "The story of one order", "The slowest handlers"])
def test_the_pages_queries_name_fields_that_lines_have(title: str, emitted: Lines) -> None:
    query = queries()[title]
    known = {name for lines in emitted.values() for line in lines for name in line}
    fields = list(fields_of(query))
    assert fields
    assert {field for field in fields if not field.startswith("@")} <= known


@pytest.mark.parametrize("title", ["Escalations of the last day", "The slowest handlers"])
def test_the_pages_queries_name_events_that_are_written(title: str, emitted: Lines) -> None:
    events = {line["event"] for lines in emitted.values() for line in lines}
    named = re.findall(r'event = "([^"]+)"', queries()[title])
    assert named
    assert set(named) <= events
