"""`orders bulk`: lists and shows intakes, which start the orders of a file on AWS."""

from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import click

from workers import clock
from workers.cli.options import json_option, limit_option
from workers.cli.output import note, print_json, print_line
from workers.cli.running import run
from workers.cli.tables import print_fields, print_table, wide_option
from workers.operations.bulk import (
    STARTED_BEFORE,
    Intake,
    ReportedRow,
    find_intake,
    find_place,
    list_intakes,
    reported_rows,
)
from workers.operations.bulk_remedy import remedy
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
    ended; UNKNOWN are rows of which AWS itself ended the part of the intake. FILE is a file that was put into the
    bucket. AWS keeps intakes for 90 days.
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
        "unknown",
        "file",
    )
    rows = [
        (
            intake.intake,
            clock.shown(intake.started_at),
            intake.error or intake.status,
            *(intake.rows, intake.done, intake.started, intake.already_started, intake.rejected, intake.not_started),
            intake.unknown if intake.has_counts else None,
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
    their values. Rows that were started before are only counted; --json lists them, too. Files and reports are kept for
    a day: afterward, only the counts are left. If orders may be missing, the last line says what to do.

    The exit code is 1 if the intake failed, or did not start every row, now or before.
    """
    found, report = run(stack, _read(stack, intake, whole=as_json))
    if found is None:
        raise OperationError(f"there is no intake {intake}; `orders bulk list` lists them")
    if as_json:
        print_json(_document(found) | {"reported": report.rows})
    else:
        _print(found, report, wide=wide)
    return 0 if found.is_running or found.is_complete else 1


@dataclass(slots=True)
class _Report:
    """The rows of a report to show, how many more there are of the kind, and how many rows it has."""

    rows: list[ReportedRow] = field(default_factory=list)
    more: int = 0
    total: int = 0


async def _read(stack: "Stack", name: str, *, whole: bool) -> tuple[Intake | None, _Report]:
    """Read the report of an intake; if not as a *whole*, keep the first rows that may need someone."""
    found, report = await find_intake(stack, name), _Report()
    if found is None:
        return None, report
    place = await find_place(stack)
    async with aclosing(reported_rows(stack, place.bucket, found.intake)) as rows:
        async for row in rows:
            report.total += 1
            if whole or (row.outcome != STARTED_BEFORE and len(report.rows) < MAX_SHOWN):
                report.rows.append(row)
            else:
                report.more += row.outcome != STARTED_BEFORE
    return found, report


def _document(intake: Intake) -> dict[str, Any]:
    """Return what `--json` prints of an intake: docs/json.md."""
    return {**asdict(intake), "unknown": intake.unknown}


def _print(intake: Intake, report: _Report, *, wide: bool) -> None:
    print_line(f"Intake {intake.intake}")
    print_fields(
        [
            ("File", intake.file),
            ("Status", intake.status),
            ("Error", intake.error),
            ("Execution", intake.execution_arn),
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
    if report.rows:
        print_line()
        rows = [(row.row, row.outcome.replace("_", " "), ", ".join(row.fields) or None) for row in report.rows]
        print_table(("row", "outcome", "malformed fields"), rows, right=("row",), wide=wide)
    if report.more:
        note(f"{report.more} more rows are not shown; `--json` has all")
    if intake.to_report > report.total:
        note(f"the report lists {report.total} of {intake.to_report} rows that were not started now. {_KEPT}")
    if (advice := remedy(intake)) is not None:
        note(advice)
