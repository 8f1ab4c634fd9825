"""Lists orders, from the index by status. No listing scans the table."""

from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from workers.domain.orders import OrderStatus
from workers.operations.documents import texts
from workers.operations.order_table import MAX_CONCURRENT_REQUESTS, get_orders
from workers.operations.progress import Progress, unreported
from workers.operations.search import Found, contains
from workers.operations.status_index import Entry, StatusIndex, final_entries, open_entries
from workers.operations.windows import Window

if TYPE_CHECKING:
    from workers.operations.stack import Stack

OPEN = (OrderStatus.RECEIVED, OrderStatus.ESCALATED)
FINAL = (OrderStatus.FULFILLED, OrderStatus.CANCELLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """
    Selects orders. The default is all open ones.

    *window* is the time in which an order got its status; final orders are always read within a bounded one. *name*,
    *item* and *actor* are parts of texts. The actor is who cancelled the order, or resolved its case.
    """

    statuses: Collection[OrderStatus] = OPEN
    window: Window = field(default_factory=Window)
    name: str | None = None
    item: str | None = None
    reason: str | None = None
    actor: str | None = None

    @property
    def searches(self) -> bool:
        """Whether orders must be read to know whether they are wanted."""
        return any(part is not None for part in (self.name, self.item, self.reason, self.actor))

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
                    # The index lags: the order may have ended or changed its status since.
                    if not (self._open.includes(order) or self._final.includes(order)):
                        continue
                    self.found.matched += 1
                    yield order
                    if self.found.matched == self._limit:
                        self.found.is_limited = True
                        return

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
