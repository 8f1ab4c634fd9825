"""Lists resolved cases, from the index by state. No listing scans the table."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

from workers.aws.case_items import case_of
from workers.domain.cases import Case, CaseState
from workers.operations.cases import Selection
from workers.operations.order_table import get_items
from workers.operations.progress import Progress, unreported
from workers.operations.search import Found
from workers.operations.status_index import StatusIndex, final_entries

if TYPE_CHECKING:
    from workers.operations.stack import Stack


class CaseListing:
    """
    The selected cases that were resolved within a bounded window, day by day, the newest first.

    At most *limit* cases; at most *max_read* are read. *found* says how far it has come; `unreadable` has the ids of
    cases that were edited in the table and cannot be read. A case that was merged into another is left out.

    Raises:
        OperationError: The window is too long.
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
        self.window = selection.window.bounded(self._now)
        self.length_s = self.window.length_s(self._now)
        self._selection = replace(selection, window=self.window)
        self._limit = limit
        self._max_read = max_read
        self._progress = progress
        self.found = Found()
        self.unreadable: list[str] = []

    async def cases(self) -> AsyncGenerator[Case, None]:
        """Yield the cases. The index is eventually consistent: a case that has just changed may be missing."""
        index = StatusIndex.of_cases(self._stack)
        # What was added to a case after its resolution has changed it later, but its key has the day of its resolution.
        entries = final_entries(self._stack, index, [CaseState.RESOLVED], self.window, self._now, late=True)
        ids = self.found.ids(entries, self._max_read)
        async with aclosing(get_items(self._stack, index.table, index.key, ids)) as pages:
            async for page in pages:
                self.found.read += len(page)
                self._progress(len(page))
                for item in page:
                    try:
                        case = case_of(item)
                    except (KeyError, TypeError, ValueError):
                        self.unreadable.append(item[index.key])
                        continue
                    self.found.oldest_final = case.resolved_at or self.found.oldest_final
                    if (
                        case.state is CaseState.OPEN
                        or case.merged_into
                        or not self._selection.includes(case, self._now)
                    ):
                        continue
                    self.found.matched += 1
                    yield case
                    if self.found.matched == self._limit:
                        self.found.is_limited = True
                        return
