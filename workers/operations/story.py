"""Gathers all that is known about one order: the order, its case, its executions and the workers' log lines."""

import itertools
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from workers.aws.items import from_item, to_item
from workers.domain.orders import is_order_id
from workers.domain.submissions import submission_name
from workers.operations.concurrency import in_parallel
from workers.operations.errors import OperationError
from workers.operations.executions import Execution, read_execution
from workers.operations.lines import read
from workers.operations.log_lines import parse
from workers.operations.order_table import is_key, shown_order
from workers.operations.text import clean
from workers.operations.timeline import Entry, timeline
from workers.threads import in_thread

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_CONCURRENT_REQUESTS = 8


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known: the items in the tables, the executions sorted by start, and all events sorted by time."""

    order: dict[str, Any] | None
    case: dict[str, Any] | None
    executions: list[Execution]
    timeline: list[Entry]


async def gather(stack: "Stack", key: str, log_files: Iterable[BinaryIO] = ()) -> Story:
    """
    Return the story of the order with the id *key*, or of the case with this id if it has no order.

    *log_files* contain the workers' JSON lines. They are read twice, so they must be seekable.

    Raises:
        OperationError: Nothing is known about this id.
    """
    order, case = await _stored(stack, key)
    found = [execution async for execution in _executions(stack, key, order, case)]
    executions = sorted(found, key=lambda execution: [step.at for step in execution.steps[:1]])
    if order is None and case is None and not executions:
        raise OperationError(f"there is no order or case {clean(key)}")
    arns = [execution.arn for execution in executions]
    lines = await in_thread(_log_lines, log_files, key, case, arns)
    return Story(order, case, executions, timeline(order, case, executions, lines))


async def _stored(stack: "Stack", key: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if not is_key(key):
        return None, None
    found = await stack.dynamodb.call(
        "get_item", TableName=stack.names.order_table, Key=to_item({"OrderId": key}), ConsistentRead=True
    )
    order = shown_order(found["Item"]) if "Item" in found else None
    found = await stack.dynamodb.call(
        "get_item", TableName=stack.names.escalation_table, Key=to_item({"CaseId": key}), ConsistentRead=True
    )
    case = from_item(found["Item"]) if "Item" in found else None
    return order, case


async def _executions(
    stack: "Stack", order_id: str, order: Mapping[str, Any] | None, case: Mapping[str, Any] | None
) -> AsyncIterator[Execution]:
    """Yield the executions that the order and the case name, then any others that `orders submit` started."""
    named = [
        *(case or {}).get("ExecutionArns", []),
        *(resolution.get("ExecutionArn") for resolution in (case or {}).get("Resolutions", [])),
        (order or {}).get("ExecutionArn"),
    ]
    arns = [arn for arn in dict.fromkeys(named) if isinstance(arn, str)]
    reads = in_parallel(lambda arn: read_execution(stack, arn), arns, at_most=MAX_CONCURRENT_REQUESTS)
    async with aclosing(reads):
        remaining = iter(arns)
        async for execution in reads:
            arn = next(remaining)
            yield execution or Execution(arn, problem="does not exist, or no longer")
    if not is_order_id(order_id):
        return
    for number in itertools.count(1):
        arn = await stack.execution_arn(submission_name(order_id, number))
        if arn in arns:
            continue
        submitted = await read_execution(stack, arn)
        if submitted is None or submitted.problem:
            return
        yield submitted


def _log_lines(
    files: Iterable[BinaryIO], order_id: str, case: Mapping[str, Any] | None, arns: Sequence[str]
) -> list[Mapping[str, Any]]:
    """
    Return the workers' log lines about the order.

    Each file is read twice, because the first lines about a message do not name its order yet.
    """
    found: list[Mapping[str, Any]] = []
    for file in files:
        ids = {
            "message_id": set((case or {}).get("MessageIds", [])),
            "order_id": {order_id},
            "case_id": {order_id},
            "execution_arn": set(arns),
        }
        for fields in _matching(file, ids):
            if "message_id" in fields:
                ids["message_id"].add(fields["message_id"])
        file.seek(0)
        found.extend(_matching(file, ids))
    return found


def _matching(file: BinaryIO, ids: Mapping[str, set[str]]) -> Iterator[Mapping[str, Any]]:
    values = {value for of_name in ids.values() for value in of_name}
    # Searching the raw line first saves parsing nearly all lines.
    pattern = re.compile(b"|".join(re.escape(value.encode(errors="replace")) for value in values))
    for line in read(file):
        fields = parse(line.raw) if pattern.search(line.raw) else None
        if fields is not None and any(fields.get(name) in of_name for name, of_name in list(ids.items())):
            yield fields
