"""`orders submit`: every good record once, every bad one reported, however often it is interrupted and repeated."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.proxy import Fault, FaultProxy, Rule
from tests.integration.command_line import CARD, SHORT_CARD, CommandLine, Ran
from tests.integration.conftest import Running
from tests.integration.pipeline import fulfilled, wait_until
from workers.domain.orders import ORDER_ID_RULE
from workers.domain.submissions import submission_name

START = "StartExecution"
OTHER_CARD = "4929123412341111"
HEADER = "OrderId,Name,ItemName,Price,CC\n"
ENCODING = "save the file as UTF-8, or name its --encoding, such as windows-1252"


@pytest.fixture(scope="module")
def orders(running: Running) -> CommandLine:
    return CommandLine(running.pipeline.stack)


def order(order_id: str, **changes: Any) -> dict[str, Any]:
    return {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD} | changes


def many(prefix: str, count: int) -> str:
    return "\n".join(json.dumps(order(f"{prefix}-{n:03}")) for n in range(count))


def executed(running: Running, prefix: str, count: int) -> list[str]:
    """Return the ids of the orders that `orders submit` started exactly once."""
    client = running.pipeline.client("stepfunctions")
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=running.pipeline.stack.state_machine_arn)
    names = Counter(execution["name"] for page in pages for execution in page["executions"])
    return [
        order_id for order_id in (f"{prefix}-{n:03}" for n in range(count)) if names[submission_name(order_id, 1)] == 1
    ]


def test_submit_wait_reports_how_each_order_ended(orders: CommandLine, running: Running, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_bytes(
        "\n".join(
            [
                f"\ufeff{HEADER.strip()}",
                f'file-1,"Ada\nCountess",Bicycle,12.50,{CARD}',
                f"file-2,Ada,Bicycle,-1,{CARD}",
                f"file-3,Ada,Bicycle,1,{SHORT_CARD}",
                f"{CARD},Ada,Bicycle,1,{CARD}",
                f"file-5,,Bicycle,1,{CARD}",
                f"file-1,Ada,Bicycle,1,{CARD}",
                f"file-6,Ada,Bicycle,{CARD}",
                f"file-7,Ada,reject,1,{CARD}",
            ]
        ).encode()
        + f"\nfile-8,M\xfcller,Bicycle,1,{CARD}".encode("latin-1")
    )
    first = orders("submit", path, "--wait", "--concurrency", "2")
    assert first.err.splitlines() == [
        f"{path}:6: OrderId looks like a card number, must be {ORDER_ID_RULE}",
        f"{path}:7: order file-5: Name is empty, must be a string of 1 to 256 characters",
        f"{path}:8: order file-1: OrderId is already in line 2",
        f"{path}:9: has 4 columns, the header has 5",
        f"{path}:11: order file-8: is not valid UTF-8: {ENCODING}",
    ]
    assert first.lines[0] == "4 submitted, 0 already submitted, 5 bad, 0 failed"
    assert first.lines[1].split() == ["OUTCOME", "REASONS", "ORDERS"]
    assert [" ".join(line.split()) for line in first.lines[2:]] == [
        "FULFILLED - 1",
        "ESCALATED INVALID_PRICE 1",
        "ESCALATED INVALID_CARD_NUMBER 1",
        "ESCALATED FULFILLMENT_REJECTED 1",
    ]
    assert first.code == 1
    stored = running.pipeline.order("file-1")
    assert stored is not None
    assert (stored["Name"], stored["ExecutionArn"]) == (
        "Ada\nCountess",
        running.pipeline.arn(submission_name("file-1", 1)),
    )

    again = orders("submit", path, "--wait", "--json")
    assert (again.code, again.err) == (1, first.err)
    answer = json.loads(again.out)
    assert (answer["submitted"], answer["already_submitted"], len(answer["bad"])) == (0, 4, 5)
    assert answer["bad"][1] == {
        "line": 7,
        "order_id": "file-5",
        "reason": "Name is empty, must be a string of 1 to 256 characters",
        "file": str(path),
    }
    assert Counter(order["outcome"] for order in answer["ended"]) == {"ESCALATED": 3, "FULFILLED": 1}
    wait_until(lambda: fulfilled(running.fulfillment)["file-1"] == 1)


def test_a_file_of_a_spreadsheet_is_recorded_as_it_is_meant(
    orders: CommandLine, running: Running, tmp_path: Path
) -> None:
    path = tmp_path / "export.csv"
    rows = ["sep=;", "Nr;NAME;item name;Price;CC", "sheet-1;Zo\u00eb;Bell;1.234,50;4929 1234 1234 5678", ";;;;"]
    path.write_bytes("\r\n".join(rows).encode("latin-1"))
    first = orders("submit", path, "--columns", "OrderId=nr", "--wait")
    assert (first.code, first.lines[0]) == (0, "1 submitted, 0 already submitted, 0 bad, 0 failed")
    assert first.err.startswith(f'{path}: read as windows-1252; column "Nr" read as OrderId; ')
    stored = running.pipeline.order("sheet-1")
    assert stored is not None
    assert [stored[field] for field in ("Name", "Price", "CC")] == ["Zo\u00eb", "1234.50", f"************{CARD[-4:]}"]
    # The same order in another form is the same order.
    again = orders("submit", "-", stdin=json.dumps(order("sheet-1", Name="Zo\u00eb", ItemName="Bell", Price="1234.50")))
    assert (again.code, again.out) == (0, "0 submitted, 1 already submitted, 0 bad, 0 failed\n")


def test_submit_reads_standard_input(orders: CommandLine) -> None:
    one = orders("submit", "-", stdin=json.dumps(order("stdin-1"), indent=2))
    assert (one.code, one.out, one.err) == (0, "1 submitted, 0 already submitted, 0 bad, 0 failed\n", "")
    bad = orders("submit", "-", stdin=json.dumps([order("stdin-2", Price=1, CC=int(CARD))]))
    rule = "must be a string of up to 256 characters"
    problem = f"Price is a number, {rule}; CC is a number, {rule}"
    assert bad.err == f"stdin:1: order stdin-2: element 1: {problem}\n"
    assert (bad.code, bad.out) == (1, "0 submitted, 0 already submitted, 1 bad, 0 failed\n")
    none = orders("submit", "-")
    assert (none.code, none.err) == (0, "stdin has no orders\n")


def test_rejects_of_a_check_are_corrected_and_submitted(orders: CommandLine, running: Running, tmp_path: Path) -> None:
    first, second, rejects = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "rejects.csv"
    first.write_text(f"{HEADER}both-1,Ada,Bicycle,1,{CARD}\nboth-2,,Bicycle,1,{CARD}\n", encoding="utf-8")
    second.write_text(f"{HEADER}both-1,Ada,Bicycle,1,{CARD}\nboth-3,Ada,Bicycle,-1,{CARD}\n", encoding="utf-8")
    problems = [
        f"{first}:3: order both-2: Name is empty, must be a string of 1 to 256 characters",
        f"{second}:2: order both-1: OrderId is already in {first} line 2",
    ]
    check = orders("submit", first, second, "--check", "--rejects", rejects)
    assert check.err.splitlines() == [*problems, f"{rejects}: 2 records written, with masked card numbers"]
    assert [" ".join(line.split()) for line in check.lines] == [
        "2 would be submitted, 0 already submitted, 2 bad; nothing was submitted",
        "OUTCOME REASONS ORDERS LINES",
        "to fulfill - 1 -",
        f"to escalate INVALID_PRICE 1 {second}:3",
    ]
    assert (check.code, running.pipeline.order("both-1"), rejects.stat().st_mode & 0o777) == (1, None, 0o600)
    assert CARD not in rejects.read_text(encoding="utf-8")

    submitted = orders("submit", first, second, "--wait")
    assert (submitted.code, submitted.err.splitlines()) == (1, problems)
    assert submitted.lines[0] == "2 submitted, 0 already submitted, 2 bad, 0 failed"
    again = orders("submit", first, second, "--check")
    assert [" ".join(line.split()) for line in again.lines[2:]] == [
        "already submitted now ESCALATED 1",
        "already submitted now FULFILLED 1",
    ]
    header, corrected, _ = rejects.read_text(encoding="utf-8").splitlines()
    corrected = corrected.replace("both-2,,", "both-2,Ada,").replace("************5678", CARD)
    rejects.write_text(f"{header}\n{corrected}\n", encoding="utf-8")
    done = orders("submit", rejects, "--wait")
    assert (done.code, done.err, done.lines[-1].split()) == (0, "", ["FULFILLED", "-", "1"])
    without_access = orders("submit", first, "--check", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert without_access.err.splitlines()[-1].startswith("not compared with the orders that were submitted before: ")
    assert without_access.code == 1


def test_a_corrected_file_starts_an_order_again_only_as_a_new_submission(orders: CommandLine, running: Running) -> None:
    submit = ("submit", "-", "--wait")
    orders(*submit, stdin=json.dumps(order("again-1", Price="-1")))
    corrected = json.dumps(order("again-1"))
    refused = orders(*submit, stdin=corrected)
    assert (refused.code, refused.lines[0]) == (1, "0 submitted, 0 already submitted, 0 bad, 0 failed, 1 different")
    assert refused.err == (
        "stdin:1: order again-1: skipped: the stored order is ESCALATED and differs in Price; "
        "to start this one in its place, use --submission 2\n"
    )
    before = running.pipeline.order("again-1")
    second = orders(*submit, "--submission", "2", stdin=corrected)
    assert (second.code, second.lines[2].split()) == (0, ["FULFILLED", "-", "1"])
    after = running.pipeline.order("again-1")
    assert before is not None
    assert after is not None
    assert (before["Status"], before["ExecutionArn"]) == (
        "ESCALATED",
        running.pipeline.arn(submission_name("again-1", 1)),
    )
    assert after["ExecutionArn"] == running.pipeline.arn(submission_name("again-1", 2))
    assert after["StartedAt"] > before["StartedAt"]
    assert after.keys().isdisjoint({"Reasons", "EscalatedAt"})

    third = orders(*submit, "--submission", "3", stdin=json.dumps(order("again-1", CC=OTHER_CARD)))
    assert (third.code, third.lines[0]) == (1, "0 submitted, 0 already submitted, 0 bad, 0 failed, 1 different")
    assert third.err == (
        "stdin:1: order again-1: skipped: the stored order, recorded by execution "
        f"{submission_name('again-1', 2)}, is FULFILLED and differs in CC; a new order needs an OrderId of its own\n"
    )
    same = orders(*submit, "--submission", "3", stdin=corrected)
    assert (same.code, same.lines[0]) == (0, "0 submitted, 1 already submitted, 0 bad, 0 failed")
    assert same.lines[2].split() == ["FULFILLED", "not", "of", "this", "submission", "1"]
    assert running.pipeline.order("again-1") == after
    first = orders(*submit, stdin=corrected)  # The execution of the first submission is not the order's any more.
    assert (first.code, first.lines[2].split()) == (0, ["FULFILLED", "resubmitted", "1"])


def test_an_order_that_another_system_recorded_is_not_reported_as_submitted(
    orders: CommandLine, running: Running
) -> None:
    running.pipeline.put_order("taken-1", "CANCELLED")
    shown = orders("submit", "-", "--wait", stdin=json.dumps(order("taken-1")))
    assert (shown.code, shown.lines[2].split()) == (1, ["REFUSED", "DuplicateOrder", "1"])
    assert shown.err == (
        "stdin:1: order taken-1: the workflow refused it as a duplicate: the stored order is CANCELLED; "
        "if this is a new order, it needs an OrderId of its own\n"
    )


@pytest.mark.parametrize("killed", [False, True])
def test_interrupted_or_killed_and_repeated_submit_starts_each_order_once(
    orders: CommandLine, running: Running, proxy: FaultProxy, tmp_path: Path, *, killed: bool
) -> None:
    prefix, count = f"cut-{killed}", 60
    path = tmp_path / "orders.jsonl"
    path.write_text(many(prefix, count), encoding="utf-8")
    proxy.inject(Rule(Fault.LATENCY, delay_s=0.3, actions={START}))
    with orders.start("submit", path, "--concurrency", "5", AWS_ENDPOINT_URL=proxy.url) as process:
        wait_until(lambda: proxy.count(START) >= 15)
        if killed:
            process.kill()
            process.communicate()
            reported = 0
        else:
            interrupted = orders.interrupt(process)
            assert interrupted.code == 130
            assert interrupted.out == ""
            *_, line = interrupted.err.strip().splitlines()  # On a slow machine, progress is before it.
            reported = int(line.split()[2])
            assert line == (
                f"orders: interrupted: {reported} submitted, 0 already submitted, 0 bad, 0 failed of {count}; "
                "repeating the command is safe: it submits nothing twice"
            )
    done = executed(running, prefix, count)
    assert max(reported, 10) <= len(done) < count
    assert killed or len(done) == reported

    again = orders("submit", path, "--json")
    assert again.code == 0
    answer = json.loads(again.out)
    # Requests of a killed process may arrive after its end.
    assert answer["already_submitted"] >= len(done)
    assert answer["submitted"] + answer["already_submitted"] == count
    assert len(executed(running, prefix, count)) == count


def test_an_interrupted_wait_says_that_the_orders_continue(
    orders: CommandLine, running: Running, proxy: FaultProxy, tmp_path: Path
) -> None:
    # Recorded by this execution, so that it may not record it again, and its message never arrives.
    running.pipeline.put_order(
        "waited-1", ExecutionArn=running.pipeline.arn(submission_name("waited-1", 1)), Trials="1"
    )
    path = tmp_path / "orders.json"
    path.write_text(json.dumps(order("waited-1")), encoding="utf-8")
    with orders.start("submit", path, "--wait", AWS_ENDPOINT_URL=proxy.url) as process:
        wait_until(lambda: proxy.count("BatchGetItem"))
        interrupted = orders.interrupt(process)
    assert (interrupted.code, interrupted.out) == (130, "1 submitted, 0 already submitted, 0 bad, 0 failed\n")
    assert interrupted.err.startswith("orders: interrupted: 0 of 1 orders have ended, the rest continue without")


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.LOST_ANSWER, Fault.GARBLED])
def test_no_record_is_lost_when_aws_fails(
    orders: CommandLine, running: Running, proxy: FaultProxy, fault: Fault
) -> None:
    prefix, count = f"trouble-{fault}", 12
    first = json.dumps(order(f"{prefix}-000"))
    assert orders("submit", "-", stdin=first, AWS_ENDPOINT_URL=proxy.url).code == 0
    proxy.inject(Rule(fault, 0.5, actions={START}))
    shown = orders(
        "submit", "-", "--concurrency", "20", "--json", stdin=many(prefix, count), AWS_ENDPOINT_URL=proxy.url
    )
    assert shown.code == 0, shown.err
    answer = json.loads(shown.out)
    assert answer["submitted"] + answer["already_submitted"] == count
    assert proxy.faults()[fault] > 3
    assert shown.err.count("continuing more slowly") <= 1
    assert len(executed(running, prefix, count)) == count


def lines_of(shown: Ran) -> list[str]:
    return shown.err.splitlines()


def test_a_wrong_set_up_is_one_line_and_starts_nothing(orders: CommandLine, tmp_path: Path) -> None:
    given = json.dumps(order("never-1"))
    nothing = "(0 submitted, 0 already submitted, 0 bad, 0 failed of 1; "
    nowhere = orders("submit", "-", stdin=given, AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert nowhere.code == 1
    assert lines_of(nowhere)[0].startswith("orders: AWS cannot be reached: ")
    assert nothing in lines_of(nowhere)[0]
    missing = orders("submit", "-", stdin=given, STATE_MACHINE="Nobody")
    assert lines_of(missing)[0].startswith(
        "orders: there is no state machine Nobody: deploy the stack, or correct STATE_MACHINE (0"
    )
    binary = tmp_path / "orders.csv"
    binary.write_bytes(b"\x89PNG\0")
    assert orders("submit", binary).err == f"orders: {binary} is not text: it has zero bytes\n"
    usage = orders("submit", tmp_path / "none.csv")
    problem = f"Invalid value for 'FILE|-...': File '{tmp_path / 'none.csv'}' does not exist"
    assert (usage.code, usage.err) == (2, f"orders submit: {problem} (see `orders submit --help`)\n")
    assert [orders("submit", "-", option, "0").code for option in ("--submission", "--concurrency")] == [2, 2]
    for shown in (nowhere, missing):
        assert len(lines_of(shown)) == 1
