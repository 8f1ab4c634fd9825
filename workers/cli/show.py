"""`orders show`: everything that is known of one order, on one screen."""

import itertools
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from workers.aws.items import from_item, to_item
from workers.cli.executions import Execution, read_execution
from workers.cli.order_table import is_key, shown_order
from workers.cli.output import CliError, print_json, print_line, print_table
from workers.cli.parallel import in_parallel
from workers.cli.stack import pass_old_stack
from workers.cli.story import tell
from workers.domain.orders import is_order_id
from workers.domain.submissions import submission_name
from workers.operations.ages import format_age as written
from workers.operations.ages import seconds_since as since
from workers.operations.lines import read
from workers.operations.log_lines import parse
from workers.operations.text import clean

if TYPE_CHECKING:
    from workers.cli.stack import Stack

_AT_ONCE = 8
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
    help="Merge the workers' own lines on this order, from a file of their JSON lines. May be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, for scripts.")
@pass_old_stack
def command(stack: "Stack", order_id: str, *, log_files: Sequence[BinaryIO], as_json: bool) -> None:
    """
    Tell the whole story of the order ORDER_ID, in order of time.

    That is the order as it is stored, its card number masked; the executions that are known of it, with the states they
    entered; its escalation case, with what was said, where that was routed and how a person settled it. Instead of an
    OrderId it may be a case's id, of a case without an order.

    Executions are found by the order, by its case and by the names that `orders submit` gives; AWS keeps their history
    for 90 days. Times are UTC.
    """
    order, case = _stored(stack, order_id)
    executions = sorted(
        _executions(stack, order_id, order, case), key=lambda each: [step.at for step in each.steps[:1]]
    )
    if order is None and case is None and not executions:
        raise CliError(f"there is no order and no case {clean(order_id)}")
    lines = _log_lines(log_files, order_id, case, [each.arn for each in executions])
    entries = tell(order, case, executions, lines)
    if as_json:
        story = {"order": order, "case": case}
        executed = [_document(each) for each in executions]
        print_json(story | {"executions": executed, "timeline": [asdict(each) for each in entries]})
        return
    for each in _heading(order_id, order or {}, case or {}, executions, stack.now()):
        print_line(each)
    print_line()
    rows = [(each.at.replace("T", " ").rstrip("Z")[:23], each.source, each.text) for each in entries]
    print_table(("time", "from", "what"), rows)


def _stored(stack: "Stack", key: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if not is_key(key):
        return None, None
    found = stack.dynamodb.get_item(
        TableName=stack.names.order_table, Key=to_item({"OrderId": key}), ConsistentRead=True
    )
    order = shown_order(found["Item"]) if "Item" in found else None
    answer = stack.dynamodb.get_item(
        TableName=stack.names.escalation_table, Key=to_item({"CaseId": key}), ConsistentRead=True
    )
    case = from_item(answer["Item"]) if "Item" in answer else None
    return order, case


def _executions(
    stack: "Stack", order_id: str, order: Mapping[str, Any] | None, case: Mapping[str, Any] | None
) -> Iterator[Execution]:
    """Yield the executions that are known of, and those by which the order was submitted, recorded or not."""
    known = [
        *(case or {}).get("ExecutionArns", []),
        *(each.get("ExecutionArn") for each in (case or {}).get("Resolutions", [])),
        (order or {}).get("ExecutionArn"),
    ]
    arns = [each for each in dict.fromkeys(known) if isinstance(each, str)]
    for arn, read_one in zip(
        arns, in_parallel(lambda arn: read_execution(stack, arn), arns, at_most=_AT_ONCE), strict=True
    ):
        yield read_one or Execution(arn, problem="there is none, or none any more")
    if not is_order_id(order_id):
        return
    for number in itertools.count(1):
        arn = stack.execution_arn(submission_name(order_id, number))
        if arn in arns:
            continue
        submitted = read_execution(stack, arn)
        if submitted is None or submitted.problem:
            return
        yield submitted


def _document(execution: Execution) -> dict[str, Any]:
    return {
        "ExecutionArn": execution.arn,
        "Status": execution.status,
        "States": execution.states,
        "Problem": execution.problem,
    }


def _log_lines(
    files: Iterable[BinaryIO], order_id: str, case: Mapping[str, Any] | None, arns: Sequence[str]
) -> list[Mapping[str, Any]]:
    """
    Return the workers' lines on the order.

    Each file is read twice: a message's first lines do not say yet which order it is about.
    """
    found: list[Mapping[str, Any]] = []
    for file in files:
        ids = {"message_id": set((case or {}).get("MessageIds", []))}
        ids |= {"order_id": {order_id}, "case_id": {order_id}, "execution_arn": set(arns)}
        with _rereadable(file) as lines:
            for fields in _matching(lines, ids):
                if "message_id" in fields:
                    ids["message_id"].add(fields["message_id"])
            lines.seek(0)
            found.extend(_matching(lines, ids))
    return found


def _matching(file: BinaryIO, ids: Mapping[str, set[str]]) -> Iterator[Mapping[str, Any]]:
    wanted = {value for values in ids.values() for value in values}
    # To look for them in the raw line saves parsing nearly all of them.
    pattern = re.compile(b"|".join(re.escape(each.encode(errors="replace")) for each in wanted))
    for line in read(file):
        fields = parse(line.raw) if pattern.search(line.raw) else None
        if fields is not None and any(fields.get(name) in values for name, values in list(ids.items())):
            yield fields


def _rereadable(file: BinaryIO) -> BinaryIO:
    if file.seekable():
        return file
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it.
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _heading(
    order_id: str, order: Mapping[str, Any], case: Mapping[str, Any], executions: Sequence[Execution], now: datetime
) -> Iterator[str]:
    """Yield the lines above the story: how everything is now."""
    age = written(since(order.get("UpdatedAt"), now))
    yield f"Order {order_id}: {order.get('Status')} for {age or 'ever'}" if order else f"Order {order_id}: not recorded"
    yield from (f"  {name:<10}  {_listed(order[name])}" for name in _SHOWN if name in order)
    if case:
        state = f"{case.get('State')}, {case.get('Severity')}, episode {case.get('Episode')}"
        yield f"Case {case['CaseId']}: {state}: {_listed(case.get('Reasons', []))}"
    for number, each in enumerate(executions, 1):
        current = ", the current one" if each.arn == order.get("ExecutionArn") else ""
        yield f"Execution {number}: {each.name}: {each.problem or each.status}{current}"


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
