"""Holds messages while something that all of them need is down."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

from workers.consumer.failures import FailureTracker
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError, SuspectedOutageError

T = TypeVar("T")


class Gate:
    """
    Open while all is well. The first outage closes it: messages in flight wait, none are received.

    One message at a time, of those that the outage has hit, probes with backoff, and not before whoever is down wants
    to be asked again. As soon as it gets through, all do; unless it *used_downstream* not at all: then it proves
    nothing. Where the outage is only suspected, another message is received every now and then: should the few in
    flight all have failed for themselves, it gets through, and the rest of the queue does not wait for them.
    """

    def __init__(
        self, used_downstream: Callable[[Any], bool] = lambda _: True, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self._timings = timings
        self._used_downstream = used_downstream
        self._open = True
        self._admitting = asyncio.Event()
        self._admitting.set()
        self._changed = asyncio.Event()
        self._changed.set()
        self._probing = asyncio.Lock()
        self._idle: set[asyncio.Task[Any]] = set()
        self._cancelling = False
        self._held = 0
        self._standing_by = 0
        self._suspected = False
        self._not_before_s = 0.0
        self._failures = FailureTracker("downstream", timings)

    @property
    def is_open(self) -> bool:
        return self._open

    async def wait_to_receive(self, at_most: int) -> int:
        """Wait until receiving makes sense, then return how many: *at_most*, or one to probe with."""
        while not self._admitting.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timings.suspected_receive_interval_s):
                    await self._admitting.wait()
            if self._suspected:
                break
        return at_most if self._open else 1

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        Await *call* and return its result; hold the caller through any outage.

        Raises:
            FatalError: AWS has refused access for longer than permissions take to spread.
        """
        if self._open:
            try:
                return await call()
            except OutageError as error:
                self._close(error)
        else:
            await self._wait_for_affected()
            if self._open:
                return await self.run(call)
        with self._holding():
            while True:
                async with self._turn():
                    if not self._open:
                        with self._waiting():
                            await asyncio.sleep(self._until_probe_s())
                        try:
                            result = await call()
                        except OutageError as error:
                            self._note(error)
                            continue
                        except Exception:
                            self._reopen()  # It got through; that it then failed is this message's own matter.
                            raise
                        if self._used_downstream(result):
                            self._reopen()
                        return result
                try:  # Another's probe got through. Outside the lock: all held messages resume at once.
                    return await call()
                except OutageError as error:
                    self._close(error)

    async def _wait_for_affected(self) -> None:
        """
        Wait until the gate is open, or nobody is left to probe whom the outage has hit.

        Who has not been hit is no good probe: its call may need nothing of what is down, and would open the gate. Where
        the outage is only suspected that is just what is wanted.
        """
        if self._suspected:
            return
        self._standing_by += 1
        self._update()
        try:
            while not self._changed.is_set():
                with self._waiting():
                    await self._changed.wait()
        finally:
            self._standing_by -= 1
            self._update()

    def cancel_waiters(self) -> None:
        """Cancel whoever only waits here, now or later, no call of theirs under way: the worker stops."""
        self._cancelling = True
        for task in list(self._idle):
            task.cancel()

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        with self._waiting():
            await self._probing.acquire()
        try:
            yield
        finally:
            self._probing.release()

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in one.
        if self._cancelling:
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    def _until_probe_s(self) -> float:
        backoff_s = self._timings.probe.wait_s(self._failures.failures)
        return max(backoff_s, self._not_before_s - asyncio.get_running_loop().time())

    @contextlib.contextmanager
    def _holding(self) -> Iterator[None]:
        self._held += 1
        self._update()
        try:
            yield
        finally:
            self._held -= 1
            self._update()

    def _close(self, error: OutageError) -> None:
        self._wait_for(error)
        if self._open:  # Of a hundred calls that fail at once, one counts: the first probe comes soon all the same.
            self._open = False
            self._update()
            self._note(error)

    def _note(self, error: OutageError) -> None:
        self._wait_for(error)
        self._suspected = isinstance(error, SuspectedOutageError)
        self._failures.failed(error)

    def _wait_for(self, error: OutageError) -> None:
        self._not_before_s = max(self._not_before_s, asyncio.get_running_loop().time() + error.retry_after_s)

    def _reopen(self) -> None:
        self._open, self._suspected = True, False
        self._update()
        self._failures.recovered()

    def _update(self) -> None:
        for event, holders in ((self._changed, self._held), (self._admitting, self._held + self._standing_by)):
            if self._open or holders == 0:
                event.set()
            else:
                event.clear()
