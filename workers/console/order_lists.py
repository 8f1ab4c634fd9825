"""The list of orders: its filters, and what is read for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Self

from workers.console.query import Query
from workers.console.rows import MAX_READ, MAX_ROWS, ROWS, mark
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason
from workers.operations.ages import format_age, parse_age
from workers.operations.documents import order_document
from workers.operations.listing import FINAL, OPEN, OrderListing, Selection
from workers.operations.stack import Stack
from workers.operations.stuck import read_rule
from workers.operations.windows import Moment, Window, parse_moment

EVERY_S, SEARCH_EVERY_S = 10.0, 30.0
FINAL_WITHIN = timedelta(days=1)  # Final orders are in the index by day: each takes 16 requests.
LABELS: Final = {
    "status": "status",
    "q": "text",
    "older_than": "older than",
    "since": "since",
    "name": "name",
    "item": "item",
    "reason": "reason",
    "actor": "actor",
    "stuck": "stuck",
}


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """What the list is asked for. Times may be relative: `selection` says what they are at a moment."""

    statuses: tuple[str, ...] = ()
    text: str | None = None
    older_than: str | None = None
    since: str | None = None
    name: str | None = None
    item: str | None = None
    reason: str | None = None
    actor: str | None = None
    stuck: bool = False
    rows: int = ROWS

    @classmethod
    def of(cls, query: Query) -> Self:
        """Read the filter from an address; `query.problems` says what is wrong with it."""
        query.check("older_than", parse_age)
        query.check("since", parse_moment)
        stuck = query.text("stuck") is not None
        statuses = tuple(query.chosen("status", list(OrderStatus)))
        if stuck and (statuses not in {(), (OrderStatus.RECEIVED,)} or query.text("older_than") or query.text("since")):
            query.problems["stuck"] = "has a status and times of its own: leave out the others"
        return cls(
            statuses=statuses,
            text=query.text("q"),
            older_than=query.text("older_than"),
            since=query.text("since"),
            name=query.text("name"),
            item=query.text("item"),
            reason=query.one_of("reason", list(Reason)),
            actor=query.text("actor"),
            stuck=stuck,
            rows=query.number("rows", ROWS, MAX_ROWS),
        )

    def query(self) -> dict[str, Any]:
        """Return the parameters of the address that leads here."""
        return {
            "status": [*self.statuses],
            "q": self.text,
            "older_than": self.older_than,
            "since": self.since,
            "name": self.name,
            "item": self.item,
            "reason": self.reason,
            "actor": self.actor,
            "stuck": self.stuck,
            "rows": self.rows if self.rows != ROWS else None,
        }

    @property
    def is_default(self) -> bool:
        return not any(self.query().values())

    @property
    def every_s(self) -> float:
        return SEARCH_EVERY_S if self.searches or self.has_final or self.stuck else EVERY_S

    @property
    def searches(self) -> bool:
        return any((self.text, self.name, self.item, self.reason, self.actor))

    @property
    def has_final(self) -> bool:
        return any(status in FINAL for status in self.statuses)

    def selection(self, now: datetime, stuck_before: datetime | None) -> Selection:
        """
        Return the orders that are asked for at *now*. *stuck_before* is for stuck ones.

        Raises:
            OperationError: The times leave no window.
        """
        since: Moment | None = parse_moment(self.since) if self.since else None
        if since is None and self.has_final:
            since = FINAL_WITHIN
        window = Window.of(now, since, stuck_before)
        return Selection(
            statuses=(OrderStatus.RECEIVED,) if self.stuck else tuple(map(OrderStatus, self.statuses)) or OPEN,
            window=window.older_than(now, parse_age(self.older_than) if self.older_than else None),
            text=self.text,
            name=self.name,
            item=self.item,
            reason=self.reason,
            actor=self.actor,
        )


@dataclass(frozen=True, slots=True)
class OrderList:
    """
    The first rows of a list, as documents, and how many orders match.

    *read* of them were looked at: all, unless *is_cut*. *window* says in words from which time final orders are.
    """

    rows: Sequence[Mapping[str, Any]]
    marks: Sequence[str]
    matched: int
    read: int
    is_cut: bool
    window: str | None


async def read_orders(stack: Stack, asked: OrderFilter) -> OrderList:
    """
    Read the list that is *asked* for.

    Raises:
        OperationError: The window is empty or too long, or no order counts as stuck for now.
    """
    before = (await read_rule(stack)).before(stack.now()) if asked.stuck else None
    selection = asked.selection(stack.now(), before)
    listing = OrderListing(stack, selection, max_read=MAX_READ)
    rows = [order_document(order) for order in await listing.page(asked.rows)]
    return OrderList(
        rows,
        [mark(row["order_id"], row["status"], row["updated_at"], row["attempts"]) for row in rows],
        listing.found.matched,
        listing.found.read,
        listing.found.is_cut,
        format_age(listing.length_s) if selection.final else None,
    )
