"""What `orders submit` prints, and its exit codes, against a scripted AWS."""

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, fake_stack, refused
from workers.aws.items import to_item
from workers.aws.pauses import PAUSED_TAG
from workers.cli.submit import command
from workers.domain.submissions import submission_name
from workers.operations.submit import DEFAULT_CONCURRENCY, MAX_CONCURRENCY

CARD = "4929123412345678"


def stored(order_id: str, number: int, **changes: Any) -> dict[str, Any]:
    """Return an order as submission *number* of the file's order has recorded it."""
    order = {"OrderId": order_id, "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": "************5678"}
    arn = f"{EXECUTION}:{submission_name(order_id, number)}"
    return order | {"Status": "FULFILLED", "ExecutionArn": arn} | changes


class Aws:
    """Holds these orders. Executions that are in *existing* cannot be started again, those in *errors* have failed."""

    def __init__(self, *items: dict[str, Any], existing: bool = False, errors: Mapping[str, str] = {}) -> None:
        self.items = {item["OrderId"]: item for item in items}
        self.existing = existing
        self.errors = errors
        self.tags: dict[str, str] = {}  # Of the OrderFulfillmentQueue.
        self.starting: dict[str, dict[str, Any]] = {}  # What an execution that is started records, by OrderId.

    def start_execution(self, **request: Any) -> dict[str, Any]:
        if self.existing:
            raise refused("ExecutionAlreadyExists")
        order_id = json.loads(request["input"])["OrderId"]
        self.items |= {order_id: self.starting[order_id]} if order_id in self.starting else {}
        return {"startDate": NOW, "ResponseMetadata": {}}

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        ((table, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {table: [to_item(self.items[key]) for key in ids if key in self.items]}}

    def describe_execution(self, executionArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"status": "FAILED" if executionArn in self.errors else "SUCCEEDED", "startDate": NOW}

    def get_execution_history(self, executionArn: str, **_: Any) -> Iterator[dict[str, Any]]:  # noqa: N803
        details = {"error": self.errors[executionArn]}
        yield {"events": [{"type": "ExecutionFailed", "timestamp": NOW, "executionFailedEventDetails": details}]}

    def submit(self, tmp_path: Path, *arguments: str, count: int = 3, rows: Sequence[str] = ()) -> Result:
        path = tmp_path / "orders.csv"
        rows = rows or [f"o-{n},Ada,Bicycle,12.50,{CARD}" for n in range(1, count + 1)]
        path.write_text("\n".join(["OrderId,Name,ItemName,Price,CC", *rows]), encoding="utf-8")
        stack = fake_stack(
            stepfunctions=FakeClient(
                start_execution=self.start_execution,
                describe_execution=self.describe_execution,
                get_execution_history=self.get_execution_history,
            ),
            dynamodb=FakeClient(batch_get_item=self.batch_get_item),
            sqs=FakeClient(
                get_queue_url=lambda QueueName, **_: {"QueueUrl": QueueName},  # noqa: N803
                list_queue_tags=lambda **_: {"Tags": self.tags},
            ),
        )
        ran = CliRunner().invoke(command, [str(path), *arguments], obj=stack, standalone_mode=False)
        assert ran.exception is None
        assert CARD not in ran.output
        return ran


def rows(ran: Result) -> list[str]:
    return [" ".join(line.split()) for line in ran.stdout.splitlines()]


@pytest.fixture(name="orders_csv")
def _orders_csv(tmp_path: Path) -> str:
    return str(tmp_path / "orders.csv")


def test_outcomes_are_listed_in_the_order_of_the_file(tmp_path: Path) -> None:
    escalated = {"Status": "ESCALATED", "Reasons": ["INVALID_PRICE"]}
    aws = Aws(stored("o-1", 1, **escalated), stored("o-2", 1), stored("o-3", 1), stored("o-4", 1, Status="CANCELLED"))
    ran = aws.submit(tmp_path, "--wait", count=4)
    assert (ran.return_value, ran.stderr) == (0, "")
    assert rows(ran) == [
        "4 submitted, 0 already submitted, 0 bad, 0 failed",
        "OUTCOME REASONS ORDERS",
        "ESCALATED INVALID_PRICE 1",
        "FULFILLED - 2",
        "CANCELLED - 1",
    ]
    answer = json.loads(aws.submit(tmp_path, "--wait", "--json", count=4).stdout)
    assert [order["order_id"] for order in answer["ended"]] == ["o-1", "o-2", "o-3", "o-4"]


def test_waiting_for_a_paused_queue_says_why_nothing_ends(tmp_path: Path) -> None:
    aws = Aws(*(stored(f"o-{n}", 1) for n in (1, 2, 3)))
    aws.tags = {PAUSED_TAG: "2026-11-22T11:55:00Z/ada/new prices"}
    ran = aws.submit(tmp_path, "--wait")
    assert "OrderFulfillmentQueue is paused since 2026-11-22 11:55:00 by ada: new prices." in " ".join(
        ran.stderr.split()
    )
    assert "is paused" not in aws.submit(tmp_path).stderr


def test_a_refused_submission_is_named_and_exits_with_1(tmp_path: Path, orders_csv: str) -> None:
    errors = {f"{EXECUTION}:{submission_name(f'o-{n}', 1)}": "DuplicateOrder" for n in (1, 2, 3)}
    aws = Aws(*(stored(f"o-{n}", 2) for n in (1, 2, 3)), errors=errors)
    ran = aws.submit(tmp_path, "--wait")
    assert rows(ran) == [
        "3 submitted, 0 already submitted, 0 bad, 0 failed",
        "OUTCOME REASONS ORDERS",
        "REFUSED DuplicateOrder 3",
    ]
    problem = (
        "the workflow refused it as a duplicate: the stored order is FULFILLED; "
        "if this is a new order, it needs an OrderId of its own"
    )
    assert ran.stderr.splitlines() == [f"{orders_csv}:{n + 1}: order o-{n}: {problem}" for n in (1, 2, 3)]
    assert ran.return_value == 1
    answer = json.loads(aws.submit(tmp_path, "--wait", "--json").stdout)
    assert answer["ended"][0] == {
        "order_id": "o-1",
        "outcome": "REFUSED",
        "reasons": ["DuplicateOrder"],
        "resubmitted": False,
        "other_submission": False,
        "problem": problem,
    }


def test_a_submission_that_comes_after_a_final_order_is_refused_at_once(tmp_path: Path) -> None:
    aws = Aws(*(stored(f"o-{n}", 2, StartedAt="2020-01-01T00:00:00.000Z") for n in (1, 2, 3)))
    ran = aws.submit(tmp_path, "--wait")  # Its executions do not say that they were refused.
    assert (ran.return_value, rows(ran)[2:]) == (1, ["REFUSED DuplicateOrder 3"])


def test_a_different_order_is_named_not_waited_for_and_exits_with_1(tmp_path: Path, orders_csv: str) -> None:
    aws = Aws(stored("o-1", 1), stored("o-2", 1, Price="9", Status="RECEIVED"), stored("o-3", 1), existing=True)
    ran = aws.submit(tmp_path, "--wait")
    problem = "skipped: the stored order is RECEIVED and differs in Price, in progress; see `orders show o-2`"
    assert ran.stderr == f"{orders_csv}:3: order o-2: {problem}\n"
    assert rows(ran) == [
        "0 submitted, 2 already submitted, 0 bad, 0 failed, 1 different",
        "OUTCOME REASONS ORDERS",
        "FULFILLED - 2",
    ]
    assert ran.return_value == 1
    nothing_submitted = Aws(stored("o-1", 1, Price="9"), existing=True).submit(tmp_path, "--wait", count=1)
    assert rows(nothing_submitted) == ["0 submitted, 0 already submitted, 0 bad, 0 failed, 1 different"]
    answer = json.loads(aws.submit(tmp_path, "--json").stdout)
    assert answer == {
        "submitted": 0,
        "already_submitted": 2,
        "bad_count": 0,
        "failed_count": 0,
        "different_count": 1,
        "bad": [],
        "failed": [],
        "different": [{"line": 3, "reason": problem, "order_id": "o-2", "file": orders_csv}],
        "ended": None,
        "intake": None,
        "check": None,
    }


def test_a_whole_file_can_be_sent_again_after_some_of_its_orders_were_corrected(tmp_path: Path) -> None:
    aws = Aws(stored("o-1", 1), stored("o-2", 1, Status="ESCALATED", Price="-1"), stored("o-3", 1, Status="CANCELLED"))
    aws.starting = {"o-2": stored("o-2", 2)}
    ran = aws.submit(tmp_path, "--submission", "2", "--wait")
    assert (ran.return_value, ran.stderr) == (0, "")
    assert rows(ran) == [
        "1 submitted, 2 already submitted, 0 bad, 0 failed",
        "OUTCOME REASONS ORDERS",
        "FULFILLED not of this submission 1",
        "FULFILLED - 1",
        "CANCELLED not of this submission 1",
    ]
    answer = json.loads(aws.submit(tmp_path, "--submission", "2", "--wait", "--json").stdout)
    assert (answer["submitted"], answer["already_submitted"]) == (0, 3)
    assert [(order["outcome"], order["other_submission"]) for order in answer["ended"]] == [
        ("FULFILLED", True),
        ("FULFILLED", False),
        ("CANCELLED", True),
    ]


def test_a_later_submission_of_a_changed_order_that_is_final_is_named(tmp_path: Path, orders_csv: str) -> None:
    ran = Aws(stored("o-1", 1, Price="9")).submit(tmp_path, "--submission", "2", "--wait", count=1)
    assert ran.return_value == 1
    assert rows(ran)[0] == "0 submitted, 0 already submitted, 0 bad, 0 failed, 1 different"
    assert ran.stderr == (
        f"{orders_csv}:2: order o-1: skipped: the stored order, recorded by execution {submission_name('o-1', 1)}, is "
        "FULFILLED and differs in Price; a new order needs an OrderId of its own\n"
    )


def test_an_order_that_was_started_over_since_is_marked(tmp_path: Path) -> None:
    resubmitted = stored("o-2", 1, ExecutionArn=f"{EXECUTION}:resubmission")
    ran = Aws(stored("o-1", 1), resubmitted, existing=True).submit(tmp_path, "--wait", count=2)
    assert rows(ran)[2:] == ["FULFILLED - 1", "FULFILLED resubmitted 1"]
    assert ran.return_value == 0


def test_an_order_whose_id_a_bad_row_repeats_is_waited_for(tmp_path: Path, orders_csv: str) -> None:
    row = f"o-1,Ada,Bicycle,12.50,{CARD}"
    ran = Aws(stored("o-1", 1)).submit(tmp_path, "--wait", rows=[row, row])
    assert (ran.return_value, ran.stderr) == (1, f"{orders_csv}:3: order o-1: OrderId is already in line 2\n")
    assert rows(ran)[2:] == ["FULFILLED - 1"]


def test_bad_rows_are_named_and_the_rest_is_submitted(tmp_path: Path, orders_csv: str) -> None:
    bad = ["o-1,,Bicycle,12.50,1", f"{CARD},Ada,Bicycle,1,1"]
    ran = Aws().submit(tmp_path, rows=[*bad, f"o-3,Ada,Bicycle,12.50,{CARD}"])
    assert rows(ran) == ["1 submitted, 0 already submitted, 2 bad, 0 failed"]
    first, second = ran.stderr.splitlines()
    assert first.startswith(f"{orders_csv}:2: order o-1: ")
    assert second.startswith(f"{orders_csv}:3: ")
    assert "order" not in second.removeprefix(f"{orders_csv}:3: ").split(":")[0]
    assert ran.return_value == 1


def test_a_file_without_orders_is_said_and_nothing_is_asked(tmp_path: Path, orders_csv: str) -> None:
    Path(orders_csv).write_text("OrderId,Name,ItemName,Price,CC\n", encoding="utf-8")
    ran = CliRunner().invoke(command, [orders_csv], obj=fake_stack(), standalone_mode=False)
    assert (ran.return_value, ran.stderr) == (0, f"{orders_csv} has no orders\n")
    assert ran.stdout == "0 submitted, 0 already submitted, 0 bad, 0 failed\n"
    assert tmp_path in Path(orders_csv).parents


def test_a_file_of_bad_rows_is_not_said_to_be_empty(tmp_path: Path) -> None:
    ran = Aws().submit(tmp_path, rows=["o-1,,,,"])
    assert "has no orders" not in ran.stderr
    assert (ran.return_value, len(ran.stderr.splitlines())) == (1, 1)


def table(path: str, *lines: str, encoding: str = "utf-8") -> str:
    Path(path).write_bytes("\n".join(lines).encode(encoding))
    return path


def submitted(path: str, *arguments: str) -> tuple[list[dict[str, str]], Result]:
    """Submit a file; return the inputs of the executions that were started, and what the command said."""
    inputs: list[dict[str, str]] = []

    def start_execution(**request: Any) -> dict[str, Any]:
        inputs.append(json.loads(request["input"]))
        return {"startDate": NOW, "ResponseMetadata": {}}

    stack = fake_stack(
        stepfunctions=FakeClient(start_execution=start_execution),
        dynamodb=FakeClient(batch_get_item=Aws().batch_get_item),
    )
    ran = CliRunner().invoke(command, [path, *arguments], obj=stack, standalone_mode=False)
    assert CARD not in ran.output
    return inputs, ran


GOOD = {"OrderId": "o-1", "Name": "Zo\u00eb", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}


def test_a_file_of_a_spreadsheet_is_submitted_as_it_is_meant_and_that_is_said(orders_csv: str) -> None:
    row = "o-1;Zo\u00eb;Bicycle;12,50;4929 1234 1234 5678"
    table(orders_csv, "sep=;", "order id;Name;ITEM NAME;Price;Card", row, ";;;;", encoding="latin-1")
    inputs, ran = submitted(orders_csv, "--columns", "CC=card")
    assert (ran.exception, ran.return_value, inputs) == (None, 0, [GOOD])
    assert ran.stderr == (
        f'{orders_csv}: read as windows-1252; column "order id" read as OrderId; column "ITEM NAME" read as ItemName; '
        'column "Card" read as CC; corrected decimal commas: 1 (first in line 3); '
        "corrected card numbers with separators: 1 (first in line 3); "
        "rows without any value, skipped: 1 (first in line 4)\n"
    )


def test_the_encoding_of_a_file_can_be_named(orders_csv: str) -> None:
    row = f"o-1,Pe\u00f1a,Bicycle,12.50,{CARD}"
    table(orders_csv, "OrderId,Name,ItemName,Price,CC", row, encoding="latin-1")
    inputs, ran = submitted(orders_csv)
    assert (inputs, ran.return_value) == ([], 1)
    assert ran.stderr.startswith(f"{orders_csv}:2: order o-1: is not valid UTF-8: save the file as UTF-8, or name ")
    inputs, ran = submitted(orders_csv, "--encoding", "latin-1")
    assert (inputs, ran.stderr) == ([GOOD | {"Name": "Pe\u00f1a"}], "")


def test_a_file_whose_orders_would_all_be_escalated_is_refused_before_anything_starts(orders_csv: str) -> None:
    rows = [f"o-{n},Ada,Bicycle,12.50 pieces,{CARD}" for n in range(3)]
    table(orders_csv, "OrderId,Name,ItemName,Price,CC", *rows)
    inputs, ran = submitted(orders_csv)
    assert (inputs, ran.stdout) == ([], "")
    refusal = f"{orders_csv}: 3 of 3 orders would be escalated: INVALID_PRICE: 3 (first in line 2); "
    assert str(ran.exception).startswith(f"nothing is submitted: {refusal}")
    inputs, ran = submitted(orders_csv, "--anyway")
    assert (len(inputs), ran.return_value) == (3, 0)
    assert ran.stderr.startswith(refusal)


def test_a_check_says_that_a_file_would_be_refused(orders_csv: str) -> None:
    rows = [f"o-{n},Ada,Bicycle,-1,{CARD}" for n in range(3)]
    table(orders_csv, "OrderId,Name,ItemName,Price,CC", *rows)
    inputs, ran = submitted(orders_csv, "--check")
    assert (inputs, ran.return_value) == ([], 1)
    assert ran.stderr.startswith(
        f"refused without --anyway: {orders_csv}: 3 of 3 orders would be escalated: INVALID_PRICE: 3"
    )
    assert ran.stdout.splitlines()[:2] == [
        "nothing would be submitted; with --anyway:",
        "3 would be submitted, 0 already submitted, 0 bad; nothing was submitted",
    ]
    refusal = json.loads(submitted(orders_csv, "--check", "--json")[1].stdout)["check"]["refusal"]
    assert refusal.startswith(f"{orders_csv}: 3 of 3 orders would be escalated")
    _, ran = submitted(orders_csv, "--check", "--anyway")
    assert (ran.return_value, "nothing would be" in ran.stdout) == (0, False)
    assert json.loads(submitted(orders_csv, "--check", "--anyway", "--json")[1].stdout)["check"]["refusal"] is None


def test_rejects_have_the_columns_and_values_of_the_file(orders_csv: str, tmp_path: Path) -> None:
    rows = ["o-1;Zo\u00eb;Bell;10,50;4929 1234 1234 5678", "o-2;Zo\u00eb;Bell;80,000;4929 1234 1234 5678"]
    table(orders_csv, "Nr;Name;ITEM NAME;Price;Card", *rows, encoding="latin-1")
    inputs, _ = submitted(orders_csv, "--columns", "OrderId=Nr,CC=Card", "--rejects", str(tmp_path / "rejects.csv"))
    assert [order["Price"] for order in inputs] == ["10.50"]
    header, row = (tmp_path / "rejects.csv").read_text(encoding="utf-8-sig").splitlines()
    assert header == "Problem;Nr;Name;ITEM NAME;Price;Card"
    assert row.startswith("Price has a comma before three digits")
    assert row.endswith(";o-2;Zo\u00eb;Bell;80,000;****")


def test_card_numbers_that_a_spreadsheet_has_rounded_are_refused_before_anything_starts(orders_csv: str) -> None:
    rows = [f"o-{n},Ada,Bicycle,12.50,492912341{n}000" for n in range(1234, 1237)]
    table(orders_csv, "OrderId,Name,ItemName,Price,CC", *rows)
    inputs, ran = submitted(orders_csv)
    assert inputs == []
    assert f"nothing is submitted: {orders_csv}: 3 of 3 card numbers end with 0" in str(ran.exception)
    assert len(submitted(orders_csv, "--anyway")[0]) == 3


def test_one_card_number_that_may_be_rounded_is_submitted_with_a_warning(orders_csv: str) -> None:
    table(orders_csv, "OrderId,Name,ItemName,Price,CC", "o-1,Ada,Bicycle,12.50,4929123412345000")
    inputs, ran = submitted(orders_csv)
    assert (len(inputs), ran.return_value) == (1, 0)
    assert ran.stderr.startswith(
        f"{orders_csv}: 1 of 1 card numbers end with 0, a wrong check digit (first in line 2), and were "
    )


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--columns", "Number", "must be like OrderId=Number,CC=Card"),
        ("--columns", f"{CARD}=Number", '"****" is not a field: it must be one of OrderId, Name, ItemName, Price, CC'),
        ("--encoding", "windows", "'windows' is not an encoding, such as utf-8 or windows-1252"),
    ],
)
def test_wrong_options_for_reading_are_refused(option: str, value: str, problem: str) -> None:
    ran = CliRunner().invoke(command, ["-", option, value], obj=fake_stack())
    assert (ran.exit_code, problem in " ".join(ran.stderr.split())) == (2, True)


def test_standard_input_is_named_stdin() -> None:
    ran = CliRunner().invoke(command, ["-"], obj=fake_stack(), standalone_mode=False, input="[1]")
    assert ran.stderr.startswith("stdin:1: ")


def test_an_order_that_cannot_be_started_is_named_and_not_waited_for(tmp_path: Path, orders_csv: str) -> None:
    class Full(Aws):
        def start_execution(self, **request: Any) -> dict[str, Any]:
            if request["name"] == submission_name("o-2", 1):
                raise refused("InvalidExecutionInput")
            return super().start_execution(**request)

    ran = Full(stored("o-1", 1)).submit(tmp_path, "--wait", count=2)
    assert rows(ran) == ["1 submitted, 0 already submitted, 0 bad, 1 failed", "OUTCOME REASONS ORDERS", "FULFILLED - 1"]
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"{orders_csv}:3: order o-2: ")
    assert "InvalidExecutionInput" in line
    assert ran.return_value == 1


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("--submission", "0", "1<=x<=999999"),
        ("--submission", "1000000", "1<=x<=999999"),
        ("--concurrency", "0", f"1<=x<={MAX_CONCURRENCY}"),
        ("--concurrency", str(MAX_CONCURRENCY + 1), f"1<=x<={MAX_CONCURRENCY}"),
    ],
)
def test_numbers_out_of_range_are_refused(option: str, value: str, allowed: str) -> None:
    ran = CliRunner().invoke(command, ["-", option, value], obj=fake_stack())
    assert (ran.exit_code, f"{value} is not in the range {allowed}" in ran.stderr) == (2, True)


def test_the_defaults_are_the_first_submission_and_some_orders_at_once() -> None:
    text = " ".join(CliRunner().invoke(command, ["--help"]).stdout.split())
    assert "An order starts once per number. [default: 1; 1<=x<=999999]" in text
    assert f"same time. [default: {DEFAULT_CONCURRENCY}; 1<=x<={MAX_CONCURRENCY}]" in text


@pytest.mark.parametrize(
    ("during", "text"),
    [
        ("start_execution", "interrupted: 1 submitted, 0 already submitted, 0 bad, 0 failed"),
        ("batch_get_item", "interrupted: 0 of 1 orders have ended, the rest continue without this command"),
    ],
)
def test_ctrl_c_says_how_far_it_came(tmp_path: Path, during: str, text: str) -> None:
    aws = Aws(stored("o-1", 1))
    answer = getattr(aws, during)

    def interrupted(**request: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return answer(**request)

    setattr(aws, during, interrupted)
    path = tmp_path / "orders.csv"
    path.write_text(f"OrderId,Name,ItemName,Price,CC\no-1,Ada,Bicycle,12.50,{CARD}\n", encoding="utf-8")
    stack = fake_stack(
        stepfunctions=FakeClient(start_execution=aws.start_execution, describe_execution=aws.describe_execution),
        dynamodb=FakeClient(batch_get_item=aws.batch_get_item),
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # It is ignored if tests run in the background.
    try:
        ran = CliRunner().invoke(command, [str(path), "--wait"], obj=stack)
    finally:
        signal.signal(signal.SIGINT, before)
    assert str(ran.exception).startswith(text)
    assert getattr(ran.exception, "exit_code", None) == 130
