"""`orders escalations resolve` for many cases, with both workers on a local AWS."""

import json
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Fault, FaultProxy, Rule
from tests.integration.command_line import CARD, CommandLine
from tests.integration.conftest import Running, running_workers
from tests.integration.cutting import killed_after
from tests.integration.pipeline import fulfilled, wait_until
from tests.support import DeployStack

WHO = ("--actor", "ada", "--note", "as decided")


@pytest.fixture(scope="module")
def running(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A separate pipeline: the selected cases are those of these tests."""
    with running_workers(deploy_stack("many-"), tmp_path_factory.mktemp("many")) as running:
        yield running


@pytest.fixture(scope="module")
def orders(running: Running) -> CommandLine:
    return CommandLine(running.pipeline.stack)


def escalate(running: Running, reason: str, *order_ids: str) -> None:
    sent = []
    for order_id in order_ids:
        running.pipeline.put_order(order_id, Price="-1")
        arn = running.pipeline.arn(f"of-{order_id}")
        sent.append(running.pipeline.send_escalation({"OrderId": order_id, "Reasons": [reason], "ExecutionArn": arn}))
    for message_id in sent:
        running.escalation.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")


def states(running: Running, *order_ids: str) -> list[tuple[str | None, str | None]]:
    """Return the status of each order, and the state of its case."""
    cases = [running.pipeline.case(order_id) or {} for order_id in order_ids]
    return [
        (running.pipeline.status(order_id), case.get("State")) for order_id, case in zip(order_ids, cases, strict=True)
    ]


def test_the_selected_cases_are_cancelled_and_no_others(running: Running, orders: CommandLine) -> None:
    selected = [f"many-c{n}" for n in range(4)]
    escalate(running, "VERIFICATION_UNAVAILABLE", *selected)
    escalate(running, "INVALID_PRICE", "many-other")
    groups = orders("escalations", "list", "--by", "reason", "--json")
    assert {"VERIFICATION_UNAVAILABLE": 4}.items() <= {
        group["reason"]: group["cases"] for group in json.loads(groups.out)
    }.items()
    ran = orders("escalations", "resolve", "cancel", "--reason", "VERIFICATION_UNAVAILABLE", *WHO, "--yes")
    assert (ran.code, ran.err) == (0, "4 resolved\n")
    assert states(running, *selected) == [("CANCELLED", "RESOLVED")] * 4
    assert states(running, "many-other") == [("ESCALATED", "OPEN")]
    again = orders("escalations", "resolve", "cancel", "--reason", "VERIFICATION_UNAVAILABLE", *WHO, "--yes")
    assert (again.code, again.err) == (0, "no open case matches: nothing was done\n")
    named = orders("escalations", "resolve", *selected, "cancel", *WHO, "--yes")
    assert (named.code, named.err) == (0, "0 resolved, 4 unchanged\n")


def test_decisions_from_standard_input_are_carried_out_once_also_after_a_kill(
    running: Running, orders: CommandLine
) -> None:
    resubmitted, sent = [f"many-r{n}" for n in range(3)], [f"many-f{n}" for n in range(2)]
    escalate(running, "INVALID_PRICE", *resubmitted, *sent)
    lines = [
        "case_id,action,price,shipment_id,cc",
        *(f"{order_id},resubmit,5,,{CARD}" for order_id in resubmitted),
        *(f"{order_id},fulfill,,S-{order_id}," for order_id in sent),
        "many-unknown,cancel,,,",
    ]
    command = ("escalations", "resolve", "--from", "-", *WHO, "--yes")
    killed_after(orders, "StartExecution", 2, *command, stdin="\n".join(lines))
    ran = orders(*command, "--json", stdin="\n".join(lines))
    outcomes = Counter(step["outcome"] for step in json.loads(ran.out))
    assert (ran.code, outcomes["failed"], outcomes["not tried"]) == (1, 1, 0)
    assert outcomes["resolved"] + outcomes["unchanged"] == 5
    wait_until(lambda: states(running, *resubmitted, *sent) == [("FULFILLED", "RESOLVED")] * 5)
    wait_until(lambda: all(fulfilled(running.fulfillment)[order_id] == 1 for order_id in resubmitted))
    assert [fulfilled(running.fulfillment)[order_id] for order_id in sent] == [0, 0]
    for order_id in resubmitted:
        assert len((running.pipeline.case(order_id) or {})["Resolutions"]) == 1


@pytest.mark.parametrize(
    ("action", "status"), [("cancel", "CANCELLED"), ("fulfill", "FULFILLED"), ("resubmit", "FULFILLED")]
)
def test_twenty_cases_are_settled_with_one_command(
    running: Running, orders: CommandLine, action: str, status: str
) -> None:
    settled = [f"twenty-{action}-{n}" for n in range(20)]
    escalate(running, "WORKFLOW_FAILED", *settled)
    lines = ["case_id,action,price,shipment_id,cc"]
    match action:
        case "cancel":
            ran = orders("escalations", "resolve", *settled, action, *WHO, "--yes")
        case "fulfill":
            lines += [f"{order_id},{action},,S-{order_id}," for order_id in settled]
            ran = orders("escalations", "resolve", "--from", "-", *WHO, "--yes", stdin="\n".join(lines))
        case _:
            lines += [f"{order_id},{action},5,,{CARD}" for order_id in settled]
            ran = orders("escalations", "resolve", "--from", "-", *WHO, "--yes", stdin="\n".join(lines))
    assert (ran.code, ran.err) == (0, "20 resolved\n")
    wait_until(lambda: states(running, *settled) == [(status, "RESOLVED")] * 20)
    # The worker writes its line after the status.
    shipped = dict.fromkeys(settled, 1) if action == "resubmit" else {}
    wait_until(
        lambda: (
            {order_id: n for order_id, n in fulfilled(running.fulfillment).items() if order_id in settled} == shipped
        )
    )


def test_an_interrupted_command_reports_what_is_done_and_repeated_does_the_rest(
    running: Running, orders: CommandLine, proxy: FaultProxy
) -> None:
    ids = [f"cut-{n}" for n in range(20)]
    escalate(running, "WORKFLOW_FAILED", *ids)
    proxy.inject(Rule(Fault.LATENCY, delay_s=3, actions={"TransactWriteItems"}))
    command = ("escalations", "resolve", *ids, "cancel", *WHO, "--yes", "--json")
    with orders.start(*command, AWS_ENDPOINT_URL=proxy.url) as process:
        wait_until(lambda: proxy.count("TransactWriteItems") >= 1)
        ended = orders.interrupt(process, signal.SIGTERM)
    outcomes = {step["case_id"]: step["outcome"] for step in json.loads(ended.out)}
    assert (ended.code, [*outcomes], {*outcomes.values()}) == (143, ids, {"resolved", "not tried"})
    done = [case_id for case_id, outcome in outcomes.items() if outcome == "resolved"]
    assert ended.err.startswith(f"orders: interrupted: {len(done)} resolved, {len(ids) - len(done)} not tried; repeat")
    assert [status for status, _ in states(running, *ids)].count("CANCELLED") == len(done)
    again = orders(*command)
    assert (again.code, again.err) == (0, f"{len(ids) - len(done)} resolved, {len(done)} unchanged\n")
