"""Counts cases in groups."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workers.domain.cases import Case
from workers.domain.orders import Order

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
