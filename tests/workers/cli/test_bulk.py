"""What `orders submit --bulk` and `orders bulk` print, and their exit codes, against an AWS in memory."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.json_documents import check
from tests.workers.operations.intakes import INTAKE_ARN, Intakes
from workers.cli.bulk import _read, _Report
from workers.cli.bulk import command as bulk
from workers.cli.submit import command as submit
from workers.operations.bulk import Intake
from workers.operations.bulk_remedy import remedy
from workers.operations.errors import OperationError

CARD = "4929123412345678"
ROWS = [
    {"Row": 1, "Outcome": "already_started"},
    {"Row": 2, "Outcome": "rejected", "Fields": ["Price", "CC"]},
    {"Row": 3, "Outcome": "not_started"},
]


def run(aws: Intakes, command: click.Command, *arguments: str) -> Result:
    ran = CliRunner().invoke(command, [*arguments], obj=aws.stack(), standalone_mode=False)
    assert CARD not in ran.output
    if "--json" in arguments:
        check("submit" if command is submit else f"bulk {arguments[0]}", ran.stdout)
    return ran


def submitted(aws: Intakes, directory: Path, *arguments: str, count: int = 4) -> Result:
    path = directory / "orders.csv"
    rows = [f"o-{number},Ada,Bicycle,12.50,{CARD}" for number in range(1, count + 1)]
    path.write_text("\n".join(["OrderId,Name,ItemName,Price,CC", *rows]), encoding="utf-8")
    return run(aws, submit, str(path), "--bulk", *arguments)


def ended(aws: Intakes, count: int = 4, key: str = "submitted/bulk-1.jsonl") -> str:
    """Let an intake of *count* rows have ended, and return its name."""
    aws.started["bulk-1"] = {"Key": key}
    aws.objects[key] = b"{}\n" * count
    aws.looked = aws.looks
    return "bulk-1"


def words(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_submission_in_bulk_ends_as_any_other(tmp_path: Path) -> None:
    aws = Intakes(looks=1)
    ran = submitted(aws, tmp_path)
    (name,) = aws.started
    assert (ran.exception, ran.return_value) == (None, 0)
    assert ran.stdout == "4 submitted, 0 already submitted, 0 bad, 0 failed\n"
    begun = f"intake {name} is started, and goes on without this command: `orders bulk show {name}` follows it"
    assert words(ran.stderr) == [begun]


def test_rows_that_were_not_started_are_named_and_exit_with_1(tmp_path: Path) -> None:
    aws = Intakes(looks=1, rows=ROWS[1:])
    ran = submitted(aws, tmp_path)
    assert ran.return_value == 1
    assert ran.stdout == "2 submitted, 0 already submitted, 0 bad, 2 failed\n"
    path = tmp_path / "orders.csv"
    assert ran.stderr.splitlines()[1:] == [
        f"{path}:3: order o-2: the intake rejected it (Price, CC)",
        f"{path}:4: order o-3: Step Functions was too busy to start it",
    ]


def test_the_document_names_the_intake(tmp_path: Path) -> None:
    aws = Intakes(looks=1)
    document = json.loads(submitted(aws, tmp_path, "--json").stdout)
    assert [document["intake"]] == [*aws.started]


def test_a_check_in_bulk_starts_nothing(tmp_path: Path) -> None:
    aws = Intakes()
    ran = submitted(aws, tmp_path, "--check")
    assert ran.stdout.startswith("4 would be submitted")
    assert (aws.started, aws.objects) == ({}, {})


def test_the_stack_bounds_how_many_orders_an_intake_starts_at_once(tmp_path: Path) -> None:
    ran = submitted(Intakes(), tmp_path, "--concurrency", "10")
    assert isinstance(ran.exception, click.UsageError)
    assert str(ran.exception) == (
        "with --bulk, the stack's parameter IntakeConcurrency says how many, not --concurrency"
    )


def test_intakes_are_listed() -> None:
    aws = Intakes(looks=1, rows=ROWS)
    name = ended(aws)
    assert run(aws, bulk, "list").stdout.splitlines() == [
        "INTAKE  STARTED AT           STATUS     ROWS  DONE  STARTED  BEFORE  REJECTED  NOT STARTED  UNKNOWN  FILE",
        f"{name}  2026-11-22 12:00:00  SUCCEEDED     4     4        1       1         1            1        0  -",
    ]
    (document,) = json.loads(run(aws, bulk, "list", "--json").stdout)
    assert (document["intake"], document["unknown"]) == (name, 0)


def test_an_intake_is_shown_with_the_rows_that_it_did_not_start() -> None:
    aws = Intakes(looks=1, rows=ROWS)
    name = ended(aws)
    ran = run(aws, bulk, "show", name)
    assert ran.return_value == 1
    assert words(ran.stdout) == [
        f"Intake {name}",
        "Status SUCCEEDED",
        f"Execution {INTAKE_ARN.replace('stateMachine', 'execution')}:{name}",
        "Started at 2026-11-22 12:00:00",
        "Ended at 2026-11-22 12:00:05",
        "Rows 4",
        "Done 4",
        "Started 1",
        "Started before 1",
        "Rejected 1",
        "Not started 1",
        "",
        "ROW OUTCOME MALFORMED FIELDS",
        "2 rejected Price, CC",
        "3 not started -",
    ]
    assert json.loads(run(aws, bulk, "show", name, "--json").stdout)["reported"][:2] == [
        {"row": 1, "outcome": "already_started", "fields": []},
        {"row": 2, "outcome": "rejected", "fields": ["Price", "CC"]},
    ]


def test_an_intake_that_failed_because_of_rows_that_were_not_started_is_shown_with_its_counts() -> None:
    aws = Intakes(looks=1, rows=ROWS, status="FAILED", error="RowsNotStarted", lost=1)
    name = ended(aws, 5, key="incoming/a.csv")
    ran = run(aws, bulk, "show", name)
    assert ran.return_value == 1
    lines = words(ran.stdout)
    counts = ["Rows 5", "Done 5", "Started 1", "Started before 1", "Rejected 1", "Not started 1", "Unknown 1"]
    assert lines[1:4] == ["File incoming/a.csv", "Status FAILED", "Error RowsNotStarted"]
    assert lines[7:14] == counts
    assert "3 not started -" in lines
    assert ran.stderr == (
        "AWS ended a part of the intake, so it is unknown if these were started: 1 of 5 rows; "
        "put the same file there again: no order starts twice\n"
    )


ONCE = "no order starts twice"
REFUSED = (
    "AWS cannot read the file: it must be CSV (.csv) or JSON lines (.jsonl, .ndjson), in UTF-8. Rows before the first "
    "that cannot be read may be started; correct it, and put it there again: no order starts twice"
)
NO_ORDER = (
    "no row of the file is an order: CSV needs a header with the names of the fields, and commas between values; "
    "in JSON lines, each line is an order. Correct it, and put it there again"
)


@pytest.mark.parametrize(
    ("intake", "advice"),
    [
        ({"status": "RUNNING"}, None),
        ({"started": 3}, None),
        ({"started": 2, "rejected": 1}, None),  # The rows are listed.
        ({"started": 2, "not_started": 1}, f"not started: 1 of 3 rows; put the same file there again: {ONCE}"),
        ({"started": 2, "not_started": 1, "file": None}, f"not started: 1 of 3 rows; repeat the command: {ONCE}"),
        ({"status": "ABORTED"}, f"not every row may be started; put the same file there again: {ONCE}"),
        ({"status": "TIMED_OUT", "file": None}, f"not every row may be started; repeat the command: {ONCE}"),
        (
            {"status": "FAILED", "error": "IntakeFailed"},
            f"not every row may be started; put the same file there again: {ONCE}",
        ),
        (
            {"status": "FAILED", "error": "FileRefused"},
            REFUSED,
        ),
        (
            {"status": "FAILED", "error": "EveryRowRejected", "started": 0, "rejected": 3},
            NO_ORDER,
        ),
    ],
)
def test_what_to_do_about_an_intake_after_which_orders_may_be_missing(
    intake: dict[str, Any], advice: str | None
) -> None:
    known = {"status": "SUCCEEDED", "rows": 3, "file": "incoming/a.csv", **intake}
    assert remedy(Intake("bulk-1", "arn", started_at="2026-11-22T12:00:00Z", **known)) == advice


def test_a_file_that_was_dropped_is_named_without_a_card_number() -> None:
    aws = Intakes(looks=1)
    name = ended(aws, key=f"incoming/of \x1b[31m{CARD}.csv")
    shown = "incoming/of \ufffd[31m****.csv"
    assert f"File {shown}" in words(run(aws, bulk, "show", name).stdout)
    assert json.loads(run(aws, bulk, "list", "--json").stdout)[0]["file"] == shown


def test_a_complete_intake_is_exit_code_0_and_a_failed_one_1() -> None:
    for status, code in (("SUCCEEDED", 0), ("RUNNING", 0), ("FAILED", 1)):
        aws = Intakes(looks=1)
        name = ended(aws)
        aws.status, aws.error = status, "FileRefused"
        aws.looks = 1_000 if status == "RUNNING" else 1
        assert run(aws, bulk, "show", name).return_value == code, status


def test_rows_whose_report_is_gone_are_said_to_be() -> None:
    aws = Intakes(looks=1, rows=ROWS)
    name = ended(aws)
    aws.get_object = lambda **_: {}  # type: ignore[method-assign]
    aws.client.operations["list_objects_v2"] = lambda **_: iter([{}])
    ran = run(aws, bulk, "show", name)
    gone = "the report lists 0 of 3 rows that were not started now. Files and reports are kept for a day"
    assert words(ran.stderr) == [gone, f"not started: 1 of 4 rows; repeat the command: {ONCE}"]


def test_rows_that_the_report_does_not_list_are_counted() -> None:
    aws = Intakes(looks=1, rows=[{"Row": 1, "Outcome": "not_started"}, {"Row": 2, "Outcome": "already_started"}])
    name = ended(aws)
    assert _Report() == _Report([], 0, 0)
    found, report = asyncio.run(_read(aws.stack(), name, whole=False))
    assert found is not None
    assert ([row.row for row in report.rows], report.more, report.total) == ([1], 0, 2)


def test_many_rows_are_cut_in_a_table_and_whole_in_json() -> None:
    before = [{"Row": number, "Outcome": "already_started"} for number in range(1, 4)]
    rows = [*before, *({"Row": number, "Outcome": "not_started"} for number in range(4, 109))]
    aws = Intakes(looks=1, rows=rows)
    name = ended(aws, 110)
    ran = run(aws, bulk, "show", name)
    assert ran.stderr.startswith("5 more rows are not shown; `--json` has all\nnot started: 105 of 110 rows; ")
    assert len(json.loads(run(aws, bulk, "show", name, "--json").stdout)["reported"]) == 108


def test_an_unknown_intake_is_one_line() -> None:
    with pytest.raises(OperationError, match="there is no intake nope; `orders bulk list` lists them"):
        raise run(Intakes(), bulk, "show", "nope").exception or AssertionError
