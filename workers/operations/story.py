"""Gathers all that is known about one order: the order, its case, its executions and the workers' log lines."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from workers.aws.items import to_item
from workers.domain.ids import execution_name
from workers.domain.orders import is_order_id
from workers.domain.submissions import submission_name, submission_number
from workers.domain.text import clean
from workers.operations.concurrency import in_parallel
from workers.operations.errors import OperationError
from workers.operations.executions import Execution, read_execution
from workers.operations.history import Run, episodes, runs_of
from workers.operations.lines import read
from workers.operations.log_records import records
from workers.operations.order_letters import Search, Subject, search
from workers.operations.order_table import is_key, shown_order
from workers.operations.related_cases import cases_of_letters, cases_resubmitted_as, stored_case
from workers.operations.timeline import Entry, timeline
from workers.threads import in_thread

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_CONCURRENT_REQUESTS = 8
MAX_EARLIER_SUBMISSIONS = 20  # How many numbers before the last known submission are looked at.


@dataclass(frozen=True, slots=True)
class Story:
    """
    All that is known about *key*, the id of an order or of a case.

    *runs* are the executions, sorted by start, *searches* found the dead letters of the queues for fulfillment and for
    escalations, and *timeline* has all events, sorted by time. *related_cases*, by id, do not name the order: workers
    have opened them for those dead letters, or a person has resubmitted the order from them.
    """

    key: str
    order: dict[str, Any] | None
    case: dict[str, Any] | None
    runs: list[Run]
    searches: Sequence[Search]
    timeline: list[Entry]
    related_cases: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def executions(self) -> list[Execution]:
        return [run.execution for run in self.runs]


class UnknownIdError(OperationError):
    """Nothing is known about an id."""


Look = Callable[["Stack", Subject], Awaitable[Sequence[Search]]]


async def gather(stack: "Stack", key: str, log_files: Iterable[BinaryIO] = (), *, look: Look = search) -> Story:
    """
    Return the story of the order with the id *key*, or of the case with this id if it has no order.

    *log_files* contain the workers' JSON lines. They are read twice, so they must be seekable. *look* finds the dead
    letters.

    Raises:
        UnknownIdError: Nothing is known about this id.
    """
    order, case = await stored(stack, key)
    named = _named_executions(order or {}, case or {})
    subject = _subject(key, named, case or {})
    found, searches = await asyncio.gather(_executions(stack, key, named), _searches(stack, subject, look))
    executions = sorted(found, key=lambda execution: execution.started_at or "")
    if order is None and case is None and not executions and not any(search.letters for search in searches):
        raise UnknownIdError(f"there is no order or case {clean(key)}{_hint(key, searches)}")
    arns = [execution.arn for execution in executions]
    lines = await in_thread(_log_lines, log_files, key, case, arns)
    runs, events = runs_of(order, case, executions), timeline(order, case, executions, lines)
    others = await cases_of_letters(stack, key, searches)
    if order is not None and order.get("OrderId") == key:
        others += await cases_resubmitted_as(stack, key, case or {}, arns)
    return Story(key, order, case, runs, searches, events, {other["CaseId"]: other for other in others})


def _hint(key: str, searches: Iterable[Search]) -> str:
    """Say what to do about an unknown id, and which dead letters were not looked at."""
    gaps = "".join(f" (dead letters of {search.queue}: {search.gap})" for search in searches if search.gap)
    return f"{'; to submit it: `orders submit FILE`' if is_order_id(key) else ', and this cannot be an OrderId'}{gaps}"


async def stored(stack: "Stack", key: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the order and the case with this id. The case of an execution may name its order."""
    if not is_key(key):
        return None, None
    order = await _stored_order(stack, key)
    case = await stored_case(stack, key)
    if order is None and case is not None and "MergedInto" not in case:
        of = case.get("OrderId") or _resubmitted_as(case)
        order = await _stored_order(stack, of) if isinstance(of, str) and of != key else None
    return order, case


def _resubmitted_as(case: Mapping[str, Any]) -> str | None:
    """Return the id that a person gave an order when they resubmitted it from a case that had none."""
    claim = case.get("Claim") or {}
    is_done = any(resolution.get("ExecutionArn") == claim.get("ExecutionArn") for resolution in _resolutions(case))
    return claim.get("OrderId") if claim and is_done else None


def _resolutions(case: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    resolutions: Sequence[Mapping[str, Any]] = case.get("Resolutions", [])
    return resolutions


async def _stored_order(stack: "Stack", order_id: str) -> dict[str, Any] | None:
    found = await stack.dynamodb.call(
        "get_item", TableName=stack.names.order_table, Key=to_item({"OrderId": order_id}), ConsistentRead=True
    )
    return shown_order(found["Item"]) if "Item" in found else None


def _named_executions(order: Mapping[str, Any], case: Mapping[str, Any]) -> list[str]:
    """Return the executions that the order and the case name, each once."""
    named = [
        *(copy.get("ExecutionArn") for _, copy in episodes(case)),
        *case.get("ExecutionArns", []),
        *(resolution.get("ExecutionArn") for resolution in _resolutions(case)),
        (case.get("Claim") or {}).get("ExecutionArn"),
        order.get("ExecutionArn"),
    ]
    return [arn for arn in dict.fromkeys(named) if isinstance(arn, str)]


def _subject(key: str, named: Sequence[str], case: Mapping[str, Any]) -> Subject:
    origins = (evidence.get("OriginMessageId") for evidence in case.get("Evidence", []))
    return Subject(key, set(named), {*case.get("MessageIds", []), *filter(None, origins)})


async def _searches(stack: "Stack", subject: Subject, look: Look) -> Sequence[Search]:
    return await look(stack, subject) if is_key(subject.key) else []


async def _executions(stack: "Stack", order_id: str, named: Sequence[str]) -> list[Execution]:
    """Return the *named* executions, and any others that `orders submit` started."""
    reads = in_parallel(lambda arn: read_execution(stack, arn), named, at_most=MAX_CONCURRENT_REQUESTS)
    async with aclosing(reads):
        found = [execution async for execution in reads]
    executions = [
        execution or Execution(arn, problem="does not exist, or no longer")
        for arn, execution in zip(named, found, strict=True)
    ]
    if is_order_id(order_id):
        executions += [execution async for execution in _submissions(stack, order_id, named)]
    return executions


async def _submissions(stack: "Stack", order_id: str, named: Sequence[str]) -> AsyncIterator[Execution]:
    """
    Yield the submissions of the order that are not among the *named* executions.

    After the last one that is named, it stops at the first that does not exist.
    """
    numbers = (submission_number(order_id, execution_name(arn)) for arn in named)
    last = max((number for number in numbers if number is not None), default=0)
    for number in itertools.count(max(1, last - MAX_EARLIER_SUBMISSIONS)):
        arn = await stack.execution_arn(submission_name(order_id, number))
        if arn in named:
            continue
        submitted = await read_execution(stack, arn)
        if submitted is not None and submitted.problem is None:
            yield submitted
        elif submitted is not None or number > last:
            return


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
    # Searching the raw line first saves parsing most lines.
    pattern = re.compile(b"|".join(re.escape(value.encode(errors="replace")) for value in values))
    for fields in records(read(file), pattern.search):
        if any(fields.get(name) in of_name for name, of_name in list(ids.items())):
            yield fields
