"""`orders sweep`: what the sweep of stuck orders did, or one more of it now."""

from typing import TYPE_CHECKING

import click

from workers import clock
from workers.cli.options import json_option
from workers.cli.output import CliError, note, print_json, print_line, results
from workers.cli.running import run
from workers.domain.ids import execution_name
from workers.domain.text import clean
from workers.operations.ages import format_age

if TYPE_CHECKING:
    from workers.operations.stack import Stack
    from workers.operations.sweep import Sweep


@click.command(
    "sweep",
    epilog="""\b
Examples:
  orders sweep
  orders sweep --now
  orders sweep --now --json | jq -r '.escalated[]'""",
)
@click.option("--now", is_flag=True, help="Start a sweep, and wait until it has ended.")
@json_option("an object")
@click.pass_obj
def command(stack: "Stack", *, now: bool, as_json: bool) -> None:
    """
    Show what the last sweep found and did, or start one with --now.

    The sweep runs on a schedule. It escalates orders as ORDER_STUCK that have been RECEIVED for longer than a limit (6
    hours, if the stack does not say otherwise) and the age of the oldest message together: their message, or the notice
    of their execution, is lost. One sweep escalates at most 100 orders, the oldest first. An order is escalated once,
    however often it is found.

    While messages wait whose age is unknown, and for 15 minutes after a worker has reported an outage, a sweep
    escalates nothing. With --now, the exit code is then 1.
    """
    from workers.operations.sweep import follow, newest, start  # noqa: PLC0415 - the SDK takes a while to import.

    if now:
        arn = run(stack, start(stack))
        interrupted = "interrupted; the sweep goes on, and `orders sweep` shows what it did"
        sweep: Sweep | None = run(stack, follow(stack, arn), interrupted=lambda: interrupted)
    else:
        sweep = run(stack, newest(stack))
    with results():
        _report(sweep, as_json=as_json)
    if now and sweep is not None and not sweep.has_looked:
        raise CliError(_why_not(sweep))


def _report(sweep: "Sweep | None", *, as_json: bool) -> None:
    if as_json:
        print_json(sweep)
    elif sweep is None:
        note("no sweep has run in the last 90 days: start one with `orders sweep --now`")
    else:
        for line in _lines(sweep):
            print_line(line)


def _lines(sweep: "Sweep") -> list[str]:
    name, since = execution_name(sweep.execution_arn), clock.shown(sweep.started_at or "-")
    first = f"Sweep {name}, started {since}: {sweep.status}"
    if sweep.is_running:
        return [first]
    if not sweep.has_looked:
        return [first, _sentence(_why_not(sweep))]
    limit = f"longer than {format_age(sweep.limit_s)}"
    if sweep.queue_age_s:
        limit += f" and the oldest message's age, {format_age(sweep.queue_age_s)}"
    escalated = sweep.escalated or []
    if not escalated:
        return [first, f"No order was stuck: none was RECEIVED for {limit}"]
    one = len(escalated) == 1
    lines = [
        first,
        f"{len(escalated)} {'order was' if one else 'orders were'} RECEIVED for {limit}: escalated as ORDER_STUCK",
        *(f"  {order_id}" for order_id in escalated),
        "Their cases are there once a worker has handled the messages: `orders escalations list --reason ORDER_STUCK`",
    ]
    if sweep.more:
        lines.append("There are more: the next sweep escalates them")
    return lines


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _why_not(sweep: "Sweep") -> str:
    """Return why a sweep has escalated nothing, or not everything."""
    from workers.operations.stuck import Deferred  # noqa: PLC0415 - see above.

    if sweep.deferred in set(Deferred):
        return f"nothing was escalated: {Deferred(sweep.deferred).explanation}"
    return f"the sweep has ended as {sweep.status}: {clean(sweep.error or sweep.deferred or 'no reason is known')}"
