"""
A stack and a `.local-aws` of version 1 come up with this version, and nothing in them is lost.

`version_1.tar.gz` is the state directory that version 1's `make run` leaves, with the workers stopped in the middle:

- orders: `done-1` is fulfilled, `settled-1` cancelled by its case; `open-1`, `open-2`, `case-price` (resubmitted by a
  second execution) and `attempted` (its provider failed, attempts are counted) wait in the OrderFulfillmentQueue
- cases: of `case-price`, of `case-card` (its channel `chat` was down, a reminder waits), of `case-both` (a resubmission
  was claimed and not started), of undecodable messages, of an order that was never recorded, of a malformed order
- messages on the EscalationQueue: about `open-escalated`, about the malformed `open-bad`, a second one about
  `case-card`, one about an undecodable message, the reminder; and three dead letters
"""

import contextlib
import http.server
import json
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.aws import Aws
from deploy.local import aws as local
from deploy.progress import Progress
from deploy.stacks import pipeline as pipelines
from tests.deploy.local.test_commands import ENDS_S, Command
from tests.integration.command_line import CommandLine
from tests.integration.conftest import Running
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployedStack
from workers.domain.orders import OrderStatus
from workers.testing.sdk import REGION

pytestmark = pytest.mark.process

STATE = Path(__file__).with_name("version_1.tar.gz")
WAIT_SCALE = 0.02
RULES = """
[channels.chat]
type = "webhook"
url_env = "CHAT_WEBHOOK_URL"

[[rules]]
reasons = ["INVALID_CARD_NUMBER"]
severity = "warning"
channels = ["chat"]

[[rules]]
severity = "warning"
"""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What version 1 left behind, and the system of this version on top of it."""

    before: dict[str, dict[str, Any]]
    resources: dict[str, str]
    running: Running
    orders: CommandLine
    notified: list[dict[str, Any]]


def unpack(directory: Path) -> None:
    """Unpack the state as if it had been left a moment ago: SQS drops messages older than a queue's retention."""
    with tarfile.open(STATE) as archive:
        archive.extractall(directory, filter="data")
    path = directory / "services" / "sqs.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    now = time.time()
    for queue in state["payload"]["queues"]["data"].values():
        for message in queue["messages"]:
            message["sent_at"] = message["visible_at"] = now
            message["sys"]["SentTimestamp"] = str(int(now * 1000))
    path.write_text(json.dumps(state), encoding="utf-8")


@contextlib.contextmanager
def chat() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve a webhook on loopback; yields its URL and the list of notifications it receives."""
    notified: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notified.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name.
            """Write nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", notified
        finally:
            server.shutdown()


def resources(aws: Aws, stack: str) -> dict[str, str]:
    """Return the physical ids of the tables, queues and the state machine."""
    kinds = {"AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::StepFunctions::StateMachine"}
    found = aws.cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in found
        if resource["ResourceType"] in kinds
    }


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    state, logs = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("logs")
    unpack(state)
    (logs / "rules.toml").write_text(RULES, encoding="utf-8")
    with (
        local.local_aws(state=state, wait_scale=WAIT_SCALE) as server,
        chat() as (url, notified),
        contextlib.ExitStack() as started,
    ):
        aws = Aws.of(server.client, REGION)
        name = pipelines.stack_name("")
        before = resources(aws, name)
        orders = {item["OrderId"]: item for item in scan(server, "OrderTable")}
        deployment = pipelines.up(aws, "", Progress(quiet=True))
        pipeline = Pipeline(DeployedStack(server, "", deployment.outputs))
        environment = {"ESCALATION_RULES": str(logs / "rules.toml"), "CHAT_WEBHOOK_URL": url}
        workers = []
        for worker in ("escalation", "fulfillment"):  # Readers of a new field or kind of message before their writers.
            workers.append(pipeline.start(worker, logs / f"{worker}.log", **environment))
            started.callback(workers[-1].kill)
            workers[-1].wait_for("worker.started")
        yield Upgraded(
            before=orders,
            resources=before,
            running=Running(pipeline, fulfillment=workers[1], escalation=workers[0]),
            orders=CommandLine(pipeline.stack),
            notified=notified,
        )
        assert [worker.stop() for worker in workers] == [0, 0]


def scan(server: local.LocalAws, table: str) -> list[dict[str, Any]]:
    return Pipeline(DeployedStack(server, "", {})).scan(table)


def test_no_table_queue_or_state_machine_is_replaced(upgraded: Upgraded) -> None:
    local_aws = upgraded.running.pipeline.stack.local_aws
    now = resources(Aws.of(local_aws.client, REGION), pipelines.stack_name(""))
    assert len(upgraded.resources) >= 7
    assert now.items() >= upgraded.resources.items()


def test_the_sweep_waits_until_the_workers_are_replaced(upgraded: Upgraded) -> None:
    """Workers of version 1 send its messages to the dead-letter queue."""
    scheduler = upgraded.running.pipeline.client("scheduler")
    assert scheduler.get_schedule(Name="StuckOrderSweep")["State"] == "DISABLED"


def test_open_orders_end_and_final_ones_stay(upgraded: Upgraded) -> None:
    pipeline = upgraded.running.pipeline
    open_orders = ("open-1", "open-2", "case-price", "attempted")
    assert {upgraded.before[order_id]["Status"] for order_id in open_orders} == {"RECEIVED"}
    for order_id in open_orders:
        wait_until(lambda order_id=order_id: pipeline.status(order_id) == "FULFILLED")  # type: ignore[misc]
    wait_until(lambda: pipeline.status("open-escalated") == "ESCALATED")
    for order_id in ("done-1", "settled-1"):
        assert pipeline.order(order_id) == upgraded.before[order_id]


def test_orders_that_end_after_the_update_are_listed_and_earlier_ones_are_not(upgraded: Upgraded) -> None:
    pipeline = upgraded.running.pipeline
    for order_id in ("open-1", "open-2", "attempted"):
        wait_until(lambda order_id=order_id: pipeline.status(order_id) == "FULFILLED")  # type: ignore[misc]
    wait_until(lambda: pipeline.status("open-escalated") in {"ESCALATED", "RECEIVED", "FULFILLED"})

    def listed(*arguments: str) -> dict[str, str]:
        ran = upgraded.orders("list", "--json", *arguments)
        assert ran.code == 0, ran.err
        return {order["order_id"]: order["status"] for order in json.loads(ran.out)}

    everything = listed(*(word for status in OrderStatus for word in ("--status", status)))
    assert everything.items() >= dict.fromkeys(("open-1", "open-2", "attempted"), "FULFILLED").items()
    assert "case-card" in everything
    assert not {"done-1", "settled-1"} & everything.keys()
    assert listed("--status", "FULFILLED", "--since", "1d").keys() >= {"open-1", "open-2", "attempted"}
    assert "OpenKey" not in upgraded.before["done-1"]


def test_counted_attempts_stay_counted(upgraded: Upgraded) -> None:
    wait_until(lambda: upgraded.running.pipeline.status("attempted") == "FULFILLED")
    order = upgraded.running.pipeline.order("attempted")
    assert order is not None
    assert order["Attempts"] == upgraded.before["attempted"]["Attempts"] >= 1


def test_every_escalation_has_its_case(upgraded: Upgraded) -> None:
    pipeline = upgraded.running.pipeline
    for case_id in ("open-escalated", "open-bad"):
        wait_until(lambda case_id=case_id: pipeline.case(case_id))  # type: ignore[misc]
    states = {case["CaseId"]: case["State"] for case in pipeline.scan(pipeline.stack.escalation_table)}
    undecodable = [case_id for case_id in states if case_id.startswith("message-")]
    assert len(undecodable) == 3
    assert states["settled-1"] == "RESOLVED"
    assert {
        states[case_id] for case_id in ("case-card", "open-escalated", "open-bad", "nosuchorder", *undecodable)
    } == {"OPEN"}


def test_a_reminder_of_version_1_reaches_its_channel(upgraded: Upgraded) -> None:
    wait_until(lambda: {notification["CaseId"] for notification in upgraded.notified} >= {"case-card"})
    case = upgraded.running.pipeline.case("case-card")
    assert case is not None
    assert {"log", "chat"} <= set(case["Channels"])


def test_a_message_for_a_case_of_version_1_is_added_to_it(upgraded: Upgraded) -> None:
    def reasons() -> set[str]:
        case = upgraded.running.pipeline.case("case-card") or {}
        return set(case["Reasons"])

    wait_until(lambda: reasons() == {"INVALID_CARD_NUMBER", "INVALID_PRICE"})


def test_a_resubmission_that_version_1_claimed_is_finished(upgraded: Upgraded) -> None:
    assert "StartedAt" not in upgraded.before["case-both"]
    by = ("--actor", "v1", "--note", "claimed by version 1", "--price", "80.00", "--card-number-stdin", "--yes")
    resubmitted = upgraded.orders("escalations", "resolve", "case-both", "resubmit", *by, stdin="1234123412341234\n")
    assert (resubmitted.code, resubmitted.err) == (0, "")
    wait_until(lambda: upgraded.running.pipeline.status("case-both") == "FULFILLED")
    assert (upgraded.running.pipeline.order("case-both") or {})["StartedAt"]
    case = upgraded.running.pipeline.case("case-both")
    assert case is not None
    assert (case["State"], case["Resolutions"][-1]["Actor"]) == ("RESOLVED", "v1")


def test_a_resubmission_closes_a_case_of_version_1(upgraded: Upgraded) -> None:
    pipeline = upgraded.running.pipeline
    wait_until(lambda: pipeline.status("open-escalated") == "ESCALATED")
    corrected = {"OrderId": "open-escalated", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": "1234123412341234"}
    pipeline.client("stepfunctions").start_execution(
        stateMachineArn=pipeline.stack.state_machine_arn, input=json.dumps(corrected)
    )
    upgraded.running.escalation.wait_for("case.closed", case_id="open-escalated")
    case = pipeline.case("open-escalated")
    assert case is not None
    assert (case["State"], case["Resolutions"][-1]["Action"]) == ("RESOLVED", "resubmitted")


def test_a_case_that_version_1_left_open_on_a_fulfilled_order_is_closed_by_hand(upgraded: Upgraded) -> None:
    # Version 1 resubmitted the order without a word to its case, whose message says nothing of that either.
    wait_until(lambda: upgraded.running.pipeline.status("case-price") == "FULFILLED")
    listed = json.loads(upgraded.orders("escalations", "list", "--json").out)
    (case,) = (each for each in listed if each["case_id"] == "case-price")
    assert case["order_now"]["status"] == "FULFILLED"
    closed = upgraded.orders("escalations", "resolve", "case-price", "close", "--actor", "a", "--note", "b", "--yes")
    assert (closed.code, closed.err) == (0, "")
    assert (upgraded.running.pipeline.case("case-price") or {})["State"] == "RESOLVED"


def test_dead_letters_of_version_1_are_listed_with_their_reasons(upgraded: Upgraded) -> None:
    listed = upgraded.orders("dead-letters", "list", "--json")
    assert listed.code == 0, listed.err
    letters = json.loads(listed.out)
    assert len(letters) == 3
    assert all(letter["reason"].startswith("UNDECODABLE_MESSAGE") for letter in letters)


def test_cases_of_version_1_are_settled_together_and_listed_as_resolved(upgraded: Upgraded) -> None:
    by = ("--actor", "a", "--note", "read", "--yes")
    closed = upgraded.orders("escalations", "resolve", "close", "--reason", "UNDECODABLE_MESSAGE", *by)
    assert (closed.code, closed.err) == (0, "3 resolved\n")
    found = upgraded.orders(
        "escalations", "list", "--state", "resolved", "--reason", "UNDECODABLE_MESSAGE", "--since", "1h", "--json"
    )
    assert [case["resolutions"][-1]["note"] for case in json.loads(found.out)] == ["read"] * 3


def test_the_queues_are_empty_at_the_end(upgraded: Upgraded) -> None:
    pipeline = upgraded.running.pipeline
    for url in (pipeline.stack.order_fulfillment_queue_url, pipeline.stack.escalation_queue_url):
        wait_until(lambda url=url: pipeline.queued(url) == 0)  # type: ignore[misc]


def test_run_brings_up_the_state_of_version_1(tmp_path: Path) -> None:
    unpack(tmp_path / "state")
    run = Command(tmp_path, 0, "run")
    try:
        run.wait_for("until Ctrl-C")

        def fulfilled() -> set[str]:
            whole, _, _ = (tmp_path / "state" / "workers.log").read_text(encoding="utf-8").rpartition("\n")
            events = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
            return {line["order_id"] for line in events if line["event"] == "order.fulfilled"}

        run.eventually(lambda: fulfilled() >= {"open-1", "open-2", "case-price", "attempted", "001"})
        run.process.send_signal(signal.SIGINT)
        assert run.process.wait(ENDS_S) == 0, run.output
    finally:
        run.process.kill()
        run.process.wait()
