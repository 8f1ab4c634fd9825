"""
What each execution of an order recorded, and what came of it.

The order table has what the current execution recorded; the case has copies of what earlier ones did.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.domain.cards import masked_card_number
from workers.domain.orders import OrderStatus
from workers.operations.executions import SUCCEEDED, TO_ESCALATION, TO_FULFILLMENT, Execution

_SENT = {TO_FULFILLMENT: "sent to the OrderFulfillmentQueue", TO_ESCALATION: "sent to the EscalationQueue"}
RECORDED_FIELDS = ("Name", "ItemName", "Price", "CC")


@dataclass(frozen=True, slots=True)
class Record:
    """The order as an execution recorded it, masked. *at* is None for an item that does not say when."""

    at: str | None
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Run:
    """
    An execution, and what came of it.

    *record* is None if it recorded nothing, or if what it recorded is not known any more; `has_recorded` says which.
    """

    execution: Execution
    is_current: bool
    record: Record | None
    outcome: str

    @property
    def has_recorded(self) -> bool:
        return self.record is not None or self.execution.has_recorded


def runs_of(
    order: Mapping[str, Any] | None, case: Mapping[str, Any] | None, executions: Sequence[Execution]
) -> list[Run]:
    """Return a run for each of *executions*. *order* and *case* are items as they are stored, or None."""
    current = (order or {}).get("ExecutionArn")
    items = [*(copy for _, copy in episodes(case or {})), *([order] if order else [])]
    records = {item["ExecutionArn"]: record_of(item) for item in items if "ExecutionArn" in item}
    return [
        Run(
            execution,
            execution.arn == current,
            records.get(execution.arn),
            _outcome(execution, order if execution.arn == current else None, case or {}),
        )
        for execution in executions
    ]


def episodes(case: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield each episode of a case, the current one last, with its copy of the order, which may be empty."""
    for episode in (*case.get("Episodes", []), case):
        yield episode, episode.get("Order") or {}


def record_of(item: Mapping[str, Any]) -> Record:
    """Return what an item of the order table, or a copy of it on a case, says about the order."""
    fields = {name: str(item[name]) for name in RECORDED_FIELDS if item.get(name) is not None}
    if "CC" in fields:
        fields["CC"] = masked_card_number(fields["CC"])
    at = item.get("CreatedAt")
    return Record(None if at is None else str(at), fields)


def _outcome(execution: Execution, order: Mapping[str, Any] | None, case: Mapping[str, Any]) -> str:
    """Say what came of an execution: its own order's status, else what the case says about it, else its last state."""
    reasons = escalation_reasons(execution.arn, case)
    if order is not None:
        status = str(order.get("Status"))
        return f"{status}: {_listed(order.get('Reasons', reasons))}" if status == OrderStatus.ESCALATED else status
    if reasons:
        return f"{OrderStatus.ESCALATED}: {_listed(reasons)}"
    if execution.status == SUCCEEDED and execution.states:
        return _SENT.get(execution.states[-1], execution.status)
    return execution.end or "not known"


def escalation_reasons(arn: str, case: Mapping[str, Any]) -> Sequence[str]:
    """Return why an execution was escalated: what its messages say, else the reasons of the episode with its order."""
    evidence = [item.get("Reasons", []) for item in case.get("Evidence", []) if item.get("ExecutionArn") == arn]
    found = evidence or [
        episode.get("Reasons", []) for episode, copy in episodes(case) if copy.get("ExecutionArn") == arn
    ]
    return list(dict.fromkeys(itertools.chain.from_iterable(found)))


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
