"""`orders show`: everything that is known about one order, on one screen."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from workers import clock
from workers.cli.dead_letter_view import letter_document
from workers.cli.options import json_option, order_argument
from workers.cli.output import print_json, print_line
from workers.cli.running import run
from workers.cli.tables import print_table
from workers.operations.ages import format_age, seconds_since
from workers.operations.documents import case_document, order_document, record_document
from workers.operations.history import Run
from workers.operations.next_step import next_step
from workers.operations.order_letters import Search
from workers.operations.story import Story, gather

if TYPE_CHECKING:
    from workers.operations.stack import Stack

_SHOWN = ("Name", "ItemName", "Price", "CC", "Attempts", "Reasons", "ShipmentId")


@click.command(
    "show",
    epilog="""\b
Examples:
  orders show 001
  orders show 001 --logs .local-aws/workers.log
  kubectl logs deploy/fulfillment | orders show 001 --logs - --json""",
)
@order_argument
@click.option(
    "--logs",
    "log_files",
    type=click.File("rb"),
    multiple=True,
    metavar="FILE|-",
    help="Also show the workers' log lines about this order, from a file with their JSON lines. Can be repeated.",
)
@json_option("an object")
@click.pass_obj
def command(stack: "Stack", order_id: str, *, log_files: Sequence[BinaryIO], as_json: bool) -> None:
    """
    Show the whole story of the order ORDER_ID, in chronological order.

    \b
    The order     as it is stored, its card number masked
    Executions    when they ran, the states they entered, what came of them; what earlier ones recorded
    The case      what was reported, where it was routed, and how it was resolved
    Dead letters  messages about the order that no worker could handle
    Next          what to do next

    ORDER_ID can also be the id of a case that has no order, or another id than its order. Executions are found by the
    order, by its case and by the names that `orders submit` gives; AWS keeps their history for 90 days. What an earlier
    execution recorded is on the case. Dead letters are found by looking at up to 500 of each queue, for 5 seconds;
    others do not see those meanwhile. Times are UTC.
    """  # noqa: D301 - the backslash-b tells click not to wrap the lines below it.
    with contextlib.ExitStack() as copies:
        story = run(stack, gather(stack, order_id, [_seekable(file, copies) for file in log_files]))
    now = stack.now()
    todo = next_step(story, now)
    if as_json:
        print_json(_document(story, now) | {"next": todo})
        return
    for line in _heading(order_id, story, now):
        print_line(line, styled=line.startswith(("Order ", "Case ")))
    print_line()
    if story.timeline:
        rows = [(_time(entry.at, 23), entry.source, entry.text) for entry in story.timeline]
        print_table(("time", "from", "what"), rows, text=("what",))
        print_line()
    print_line(f"Next: {todo}")


def _seekable(file: BinaryIO, copies: contextlib.ExitStack) -> BinaryIO:
    """Return *file*, or a copy if it is a pipe. A pipe may never end, but Ctrl-C can interrupt the copying here."""
    if file.seekable():
        return file
    copy = copies.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - *copies* closes it.
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _document(story: Story, now: datetime) -> dict[str, Any]:
    return {
        "order": story.order and order_document(story.order),
        "case": story.case and case_document(story.case),
        "related_cases": [case_document(case) for case in story.related_cases.values()],
        "executions": [_run_document(run) for run in story.runs],
        "dead_letters": [letter_document(letter, now) for search in story.searches for letter in search.letters],
        "dead_letter_queues": [
            {
                "queue": search.queue,
                "dead_letter_queue": search.dead_letter_queue,
                "seen": search.looked_at,
                "approximate_count": search.approximate_count,
                "problem": search.problem,
            }
            for search in story.searches
        ],
        "timeline": [asdict(entry) | {"at": clock.rfc_3339(entry.at)} for entry in story.timeline],
    }


def _run_document(run: Run) -> dict[str, Any]:
    execution, record = run.execution, run.record
    return {
        "execution_arn": execution.arn,
        "status": execution.status,
        "states": execution.states,
        "problem": execution.problem,
        "current": run.is_current,
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "outcome": run.outcome,
        "has_recorded": run.has_recorded,
        "recorded": record and record_document(record.at, record.fields),
    }


def _heading(order_id: str, story: Story, now: datetime) -> Iterator[str]:
    """Yield the lines above the timeline: the current state, and what came before it."""
    order: Mapping[str, Any] = story.order or {}
    case: Mapping[str, Any] = story.case or {}
    age = format_age(seconds_since(order.get("UpdatedAt"), now))
    since = f" for {age}" if age else ""
    erased = ", erased" if "ErasedAt" in order else ""
    shown = str(order.get("OrderId", order_id))
    yield f"Order {shown}: {order.get('Status')}{erased}{since}" if order else f"Order {shown}: not recorded"
    yield from (f"  {name:<10}  {_listed(order[name])}" for name in _SHOWN if name in order)
    for known in filter(None, (case, *story.related_cases.values())):
        state = f"{known.get('State')}, {known.get('Severity')}, episode {known.get('Episode')}"
        yield f"Case {known['CaseId']}: {state}: {_listed(known.get('Reasons', []))}"
    for number, execution in enumerate(story.runs, 1):
        yield from _run_lines(number, execution)
    for search in story.searches:
        yield from _search_lines(shown, search, now)


def _run_lines(number: int, run: Run) -> Iterator[str]:
    """Yield when an execution ran, what came of it and, if it is not the current one, what it recorded."""
    execution = run.execution
    current = ", the current one" if run.is_current else ""
    yield f"Execution {number}: {execution.name}: {execution.problem or execution.status}{current}"
    if execution.started_at is not None:
        ended = f", ended {_time(execution.ended_at)}" if execution.ended_at else ""
        yield f"  {'Started':<10}  {_time(execution.started_at)}{ended}"
    yield f"  {'Outcome':<10}  {run.outcome}"
    if run.is_current:  # What it recorded is the order above.
        return
    if run.record is not None:
        at = f"{_time(run.record.at)}: " if run.record.at else ""
        fields = "; ".join(f"{name} {value}" for name, value in run.record.fields.items())
        yield f"  {'Recorded':<10}  {at}{fields}"
    elif execution.status is not None:
        yield f"  {'Recorded':<10}  {'not known any more' if run.has_recorded else 'nothing'}"


def _search_lines(order_id: str, search: Search, now: datetime) -> Iterator[str]:
    for letter in search.letters:
        age = format_age(letter.age_s(now))
        old = f", {age} old" if age else ""
        named = f", names order {letter.order_id}" if letter.order_id not in {None, order_id} else ""
        yield f"Dead letter {letter.id} in {letter.queue}: {letter.reason}{old}{named}"
    if search.gap is not None:
        yield f"Dead letters of {search.queue}: {search.gap}"


def _time(at: str | None, chars: int = 19) -> str:
    """Return a time in readable form, to the second or with more *chars*."""
    return str(at).replace("T", " ").rstrip("Z")[:chars]


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
