"""`orders submit`: starts exactly one execution of the workflow for each order of a file."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, BinaryIO

import click

from workers.cli.output import note, print_json, print_line, progress, results
from workers.cli.running import run
from workers.cli.tables import print_table
from workers.domain.text import clean
from workers.operations.order_files import Record, read_orders
from workers.operations.records import BadRecord
from workers.operations.retries import Retries
from workers.operations.submit import DEFAULT_CONCURRENCY, MAX_CONCURRENCY, MAX_SUBMISSION, Submission, Summary
from workers.operations.waiting import Ended, wait_for_orders

if TYPE_CHECKING:
    from workers.operations.stack import Stack


@click.command(
    "submit",
    epilog="""\b
Examples:
  orders submit orders.csv
  orders submit orders.csv --wait
  generate-orders | orders submit -
  orders submit corrected.json --submission 2""",
)
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@click.option(
    "--submission",
    type=click.IntRange(1, MAX_SUBMISSION),
    default=1,
    show_default=True,
    metavar="N",
    help="The N-th submission of these orders, to start ESCALATED ones over. An order starts once per number.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, MAX_CONCURRENCY),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    metavar="N",
    help="How many orders to submit at the same time.",
)
@click.option("--wait", is_flag=True, help="Wait until the orders have ended, and show how.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as a JSON object, for scripts.")
@click.pass_obj
def command(stack: "Stack", file: BinaryIO, *, submission: int, concurrency: int, wait: bool, as_json: bool) -> int:
    """
    Submit the orders of FILE, or of standard input, each once.

    FILE is a JSON object, a JSON array, objects one after the other (JSON lines), or CSV with a header; UTF-8. An order
    has five strings: OrderId, Name, ItemName, Price, CC. Other columns of CSV are ignored.

    A file without orders is no error: one line says so, and the exit code is 0.

    Malformed orders, and orders that repeat an OrderId of the file, are reported with their line and not submitted; the
    rest is submitted. An order with a wrong card number or price is submitted: the workflow escalates it.

    An execution is named after its OrderId and the number of the submission, so the command can be repeated: an order
    that was submitted before is not submitted again. If such an order differs from the stored one, its line is named
    and the exit code is 1: a new order needs an OrderId of its own, and a corrected order the next --submission. The
    table holds only the last four digits of a card number to compare.

    A later submission than the first starts only the orders that are ESCALATED or not in the table. The others count as
    already submitted, so the whole file can be sent again.

    "Submitted" means that the execution was started. --wait shows whether the workflow recorded the order: it refuses
    one whose OrderId is used, unless that order is ESCALATED.
    """
    name = "stdin" if file.name in {"-", "<stdin>"} else clean(file.name)
    records, summary = _read(name, file)
    task = Submission(
        stack, records, summary, number=submission, warn=note, failed=lambda failed: _report_bad(name, failed)
    )
    if records:
        with progress("submitting", len(records)) as advance:
            run(
                stack,
                task.run(concurrency=concurrency, progress=advance),
                interrupted=lambda: f"interrupted: {task.so_far()}",
            )
    if not as_json:
        with results():
            print_line(str(summary))
    ended: list[Ended] | None = None
    if wait:
        # A bad record may repeat the OrderId of a good one.
        not_submitted = {record.order_id for record in [*summary.failed, *summary.different]}
        submitted = [record for record in records if record.order_id not in not_submitted]
        ended = _wait(stack, name, submitted, submission, task)
        if ended and not as_json:
            _print_ended(ended)
    if as_json:
        with results():
            print_json(asdict(summary) | {"ended": ended})
    return 1 if not summary.complete or any(order.problem for order in ended or ()) else 0


def _read(name: str, file: BinaryIO) -> tuple[list[Record], Summary]:
    """Read the whole file before anything is started, and report its bad records."""
    records: list[Record] = []
    summary = Summary()
    with progress(f"reading {name}", None):
        for record in read_orders(name, io.BytesIO(file.read())):
            if isinstance(record, Record):
                records.append(record)
            else:
                summary.bad.append(record)
    for bad in summary.bad:
        _report_bad(name, bad)
    if not records and not summary.bad:
        note(f"{name} has no orders")
    return records, summary


def _report_bad(file: str, bad: BadRecord) -> None:
    note(f"{file}:{bad.line}: {f'order {bad.order_id}: ' if bad.order_id else ''}{bad.reason}")


def _wait(stack: "Stack", file: str, records: Sequence[Record], submission: int, task: Submission) -> list[Ended]:
    """Wait for the orders. Report those that this submission has not recorded, and return all in the file's order."""
    ended: list[Ended] = []

    def interrupted() -> str:
        return f"interrupted: {len(ended)} of {len(records)} orders have ended, the rest continue without this command"

    with progress("ended", len(records)) as advance:
        work = wait_for_orders(
            stack,
            records,
            ended,
            submission=submission,
            started=task.started,
            taken=task.taken,
            retries=Retries(warn=note),
            progress=advance,
        )
        run(stack, work, interrupted=interrupted)
    places = {record.order_id: place for place, record in enumerate(records)}
    ended.sort(key=lambda order: places[order.order_id])
    for order in ended:
        if order.problem is not None:
            _report_bad(file, BadRecord(records[places[order.order_id]].line, order.problem, order.order_id))
    return ended


def _print_ended(ended: Sequence[Ended]) -> None:
    """Print how many orders ended with each outcome and its reasons, in the order of the file."""
    counts = Counter((order.outcome, ", ".join([*order.reasons, *_remarks(order)])) for order in ended)
    rows = [(outcome, reasons or None, count) for (outcome, reasons), count in counts.items()]
    print_table(("outcome", "reasons", "orders"), rows, right=("orders",), text=("reasons",))


def _remarks(order: Ended) -> list[str]:
    """Return what to say beside an outcome that this submission has not brought about."""
    remarks = {"resubmitted": order.resubmitted, "not of this submission": order.other_submission}
    return [remark for remark, applies in remarks.items() if applies]
