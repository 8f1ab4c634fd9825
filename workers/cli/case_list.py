"""What `orders escalations list` prints."""

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING

from workers import clock
from workers.cli.output import note, print_json, progress
from workers.cli.rows import CsvRows, JsonRows
from workers.cli.running import run
from workers.cli.searching import Form, counted, length, matching, note_incomplete, note_not_indexed
from workers.cli.tables import print_table
from workers.domain.cases import Case
from workers.domain.orders import Order
from workers.operations.ages import format_age, seconds_since
from workers.operations.brief_step import brief_step
from workers.operations.cases import OpenCases, Selection, read_open_cases, read_orders
from workers.operations.documents import CASE_COLUMNS, case_document, case_row, order_now
from workers.operations.groups import grouped
from workers.operations.resolved_cases import CaseListing

if TYPE_CHECKING:
    from workers.operations.stack import Stack

_BATCH = 100  # Orders of resolved cases that are read together.


def print_groups(stack: "Stack", selection: Selection, by: str, *, as_json: bool) -> None:
    """Print how many open cases there are for each reason, severity, source or status of the order."""

    async def read() -> tuple[OpenCases, dict[str, Order]]:
        found = await read_open_cases(stack, selection)
        return found, await read_orders(stack, found.selected) if by == "status" else {}

    found, orders = run(stack, read())
    groups = grouped(found.selected, orders, by)
    if as_json:
        print_json([{by: group.key, "cases": group.count, "oldest_at": group.oldest_at} for group in groups])
    elif groups:
        now = stack.now()
        rows = [(group.key, group.count, format_age(seconds_since(group.oldest_at, now))) for group in groups]
        print_table((by, "cases", "oldest"), rows, right=("cases", "oldest"))
    note(_open_summary(len(found.selected), len(found.selected), found.total))
    _note_unreadable(found.unreadable)


def print_open(stack: "Stack", selection: Selection, form: Form, limit: int | None) -> None:
    """Print the open cases, and how many there are."""

    async def read() -> tuple[OpenCases, dict[str, Order]]:
        found = await read_open_cases(stack, selection)
        return found, await read_orders(stack, found.selected[:limit])

    found, orders = run(stack, read())
    rows = _CaseRows(form, stack.now())
    for case in found.selected[:limit]:
        rows.add(case, orders.get(case.order_id or ""))
    rows.end()
    note(_open_summary(rows.count, len(found.selected), found.total))
    _note_unreadable(found.unreadable)


def print_resolved(stack: "Stack", selection: Selection, form: Form, limit: int | None) -> None:
    """Print the resolved cases as they are read, and how many were read."""
    rows = _CaseRows(form, stack.now())

    async def print_them(listing: CaseListing) -> None:
        async with aclosing(listing.cases()) as cases:
            batch = list[Case]()
            async for case in cases:
                batch.append(case)
                if len(batch) == _BATCH:
                    await rows.add_all(stack, batch)
                    batch = []
            await rows.add_all(stack, batch)

    with progress("reading", None) as advance:
        listing = CaseListing(stack, selection, limit=form.limit(limit), max_read=form.max_read, progress=advance)
        run(stack, print_them(listing))
    rows.end()
    found = listing.found
    note(f"read {counted(found.read, 'resolved case')} of {length(listing.length_s)}, {matching(found)}")
    note_incomplete(found, "resolved case")
    if not found.is_limited and not found.is_cut:
        note_not_indexed(found, listing.window, "cases that were resolved")
    _note_unreadable(listing.unreadable)


class _CaseRows:
    """Prints cases, each with its order as it is now."""

    def __init__(self, form: Form, now: datetime) -> None:
        self._now = now
        self._wide = form.wide
        self._json = JsonRows() if form.as_json else None
        self._csv = CsvRows(CASE_COLUMNS) if form.as_csv else None
        self._shown: list[tuple[Case, Order | None]] = []
        self.count = 0

    async def add_all(self, stack: "Stack", cases: Sequence[Case]) -> None:
        orders = await read_orders(stack, cases)
        for case in cases:
            self.add(case, orders.get(case.order_id or ""))

    def add(self, case: Case, order: Order | None) -> None:
        self.count += 1
        if self._json is not None:
            self._json.add(case_document(case) | {"order_now": order_now(order)})
        elif self._csv is not None:
            self._csv.add(case_row(case, order))
        else:
            self._shown.append((case, order))

    def end(self) -> None:
        if self._json is not None:
            self._json.end()
        elif self._shown and all(case.resolved_at is None for case, _ in self._shown):
            print_table(
                ("case", "severity", "status", "age", "name", "item", "price", "reasons", "next"),
                [_open_row(case, order, self._now) for case, order in self._shown],
                right=("age", "price"),
                text=("name", "item", "reasons", "next"),
                wide=self._wide,
            )
        elif self._shown:
            print_table(
                ("case", "resolution", "actor", "age", "resolved", "reasons", "order", "status", "note"),
                [_resolved_row(case, order, self._now) for case, order in self._shown],
                right=("age",),
                text=("actor", "reasons", "note"),
                wide=self._wide,
            )


def _open_row(case: Case, order: Order | None, now: datetime) -> tuple[object, ...]:
    name, item, price = _named(case, order)
    return (
        case.case_id,
        case.severity,
        None if order is None else order.status,
        format_age(seconds_since(case.opened_at, now)),
        name,
        item,
        price,
        ", ".join(case.reasons),
        brief_step(case, order),
    )


def _named(case: Case, order: Order | None) -> tuple[str | None, str | None, str | None]:
    """Return name, item and price of the order as it is now; of one that the table does not have, as it was."""
    if order is not None:
        return order.name, order.item_name, order.price
    return (None, None, None) if case.order is None else (case.order.name, case.order.item_name, case.order.price)


def _resolved_row(case: Case, order: Order | None, now: datetime) -> tuple[object, ...]:
    resolution, at = case.resolution_of(case.episode), case.resolved_at
    return (
        case.case_id,
        resolution and resolution.action,
        resolution and resolution.actor,
        format_age(seconds_since(at, now)),
        at and clock.shown(at),
        ", ".join(case.reasons),
        case.order_id,
        None if order is None else order.status,
        resolution and resolution.note,
    )


def _open_summary(shown: int, selected: int, total: int) -> str:
    if not total:
        return "no case is open"
    of = f" of {selected} matching" if shown < selected else ""
    return f"{shown} shown{of}; {total} {'case is' if total == 1 else 'cases are'} open"


def _note_unreadable(case_ids: Iterable[str]) -> None:
    for case_id in case_ids:
        note(f"orders: case {case_id} cannot be read: it was edited in the table")
