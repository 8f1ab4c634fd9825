"""`orders submit` with several files, `--check` and `--rejects`, against a scripted AWS."""

import contextlib
import errno
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.json_documents import check
from tests.workers.cli.test_submit import Aws, rows, stored
from tests.workers.operations.fakes import NOW, FakeClient, fake_stack, refused
from workers.cli import submit as module
from workers.cli.submit import command
from workers.cli.submit_view import report_more_ended
from workers.domain.submissions import submission_name
from workers.operations.errors import OperationError
from workers.operations.records import BadRecord
from workers.operations.submit import MAX_SHOWN, Problems

CARD, MASKED = "4929123412345678", "************5678"
HEADER = "OrderId,Name,ItemName,Price,CC\n"
DIFFERS = "the stored order is FULFILLED and differs in Price; a new order needs an OrderId of its own"
NAME = "Name is empty, must be a string of 1 to 256 characters"


def row(order_id: str, name: str = "Ada", price: str = "12.50") -> str:
    return f"{order_id},{name},Bicycle,{price},{CARD}\n"


def written(path: Path, *given: str) -> str:
    path.write_text(HEADER + "".join(given), encoding="utf-8")
    return str(path)


def submit(aws: Aws, *arguments: object, stdin: str = "", raises: bool = False) -> Result:
    stack = fake_stack(
        stepfunctions=FakeClient(
            start_execution=aws.start_execution,
            describe_execution=aws.describe_execution,
            get_execution_history=aws.get_execution_history,
        ),
        dynamodb=FakeClient(batch_get_item=aws.batch_get_item),
    )
    ran = CliRunner().invoke(command, list(map(str, arguments)), obj=stack, standalone_mode=False, input=stdin)
    assert (ran.exception is not None) == raises, ran.exception
    assert CARD not in ran.output
    if "--json" in arguments:
        check("submit", ran.stdout)
    return ran


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT raise `KeyboardInterrupt`: it is ignored if tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    return tmp_path / "rejects.csv"


def test_several_files_and_standard_input_have_one_summary(tmp_path: Path) -> None:
    first = written(tmp_path / "a.csv", row("o-1"), row("o-2"), row("o-3", name=""))
    second = written(tmp_path / "b.csv", row("o-2"), row("o-4"))
    empty = written(tmp_path / "empty.csv")
    aws = Aws(*(stored(f"o-{n}", 1) for n in (1, 2, 4)), stored("o-5", 1, Status="CANCELLED"))
    ran = submit(aws, first, "-", empty, second, "--wait", stdin=HEADER + row("o-5") + row("o-1"))
    assert ran.stderr.splitlines() == [
        f"{first}:4: order o-3: {NAME}",
        f"stdin:3: order o-1: OrderId is already in {first} line 2",
        f"{second}:2: order o-2: OrderId is already in {first} line 3",
        f"{empty} has no orders",
    ]
    assert rows(ran) == [
        "4 submitted, 0 already submitted, 3 bad, 0 failed",
        "OUTCOME REASONS ORDERS",
        "FULFILLED - 3",
        "CANCELLED - 1",
    ]
    assert ran.return_value == 1


def test_nothing_is_submitted_if_a_file_is_not_one_of_orders(tmp_path: Path) -> None:
    good, wrong = written(tmp_path / "a.csv", row("o-1")), tmp_path / "b.csv"
    wrong.write_text("Id,Name\n", encoding="utf-8")
    aws = Aws()
    ran = submit(aws, good, wrong, raises=True)
    assert str(ran.exception).startswith(f"{wrong}:1: the header must have each of")
    assert ran.stdout == ""


def test_a_file_that_changes_meanwhile_is_said_with_the_outcome_so_far(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", row("o-1"), row("o-2"))
    second = tmp_path / "b.csv"
    written(second, row("o-3"))
    aws = Aws()
    start = aws.start_execution

    def start_execution(**request: Any) -> Any:
        second.write_text(HEADER + row("o-4"), encoding="utf-8")
        return start(**request)

    aws.start_execution = start_execution  # type: ignore[method-assign]
    ran = submit(aws, path, second, "--concurrency", 1, raises=True)
    assert isinstance(ran.exception, OperationError)
    assert str(ran.exception).startswith(f"{second}:2: the file has changed since it was checked")
    assert " submitted, 0 already submitted, 0 bad, 0 failed of 3; repeating" in str(ran.exception)


def test_only_the_first_problems_are_shown(tmp_path: Path) -> None:
    count = MAX_SHOWN + 5
    bad = written(tmp_path / "a.csv", *(row(f"b-{n}", name="") for n in range(count)))
    good = written(tmp_path / "b.csv", *(row(f"o-{n}") for n in range(count)))
    aws = Aws(*(stored(f"o-{n}", 1, Price="9") for n in range(count)), existing=True)
    ran = submit(aws, bad, good, "--json")
    lines = ran.stderr.splitlines()
    assert len(lines) == 2 * (MAX_SHOWN + 1)
    assert lines[MAX_SHOWN] == "5 more bad records are not shown; `--rejects FILE` writes all to a file"
    assert lines[-1] == "5 more different orders are not shown; `--rejects FILE` writes all to a file"
    given = submit(aws, bad, good, "--rejects", tmp_path / "rejects.csv").stderr.splitlines()
    assert given[MAX_SHOWN] == f"5 more bad records are not shown; {tmp_path / 'rejects.csv'} will have all"
    assert given[-2] == f"5 more different orders are not shown; {tmp_path / 'rejects.csv'} will have all"
    answer = json.loads(ran.stdout)
    assert (answer["bad_count"], answer["different_count"], answer["failed_count"]) == (count, count, 0)
    assert (len(answer["bad"]), len(answer["different"]), answer["failed"]) == (MAX_SHOWN, MAX_SHOWN, [])
    assert answer["bad"][0] == {"line": 2, "reason": NAME, "order_id": "b-0", "file": bad}


def test_what_is_not_shown_of_a_wait_is_in_the_document(capsys: pytest.CaptureFixture[str]) -> None:
    report_more_ended(Problems(MAX_SHOWN + 5, [BadRecord(1, "x")] * MAX_SHOWN), "orders")
    assert capsys.readouterr().err == "5 more orders are not shown; `--json` has all\n"


def test_a_check_says_what_would_happen_and_starts_nothing(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.csv", row("o-1"), row("o-2", price="-1"), row("o-3", name=""), row("o-4"), row("o-5"), row("o-6")
    )
    aws = Aws(stored("o-4", 1), stored("o-5", 1, Price="9"), stored("o-6", 1, Status="ESCALATED"))
    aws.start_execution = None  # type: ignore[method-assign, assignment]
    ran = submit(aws, path, "--check")
    problem = (
        "would be skipped: the stored order is FULFILLED and differs in Price; a new order needs an OrderId of its own"
    )
    assert ran.stderr.splitlines() == [f"{path}:4: order o-3: {NAME}", f"{path}:6: order o-5: {problem}"]
    assert rows(ran) == [
        "2 would be submitted, 2 already submitted, 1 bad, 1 different; nothing was submitted",
        "OUTCOME REASONS ORDERS LINES",
        "to fulfill - 1 -",
        "to escalate INVALID_PRICE 1 3",
        "already submitted now ESCALATED 1 -",
        "already submitted now FULFILLED 1 -",
    ]
    assert ran.return_value == 1
    assert json.loads(submit(aws, path, "--check", "--json").stdout) == {
        "submitted": 0,
        "already_submitted": 2,
        "bad_count": 1,
        "failed_count": 0,
        "different_count": 1,
        "bad": [{"line": 4, "reason": NAME, "order_id": "o-3", "file": path}],
        "failed": [],
        "different": [{"line": 6, "reason": problem, "order_id": "o-5", "file": path}],
        "ended": None,
        "intake": None,
        "check": {
            "refusal": None,
            "would_submit": 2,
            "would_fulfill": 1,
            "would_escalate": [
                {
                    "reasons": ["INVALID_PRICE"],
                    "orders": 1,
                    "first": [{"line": 3, "order_id": "o-2", "file": path}],
                }
            ],
            "by_status": [{"status": "ESCALATED", "orders": 1}, {"status": "FULFILLED", "orders": 1}],
            "not_compared": None,
        },
    }


def test_a_check_names_the_first_lines_that_would_be_escalated(tmp_path: Path) -> None:
    count = MAX_SHOWN + 5
    path = written(tmp_path / "a.csv", *(row(f"o-{n}", price="-1" if n % 2 else "1") for n in range(2 * count)))
    lines = submit(Aws(), path, "--check")
    assert rows(lines)[-1] == f"to escalate INVALID_PRICE {count} 3, 5, 7, 9, 11, ..."
    array = [{"OrderId": f"j-{n}", "Name": "Ada", "ItemName": "Bell", "Price": "x", "CC": CARD} for n in range(2)]
    array.append({"OrderId": "j-2", "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": CARD})
    other = tmp_path / "b.json"
    other.write_text(json.dumps(array), encoding="utf-8")
    assert rows(submit(Aws(), other, "--check"))[-1] == "to escalate INVALID_PRICE 2 element 1, element 2"
    (found,) = json.loads(submit(Aws(), other, path, "--check", "--json").stdout)["check"]["would_escalate"]
    assert (found["orders"], len(found["first"])) == (count + 2, MAX_SHOWN)
    assert found["first"][1:3] == [
        {"line": 1, "order_id": "j-1", "file": str(other)},
        {"line": 3, "order_id": "o-1", "file": path},
    ]
    both = rows(submit(Aws(), other, path, "--check"))[-1]
    assert both.startswith(f"to escalate INVALID_PRICE {count + 2} {other}:element 1, {other}:element 2, {path}:3, ")


def test_a_check_of_good_orders_exits_with_0_also_if_some_would_be_escalated(tmp_path: Path) -> None:
    ran = submit(Aws(stored("o-1", 1)), written(tmp_path / "a.csv", row("o-1"), row("o-2", price="-1")), "--check")
    assert (ran.return_value, ran.stderr) == (0, "")


def test_a_check_of_a_later_submission(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", row("o-1"), row("o-2"))
    aws = Aws(stored("o-1", 1, Status="ESCALATED", Price="-1"), stored("o-2", 1))
    ran = submit(aws, path, "--check", "--submission", 2)
    assert rows(ran)[0] == "1 would be submitted, 1 already submitted, 0 bad; nothing was submitted"
    assert ran.return_value == 0


def test_a_check_without_access_to_the_table_says_so(tmp_path: Path) -> None:
    aws = Aws()

    def batch_get_item(**_: Any) -> Any:
        raise refused("AccessDeniedException", "BatchGetItem")

    aws.batch_get_item = batch_get_item  # type: ignore[method-assign]
    ran = submit(aws, written(tmp_path / "a.csv", row("o-1"), row("o-2", price="x")), "--check")
    assert ran.stderr == (
        "not compared with the orders that were submitted before: "
        "these credentials do not allow BatchGetItem (AccessDeniedException)\n"
    )
    assert rows(ran)[0] == "2 would be submitted, 0 already submitted, 0 bad; nothing was submitted"
    assert ran.return_value == 1


def test_a_check_of_no_orders_asks_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv")
    ran = CliRunner().invoke(command, [path, "--check"], obj=fake_stack(), standalone_mode=False)
    assert (ran.return_value, ran.stderr) == (0, f"{path} has no orders\n")
    assert ran.stdout == "0 would be submitted, 0 already submitted, 0 bad; nothing was submitted\n"


def test_rejects_have_every_record_that_was_not_submitted(tmp_path: Path, path: Path) -> None:
    class Full(Aws):
        def start_execution(self, **request: Any) -> Any:
            if request["name"] == submission_name("o-4", 1):
                raise refused("InvalidExecutionInput")
            if request["name"] == submission_name("o-3", 1):
                raise refused("ExecutionAlreadyExists")
            return super().start_execution(**request)

    orders = written(tmp_path / "a.csv", row("o-1"), row("o-2", name=""), row("o-3"), row("o-4"), row("o-1"))
    ran = submit(Full(stored("o-3", 1, Price="9")), orders, "--rejects", path)
    assert ran.stderr.splitlines()[-1] == f"{path}: 4 records written, with masked card numbers"
    assert rows(ran) == ["1 submitted, 0 already submitted, 2 bad, 1 failed, 1 different"]
    assert path.read_text(encoding="utf-8-sig").splitlines() == [
        "Problem,OrderId,Name,ItemName,Price,CC",
        f'"{NAME}",o-2,,Bicycle,12.50,{MASKED}',
        f"skipped: {DIFFERS},o-3,Ada,Bicycle,12.50,{MASKED}",
        f"Step Functions refused it (InvalidExecutionInput),o-4,Ada,Bicycle,12.50,{MASKED}",
        f"OrderId is already in line 2,o-1,Ada,Bicycle,12.50,{MASKED}",
    ]
    assert ran.return_value == 1


def test_one_reject_is_one_record(tmp_path: Path, path: Path) -> None:
    ran = submit(Aws(), written(tmp_path / "a.csv", row("o-1", name=""), row("o-2")), "--rejects", path)
    assert ran.stderr.splitlines()[-1] == f"{path}: 1 record written, with masked card numbers"


def test_a_check_writes_rejects_too(tmp_path: Path, path: Path) -> None:
    orders = written(tmp_path / "a.csv", row("o-1", name=""), row("o-2"))
    ran = submit(Aws(stored("o-2", 1, Price="9")), orders, "--check", "--rejects", path)
    assert ran.stderr.splitlines()[-1] == f"{path}: 2 records written, with masked card numbers"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_corrected_rejects_are_submitted(tmp_path: Path, path: Path) -> None:
    submit(Aws(), written(tmp_path / "a.csv", row("o-1", name="")), "--rejects", path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("o-1,,", "o-1,Ada,"), encoding="utf-8")
    masked = submit(Aws(), path)
    assert masked.stderr == f"{path}:2: order o-1: CC is masked: fill in the whole card number\n"
    path.write_text(text.replace("o-1,,", "o-1,Ada,").replace(MASKED, CARD), encoding="utf-8")
    assert rows(submit(Aws(), path)) == ["1 submitted, 0 already submitted, 0 bad, 0 failed"]


def test_without_rejects_no_file_is_written(tmp_path: Path, path: Path) -> None:
    ran = submit(Aws(), written(tmp_path / "a.csv", row("o-1")), "--rejects", path)
    assert (ran.return_value, ran.stderr) == (0, f"{path}: not written, there are no rejects\n")
    assert not path.exists()


def test_a_check_has_nothing_to_wait_for(tmp_path: Path) -> None:
    orders = written(tmp_path / "a.csv", row("o-1"))
    ran = CliRunner().invoke(command, [orders, "--check", "--wait"], obj=fake_stack())
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1] == "Error: --check submits nothing, so there is nothing to --wait for"


def test_a_file_of_rejects_that_exists_is_refused_before_anything_starts(tmp_path: Path, path: Path) -> None:
    path.write_text("mine", encoding="utf-8")
    orders = written(tmp_path / "a.csv", row("o-1"))
    ran = CliRunner().invoke(command, [orders, "--rejects", str(path)], obj=fake_stack())
    assert ran.exit_code == 2
    assert f"--rejects: {path} exists already, and is not overwritten" in ran.stderr
    assert path.read_text(encoding="utf-8") == "mine"


def test_rejects_that_cannot_be_written_fail_the_command_and_hide_no_outcome(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OperationError(f"{path}: {OSError(errno.ENOSPC, 'No space left on device').strerror}")

    monkeypatch.setattr(module, "write_rejects", full)
    ran = submit(Aws(stored("o-1", 1)), written(tmp_path / "a.csv", row("o-1")), "--rejects", path, "--wait")
    assert ran.stderr == (
        f"the rejects could not be written: {path}: No space left on device; "
        "`--check --rejects FILE` writes them without submitting\n"
    )
    assert rows(ran)[0] == "1 submitted, 0 already submitted, 0 bad, 0 failed"
    assert ran.return_value == 1


def test_an_interrupted_submission_writes_no_rejects_and_can_be_repeated(tmp_path: Path, path: Path) -> None:
    aws = Aws()
    start = aws.start_execution

    def interrupted(**request: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return start(**request)

    aws.start_execution = interrupted  # type: ignore[method-assign]
    orders = written(tmp_path / "a.csv", row("o-1"), row("o-2", name=""))
    with interruptible():
        ran = submit(aws, orders, "--rejects", path, raises=True)
    assert getattr(ran.exception, "exit_code", None) == 130
    assert not path.exists()
    aws.start_execution = start  # type: ignore[method-assign]
    submit(aws, orders, "--rejects", path)
    assert path.exists()


def test_ctrl_c_while_the_rejects_are_written_says_what_was_submitted(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_rejects", interrupted)
    orders = written(tmp_path / "a.csv", row("o-1"), row("o-2", name=""))
    ran = submit(Aws(), orders, "--rejects", path, raises=True)
    assert str(ran.exception).startswith(
        "interrupted before the rejects were written: 1 submitted, 0 already submitted, 1 bad, 0 failed of 2; "
    )
    assert getattr(ran.exception, "exit_code", None) == 130


def test_ctrl_c_while_the_files_are_read_says_that_nothing_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_read", interrupted)
    ran = submit(Aws(), written(tmp_path / "a.csv", row("o-1")), raises=True)
    assert str(ran.exception) == "interrupted: nothing was started; the command can be repeated"
    assert getattr(ran.exception, "exit_code", None) == 130


def test_an_interrupted_wait_shows_what_has_ended(tmp_path: Path) -> None:
    aws = Aws(stored("o-1", 1))

    def describe_execution(*_: Any, **__: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return {"status": "RUNNING", "startDate": NOW}

    aws.describe_execution = describe_execution  # type: ignore[method-assign]
    orders = written(tmp_path / "a.csv", row("o-2"), row("o-1"))
    for arguments in (["--wait"], ["--wait", "--json"]):
        with interruptible():
            ran = submit(aws, orders, *arguments, raises=True)
        assert str(ran.exception).startswith("interrupted: 1 of 2 orders have ended")
        assert getattr(ran.exception, "exit_code", None) == 130
        if "--json" in arguments:
            document = json.loads(ran.stdout)
            assert (document["submitted"], [order["order_id"] for order in document["ended"]]) == (2, ["o-1"])
        else:
            assert rows(ran)[1:] == ["OUTCOME REASONS ORDERS", "FULFILLED - 1"]


def test_a_wait_that_fails_prints_the_document_too(tmp_path: Path) -> None:
    aws = Aws()

    def describe_execution(*_: Any, **__: Any) -> Any:
        raise refused("AccessDeniedException")

    aws.describe_execution = describe_execution  # type: ignore[method-assign]
    ran = submit(aws, written(tmp_path / "a.csv", row("o-1")), "--wait", "--json", raises=True)
    assert isinstance(ran.exception, OperationError)
    assert (json.loads(ran.stdout)["submitted"], json.loads(ran.stdout)["ended"]) == (1, [])


def test_rejects_are_written_before_the_wait(tmp_path: Path, path: Path) -> None:
    aws = Aws(stored("o-1", 1))
    read = aws.batch_get_item

    def batch_get_item(**request: Any) -> Any:
        assert path.exists()
        return read(**request)

    aws.batch_get_item = batch_get_item  # type: ignore[method-assign]
    ran = submit(aws, written(tmp_path / "a.csv", row("o-1"), row("o-2", name="")), "--rejects", path, "--wait")
    assert rows(ran)[2:] == ["FULFILLED - 1"]


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--json"]])
def test_rejects_are_written_also_if_nobody_reads_the_output(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def closed(*_: object, **__: object) -> None:
        raise BrokenPipeError

    for printer in ("print_line", "print_json", "print_forecast"):
        monkeypatch.setattr(module, printer, closed)
    orders = written(tmp_path / "a.csv", row("o-1"), row("o-2", name=""))
    ran = submit(Aws(), orders, "--rejects", path, *arguments, raises=True)
    assert isinstance(ran.exception, BrokenPipeError)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
