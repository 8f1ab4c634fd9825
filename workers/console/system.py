"""Reads the state of the whole system, and keeps what pages show beside it: newest cases, the last sweep, a history."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from workers.console.history import History
from workers.errors import WorkerError
from workers.operations.alarms import Alarm, raised_alarms
from workers.operations.cases import OpenCases, Selection, read_open_cases
from workers.operations.errors import OperationError
from workers.operations.sdk_errors import SDK_ERRORS, explained
from workers.operations.stack import Stack
from workers.operations.status import Status
from workers.operations.status_ecs import prefix_of
from workers.operations.status_endpoints import Endpoint, Fetch
from workers.operations.status_reader import StatusReader, fetch
from workers.operations.sweep import Sweep, newest
from workers.queue_address import QueueAddress

if TYPE_CHECKING:
    from workers.domain.cases import Case

NEWEST_CASES: Final = 8
RARELY: Final = timedelta(minutes=1)  # For what changes seldom: the last sweep, and alarms.


class SystemReader:
    """
    Reads the status again and again. The rest is that of the last reading.

    `sweep` is the last sweep of stuck orders; None if there was none, or if it is unknown. `alarms` is None on a local
    AWS and before the first reading; `alarms_problem` says why the alarms are unknown.
    """

    def __init__(
        self,
        stack: Stack,
        endpoints: Sequence[Endpoint],
        *,
        has_alarms: bool,
        fetch: Fetch = fetch,
        read_cases: Callable[[Stack, Selection], Awaitable[OpenCases]] = read_open_cases,
    ) -> None:
        self._stack, self._read_open_cases = stack, read_cases
        self._reader = StatusReader(stack, endpoints, fetch=fetch, read_cases=self._read_cases, rates_at_once=False)
        self._has_alarms = has_alarms
        self._rarely_at = stack.now() - RARELY
        self.newest_cases: Sequence[Case] = ()
        self.sweep: Sweep | None = None
        self.alarms: Sequence[Alarm] | None = None
        self.alarms_problem: str | None = None
        self.history = History()

    async def read(self) -> Status:
        """Read the status; once a minute, read the last sweep and the alarms too."""
        status, _ = await asyncio.gather(self._reader.read(), self._read_rarely())
        self.history.add(status)
        return status

    async def _read_cases(self, stack: Stack, selection: Selection) -> OpenCases:
        found = await self._read_open_cases(stack, selection)
        self.newest_cases = sorted(found.selected, key=lambda case: case.opened_at, reverse=True)[:NEWEST_CASES]
        return found

    async def _read_rarely(self) -> None:
        now = self._stack.now()
        if now - self._rarely_at < RARELY:
            return
        self._rarely_at = now
        await asyncio.gather(self._read_sweep(), self._read_alarms())

    async def _read_sweep(self) -> None:
        try:
            self.sweep = await newest(self._stack)
        except (
            *SDK_ERRORS,
            WorkerError,
            OperationError,
        ):  # Without a sweep, or access to it, the rest is still useful.
            self.sweep = None

    async def _read_alarms(self) -> None:
        prefix = prefix_of(QueueAddress.parse(self._stack.names.order_fulfillment_queue).name)
        if not self._has_alarms or prefix is None:
            return
        try:
            self.alarms, self.alarms_problem = await raised_alarms(self._stack, prefix), None
        except (*SDK_ERRORS, WorkerError, OperationError) as error:
            self.alarms, self.alarms_problem = None, await explained(error, self._stack) or str(error)
