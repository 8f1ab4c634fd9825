"""Counts cases in groups."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workers.domain.cases import Case
from workers.domain.orders import Order
from workers.domain.reasons import Severity

GROUPS = ("reason", "severity", "source", "status")


@dataclass(frozen=True, slots=True)
class Group:
    """How many cases have *key*, and when the oldest of them was opened. A case has a key for each of its reasons."""

    key: str
    count: int
    oldest_at: str


def grouped(cases: Iterable[Case], orders: Mapping[str, Order], by: str) -> list[Group]:
    """Return the groups of *cases*, the largest first. *by* is one of `GROUPS`; *orders* are needed for `status`."""
    opened = defaultdict[str, list[str]](list)
    for case in cases:
        for key in _keys(case, orders, by):
            opened[key].append(case.opened_at)
    groups = [Group(key, len(times), min(times)) for key, times in opened.items()]
    return sorted(groups, key=lambda group: (-group.count, group.key))


@dataclass(frozen=True, slots=True)
class DetailGroup:
    """How many cases have the same reason and detail, how severe they are at most, and when the oldest was opened."""

    reason: str
    detail: str | None
    count: int
    severity: Severity
    oldest_at: str


def grouped_by_detail(cases: Iterable[Case]) -> list[DetailGroup]:
    """
    Return the groups of *cases* by reason and detail, the largest first.

    A case counts for each of its reasons, with what the newest message with this reason says.
    """
    members = defaultdict[tuple[str, str | None], list[Case]](list)
    for case in cases:
        details = {reason: evidence.detail for evidence in case.evidence for reason in evidence.reasons}
        for reason in case.reasons:
            members[reason, details.get(reason)].append(case)
    groups = [
        DetailGroup(
            reason,
            detail,
            len(found),
            Severity.highest(case.severity for case in found),
            min(case.opened_at for case in found),
        )
        for (reason, detail), found in members.items()
    ]
    return sorted(groups, key=lambda group: (-group.count, group.reason, group.detail or ""))


def _keys(case: Case, orders: Mapping[str, Order], by: str) -> Sequence[str]:
    match by:
        case "reason":
            return case.reasons
        case "severity":
            return [case.severity]
        case "source":
            return case.sources or ["none"]
        case _:
            order = orders.get(case.order_id or "")
            return ["no order" if order is None else order.status]
