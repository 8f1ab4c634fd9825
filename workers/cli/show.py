"""`orders show`: everything that is known about one order, on one screen."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from workers.cli.output import print_json, print_line, print_table
from workers.cli.running import run
from workers.operations.ages import format_age, seconds_since
from workers.operations.executions import Execution
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
@click.argument("order_id")
@click.option(
    "--logs",
    "log_files",
    type=click.File("rb"),
    multiple=True,
    metavar="FILE|-",
    help="Also show the workers' log lines about this order, from a file with their JSON lines. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for scripts.")
@click.pass_obj
def command(stack: "Stack", order_id: str, *, log_files: Sequence[BinaryIO], as_json: bool) -> None:
    """
    Show the whole story of the order ORDER_ID, in chronological order.

    \b
    The order   as it is stored, its card number masked
    Executions  with the states they entered
    The case    what was reported, where it was routed, and how it was resolved

    ORDER_ID can also be the id of a case without an order. Executions are found by the order, by its case and by the
    names that `orders submit` gives; AWS keeps their history for 90 days. Times are UTC.
    """  # noqa: D301 - the backslash-b tells click not to wrap the lines below it.
    with contextlib.ExitStack() as copies:
        story = run(stack, gather(stack, order_id, [_seekable(file, copies) for file in log_files]))
    if as_json:
        print_json(
            {
                "order": story.order,
                "case": story.case,
                "executions": [_document(execution) for execution in story.executions],
                "timeline": [asdict(entry) for entry in story.timeline],
            }
        )
        return
    for line in _heading(order_id, story, stack.now()):
        print_line(line)
    print_line()
    rows = [(entry.at.replace("T", " ").rstrip("Z")[:23], entry.source, entry.text) for entry in story.timeline]
    print_table(("time", "from", "what"), rows)


def _seekable(file: BinaryIO, copies: contextlib.ExitStack) -> BinaryIO:
    """Return *file*, or a copy if it is a pipe. A pipe may never end, but Ctrl-C can interrupt the copying here."""
    if file.seekable():
        return file
    copy = copies.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - *copies* closes it.
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _document(execution: Execution) -> dict[str, Any]:
    return {
        "ExecutionArn": execution.arn,
        "Status": execution.status,
        "States": execution.states,
        "Problem": execution.problem,
    }


def _heading(order_id: str, story: Story, now: datetime) -> Iterator[str]:
    """Yield the lines above the timeline: the current state."""
    order: Mapping[str, Any] = story.order or {}
    case: Mapping[str, Any] = story.case or {}
    age = format_age(seconds_since(order.get("UpdatedAt"), now))
    since = f" for {age}" if age else ""
    yield f"Order {order_id}: {order.get('Status')}{since}" if order else f"Order {order_id}: not recorded"
    yield from (f"  {name:<10}  {_listed(order[name])}" for name in _SHOWN if name in order)
    if case:
        state = f"{case.get('State')}, {case.get('Severity')}, episode {case.get('Episode')}"
        yield f"Case {case['CaseId']}: {state}: {_listed(case.get('Reasons', []))}"
    for number, execution in enumerate(story.executions, 1):
        current = ", the current one" if execution.arn == order.get("ExecutionArn") else ""
        yield f"Execution {number}: {execution.name}: {execution.problem or execution.status}{current}"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
