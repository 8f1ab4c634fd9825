"""Notifications of escalations: a worker process, the local AWS, and webhooks in this process."""

import json
import re
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.command_line import CommandLine
from tests.integration.hooks import Hooks
from tests.integration.pipeline import Pipeline, endings, wait_until
from tests.support import SHORT_VISIBILITY, DeployStack, StartWorker, Worker, free_port

CARD = "4929123412345678"
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678"]
SECRET = "Bearer s3cret"


@pytest.fixture(scope="module")
def pipeline(deploy_stack: DeployStack) -> Pipeline:
    return Pipeline(deploy_stack("routing-"))


def escalation_of(pipeline: Pipeline, order_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "OrderId": order_id,
        "Reasons": ["INVALID_PRICE"],
        "Source": "workflow",
        "Detail": "Not proper.",
        "ExecutionArn": pipeline.arn(f"of-{order_id}"),
    } | changes


def rules(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return {"ESCALATION_RULES": str(path)}


def two_hooks(tmp_path: Path, hooks: Hooks) -> dict[str, str]:
    """Return a worker's environment that sends every escalation to the webhooks `chat` and `pager`."""
    tables = "".join(f'[channels.{name}]\ntype = "webhook"\nurl = "{hooks.url(name)}"\n' for name in ("chat", "pager"))
    return rules(tmp_path, f'[[rules]]\nseverity = "warning"\nchannels = ["chat", "pager"]\n{tables}')


def routed(pipeline: Pipeline, case_id: str) -> list[str]:
    """Return the channels recorded on a case, except the log channel, which must come first."""
    case = pipeline.case(case_id)
    channels = [] if case is None else [sent["Channel"] for sent in case["Routed"]]
    assert channels[:1] in ([], ["log"])
    return sorted(channels[1:])


def lines(event: str, *workers: Worker) -> list[dict[str, Any]]:
    return [line for worker in workers for line in worker.lines() if line.get("event") == event]


def check_sent_once(hooks: Hooks, channel: str, expected: Iterable[str], *workers: Worker) -> None:
    """
    Check that a channel has taken each of the *expected* notifications, and none twice.

    A notification whose answer comes too late is sent again: it may have been lost. On a busy machine that happens, and
    the worker has logged it as a failure of the channel. Only then are there duplicates.
    """
    taken = Counter(body["NotificationId"] for body in hooks.notifications(channel))
    assert set(taken) == set(expected)
    reasons = [line["reason"] for line in lines("channel.failed", *workers) if line["channel"] == channel]
    if not any(reason.startswith("no answer within") for reason in reasons):
        assert set(taken.values()) == {1}, taken


# One rule for each channel. The topic's ARN and the webhook's address are filled in.
RULES = """
[[rules]]
reasons = ["WORKFLOW_FAILED"]
sources = ["eventbridge"]
severity = "critical"
channels = ["pager", "chat"]

[[rules]]
reasons = ["INVALID_PRICE", "FULFILLMENT_REJECTED"]
severity = "info"
channels = ["settlement"]

[[rules]]
severity = "warning"

[channels.pager]
type = "sns"
topic_arn = "TOPIC_ARN"

[channels.settlement]
type = "sqs"
queue = "routing-settlement"

[channels.chat]
type = "webhook"
url_env = "CHAT_URL"
authorization_env = "CHAT_AUTHORIZATION"
"""


def create_channels(pipeline: Pipeline) -> tuple[str, dict[str, str]]:
    """Return the ARN of a new topic, and the URLs of two new queues: `paged`, its subscriber, and `settlement`."""
    sns, sqs = pipeline.client("sns"), pipeline.client("sqs")
    topic = sns.create_topic(Name="routing-pager")["TopicArn"]
    urls = {name: sqs.create_queue(QueueName=f"routing-{name}")["QueueUrl"] for name in ("paged", "settlement")}
    paged = sqs.get_queue_attributes(QueueUrl=urls["paged"], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=paged, Attributes={"RawMessageDelivery": "true"})
    return topic, urls


def test_escalations_go_to_the_channels_of_the_rules_without_card_numbers(
    pipeline: Pipeline, hooks: Hooks, tmp_path: Path, start_worker: StartWorker
) -> None:
    topic, urls = create_channels(pipeline)
    port = free_port()
    environment = rules(tmp_path, RULES.replace("TOPIC_ARN", topic))
    environment |= {"CHAT_URL": hooks.url("chat"), "CHAT_AUTHORIZATION": SECRET, "WORKER_HEALTH_PORT": str(port)}
    worker = start_worker("escalation", stack=pipeline.stack, env=environment)

    pipeline.put_order("both", Name=FORMS[1], ItemName=FORMS[2], Price="-1")
    sent = [
        escalation_of(pipeline, "paged", Reasons=["WORKFLOW_FAILED"], Source="eventbridge", Detail=f"No {FORMS[0]}"),
        escalation_of(pipeline, "settle", Detail=f"No {FORMS[1]}", Queue=FORMS[0], OriginMessageId=FORMS[2]),
        escalation_of(pipeline, "neither", Reasons=["WORKFLOW_FAILED"], Detail=f"No {FORMS[2]}"),
        escalation_of(pipeline, "both", Reasons=["INVALID_PRICE", "WORKFLOW_FAILED"], Source="eventbridge"),
    ]
    for body in sent:
        pipeline.send_escalation(body)
    wait_until(lambda: len(endings(worker)) == len(sent))
    assert {outcome for *_, outcome in endings(worker)} == {"escalated"}

    sent_to = {
        "pager": [json.loads(message["Body"]) for message in pipeline.take(urls["paged"])],
        "settlement": [json.loads(message["Body"]) for message in pipeline.take(urls["settlement"])],
        "chat": hooks.notifications("chat"),
    }
    assert {channel: sorted(body["OrderId"] for body in bodies) for channel, bodies in sent_to.items()} == {
        "pager": ["both", "paged"],
        "settlement": ["both", "settle"],
        "chat": ["both", "paged"],
    }
    assert hooks.authorizations == {SECRET}
    assert {line["order_id"]: (line["severity"], line["level"]) for line in lines("escalation.routed", worker)} == {
        "paged": ("critical", "error"),
        "settle": ("info", "warning"),
        "neither": ("warning", "warning"),
        "both": ("critical", "error"),
    }
    assert routed(pipeline, "both") == ["chat", "pager", "settlement"]
    case = pipeline.case("both")
    assert case is not None
    assert case["Order"] == {
        "OrderId": "both",
        "Status": "RECEIVED",
        "ExecutionArn": pipeline.arn("of-both"),
        "Name": "****",
        "ItemName": "****",
        "Price": "-1",
        "CC": "************5678",
        "CreatedAt": "2026-11-22T10:00:00.000Z",
        "Attempts": 0,
    }
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        metrics = answer.read().decode()
    assert 'workers_notifications_total{channel="pager",result="sent"} 2.0' in metrics
    assert 'workers_notifications_total{channel="log",result="sent"} 4.0' in metrics
    assert worker.stop() == 0

    cases = pipeline.scan(pipeline.stack.escalation_table)
    written = "\n".join([json.dumps([sent_to, cases], default=str), worker.output(), metrics])
    assert CARD not in re.sub(r"[ -]", "", written)
    assert SECRET not in written


def test_after_a_kill_between_channels_only_the_missing_one_is_sent(
    pipeline: Pipeline, hooks: Hooks, tmp_path: Path, start_worker: StartWorker
) -> None:
    pipeline.client("sqs").set_queue_attributes(
        QueueUrl=pipeline.stack.escalation_queue_url, Attributes={"VisibilityTimeout": "2"}
    )
    hooks.answers["pager"] = None
    environment = SHORT_VISIBILITY | two_hooks(tmp_path, hooks)
    first = start_worker("escalation", stack=pipeline.stack, env=environment)
    message_id = pipeline.send_escalation(escalation_of(pipeline, "killed"))
    wait_until(lambda: routed(pipeline, "killed") == ["chat"] and "pager" in hooks.asked)
    assert first.kill() == -9
    hooks.answers["pager"] = 200
    second = start_worker("escalation", stack=pipeline.stack, env=environment)
    second.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")
    assert routed(pipeline, "killed") == ["chat", "pager"]
    assert hooks.asked.count("chat") == 1
    assert [body["NotificationId"] for body in hooks.notifications("pager")] == ["killed#1#pager"]
    assert [len(lines("escalation.routed", worker)) for worker in (first, second)] == [1, 1]  # One for each delivery.
    assert second.stop() == 0


def test_an_escalation_that_never_failed_survives_any_number_of_stops(
    pipeline: Pipeline, hooks: Hooks, tmp_path: Path, start_worker: StartWorker
) -> None:
    hooks.answers["pager"] = None
    # The second delivery is a trial already, so that a few processes are enough.
    environment = two_hooks(tmp_path, hooks) | {"WORKER_MAX_DELIVERIES": "1", "WORKER_DRAIN_S": "0"}
    message_id = pipeline.send_escalation(escalation_of(pipeline, "stopped"))
    for _ in range(5):
        hooks.asked.clear()
        worker = start_worker("escalation", stack=pipeline.stack, env=environment)
        wait_until(lambda: "pager" in hooks.asked)
        assert worker.stop() == 0
        assert [ending[1:] for ending in endings(worker)] == [("message.released", "stopping")]
    trials = pipeline.case(f"#trials#{message_id}")
    assert trials is not None
    assert (trials["Trials"], "LastTrial" in trials) == (0, False)
    hooks.answers["pager"] = 200
    last = start_worker("escalation", stack=pipeline.stack, env=environment)
    last.wait_for("message.acknowledged", message_id=message_id)
    assert last.stop() == 0
    assert routed(pipeline, "stopped") == ["chat", "pager"]
    assert pipeline.take(pipeline.stack.escalation_dlq_url) == []


def test_a_channel_outage_delays_nothing_else_and_is_made_up_for(
    pipeline: Pipeline, hooks: Hooks, tmp_path: Path, start_worker: StartWorker
) -> None:
    hooks.answers["chat"] = 500
    worker = start_worker("escalation", stack=pipeline.stack, env=two_hooks(tmp_path, hooks))
    ids = [f"down-{n}" for n in range(20)]
    for order_id in ids:
        pipeline.send_escalation(escalation_of(pipeline, order_id))
    wait_until(lambda: {body["OrderId"] for body in hooks.notifications("pager")} == set(ids))
    worker.wait_for("channel.failed", channel="chat", reason="HTTP 500", level="warning")
    wait_until(lambda: len(lines("routing.deferred", worker)) >= len(ids))
    wait_until(lambda: all(routed(pipeline, order_id) == ["pager"] for order_id in ids))
    case = pipeline.case(ids[0])
    assert case is not None
    assert case["Channels"] == ["log", "chat", "pager"]
    assert worker.stop() == 0  # The missing notifications outlive the worker.

    hooks.answers["chat"] = 200
    later = start_worker("escalation", stack=pipeline.stack, env=two_hooks(tmp_path, hooks))
    wait_until(lambda: {body["OrderId"] for body in hooks.notifications("chat")} == set(ids))
    wait_until(lambda: sum(outcome == "routed" for *_, outcome in endings(worker, later)) == len(ids))
    assert all(routed(pipeline, order_id) == ["chat", "pager"] for order_id in ids)
    for channel in ("chat", "pager"):
        check_sent_once(hooks, channel, (f"{order_id}#1#{channel}" for order_id in ids), worker, later)
    assert len(lines("escalation.routed", worker, later)) == len(ids)
    assert later.stop() == 0
    assert pipeline.take(pipeline.stack.escalation_dlq_url) == []


def test_a_refused_notification_is_given_up_and_shown_and_the_others_are_sent(
    pipeline: Pipeline, hooks: Hooks, tmp_path: Path, start_worker: StartWorker
) -> None:
    hooks.refused = {"refused-422": 422, "refused-403": 403}
    worker = start_worker("escalation", stack=pipeline.stack, env=two_hooks(tmp_path, hooks))
    for order_id in (*hooks.refused, "taken-1"):
        pipeline.send_escalation(escalation_of(pipeline, order_id))
        worker.wait_for("message.acknowledged", outcome="escalated", order_id=order_id)
    assert routed(pipeline, "taken-1") == ["chat", "pager"]  # At once: nothing was deferred.
    assert [line["case_id"] for line in lines("routing.deferred", worker)].count("taken-1") == 0
    for order_id, status in hooks.refused.items():
        for channel in ("chat", "pager"):
            given_up = worker.wait_for("notification.given_up", order_id=order_id, channel=channel)
            assert (given_up["level"], given_up["reason"]) == ("error", f"HTTP {status}")
        wait_until(lambda order_id=order_id: routed(pipeline, order_id) == ["chat", "pager"])  # type: ignore[misc]
        shown = CommandLine(pipeline.stack)("escalations", "show", order_id)
        assert shown.code == 0
        assert shown.out.count(f"given up: HTTP {status}") == 2
    assert worker.stop() == 0


def test_a_short_channel_failure_is_retried(
    pipeline: Pipeline, hooks: Hooks, tmp_path: Path, start_worker: StartWorker
) -> None:
    hooks.answers["chat"] = 503
    worker = start_worker("escalation", stack=pipeline.stack, env=two_hooks(tmp_path, hooks))
    message_id = pipeline.send_escalation(escalation_of(pipeline, "hiccup"))
    wait_until(lambda: "chat" in hooks.asked)
    hooks.answers["chat"] = 200
    worker.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")
    wait_until(lambda: routed(pipeline, "hiccup") == ["chat", "pager"])
    for channel in ("chat", "pager"):
        check_sent_once(hooks, channel, [f"hiccup#1#{channel}"], worker)
    assert worker.stop() == 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('[[rules]]\nseverity = "urgent"\n', "rules.toml:2: rules.severity is 'urgent', must be info, "),
        (
            '[[rules]]\nseverity = "info"\n[channels.chat]\ntype = "webhook"\nurl_env = "CHAT_URL"\n',
            "rules.toml:5: channels.chat.url_env is 'CHAT_URL', which is not set, must be ",
        ),
    ],
)
def test_a_wrong_rule_ends_the_start_with_one_line(
    pipeline: Pipeline, tmp_path: Path, start_worker: StartWorker, text: str, error: str
) -> None:
    worker = start_worker("escalation", stack=pipeline.stack, env=rules(tmp_path, text))
    assert worker.wait() == 1
    *_, last = worker.lines()
    assert last["event"] == "worker.failed"
    assert error in last["reason"]
    assert len(worker.output().splitlines()) == 2  # `worker.starting` and `worker.failed`.
