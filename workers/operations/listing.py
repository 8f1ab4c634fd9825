"""Lists orders, from the index by status. No listing scans the table."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workers.domain.orders import OrderStatus
from workers.operations.documents import texts
from workers.operations.order_table import MAX_BATCH, MAX_CONCURRENT_REQUESTS, get_orders
from workers.operations.progress import Progress, unreported
from workers.operations.search import Found, contains, contains_any
from workers.operations.status_index import Entry, StatusIndex, final_entries, open_entries
from workers.operations.windows import Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack

OPEN = (OrderStatus.RECEIVED, OrderStatus.ESCALATED)
FINAL = (OrderStatus.FULFILLED, OrderStatus.CANCELLED)
_STATUSES = frozenset(OrderStatus)
_TEXTS = ("OrderId", "Name", "ItemName", "Price", "ShipmentId", "CancelledBy", "CancelNote", "ResolvedBy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Selects orders. The default is all open ones.

    *window* is the time in which an order got its status; final orders are always read within a bounded one. *name*,
    *item*, *actor* and *text* are parts of texts. The actor is who cancelled the order, or resolved its case; *text*
    may be in any text of the order.
    """

    statuses: Collection[OrderStatus] = OPEN
    window: Window = field(default_factory=Window)
    name: str | None = None
    item: str | None = None
    reason: str | None = None
    actor: str | None = None
    text: str | None = None

    @property
    def searches(self) -> bool:
        """Whether orders must be read to know whether they are wanted."""
        return any(part is not None for part in (self.name, self.item, self.reason, self.actor, self.text))

    @property
    def final(self) -> list[OrderStatus]:
        return [status for status in FINAL if status in self.statuses]

    def includes(self, order: dict[str, Any]) -> bool:
        return (
            order.get("Status") in self.statuses
            and self.window.includes(order.get("UpdatedAt"))
            and "ErasedAt" not in order
            and contains(order.get("Name"), self.name)
            and contains(order.get("ItemName"), self.item)
            and (self.reason is None or self.reason in texts(order.get("Reasons")))
            and (self.actor is None or any(contains(order.get(by), self.actor) for by in ("CancelledBy", "ResolvedBy")))
            and contains_any((*map(order.get, _TEXTS), *texts(order.get("Reasons"))), self.text)
        )


class OrderListing:
    """
    The selected orders as they are now: first the open ones, the oldest first, then the final ones, the newest first.

    At most *limit* orders; at most *max_read* are read. *found* says how far it has come.

    Raises:
        OperationError: The window is too long for final orders.
    """

    def __init__(
        self,
        stack: "Stack",
        selection: Selection,
        *,
        limit: int | None = None,
        max_read: int | None = None,
        progress: Progress = unreported,
    ) -> None:
        self._stack = stack
        self._now = stack.now()
        self.window = selection.window.bounded(self._now) if selection.final else selection.window
        self.length_s = self.window.length_s(self._now)
        self._selection = selection
        self._final = replace(selection, statuses=selection.final, window=self.window)
        self._open = replace(selection, statuses=[status for status in OPEN if status in selection.statuses])
        self._limit = limit
        self._max_read = max_read
        self._progress = progress
        self.found = Found()

    async def orders(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the orders. The index is eventually consistent: an order that has just changed may be missing."""
        # To a limit, make only one request at a time, so that few more orders are read than needed.
        few = self._limit is not None and not self._selection.searches
        ids = self.found.ids(self._entries(), self._max_read)
        pages = get_orders(self._stack, ids, at_most=1 if few else MAX_CONCURRENT_REQUESTS)
        async with aclosing(pages):
            async for page in pages:
                self.found.read += len(page)
                self._progress(len(page))
                for order in page:
                    if not self._includes(order):
                        continue
                    self.found.matched += 1
                    yield order
                    if self.found.matched == self._limit:
                        self.found.is_limited = True
                        return

    async def page(self, rows: int) -> list[dict[str, Any]]:
        """
        Return the first *rows* orders; `found.matched` says how many there are, as far as they were read.

        Without a search, those that are not returned are only counted in the index, and orders whose status was edited
        to none that exists are among the first.
        """
        if self._selection.searches:
            async with aclosing(self.orders()) as orders:
                return [order async for order in orders if self.found.matched <= rows]
        ids = [order_id async for order_id in self.found.ids(self._entries(), self._max_read)]
        first, gone = list[dict[str, Any]](), 0
        begin = 0
        while len(first) < rows and begin < len(ids):
            asked = ids[begin : begin + min(MAX_BATCH, rows - len(first))]
            begin += len(asked)
            async with aclosing(get_orders(self._stack, asked)) as batches:
                found = [order async for batch in batches for order in batch if self._is_shown(order)]
            gone += len(asked) - len(found)
            first += found
        self.found.read, self.found.matched = len(ids), len(ids) - gone
        return first

    def _is_shown(self, order: dict[str, Any]) -> bool:
        return self._includes(order) or order.get("Status") not in _STATUSES

    def _includes(self, order: dict[str, Any]) -> bool:
        """Return whether the order is still selected. The index lags: it may have ended or changed since."""
        return self._open.includes(order) or self._final.includes(order)

    async def _entries(self) -> AsyncIterator[Entry]:
        index = StatusIndex.of_orders(self._stack)
        if self._open.statuses:
            async for entry in open_entries(self._stack, index, self._open.statuses, self._open.window):
                yield entry
        if self._final.statuses:
            entries = final_entries(self._stack, index, self._final.statuses, self.window, self._now)
            async for entry in entries:
                self.found.oldest_final = entry.updated_at
                yield entry
