"""`orders escalations` with both workers on a local AWS: list, show, resolve."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests.integration.command_line import CARD, CommandLine, Ran
from tests.integration.conftest import Running, running_workers
from tests.integration.cutting import killed_after
from tests.integration.pipeline import fulfilled, wait_until
from tests.support import DeployStack

WHO = ("--actor", "ada", "--note", "as agreed")


@pytest.fixture(scope="module")
def desk(deploy_stack: DeployStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A separate pipeline: the listed cases are those of these tests."""
    with running_workers(deploy_stack("desk-"), tmp_path_factory.mktemp("desk")) as desk:
        yield desk


@pytest.fixture
def orders(desk: Running) -> CommandLine:
    return CommandLine(desk.pipeline.stack)


def escalate(desk: Running, order_id: str, reason: str = "INVALID_PRICE", **order: str) -> None:
    """Store an order and escalate it, without an execution."""
    desk.pipeline.put_order(order_id, **{"Price": "-1"} | order)
    notice = {
        "OrderId": order_id,
        "Reasons": [reason],
        "Source": "workflow",
        "Detail": "The order's details are not proper.",
        "ExecutionArn": desk.pipeline.arn(f"of-{order_id}"),
    }
    message_id = desk.pipeline.send_escalation(notice)
    desk.escalation.wait_for("message.acknowledged", message_id=message_id, outcome="escalated")


def case_of(desk: Running, case_id: str) -> dict[str, Any]:
    case = desk.pipeline.case(case_id)
    assert case is not None
    return case


def resolve(orders: CommandLine, case_id: str, action: str, *options: str, stdin: str = "") -> Ran:
    return orders("escalations", "resolve", case_id, action, *WHO, "--yes", *options, stdin=stdin)


def resubmit(orders: CommandLine, case_id: str, *options: str, stdin: str = CARD) -> Ran:
    return resolve(orders, case_id, "resubmit", "--card-number-stdin", *options, stdin=stdin)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def without_times(text: str) -> str:
    text = re.sub(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(\.[0-9]+Z)?", "<time>", text)
    return re.sub(r"\b[0-9]+[smh]\b", "<age>", text)


def test_open_cases_are_listed_by_severity_then_age(desk: Running, orders: CommandLine) -> None:
    nothing = orders("escalations", "list")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "no case is open\n")
    escalate(desk, "list-1")
    escalate(desk, "list-2", "WORKFLOW_FAILED")
    escalate(desk, "list-3", Name=f"Ada {CARD}\x1b[2J")
    listed = orders("escalations", "list")
    bike, ways = ["Bicycle", "-1"], ["resubmit,", "fulfill", "or", "cancel"]
    masked = ["Ada", "****\ufffd[2J"]
    assert words(without_times(listed.out)) == [
        ["CASE", "SEVERITY", "STATUS", "AGE", "NAME", "ITEM", "PRICE", "REASONS", "NEXT"],
        ["list-2", "critical", "ESCALATED", "<age>", "Ada", *bike, "WORKFLOW_FAILED", *ways],
        ["list-1", "warning", "ESCALATED", "<age>", "Ada", *bike, "INVALID_PRICE", *ways],
        ["list-3", "warning", "ESCALATED", "<age>", *masked, *bike, "INVALID_PRICE", *ways],
    ]
    assert (listed.code, listed.err) == (0, "3 shown; 3 cases are open\n")
    selected = orders("escalations", "list", "--json", "--reason", "invalid_price", "--limit", "1")
    assert [(case["case_id"], case["order"]["name"]) for case in json.loads(selected.out)] == [("list-1", "Ada")]
    assert selected.err == "1 shown of 2 matching; 3 cases are open\n"
    old = orders("escalations", "list", "--severity", "critical", "--older-than", "1h", "--json")
    assert (old.out, old.err) == ("[]\n", "0 shown; 3 cases are open\n")


def test_show_prints_everything_about_a_case(desk: Running, orders: CommandLine) -> None:
    escalate(desk, "show-1", Name=f"Ada {CARD}", ItemName="Rocket \x1b[31m")
    assert resubmit(orders, "show-1", "--price", "0.50", "--item-name", "reject").code == 0
    desk.escalation.wait_for("escalation.routed", case_id="show-1", episode=2)
    shown = orders("escalations", "show", "show-1", "--wide")
    assert shown.code == 0
    text = without_times(shown.out)
    execution = case_of(desk, "show-1")["ExecutionArn"].rpartition(":")[2]
    for expected in (
        ["Case", "show-1"],
        ["State", "OPEN,", "episode", "2"],
        ["Reasons", "FULFILLMENT_REJECTED"],
        ["Order", "show-1", "(ESCALATED", "now)"],
        ["Name", "Ada", "****"],
        ["ItemName", "reject"],
        ["Price", "0.50"],
        ["CC", "************5678"],
        f"<time> fulfillment FULFILLMENT_REJECTED The provider refused: we do not ship to Ada **** {execution}".split(),
        ["1", "log", "<time>"],
        ["2", "log", "<time>"],
        ["1", "<time>", "<time>", "warning", "INVALID_PRICE", "Ada", "****;", "Rocket", "\ufffd[<age>;", "-1"],
        ["<time>", "1", "ada", "resubmit", "as", "agreed", execution],
        ["Execution", desk.pipeline.arn("of-show-1")],
        ["Execution", desk.pipeline.arn(execution)],
        ["Refused", "by", "provider", desk.pipeline.arn(execution)],
    ):
        assert expected in words(text), text
    assert "\x1b" not in shown.out

    document = json.loads(orders("escalations", "show", "show-1", "--json").out)
    assert (document["case_id"], document["episode"], document["order_now"]["status"]) == ("show-1", 2, "ESCALATED")
    assert [resolution["actor"] for resolution in document["resolutions"]] == ["ada"]
    assert resolve(orders, "show-1", "cancel").code == 0


def test_a_corrected_order_is_resubmitted_and_fulfilled(desk: Running, orders: CommandLine) -> None:
    escalate(desk, "again-1")
    done = resubmit(orders, "again-1", "--price", "80000", stdin=" 4929-1234 1234-5678\n")
    assert done.code == 0
    assert re.fullmatch(
        r"Case again-1: resubmit by ada at <time>, as execution resubmission-\w{26}-1\n", without_times(done.out)
    )
    wait_until(lambda: desk.pipeline.status("again-1") == "FULFILLED")
    order = desk.pipeline.order("again-1")
    assert order is not None
    assert (order["Price"], order["Name"], order["CC"]) == ("80000", "Ada", "************5678")
    again = resubmit(orders, "again-1", "--price", "1", stdin="")
    nothing = "Nothing was changed: that was done before. `orders show again-1` says what came of it\n"
    assert (again.code, again.out) == (0, f"{done.out}{nothing}")
    other = orders("escalations", "resolve", "again-1", "cancel", "--actor", "grace", "--note", "x", "--yes")
    assert (other.code, without_times(other.err)) == (
        1,
        "orders: the case is already resolved by ada at <time>: resubmit; `orders show again-1` says what came of it\n",
    )


def test_an_order_is_fulfilled_by_hand_or_cancelled(desk: Running, orders: CommandLine) -> None:
    escalate(desk, "hand-1")
    escalate(desk, "hand-2")
    by_hand = resolve(orders, "hand-1", "fulfill", "--shipment-id", "S-4711")
    assert (by_hand.code, without_times(by_hand.out)) == (0, "Case hand-1: fulfill by ada at <time>\n")
    cancelled = resolve(orders, "hand-2", "cancel", "--json")
    again = resolve(orders, "hand-2", "cancel", "--json")
    assert [(json.loads(ran.out)["state"], json.loads(ran.out)["changed"]) for ran in (cancelled, again)] == [
        ("RESOLVED", True),
        ("RESOLVED", False),
    ]
    assert [desk.pipeline.status(order_id) for order_id in ("hand-1", "hand-2")] == ["FULFILLED", "CANCELLED"]
    assert [len(case_of(desk, case_id)["Resolutions"]) for case_id in ("hand-1", "hand-2")] == [1, 1]
    assert fulfilled(desk.fulfillment)["hand-1"] == 0


def test_a_case_without_an_order_needs_all_fields_to_be_resubmitted(desk: Running, orders: CommandLine) -> None:
    started = desk.pipeline.client("stepfunctions").start_execution(
        stateMachineArn=desk.pipeline.stack.state_machine_arn, name="malformed-1", input='{"OrderId": "no such/id"}'
    )
    desk.escalation.wait_for("escalation.routed", execution_arn=started["executionArn"])
    missing = resubmit(orders, "malformed-1")
    problem = "the case has no order: to resubmit it, give --order, --name, --item, --price"
    assert (missing.code, missing.err) == (2, f"orders escalations resolve: {problem}\n")
    whole = ("--order-id", "whole-1", "--name", "Ada", "--item-name", "Bicycle", "--price", "1")
    assert resubmit(orders, "malformed-1", *whole).code == 0
    wait_until(lambda: desk.pipeline.status("whole-1") == "FULFILLED")
    assert case_of(desk, "malformed-1")["State"] == "RESOLVED"
    # The case leads to the order, and the order to the case.
    assert any("as order whole-1: " in line for line in orders("escalations", "show", "malformed-1").lines)
    of_case, of_order = orders("show", "malformed-1").lines, orders("show", "whole-1").lines
    assert (of_case[0].split()[:3], of_case[-1]) == (
        ["Order", "whole-1:", "FULFILLED"],
        "Next: look at its order: `orders show whole-1`",
    )
    assert "Case malformed-1: RESOLVED, warning, episode 1: MALFORMED_ORDER" in of_order
    assert of_order[-1] == "Next: nothing: the order is FULFILLED"


@pytest.mark.parametrize(
    ("arguments", "stdin", "problem"),
    [
        (
            ["resubmit"],
            CARD,
            "Price must be a price above 0 with at most two decimals; correct it with --price",
        ),
        (["resubmit", "--price", "1", "--name", ""], CARD, "malformed: Name"),
        (["resubmit", "--price", "1"], CARD[:12], "CC must be a card number of 16 digits"),
        (["resubmit", "--price", "1"], b"\xff\xfe", "CC must be a card number of 16 digits"),
    ],
)
def test_invalid_corrections_are_refused_and_change_nothing(
    desk: Running, orders: CommandLine, arguments: list[str], stdin: str | bytes, problem: str
) -> None:
    if desk.pipeline.case("refused-1") is None:
        escalate(desk, "refused-1")
    before = case_of(desk, "refused-1")
    from_stdin = ["--card-number-stdin"] if arguments[0] == "resubmit" else []
    refused = orders(
        "escalations", "resolve", "refused-1", arguments[0], *WHO, "--yes", *from_stdin, *arguments[1:], stdin=stdin
    )
    assert (refused.code, refused.out, refused.err) == (2, "", f"orders escalations resolve: {problem}\n")
    assert case_of(desk, "refused-1") == before


@pytest.mark.parametrize("arguments", [["resolve", "x", CARD], ["show", "x", CARD], [CARD], [f"--{CARD}"]])
def test_a_card_number_in_the_arguments_is_not_repeated(orders: CommandLine, arguments: list[str]) -> None:
    refused = orders("escalations", *arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "****" in refused.err


def test_without_a_terminal_or_a_case_nothing_is_done(desk: Running, orders: CommandLine) -> None:
    message_id = desk.pipeline.send_escalation({"OrderId": "unasked", "Reasons": ["INVALID_PRICE"]})
    desk.escalation.wait_for("message.acknowledged", message_id=message_id)
    for arguments in (["cancel"], ["resubmit", "--card-number-stdin"]):
        refused = orders("escalations", "resolve", "unasked", *arguments, *WHO, stdin=CARD)
        assert (refused.code, refused.err.splitlines()[-1]) == (
            2,
            "orders escalations resolve: there is no terminal to ask for confirmation: use --yes",
        )
    missing = orders("escalations", "resolve", "no-such-case", "cancel", *WHO)  # It is missing with --yes, too.
    assert (missing.code, missing.err) == (
        1,
        "orders: there is no case 'no-such-case'; `orders escalations list` shows the open ones\n",
    )


_ON_A_TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from workers.cli.__main__ import main
sys.exit(main())
"""


class Terminal:
    """`orders` on a terminal, where a test answers its questions as a person does."""

    def __init__(self, orders: CommandLine, *arguments: str) -> None:
        self.shown = ""
        self._ours, theirs = pty.openpty()
        environment = orders.stack.worker_environment() | {"STATE_MACHINE": orders.stack.state_machine_arn}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _ON_A_TERMINAL, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def answer(self, question: str, text: str) -> None:
        while question not in self.shown:
            self.shown += os.read(self._ours, 4096).decode()
        os.write(self._ours, f"{text}\n".encode())

    def end(self) -> int:
        with contextlib.suppress(OSError):  # A terminal whose process has ended raises it.
            while data := os.read(self._ours, 4096):
                self.shown += data.decode()
        os.close(self._ours)
        return self._process.wait(60)


def test_the_card_number_is_asked_for_and_only_its_end_is_shown(desk: Running, orders: CommandLine) -> None:
    escalate(desk, "asked-1")
    arguments = ("escalations", "resolve", "asked-1", "resubmit", *WHO, "--price", "2")
    for answer, code, status in (("n", 1, "ESCALATED"), ("y", 0, None)):
        terminal = Terminal(orders, *arguments)
        terminal.answer("Card number (not shown): ", "4929 1234 1234 5678")
        terminal.answer("Resubmit? [y/N]: ", answer)
        assert terminal.end() == code, terminal.shown
        assert "ends in 5678" in terminal.shown
        assert "2 (was -1)" in terminal.shown
        assert CARD[:12] not in re.sub(r"[ -]", "", terminal.shown)
        assert status is None or desk.pipeline.status("asked-1") == status
    wait_until(lambda: desk.pipeline.status("asked-1") == "FULFILLED")


@pytest.mark.parametrize(
    ("action", "request_name", "number"),
    [
        ("resubmit", "TransactWriteItems", 1),
        ("resubmit", "StartExecution", 1),
        ("resubmit", "TransactWriteItems", 2),
        ("fulfill", "TransactWriteItems", 1),
        ("cancel", "TransactWriteItems", 1),
    ],
)
def test_killed_after_any_write_and_repeated_it_ends_as_if_run_once(
    desk: Running, orders: CommandLine, action: str, request_name: str, number: int
) -> None:
    order_id = f"killed-{action}-{request_name}-{number}"
    escalate(desk, order_id)
    options = {"resubmit": ["--price", "3", "--card-number-stdin"], "fulfill": ["--shipment-id", "S-1"], "cancel": []}
    arguments = ["escalations", "resolve", order_id, action, *WHO, "--yes", *options[action]]
    killed_after(orders, request_name, number, *arguments, stdin=CARD)
    assert orders(*arguments, stdin=CARD).code == 0
    final = "CANCELLED" if action == "cancel" else "FULFILLED"
    wait_until(lambda: desk.pipeline.status(order_id) == final)
    case = case_of(desk, order_id)
    assert (case["State"], case["Episode"], len(case["Resolutions"])) == ("RESOLVED", 1, 1)
    # The worker writes its line after the status.
    wait_until(lambda: fulfilled(desk.fulfillment)[order_id] == (1 if action == "resubmit" else 0))
    executions = desk.pipeline.client("stepfunctions").list_executions(
        stateMachineArn=desk.pipeline.stack.state_machine_arn
    )["executions"]
    order = desk.pipeline.order(order_id)
    assert order is not None
    assert [execution["executionArn"] for execution in executions].count(order["ExecutionArn"]) == int(
        action == "resubmit"
    )


def test_the_second_of_two_operators_is_told_who_was_first(desk: Running, orders: CommandLine) -> None:
    escalate(desk, "two-1")

    def start(actor: str) -> "contextlib.AbstractContextManager[subprocess.Popen[bytes]]":
        options = ("--actor", actor, "--note", "x", "--price", "4", "--name", actor, "--card-number-stdin", "--yes")
        return orders.start("escalations", "resolve", "two-1", "resubmit", *options)

    with start("ada") as one, start("grace") as other:
        ended = {}
        for process in (one, other):
            assert process.stdin is not None
            process.stdin.write(CARD.encode())
            process.stdin.close()
            process.stdin = None
        for actor, process in (("ada", one), ("grace", other)):
            _, err = process.communicate(timeout=60)
            ended[actor] = (process.returncode, err.decode())
    assert sorted(code for code, _ in ended.values()) == [0, 1]
    (winner,) = [actor for actor, (code, _) in ended.items() if code == 0]
    (told,) = [err for code, err in ended.values() if code == 1]
    assert re.fullmatch(rf"orders: (the case is already resolved by {winner} at|{winner} began to resubmit) .*\n", told)
    wait_until(lambda: desk.pipeline.status("two-1") == "FULFILLED")
    order = desk.pipeline.order("two-1")
    assert order is not None
    assert order["Name"] == winner
    assert [resolution["Actor"] for resolution in case_of(desk, "two-1")["Resolutions"]] == [winner]


def test_a_resubmission_by_file_or_by_another_system_closes_its_case(
    desk: Running, orders: CommandLine, tmp_path: Path
) -> None:
    good = {"Name": "Ada", "ItemName": "Bicycle", "Price": "5", "CC": CARD}
    ids = ("file-1", "system-1")
    bad, fixed = tmp_path / "bad.jsonl", tmp_path / "fixed.jsonl"
    bad.write_text("".join(json.dumps(good | {"OrderId": each, "Price": "-5"}) + "\n" for each in ids))
    fixed.write_text(json.dumps(good | {"OrderId": "file-1"}))
    assert orders("submit", str(bad), "--anyway").code == 0
    for order_id in ids:
        wait_until(lambda order_id=order_id: desk.pipeline.status(order_id) == "ESCALATED")  # type: ignore[misc]
    assert orders("submit", str(fixed), "--submission", "2", "--wait").code == 0
    desk.pipeline.client("stepfunctions").start_execution(
        stateMachineArn=desk.pipeline.stack.state_machine_arn, input=json.dumps(good | {"OrderId": "system-1"})
    )
    for order_id in ids:
        desk.escalation.wait_for("case.closed", case_id=order_id)
        case = case_of(desk, order_id)
        (resolution,) = case["Resolutions"]
        assert (case["State"], resolution["Action"], resolution["Actor"]) == ("RESOLVED", "resubmitted", "workflow")
        assert resolution["ExecutionArn"] == (desk.pipeline.order(order_id) or {})["ExecutionArn"]


def test_a_case_whose_order_is_final_says_the_way_out(desk: Running, orders: CommandLine) -> None:
    escalate(desk, "final-1")
    desk.pipeline.put_order("final-1", "FULFILLED", ShipmentId="S-1")
    (listed,) = (each for each in words(orders("escalations", "list").out) if each[0] == "final-1")
    assert "FULFILLED" in listed
    refused = [
        resolve(orders, "final-1", "cancel"),
        resolve(orders, "final-1", "fulfill", "--shipment-id", "S-2"),
        resubmit(orders, "final-1", "--price", "5"),
    ]
    for ran in refused:
        assert (ran.code, ran.err.endswith("; close closes its case\n")) == (1, True), ran.err
    shown = orders("escalations", "show", "final-1").out
    assert "orders escalations resolve final-1 close" in shown
    assert resolve(orders, "final-1", "close").code == 0
    assert case_of(desk, "final-1")["State"] == "RESOLVED"
    assert desk.pipeline.status("final-1") == "FULFILLED"
