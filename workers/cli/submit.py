"""`orders submit`: starts exactly one execution of the workflow for each order of some files."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from workers.cli.options import json_option
from workers.cli.order_file_options import order_file_options, report_findings
from workers.cli.output import InterruptedCommandError, note, print_json, print_line, progress, results
from workers.cli.paused import note_pause
from workers.cli.running import run
from workers.cli.submit_view import (
    document,
    print_ended,
    print_forecast,
    report_bad,
    report_intake,
    report_more,
    report_more_ended,
)
from workers.domain.text import clean
from workers.operations.bulk_submit import BulkSubmission
from workers.operations.errors import OperationError
from workers.operations.forecast import Forecast, forecast
from workers.operations.ledger import Ledger, State
from workers.operations.order_batch import OrderBatch, sources
from workers.operations.records import BadRecord
from workers.operations.rejects import refuse_path, write_rejects
from workers.operations.retries import Retries
from workers.operations.submit import (
    DEFAULT_CONCURRENCY,
    MAX_CONCURRENCY,
    MAX_SUBMISSION,
    Problems,
    Submission,
    Summary,
)
from workers.operations.waiting import Ended, wait_for_orders

if TYPE_CHECKING:
    from workers.operations.files.encodings import Encoding
    from workers.operations.stack import Stack


@click.command(
    "submit",
    epilog="""\b
Examples:
  orders submit orders.csv --check
  orders submit orders.csv --wait
  orders submit monday.csv tuesday.csv --rejects rejects.csv
  generate-orders | orders submit -
  orders submit corrected.json --submission 2
  orders submit million.csv --bulk""",
)
@click.argument(
    "files",
    type=click.Path(exists=True, dir_okay=False, readable=True, allow_dash=True),
    nargs=-1,
    required=True,
    metavar="FILE|-...",
)
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
    help="At most N orders are submitted at the same time.",
)
@click.option(
    "--bulk",
    is_flag=True,
    help="Upload the orders as one file, and let AWS start them: it goes on if this command ends.",
)
@order_file_options
@click.option(
    "--dry-run", "--check", "check", is_flag=True, help="Only show what would be done: read the files, submit nothing."
)
@click.option(
    "--rejects",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what is not submitted to a new FILE, each record with its problem. Card numbers are masked.",
)
@click.option("--wait", is_flag=True, help="Wait until the orders have ended, and show how.")
@json_option("an object with the summary")
@click.pass_context
def command(context: click.Context, /, files: Sequence[str], **given: Any) -> int:
    """
    Submit the orders of FILEs, or of standard input, each once.

    A FILE is a JSON object, a JSON array, objects one after the other (JSON lines), or CSV with a header. An order has
    five strings: OrderId, Name, ItemName, Price, CC. Other columns of CSV are ignored.

    CSV may be as a spreadsheet writes it. What can only mean one thing is corrected, such as a decimal comma or a card
    number in groups, and one line says so. A value that may be several is reported with its line and not submitted.

    All files are read and checked before the first order is submitted, and then read again. They may be of any size;
    standard input is kept in memory, and may have 256 MiB. Files without orders are no error: the exit code is 0.

    Malformed orders, and orders that repeat an OrderId, are reported with their file and line and not submitted; the
    rest is submitted. An order with a wrong card number or price is submitted: the workflow escalates it.
    But a file of which most orders would be escalated is refused, unless --anyway is given.

    --rejects writes the records that were not submitted to a file, as they came, with their Problem. Correct them, fill
    in their card numbers, and submit that file: the Problem is ignored.

    An execution is named after its OrderId and the number of the submission, so the command can be repeated: an order
    that was submitted before is not submitted again. If such an order differs from the stored one, its line is named
    and the exit code is 1: a new order needs an OrderId of its own, and a corrected order the next --submission. The
    table holds only the last four digits of a card number to compare.

    A later submission than the first starts only the orders that are ESCALATED or not in the table. The others count as
    already submitted, so the whole file can be sent again.

    With --bulk, the orders are checked in the same way, and are then started by an intake on AWS, which goes on if this
    command ends or the connection breaks: `orders bulk show` follows it. It is faster only if your account's quotas and
    the stack's parameter IntakeConcurrency were raised.

    "Submitted" means that the execution was started. --wait shows whether the workflow recorded the order: it refuses
    one whose OrderId is used, unless that order is ESCALATED.
    """
    stack: Stack = context.obj
    options = _Options(**given)
    if options.bulk and context.get_parameter_source("concurrency") is ParameterSource.COMMANDLINE:
        raise click.UsageError("with --bulk, the stack's parameter IntakeConcurrency says how many, not --concurrency")
    if options.check and options.wait:
        raise click.UsageError("--check submits nothing, so there is nothing to --wait for")
    if options.rejects is not None and (refusal := refuse_path(options.rejects)):
        raise click.UsageError(f"--rejects: {refusal}")
    batch = OrderBatch(sources(files, sys.stdin.buffer), options.columns, options.encoding)
    try:
        bad = _read(batch, options.rejects)
        refusal = report_findings(batch.findings, anyway=options.anyway)
    except KeyboardInterrupt:
        raise InterruptedCommandError("interrupted: nothing was started; the command can be repeated") from None
    if options.check:
        return _check(stack, batch, bad, refusal, options)
    if refusal:
        raise OperationError(f"nothing is submitted: {refusal}")
    return _submit(stack, batch, bad, options)


def _read(batch: OrderBatch, rejects: Path | None) -> Problems:
    """Read all files before anything is started, and report their bad records."""
    bad = Problems()
    with progress("reading", batch.size, in_bytes=True, always=True) as advance:
        for record in batch.check(advance):
            if isinstance(record, BadRecord) and bad.add(record):
                report_bad(record)
    report_more(bad, "bad records", rejects)
    for name in batch.empty_files:
        note(f"{name} has no orders")
    return bad


def _submit(stack: "Stack", batch: OrderBatch, bad: Problems, options: "_Options") -> int:
    summary = Summary(bad=bad)
    kind = partial(BulkSubmission, begun=report_intake) if options.bulk else Submission
    task = kind(stack, batch.ledger, batch.records, summary, number=options.submission, warn=note, failed=report_bad)
    if count := len(batch.ledger):
        with progress("submitting", count, always=True) as advance:
            work = task.run(concurrency=options.concurrency, progress=advance)
            run(stack, work, interrupted=lambda: f"interrupted: {task.so_far()}")
    report_more(summary.failed, "records that Step Functions refused", options.rejects)
    report_more(summary.different, "different orders", options.rejects)
    try:
        written = _write_rejects(batch, options)
    except KeyboardInterrupt:
        raise InterruptedCommandError(f"interrupted before the rejects were written: {task.so_far()}") from None
    if not options.as_json:
        with results():
            print_line(str(summary))
    ended: list[Ended] | None = [] if options.wait else None
    try:
        if ended is not None:
            _wait(stack, batch.ledger, options.submission, ended)
    finally:  # If the wait fails or is interrupted, say what has ended.
        if options.as_json:
            with results():
                print_json(document(summary, ended, intake=task.intake))
        elif ended:
            print_ended(ended)
    return 0 if summary.complete and written and not any(order.problem for order in ended or ()) else 1


def _check(stack: "Stack", batch: OrderBatch, bad: Problems, refusal: str | None, options: "_Options") -> int:
    """Say what would happen, and start nothing."""
    found, count = Forecast(bad, refusal=refusal), len(batch.ledger)
    if refusal:
        note(f"refused without --anyway: {refusal}")
    if count:
        retries = Retries(warn=note)
        with progress("comparing", count, always=True) as advance:
            work = forecast(
                stack,
                batch.ledger,
                found,
                number=options.submission,
                retries=retries,
                different=report_bad,
                progress=advance,
            )
            run(stack, work)
    report_more(found.different, "different orders", options.rejects)
    if found.not_compared:
        note(f"not compared with the orders that were submitted before: {found.not_compared}")
    written = _write_rejects(batch, options)
    if options.as_json:
        already = found.already_submitted.total()
        print_json(document(Summary(already_submitted=already, bad=bad, different=found.different), check=found))
    else:
        print_forecast(found, name_files=len(batch.findings) > 1)
    return 0 if found.good and written else 1


def _write_rejects(batch: OrderBatch, options: "_Options") -> bool:
    """Write the rejects, if a file was given for them; return False if that failed. Everything else is done by then."""
    if options.rejects is None:
        return True
    try:
        with progress(f"writing {clean(options.rejects)}", None) as advance:
            count = write_rejects(options.rejects, batch.rejects, advance)
    except OperationError as error:
        note(f"the rejects could not be written: {error}; `--check --rejects FILE` writes them without submitting")
        return False
    records = "1 record" if count == 1 else f"{count} records"
    written = f"{records} written, with masked card numbers" if count else "not written, there are no rejects"
    note(f"{options.rejects}: {written}")
    return True


def _wait(stack: "Stack", ledger: Ledger, submission: int, ended: list[Ended]) -> None:
    """
    Wait for the orders, add them to *ended* in the files' order, and report those this submission has not recorded.

    After an error or an interruption that is done with those that have ended by then.
    """
    found: list[Ended] = []
    total = sum(1 for _ in ledger.entries(lacking=State.NOT_SUBMITTED))

    def interrupted() -> str:
        return f"interrupted: {len(found)} of {total} orders have ended, the rest continue without this command"

    try:
        if total:
            note_pause(stack, stack.names.order_fulfillment_queue)
        with progress("ended", total) as advance:
            work = wait_for_orders(
                stack,
                ledger.entries(lacking=State.NOT_SUBMITTED),
                found,
                submission=submission,
                retries=Retries(warn=note),
                progress=advance,
            )
            run(stack, work, interrupted=interrupted)
    finally:
        by_id, problems = {order.order_id: order for order in found}, Problems()
        for entry in ledger.entries(lacking=State.NOT_SUBMITTED):
            if (order := by_id.get(entry.order_id)) is None:
                continue
            ended.append(order)
            if order.problem is not None:
                bad = BadRecord(entry.line, order.problem, order.order_id, entry.file)
                if problems.add(bad):
                    report_bad(bad)
        report_more_ended(problems, "orders that this submission has not recorded")


@dataclass(frozen=True, slots=True)
class _Options:
    submission: int
    concurrency: int
    bulk: bool
    columns: Mapping[str, str]
    encoding: "Encoding | None"
    anyway: bool
    check: bool
    rejects: Path | None
    wait: bool
    as_json: bool
