"""`orders bulk`: lists and shows intakes, which start the orders of a file on AWS."""

from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from workers import clock
from workers.cli.options import json_option, limit_option
from workers.cli.output import note, print_json, print_line
from workers.cli.running import run
from workers.cli.tables import print_fields, print_table, wide_option
from workers.operations.bulk import Intake, ReportedRow, find_intake, find_place, list_intakes, reported_rows
from workers.operations.errors import OperationError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_SHOWN = 100
_KEPT = "Files and reports are kept for a day"


@click.group("bulk", short_help="List and show intakes: orders that are submitted in bulk.")
def command() -> None:
    """
    List and show intakes.

    An intake is an execution of BulkOrderIntake: it starts the orders of one file, of `orders submit --bulk` or of a
    file that was put into the intake's bucket.
    """


@command.command(
    "list",
    short_help="List the latest intakes.",
    epilog="""\b
Examples:
  orders bulk list
  orders bulk list --json | jq -r '.[] | select(.status == "RUNNING").intake'""",
)
@limit_option("intakes, the latest ones", type=click.IntRange(1, 1000), default=20, show_default=True)
@wide_option
@json_option("an array")
@click.pass_obj
def list_command(stack: "Stack", *, limit: int, wide: bool, as_json: bool) -> None:
    """
    List the latest intakes, the newest first.

    DONE counts the rows that are done, whatever became of them. The numbers after it are known when an intake has
    ended. FILE is a file that was put into the bucket. AWS keeps intakes for 90 days.
    """
    intakes = run(stack, list_intakes(stack, limit))
    if as_json:
        print_json([_document(intake) for intake in intakes])
        return
    headings = (
        "intake",
        "started at",
        "status",
        "rows",
        "done",
        "started",
        "before",
        "rejected",
        "not started",
        "file",
    )
    rows = [
        (
            intake.intake,
            clock.shown(intake.started_at),
            intake.error or intake.status,
            *(intake.rows, intake.done, intake.started, intake.already_started, intake.rejected, intake.not_started),
            intake.file,
        )
        for intake in intakes
    ]
    print_table(headings, rows, right=headings[3:-1], wide=wide)


@command.command(
    "show",
    short_help="Show an intake, and the rows that it did not start.",
    epilog="""\b
Examples:
  orders bulk show bulk-20261126T211500-bdkfhgpa
  orders bulk show bulk-20261126T211500-bdkfhgpa --json | jq '.reported[] | select(.outcome == "rejected").row'""",
)
@click.argument("intake")
@wide_option
@json_option("an object")
@click.pass_obj
def show_command(stack: "Stack", *, intake: str, wide: bool, as_json: bool) -> int:
    """
    Show an intake, and the rows that it did not start.

    A row is counted from 1, the first one after the header of CSV. A rejected row names its malformed fields, never
    their values. Files and reports are kept for a day: afterward, only the counts are left.

    The exit code is 1 if the intake failed, or did not start every row, now or before.
    """
    found, rows = run(stack, _read(stack, intake))
    if found is None:
        raise OperationError(f"there is no intake {intake}; `orders bulk list` lists them")
    if as_json:
        print_json(_document(found) | {"reported": rows})
    else:
        _print(found, rows, wide=wide)
    return 0 if found.is_running or found.is_complete else 1


async def _read(stack: "Stack", name: str) -> tuple[Intake | None, list[ReportedRow]]:
    found = await find_intake(stack, name)
    if found is None:
        return None, []
    place = await find_place(stack)
    async with aclosing(reported_rows(stack, place.bucket, found.intake)) as rows:
        return found, [row async for row in rows]


def _document(intake: Intake) -> dict[str, Any]:
    """Return what `--json` prints of an intake: docs/json.md."""
    return {**asdict(intake), "unknown": intake.unknown}


def _print(intake: Intake, rows: list[ReportedRow], *, wide: bool) -> None:
    print_line(f"Intake {intake.intake}", styled=True)
    print_fields(
        [
            ("File", intake.file),
            ("Status", intake.status),
            ("Error", intake.error),
            ("Started at", clock.shown(intake.started_at)),
            ("Ended at", None if intake.ended_at is None else clock.shown(intake.ended_at)),
            ("Rows", intake.rows),
            ("Done", intake.done),
            ("Started", intake.started),
            ("Started before", intake.already_started),
            ("Rejected", intake.rejected),
            ("Not started", intake.not_started),
            ("Unknown", intake.unknown or None),
        ]
    )
    if rows:
        print_line()
        shown = [(row.row, row.outcome.replace("_", " "), ", ".join(row.fields) or None) for row in rows[:MAX_SHOWN]]
        print_table(("row", "outcome", "malformed fields"), shown, right=("row",), wide=wide)
    if len(rows) > MAX_SHOWN:
        note(f"{len(rows) - MAX_SHOWN} more rows are not shown; `--json` has all")
    if intake.to_report > len(rows):
        note(f"the report lists {len(rows)} of {intake.to_report} rows that were not started now. {_KEPT}")
