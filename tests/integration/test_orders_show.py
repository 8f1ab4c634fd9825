"""`orders list`, `show` and `queues`: what an operator sees, and what they must never see."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.integration.command_line import CARD, SHORT_CARD, CommandLine
from tests.integration.conftest import Running
from tests.integration.pipeline import Pipeline, wait_until
from tests.support import DeployStack
from workers.aws.status_index import status_key
from workers.domain.submissions import submission_name

HOSTILE = "Ada\x1b]0;owned\x07"
SECOND = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
TIME = rf"{SECOND}\.\d{{3}}"


@pytest.fixture(scope="module")
def quiet(deploy_stack: DeployStack) -> Pipeline:
    """Return a pipeline without workers."""
    return Pipeline(deploy_stack("orders-"))


@pytest.fixture(scope="module")
def orders(quiet: Pipeline) -> CommandLine:
    return CommandLine(quiet.stack)


@pytest.fixture(scope="module")
def busy(running: Running) -> CommandLine:
    return CommandLine(running.pipeline.stack)


def put(pipeline: Pipeline, order_id: str, status: str, minute: int, **fields: str) -> None:
    """Store an order that got its status *minute* minutes after 08:00 on 1 January 2020."""
    at = f"2020-01-01T{8 + minute // 60:02}:{minute % 60:02}:00.000Z"
    pipeline.put_order(order_id, status, **{"UpdatedAt": at, "OpenKey": status_key(status, order_id, at)} | fields)


@pytest.fixture(scope="module")
def listed(quiet: Pipeline) -> list[str]:
    """Store more open orders than one request reads; return their ids, oldest first."""
    ids = [f"open-{n:03}" for n in range(230)]
    for n, order_id in enumerate(ids):
        put(quiet, order_id, "ESCALATED" if n % 23 == 0 else "RECEIVED", n)
    # The index lags: it still has these orders as open.
    put(quiet, "ended", "FULFILLED", 0, OpenKey=status_key("RECEIVED", "ended", ""))
    put(quiet, "cancelled", "CANCELLED", 0, OpenKey=status_key("ESCALATED", "cancelled", ""))
    return ids


def test_open_orders_are_listed_oldest_first(orders: CommandLine, listed: list[str]) -> None:
    shown = orders("list")
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[0].split() == ["ORDER", "STATUS", "AGE", "SINCE", "ATTEMPTS", "REASONS"]
    assert [line.split()[0] for line in shown.lines[1:]] == listed
    first, second = (line.split() for line in shown.lines[1:3])
    assert (first[1], first[3:]) == ("ESCALATED", ["2020-01-01", "08:00:00", "0", "-"])
    assert (second[1], second[3:]) == ("RECEIVED", ["2020-01-01", "08:01:00", "0", "-"])
    assert re.fullmatch(r"\d{4}d", first[2])


def test_list_filters_by_status_age_and_limit(orders: CommandLine, listed: list[str]) -> None:
    escalated = orders("list", "--status", "escalated", "--json")
    assert [order["order_id"] for order in json.loads(escalated.out)] == listed[::23]
    few = json.loads(orders("list", "--status", "RECEIVED", "--limit", "2", "--older-than", "1s", "--json").out)
    assert [order["order_id"] for order in few] == listed[1:3]
    assert (few[0]["status"], few[0]["cc"], few[0]["name"]) == ("RECEIVED", "************5678", "Ada")
    none = orders("list", "--older-than", "9999d")
    assert (none.code, none.out, none.err) == (0, "", "no matching open orders\n")
    assert json.loads(orders("list", "--older-than", "9999d", "--json").out) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--status", "SHIPPED"], "'SHIPPED' must be one of RECEIVED, ESCALATED, FULFILLED, CANCELLED"),
        (["--older-than", "soon"], "must be a whole number and a unit: 90s, 10m, 2h or 3d"),
        (["--limit", "0"], "'--limit'"),
        (["001"], "unexpected extra argument"),
    ],
)
def test_wrong_list_filters_are_bad_usage(orders: CommandLine, arguments: list[str], problem: str) -> None:
    shown = orders("list", *arguments)
    assert (shown.code, shown.out) == (2, "")
    assert problem in shown.err.splitlines()[-1]


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_closed_pipe_causes_no_traceback(orders: CommandLine, arguments: list[str]) -> None:
    with orders.start("list", *arguments) as process:
        assert process.stdout is not None
        process.stdout.close()  # Long before the process prints anything.
        process.stdout = None
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"")


def test_queues_are_counted_without_receiving_a_message(orders: CommandLine, quiet: Pipeline) -> None:
    sqs, stack = quiet.client("sqs"), quiet.stack
    for n in range(3):
        quiet.send_fulfillment(f"queued-{n}")
    sqs.send_message(QueueUrl=stack.order_fulfillment_queue_url, MessageBody="later", DelaySeconds=900)
    (taken,) = sqs.receive_message(QueueUrl=stack.order_fulfillment_queue_url, WaitTimeSeconds=0)["Messages"]
    sqs.send_message(QueueUrl=stack.escalation_dlq_url, MessageBody="dead")
    shown = orders("queues")
    assert (shown.code, shown.err) == (0, "")
    assert [line.split() for line in shown.lines[1:]] == [
        ["orders-OrderFulfillmentQueue", "2", "1", "1", "-", "0", "-"],
        ["orders-EscalationQueue", "0", "0", "0", "-", "1", "-"],
    ]
    assert json.loads(orders("queues", "--json").out)[1] == {
        "queue": "orders-EscalationQueue",
        "depth": 0,
        "in_flight": 0,
        "delayed": 0,
        "oldest_s": None,
        "dead_letter_queue": "orders-EscalationDLQ",
        "dead_letters": 1,
        "oldest_dead_letter_s": None,
        "paused": False,
        "paused_since_at": None,
        "paused_by": None,
        "paused_note": None,
    }
    sqs.delete_message(QueueUrl=stack.order_fulfillment_queue_url, ReceiptHandle=taken["ReceiptHandle"])
    left = sqs.receive_message(
        QueueUrl=stack.order_fulfillment_queue_url,
        MaxNumberOfMessages=10,
        WaitTimeSeconds=0,
        MessageSystemAttributeNames=["ApproximateReceiveCount"],
    )["Messages"]
    assert [message["Attributes"]["ApproximateReceiveCount"] for message in left] == ["1", "1"], (
        "received by the test only"
    )


def test_show_merges_order_case_executions_and_logs_by_time(busy: CommandLine, running: Running) -> None:
    given = {"OrderId": "story-1", "Name": HOSTILE, "ItemName": "reject", "Price": "12.50", "CC": CARD}
    assert busy("submit", "-", "--wait", stdin=json.dumps(given)).code == 0
    logs = [f"--logs={worker.log_path}" for worker in (running.fulfillment, running.escalation)]
    wait_until(lambda: "message.acknowledged" in busy("show", "story-1", *logs).out)
    shown = busy("show", "story-1", *logs)
    assert (shown.code, shown.err) == (0, "")
    assert "\x1b" not in shown.out
    head, story, todo = shown.out.split("\n\n")
    assert todo == (
        "Next: resolve its case: `orders escalations resolve story-1 resubmit --actor NAME --note TEXT`,"
        " or `orders escalations resolve story-1 fulfill --shipment-id ID --actor NAME --note TEXT`,"
        " or `orders escalations resolve story-1 cancel --actor NAME --note TEXT`\n"
    )
    assert re.sub(r"for \d+s", "for a moment", re.sub(SECOND, "<time>", head)).splitlines() == [
        "Order story-1: ESCALATED for a moment",
        "  Name        Ada\ufffd]0;owned\ufffd",
        "  ItemName    reject",
        "  Price       12.50",
        "  CC          ************5678",
        "  Reasons     FULFILLMENT_REJECTED",
        "Case story-1: OPEN, warning, episode 1: FULFILLMENT_REJECTED",
        f"Execution 1: {submission_name('story-1', 1)}: SUCCEEDED, the current one",
        "  Started     <time>, ended <time>",
        "  Outcome     ESCALATED: FULFILLMENT_REJECTED",
    ]
    lines = story.splitlines()
    assert lines[0].split() == ["TIME", "FROM", "WHAT"]
    assert all(re.match(TIME, line) for line in lines[1:])
    assert lines[1:] == sorted(lines[1:], key=lambda line: line[:23])
    events = [re.sub(f"^{TIME} +", "", line) for line in lines]
    for expected in (
        "execution 1  started",
        "execution 1  entered Check the order",
        "execution 1  entered Update the order table",
        "order        recorded as RECEIVED",
        "execution 1  entered Are details Proper",
        "execution 1  entered Put message in OrderFulfillment Queue",
        "execution 1  SUCCEEDED",
        "order        ESCALATED: FULFILLMENT_REJECTED",
        "case         opened, episode 1: warning; FULFILLMENT_REJECTED",
        "case         routed to log",
    ):
        assert events.count(expected) == 1, events
    from_logs = [event for event in events if event.startswith("log ")]
    assert [event for event in from_logs if "fulfillment message.acknowledged" in event]
    assert [event for event in from_logs if "warning escalation escalation.routed" in event]
    assert not [event for event in from_logs if "story-2" in event]


def test_show_as_json_has_order_case_executions_and_timeline(busy: CommandLine, running: Running) -> None:
    given = {"OrderId": "story-3", "Name": "Ada", "ItemName": "Bicycle", "Price": "-1", "CC": SHORT_CARD}
    busy("submit", "-", "--wait", stdin=json.dumps(given))
    wait_until(
        lambda: "SUCCEEDED" in busy("show", "story-3").out
    )  # The order was escalated before its execution ended.
    with running.escalation.log_path.open("rb") as log:
        shown = busy("show", "story-3", "--logs", "-", "--json", stdin=log.read())
    story = json.loads(shown.out)
    assert (story["order"]["status"], story["order"]["cc"]) == ("ESCALATED", "****")
    assert story["case"]["reasons"] == ["INVALID_CARD_NUMBER", "INVALID_PRICE"]
    (execution,) = story["executions"]
    assert (execution["status"], execution["states"][-1]) == ("SUCCEEDED", "Put message in Escalation Queue")
    assert {entry["source"] for entry in story["timeline"]} == {"execution 1", "order", "case", "log"}


def test_show_keeps_what_the_earlier_execution_of_a_resubmitted_order_recorded(busy: CommandLine) -> None:
    first = {"OrderId": "story-7", "Name": f"Ada {CARD}", "ItemName": "Bell", "Price": "-5", "CC": CARD}
    busy("submit", "-", "--wait", stdin=json.dumps(first))
    corrected = json.dumps(first | {"Name": "Eva", "Price": "5"})
    assert busy("submit", "-", "--wait", "--submission", "2", stdin=corrected).lines[-1].split()[0] == "FULFILLED"
    current = f"Execution 2: {submission_name('story-7', 2)}: SUCCEEDED, the current one"
    wait_until(lambda: current in busy("show", "story-7").lines)  # The order was fulfilled before its execution ended.
    shown = busy("show", "story-7")
    head, story, _ = re.sub(SECOND, "<time>", shown.out).split("\n\n")
    assert head.splitlines()[-7:] == [
        f"Execution 1: {submission_name('story-7', 1)}: SUCCEEDED",
        "  Started     <time>, ended <time>",
        "  Outcome     ESCALATED: INVALID_PRICE",
        "  Recorded    <time>: Name Ada ****; ItemName Bell; Price -5; CC ************5678",
        current,
        "  Started     <time>, ended <time>",
        "  Outcome     FULFILLED",
    ]
    assert story.count("order        recorded as RECEIVED\n") == 2
    executions = json.loads(busy("show", "story-7", "--json").out)["executions"]
    assert [execution["recorded"]["price"] for execution in executions] == ["-5", "5"]


def test_show_finds_the_dead_letters_of_an_order_and_says_what_to_do(orders: CommandLine, quiet: Pipeline) -> None:
    stack, sqs = quiet.stack, quiet.client("sqs")
    quiet.put_order("buried", "RECEIVED", UpdatedAt="2020-01-01T08:00:00.000Z")
    for order_id in ("buried", "another"):
        body = json.dumps({"OrderId": order_id, "ExecutionArn": quiet.arn(f"of-{order_id}")})
        sqs.send_message(QueueUrl=stack.order_fulfillment_dlq_url, MessageBody=body)
    shown = orders("show", "buried")
    assert (shown.code, shown.err) == (0, "")
    assert re.search(r"^Dead letter \S+ in orders-OrderFulfillmentDLQ: not given, \d+s old$", shown.out, re.MULTILINE)
    todo = "replay its dead letter: `orders dead-letters replay fulfillment --order buried --yes`"
    assert shown.lines[-1] == f"Next: {todo}"
    story = json.loads(orders("show", "buried", "--json").out)
    assert story["next"] == todo
    assert [letter["order_id"] for letter in story["dead_letters"]] == ["buried"]
    assert story["dead_letter_queues"][0] == {
        "queue": "orders-OrderFulfillmentQueue",
        "dead_letter_queue": "orders-OrderFulfillmentDLQ",
        "seen": 2,
        "approximate_count": 2,
        "problem": None,
    }
    assert orders("dead-letters", "replay", "fulfillment", "--order", "buried", "--yes").code == 0
    assert (
        orders("show", "buried").lines[-1].startswith("Next: check with `orders queues` that the fulfillment workers")
    )
    # Of an order that is not in the table, the dead letter is known all the same.
    unknown = orders("show", "another")
    assert unknown.lines[0] == "Order another: not recorded"
    assert unknown.lines[-1].startswith("Next: submit it, it was never recorded: `orders submit FILE`; then discard")
    assert orders("dead-letters", "discard", "fulfillment", "--order", "another", "--yes").code == 0


def test_show_says_which_dead_letters_it_could_not_look_at(orders: CommandLine, quiet: Pipeline) -> None:
    quiet.put_order("unseen", "FULFILLED")
    shown = orders("show", "unseen", ESCALATION_QUEUE="Nowhere")
    assert shown.code == 0
    assert (
        "Dead letters of Nowhere: there is no queue Nowhere: deploy the stack, or correct the variable that names it"
        in shown.lines
    )
    assert shown.lines[-1] == "Next: nothing: the order is FULFILLED; but not all dead letters of Nowhere are known"


def test_show_works_for_an_order_that_was_never_recorded(busy: CommandLine, running: Running) -> None:
    malformed = {"OrderId": "story-4", "Name": "", "ItemName": "Bicycle", "Price": "1", "CC": CARD}
    running.pipeline.client("stepfunctions").start_execution(
        stateMachineArn=running.pipeline.stack.state_machine_arn, name="by-hand", input=json.dumps(malformed)
    )
    running.escalation.wait_for("escalation.routed", case_id="story-4")
    # The execution ends after it has sent the escalation.
    wait_until(lambda: "Execution 1: by-hand: FAILED" in busy("show", "story-4").lines)
    shown = busy("show", "story-4")
    assert shown.code == 0
    assert [line for line in shown.lines[:6] if "Started" not in line] == [
        "Order story-4: not recorded",
        "Case story-4: OPEN, warning, episode 1: MALFORMED_ORDER",
        "Execution 1: by-hand: FAILED",
        "  Outcome     ESCALATED: MALFORMED_ORDER",
        "  Recorded    nothing",
    ]
    assert "FAILED: MalformedOrder" in shown.out
    assert "Malformed fields: Name." in shown.out


def test_show_includes_refused_submissions(busy: CommandLine, running: Running) -> None:
    running.pipeline.put_order("story-5", "CANCELLED")
    given = json.dumps({"OrderId": "story-5", "Name": "Ada", "ItemName": "B", "Price": "1", "CC": CARD})
    for number in (1, 2):  # `submit` itself would not start the second one, of an order that is final.
        running.pipeline.client("stepfunctions").start_execution(
            stateMachineArn=running.pipeline.stack.state_machine_arn,
            name=submission_name("story-5", number),
            input=given,
        )
    ended = {f"Execution {n + 1}: {submission_name('story-5', n)}: FAILED" for n in (1, 2)}
    wait_until(lambda: ended <= set(busy("show", "story-5").lines))
    shown = busy("show", "story-5")
    assert "Execution 1: of-story-5: does not exist, or no longer, the current one" in shown.lines
    assert shown.out.count("Outcome     FAILED: DuplicateOrder (the stored order is unchanged)") == 2


def test_wait_and_show_follow_the_order_of_an_execution_that_ended_as_a_duplicate(
    busy: CommandLine, running: Running
) -> None:
    # It recorded the order and was redriven, or never got the response; meanwhile a bare OrderId had it fulfilled.
    name = submission_name("story-6", 1)
    own = running.pipeline.arn(name)
    running.pipeline.put_order("story-6", "FULFILLED", ExecutionArn=own, FulfilledAt="2026-11-22T10:05:00.000Z")
    given = json.dumps({"OrderId": "story-6", "Name": "Ada", "ItemName": "B", "Price": "1", "CC": CARD})
    submitted = busy("submit", "-", "--wait", stdin=given)
    assert (submitted.code, submitted.lines[2].split()) == (0, ["FULFILLED", "-", "1"])
    ended = f"Execution 1: {name}: FAILED, the current one"
    wait_until(lambda: ended in busy("show", "story-6").lines)  # The order was final before its execution ended.
    shown = busy("show", "story-6")
    assert shown.lines[0].startswith("Order story-6: FULFILLED for ")
    assert "FAILED: DuplicateOrder (the stored order is unchanged)" in shown.out


def test_foreign_values_in_the_table_are_masked_and_cleaned(orders: CommandLine, quiet: Pipeline) -> None:
    fields = {"CC": SHORT_CARD, "Name": f"{HOSTILE} {CARD}", "ItemName": "4929 1234 1234 5678", "UpdatedAt": "soon"}
    quiet.put_order("foreign", "HELD\x1b[2J", ExecutionArn="no arn", **fields)
    for arguments in (["foreign"], ["foreign", "--json"]):
        shown = orders("show", *arguments)
        assert shown.code == 0
        assert "\x1b" not in shown.out
        assert "****" in shown.out


@pytest.mark.parametrize("key", ["nobody", CARD, "4929-1234-1234-5678", "", "x" * 300, "a\x1b[2Jb", "Zoë"])
def test_a_missing_order_is_one_line(orders: CommandLine, key: str) -> None:
    shown = orders("show", key)
    assert (shown.code, shown.out) == (1, "")
    (line,) = shown.err.splitlines()
    assert line.startswith("orders: there is no order or case")
    assert "\x1b" not in line


NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("list", {"ORDER_TABLE": "Nowhere"}, "there is no table Nowhere: deploy the stack, or correct ORDER_TABLE"),
    (
        "show",
        {"ESCALATION_TABLE": "Nowhere"},
        "there is no table Nowhere: deploy the stack, or correct ESCALATION_TABLE",
    ),
    ("queues", {"ESCALATION_QUEUE": "Nowhere"}, "there is no queue Nowhere: deploy the stack, or correct the variable"),
    ("queues", {"ORDER_TABLE": "a table"}, "ORDER_TABLE is 'a table', must be a name, not a URL or an ARN"),
    ("show", {"STATE_MACHINE": "a b"}, "STATE_MACHINE is 'a b', must be the name or the ARN of a state machine"),
    ("list", {"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, "no region: set AWS_REGION, or a region in your AWS"),
    ("escalations list", {"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, "no region: set AWS_REGION, or a region in"),
    ("list", NO_CREDENTIALS, "no AWS credentials: Unable to locate credentials; give the SDK working credentials"),
    (
        "list",
        {"AWS_PROFILE": "nobody"},
        "the AWS SDK cannot make calls: The config profile (nobody) could not be found",
    ),
    ("list", {"AWS_ENDPOINT_URL": "nowhere"}, "the AWS SDK cannot make calls: Invalid endpoint: nowhere"),
]


@pytest.mark.parametrize(("command", "environment", "problem"), WRONG)
def test_a_wrong_environment_is_one_line(
    orders: CommandLine, command: str, environment: dict[str, Any], problem: str
) -> None:
    shown = orders(*command.split(), *(["001"] if command == "show" else []), **environment)
    assert (shown.code, shown.out) == (1, "")
    (line,) = shown.err.splitlines()
    assert line.startswith(f"orders: {problem}")


def test_the_state_machine_can_be_named_without_its_arn(orders: CommandLine, quiet: Pipeline) -> None:
    name = quiet.stack.state_machine_arn.rpartition(":")[2]
    quiet.put_order("by-name")
    shown = json.loads(orders("show", "by-name", "--json", STATE_MACHINE=name).out)
    assert shown["order"]["order_id"] == "by-name"


@pytest.mark.process
def test_the_console_script_and_the_module_are_the_same() -> None:
    script = Path(sys.executable).with_name("orders")
    shown = subprocess.run([script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    module = subprocess.run(
        [sys.executable, "-m", "workers.cli", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout == module.stdout
    assert "Exit codes: 0 done" in shown.stdout


@pytest.mark.parametrize("command", ["submit", "list", "show", "queues"])
def test_every_command_has_an_example_in_its_help(orders: CommandLine, command: str) -> None:
    shown = orders(command, "--help")
    assert shown.code == 0
    assert re.search(rf"^  Examples:\n    orders {command}", shown.out, re.MULTILINE)
