"""The list of cases: its filters, and what is read for it."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from workers.console.query import Query
from workers.console.resolving import MAX_CASES
from workers.console.rows import MAX_READ, MAX_ROWS, ROWS, mark
from workers.domain.cases import Case, CaseState
from workers.domain.orders import Order
from workers.domain.reasons import Reason, Severity, Source
from workers.errors import UnreadableOrderError
from workers.operations.ages import format_age, parse_age
from workers.operations.brief_step import brief_step
from workers.operations.cases import Selection, orders_by_id, read_open_cases, select
from workers.operations.groups import DetailGroup, Group, grouped, grouped_by_detail
from workers.operations.resolved_cases import CaseListing
from workers.operations.stack import Stack
from workers.operations.windows import Window, parse_moment

OPEN_EVERY_S, RESOLVED_EVERY_S = 5.0, 30.0
RESOLVED_WITHIN = timedelta(days=1)  # Resolved cases are in the index by day: each takes 16 requests.
MAX_SELECTED: Final = MAX_CASES
GROUPS: Final = ("reason", "detail")
LABELS: Final = {
    "state": "state",
    "q": "text",
    "severity": "severity",
    "reason": "reason",
    "source": "source",
    "older_than": "older than",
    "since": "since",
    "actor": "actor",
    "detail": "detail",
    "group": "grouped by",
}
Now = Order | UnreadableOrderError | None


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """What the list is asked for. The default is all open cases."""

    resolved: bool = False
    text: str | None = None
    severity: str | None = None
    reason: str | None = None
    source: str | None = None
    older_than: str | None = None
    since: str | None = None
    actor: str | None = None
    detail: str | None = None
    group: str | None = None
    rows: int = ROWS

    @classmethod
    def of(cls, query: Query) -> Self:
        """Read the filter from an address; `query.problems` says what is wrong with it."""
        query.check("older_than", parse_age)
        query.check("since", parse_moment)
        state = query.one_of("state", [state.lower() for state in CaseState])
        return cls(
            resolved=state == CaseState.RESOLVED.lower(),
            text=query.text("q"),
            severity=query.one_of("severity", list(Severity)),
            reason=query.one_of("reason", list(Reason)),
            source=query.one_of("source", list(Source)),
            older_than=query.text("older_than"),
            since=query.text("since"),
            actor=query.text("actor"),
            detail=query.given.get("detail") or None,
            group=query.one_of("group", GROUPS),
            rows=query.number("rows", ROWS, MAX_ROWS),
        )

    def query(self) -> dict[str, Any]:
        """Return the parameters of the address that leads here."""
        return {
            "state": "resolved" if self.resolved else None,
            "q": self.text,
            "severity": self.severity,
            "reason": self.reason,
            "source": self.source,
            "older_than": self.older_than,
            "since": self.since,
            "actor": self.actor,
            "detail": self.detail,
            "group": self.group,
            "rows": self.rows if self.rows != ROWS else None,
        }

    @property
    def is_default(self) -> bool:
        return not any(self.query().values())

    def selection(self, now: datetime) -> Selection:
        """
        Return the cases that are asked for at *now*.

        Raises:
            OperationError: The times leave no window.
        """
        since = parse_moment(self.since) if self.since else RESOLVED_WITHIN if self.resolved else None
        return Selection(
            severity=self.severity,
            reason=self.reason,
            source=self.source,
            older_than=parse_age(self.older_than) if self.older_than else None,
            window=Window.of(now, since, None),
            actor=self.actor,
            text=self.text,
            detail=self.detail,
        )


@dataclass(frozen=True, slots=True)
class CasesNow:
    """
    Cases with their orders as they are now, by id. *unreadable* ones were edited in the table.

    Of resolved cases, only those of a filter are read: *window* says in words from which time, and *is_cut* whether
    there were too many.
    """

    cases: Sequence[Case]
    orders: Mapping[str, Order | UnreadableOrderError]
    unreadable: Sequence[str]
    read: int
    is_cut: bool = False
    window: str | None = None

    def order_of(self, case: Case) -> Now:
        return self.orders.get(case.order_id or "")


async def read_open(stack: Stack) -> CasesNow:
    """Read all open cases: one reading serves the lists of all viewers, however they are filtered."""
    found = await read_open_cases(stack, Selection())
    return CasesNow(found.selected, await orders_by_id(stack, found.selected), found.unreadable, found.total)


async def read_resolved(stack: Stack, asked: CaseFilter) -> CasesNow:
    """
    Read the resolved cases that are *asked* for.

    Raises:
        OperationError: The window is empty or too long.
    """
    listing = CaseListing(stack, asked.selection(stack.now()), max_read=MAX_READ)
    async with aclosing(listing.cases()) as cases:
        found = [case async for case in cases]
    orders = await orders_by_id(stack, found[: asked.rows])
    window = format_age(listing.length_s)
    return CasesNow(found, orders, listing.unreadable, listing.found.read, listing.found.is_cut, window)


@dataclass(frozen=True, slots=True)
class CaseRow:
    """A case of the list, with its order, or why that cannot be read, and what to do about it."""

    case: Case
    order: Order | None
    order_problem: str | None
    step: str

    @property
    def chosen(self) -> str:
        """How a form names the case, and what was seen of it: `<episode>:<case id>`."""
        return chosen(self.case)


def chosen(case: Case) -> str:
    return f"{case.episode}:{case.case_id}"


@dataclass(frozen=True, slots=True)
class CaseList:
    """
    The first rows of the list, how many cases match, and what a form needs to name up to `MAX_SELECTED` of them all.

    *severities* counts all cases that were read, *groups* those that match.
    """

    rows: Sequence[CaseRow]
    marks: Sequence[str]
    matched: int
    read: int
    all_chosen: Sequence[str]
    severities: Mapping[str, int]
    reasons: Sequence[Group]
    details: Sequence[DetailGroup]
    unreadable: Sequence[str]
    is_cut: bool
    window: str | None


def listed(found: CasesNow, asked: CaseFilter, now: datetime) -> CaseList:
    """
    Return what of *found* is *asked* for.

    Raises:
        OperationError: The times leave no window.
    """
    cases = [*found.cases] if asked.resolved else select([*found.cases], asked.selection(now), now)
    rows = [_row(case, found.order_of(case)) for case in cases[: asked.rows]]
    return CaseList(
        rows=rows,
        marks=[_mark(row) for row in rows],
        matched=len(cases),
        read=found.read,
        all_chosen=[] if asked.resolved else [chosen(case) for case in cases[:MAX_SELECTED]],
        severities={severity: sum(case.severity is severity for case in found.cases) for severity in Severity},
        reasons=grouped(cases, {}, "reason") if asked.group == "reason" else [],
        details=grouped_by_detail(cases) if asked.group == "detail" else [],
        unreadable=found.unreadable,
        is_cut=found.is_cut,
        window=found.window,
    )


def _row(case: Case, now: Now) -> CaseRow:
    order = None if isinstance(now, UnreadableOrderError) else now
    problem = str(now) if isinstance(now, UnreadableOrderError) else None
    step = "correct its order in the table: it cannot be read" if problem else brief_step(case, order)
    return CaseRow(case, order, problem, step)


def _mark(row: CaseRow) -> str:
    case = row.case
    return mark(case.case_id, case.state, case.episode, case.updated_at, row.order and row.order.status)
