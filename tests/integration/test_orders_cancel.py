"""`orders cancel` and `orders erase` with both workers on a local AWS, also killed in between."""

import json
import subprocess
import sys
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.integration.command_line import CARD, CommandLine
from tests.integration.conftest import Running
from tests.integration.cutting import killed_after
from tests.integration.pipeline import fulfilled, wait_until
from workers import clock

WHO = ("--actor", "grace", "--yes")
NAME = "Augusta Byron"


@pytest.fixture(scope="module")
def orders(running: Running) -> CommandLine:
    return CommandLine(running.pipeline.stack)


def order_of(running: Running, order_id: str) -> dict[str, Any]:
    order = running.pipeline.order(order_id)
    assert order is not None
    return order


def case_of(running: Running, case_id: str) -> dict[str, Any]:
    case = running.pipeline.case(case_id)
    assert case is not None
    return case


def escalate(running: Running, order_id: str, detail: str = "The order's details are not proper.") -> None:
    notice = {
        "OrderId": order_id,
        "Reasons": ["INVALID_PRICE"],
        "Detail": detail,
        "ExecutionArn": running.pipeline.arn(f"of-{order_id}"),
    }
    message_id = running.pipeline.send_escalation(notice)
    running.escalation.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_a_cancellation_says_what_it_did_if_its_output_is_full(
    running: Running, orders: CommandLine, redirection: str, reason: str
) -> None:
    order_id = f"cancel-{'full' if 'full' in redirection else 'closed'}"
    running.pipeline.put_order(order_id)
    command = f"exec {sys.executable} -m workers.cli cancel {order_id} --actor grace --yes {redirection}"
    environment = orders.stack.worker_environment() | {"STATE_MACHINE": orders.stack.state_machine_arn}
    ran = subprocess.run(
        ["/bin/sh", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    expected = f"Order {order_id}: CANCELLED\norders: standard output: {reason}\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", expected)
    assert order_of(running, order_id)["Status"] == "CANCELLED"


def test_a_cancelled_order_is_not_shipped(running: Running, orders: CommandLine) -> None:
    running.pipeline.put_order("cancel-received")
    cancelled = orders("cancel", "cancel-received", "--note", "customer has left", *WHO)
    assert (cancelled.code, cancelled.out, cancelled.err) == (0, "Order cancel-received: CANCELLED\n", "")
    message_id = running.pipeline.send_order("cancel-received")
    running.fulfillment.wait_for("message.acknowledged", message_id=message_id, outcome="superseded")

    order = order_of(running, "cancel-received")
    assert (order["Status"], order["OpenKey"][:-13], "ShipmentId" in order) == ("CANCELLED", "CANCELLED", False)
    assert (order["CancelledBy"], order["CancelNote"]) == ("grace", "customer has left")
    assert order["CancelledAt"] == order["UpdatedAt"]
    assert "CANCELLED: by grace; customer has left" in orders("show", "cancel-received").out
    assert "cancel-received" not in orders("list").out
    again = orders("cancel", "cancel-received", *WHO)
    assert again.out == f"Order cancel-received: already CANCELLED since {clock.shown(order['UpdatedAt'])}, by grace\n"
    assert order_of(running, "cancel-received") == order
    assert fulfilled(running.fulfillment)["cancel-received"] == 0


def test_an_order_that_is_shipped_while_it_is_cancelled_is_escalated(running: Running, orders: CommandLine) -> None:
    running.pipeline.put_order("cancel-shipping", ItemName="slow", Price="4")
    message_id = running.pipeline.send_order("cancel-shipping")
    running.fulfillment.wait_for("provider.called", order_id="cancel-shipping")
    assert orders("cancel", "cancel-shipping", *WHO).code == 0
    running.fulfillment.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")
    line = running.escalation.wait_for("escalation.routed", case_id="cancel-shipping")
    assert line["reasons"] == ["UNRECORDED_SHIPMENT"]
    detail = "Shipped as shipment-of-cancel-shipping, but the order is CANCELLED now."
    assert line["detail"] == detail
    assert order_of(running, "cancel-shipping")["Status"] == "CANCELLED"

    again = orders("cancel", "cancel-shipping", *WHO)  # It does not hide the report.
    assert "Case cancel-shipping is open: UNRECORDED_SHIPMENT" in again.out
    closed = orders("escalations", "resolve", "cancel-shipping", "cancel", "--note", "sent back", *WHO)
    assert (closed.code, case_of(running, "cancel-shipping")["State"]) == (0, "RESOLVED")


def test_an_escalated_order_is_cancelled_with_its_case(running: Running, orders: CommandLine) -> None:
    running.pipeline.put_order("cancel-escalated")
    escalate(running, "cancel-escalated")
    cancelled = orders("cancel", "cancel-escalated", "--json", *WHO)
    assert json.loads(cancelled.out) == {
        "order_id": "cancel-escalated",
        "changed": True,
        "status": "CANCELLED",
        "was": "ESCALATED",
        "closed_case": True,
        "open_case": [],
        "attempts": 0,
    }
    assert order_of(running, "cancel-escalated")["Status"] == "CANCELLED"
    (resolution,) = case_of(running, "cancel-escalated")["Resolutions"]
    assert (resolution["Action"], resolution["Actor"]) == ("cancel", "grace")


def test_a_cancellation_killed_before_the_case_is_closed_is_finished_by_repeating_it(
    running: Running, orders: CommandLine
) -> None:
    """The order was resubmitted by a file, so its case is still open although it is RECEIVED."""
    running.pipeline.put_order("cancel-killed")
    escalate(running, "cancel-killed")
    running.pipeline.put_order("cancel-killed", ExecutionArn=running.pipeline.arn("again"))
    killed_after(orders, "UpdateItem", 1, "cancel", "cancel-killed", *WHO)
    assert order_of(running, "cancel-killed")["Status"] == "CANCELLED"
    assert case_of(running, "cancel-killed")["State"] == "OPEN"
    assert orders("cancel", "cancel-killed", *WHO).code == 0
    assert case_of(running, "cancel-killed")["State"] == "RESOLVED"


def test_a_fulfilled_order_is_not_cancelled(running: Running, orders: CommandLine) -> None:
    running.pipeline.put_order("cancel-late", "FULFILLED", ShipmentId="S-1")
    refused = orders("cancel", "cancel-late", *WHO)
    problem = "orders: order cancel-late is FULFILLED by shipment S-1: it is too late to cancel it\n"
    assert (refused.code, refused.out, refused.err) == (1, "", problem)


def mentions(running: Running, text: str) -> list[str]:
    """Return the tables that contain *text*."""
    stack = running.pipeline.stack
    return [table for table in (stack.order_table, stack.escalation_table) if text in str(running.pipeline.scan(table))]


def test_an_erased_order_leaves_no_data_and_is_not_shipped_again(running: Running, orders: CommandLine) -> None:
    pipeline = running.pipeline
    pipeline.put_order("erase-1", Name=NAME)
    refused = orders("erase", "erase-1", *WHO)
    assert (refused.code, refused.err.count("Cancel it first: orders cancel erase-1")) == (1, 1)
    escalate(running, "erase-1", f"{NAME} says no.")
    notice = {"OrderId": None, "Reasons": ["WORKFLOW_FAILED"], "ExecutionArn": pipeline.arn("of-erase-1-late")}
    late = pipeline.send_escalation(notice | {"Detail": f"{NAME}'s execution timed out."})
    running.escalation.wait_for("message.acknowledged", message_id=late)
    escalated = {"OrderId": "erase-1", "Reasons": ["INVALID_PRICE"], "ExecutionArn": notice["ExecutionArn"]}
    added = pipeline.send_escalation(escalated)
    running.escalation.wait_for("message.acknowledged", message_id=added)
    assert orders("cancel", "erase-1", *WHO).code == 0
    # The cases of its executions were merged into its own one, and point to it.
    assert {case_of(running, f"of-erase-1{late}")["MergedInto"] for late in ("", "-late")} == {"erase-1"}
    assert len(mentions(running, NAME)) == 2

    killed_after(orders, "TransactWriteItems", 1, "erase", "erase-1", *WHO)
    erased = orders("erase", "erase-1", "--actor", "ada", "--yes")  # The first one was applied.
    assert (erased.code, mentions(running, NAME)) == (0, [])
    marker = order_of(running, "erase-1")
    kept = {"ExecutionArns", "Channels"}  # Who else keeps something about the order.
    assert set(marker) == kept | {
        "OrderId",
        "Status",
        "ExecutionArn",
        "UpdatedAt",
        "ErasedAt",
        "ErasedBy",
        "ExpiresAt",
    }
    assert erased.lines[0] == f"Order erase-1: already erased at {clock.shown(marker['ErasedAt'])} by grace"
    audit = json.loads(erased.err.splitlines()[-1])
    assert audit == {
        "timestamp": marker["ErasedAt"],
        "level": "info",
        "event": "order.erased",
        "order_id": "erase-1",
        "actor": "grace",
        "cases": [],
    }
    assert "CANCELLED, erased" in orders("show", "erase-1").lines[0]

    again = pipeline.send_order("erase-1")
    running.fulfillment.wait_for("message.acknowledged", message_id=again, outcome="superseded")
    order = {"OrderId": "erase-1", "Name": NAME, "ItemName": "Lamp", "Price": "1", "CC": CARD}
    started = pipeline.client("stepfunctions").start_execution(
        stateMachineArn=pipeline.stack.state_machine_arn, input=json.dumps(order)
    )["executionArn"]
    describe = pipeline.client("stepfunctions").describe_execution
    ended = wait_until(lambda: (found := describe(executionArn=started))["status"] != "RUNNING" and found)
    assert (ended["error"], order_of(running, "erase-1")) == ("DuplicateOrder", marker)


def test_an_erasure_reports_what_others_keep(running: Running, orders: CommandLine) -> None:
    running.pipeline.put_order("erase-2", "FULFILLED", ShipmentId="S-2")
    erased = orders("erase", "erase-2", "--json", *WHO)
    document = json.loads(erased.out)
    assert (document["changed"], document["order_id"], document["actor"]) == (True, "erase-2", "grace")
    assert {row["where"]: row["until"] for row in document["remains"]}["the provider, if there is one"] == (
        "as it keeps it"
    )
    assert "S-2" not in json.loads(erased.err.splitlines()[-1])
