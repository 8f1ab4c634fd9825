"""What `orders` asks AWS for when it lists or shows something: it queries an index or reads keys; it scans no table."""

import re

import pytest

from deploy.local.aws import ROOT
from tests.deploy.permissions import Call, Recorder
from tests.integration.command_line import CommandLine
from tests.integration.conftest import Running
from tests.workers.cli.commands import COMMANDS

# Each with the requests to DynamoDB that it may make; all others only look at queues, executions and metrics.
LISTS = {
    "list": {"Query", "BatchGetItem"},
    "list --status FULFILLED --status CANCELLED --since 1d": {"Query", "BatchGetItem"},
    "list --name ada --item bicycle --reason INVALID_PRICE --actor ada --since 2h --csv": {"Query", "BatchGetItem"},
    "escalations list": {"Query", "BatchGetItem"},
    "escalations list --by reason": {"Query", "BatchGetItem"},
    "escalations list --name ada --severity warning --older-than 1s --csv": {"Query", "BatchGetItem"},
    "escalations list --state resolved --actor ada --since 1d": {"Query", "BatchGetItem"},
    "escalations resolve cancel --reason ORDER_STUCK --older-than 1d --note x --actor ada --yes": {
        "Query",
        "BatchGetItem",
    },
    "escalations show listed": {"GetItem"},
    "show listed": {"GetItem"},
    "queues": set(),
    "dead-letters list": set(),
    "dead-letters list fulfillment --reason UNDECODABLE --since 1d": set(),
    "dead-letters replay fulfillment --dry-run": set(),
    "dead-letters discard escalation --dry-run": set(),
    "list --stuck": {"Query", "BatchGetItem"},
    "sweep": set(),
    "bulk list": set(),
    "status": {"Query", "BatchGetItem"},
}
# They act. What they read before, they read by its key.
ACTIONS = {"cancel", "erase", "escalate", "requeue", "submit", "workers pause", "workers resume"}
ELSEWHERE = {"bulk show"}  # It needs an intake; it reads executions and objects, and no table.
LOCAL = {"completion", "logs"}  # They ask AWS for nothing.
# No index has what these look for; docs/operating.md says what it costs.
SCANS = {
    "workers/operations/erase.py": "an erasure must miss no case that has the person's data",
    "workers/operations/related_cases.py": "`show` looks for 5 s for the case that an order without one came from",
}


@pytest.fixture(scope="module")
def orders(running: Running) -> CommandLine:
    """With an escalated order and its case."""
    running.pipeline.put_order("listed", Price="-1")
    escalation = {"OrderId": "listed", "Reasons": ["INVALID_PRICE"], "ExecutionArn": running.pipeline.arn("of-listed")}
    message_id = running.pipeline.send_escalation(escalation)
    running.escalation.wait_for("message.acknowledged", message_id=message_id)
    return CommandLine(running.pipeline.stack)


def is_bounded(call: Call) -> bool:
    """Tell whether a request to DynamoDB reads only what its keys name."""
    return call.operation != "Query" or {"IndexName", "KeyConditionExpression"} <= call.asked.keys()


@pytest.mark.parametrize("command", LISTS)
def test_a_list_queries_an_index_and_scans_no_table(orders: CommandLine, command: str) -> None:
    with Recorder(orders.stack.local_aws.endpoint) as proxy:
        ran = orders(*command.split(), AWS_ENDPOINT_URL=proxy.url)
    # Another test's messages may wait on the shared stack, and a local AWS does not say for how long.
    assert ran.code == 0 or "messages wait" in ran.err, ran.err
    made = [call for call in proxy.calls if call.service == "dynamodb"]
    assert {call.operation for call in made} <= LISTS[command]
    assert all(map(is_bounded, made))


def test_every_command_that_lists_something_is_tested() -> None:
    tested = [f"{line} " for line in LISTS]
    untested = {words for words in COMMANDS if not any(line.startswith(f"{words} ") for line in tested)}
    assert untested == ACTIONS | ELSEWHERE | LOCAL


def test_tables_are_scanned_only_where_no_index_has_what_is_looked_for() -> None:
    scanning = re.compile(r"""["']scan["']|\.scan\(|Scan\b.*Target""")
    found = [path for path in (ROOT / "workers").rglob("*.py") if scanning.search(path.read_text(encoding="utf-8"))]
    assert {path.relative_to(ROOT).as_posix() for path in found} == SCANS.keys()
