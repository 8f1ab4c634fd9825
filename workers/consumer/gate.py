"""Holds messages while a service that all of them need is down."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from enum import Enum, auto
from typing import Any, TypeVar

import structlog

from workers.consumer.failures import FailureTracker
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError, SuspectedOutageError
from workers.metrics import StageOutage

log = structlog.get_logger(__name__)

T = TypeVar("T")


class GateState(Enum):
    OPEN = auto()
    SUSPECTED = auto()
    CLOSED = auto()


class Gate:
    """
    A circuit breaker that holds its callers instead of failing them.

    | from              | on                                                         | to                           |
    | ----------------- | ---------------------------------------------------------- | ---------------------------- |
    | OPEN              | `OutageError` (`SuspectedOutageError`)                     | CLOSED (SUSPECTED)           |
    | CLOSED, SUSPECTED | a probe that raises `OutageError` (`SuspectedOutageError`) | CLOSED (SUSPECTED)           |
    | CLOSED, SUSPECTED | a probe that fails in another way: the outage is over      | OPEN                         |
    | CLOSED, SUSPECTED | a probe that returns                                       | OPEN if it *used_downstream* |

    While it is not OPEN, callers wait and no messages are received. One caller at a time probes, with backoff, and not
    before the outage's `retry_after_s`. When a probe opens the gate, all callers resume at once.

    - CLOSED: a caller may probe only if its own call has failed. The others wait until no such caller is left: their
      calls might succeed without the service that is down, and open the gate too early. If there is no caller at all,
      one message is received to probe with.
    - SUSPECTED: only a few calls have failed, and each may have had its own reason. So other callers probe too, and
      every `suspected_receive_interval_s` one more message is received. The rest of the queue does not have to wait. A
      caller that fails again and again while the gate is open waits a little longer each time.

    *outage* lasts as long as any caller is held, even if the gate opens for others in between.
    """

    def __init__(
        self,
        used_downstream: Callable[[Any], bool] = lambda _: True,
        timings: Timings = DEFAULT_TIMINGS,
        outage: StageOutage | None = None,
    ) -> None:
        self._timings = timings
        self._outage = outage
        self._used_downstream = used_downstream
        self._state = GateState.OPEN  # Only a probe sets it back to OPEN, and probes take turns.
        self._failures = FailureTracker("downstream", timings)
        self._reason = ""
        self._not_before_s = -math.inf
        self._probing = asyncio.Lock()
        self._held = 0  # Callers in `_holding`: they probe in turn.
        self._unaffected = 0  # Callers in `_wait_for_affected`.
        self._others_may_run = asyncio.Event()  # Set while the gate is open or no caller is held.
        self._may_receive = asyncio.Event()  # Set while the gate is open or no caller waits here at all.
        self._idle: set[asyncio.Task[Any]] = set()  # Callers without a running call: `cancel_waiters` cancels them.
        self._cancelling = False
        self._update()

    @property
    def is_open(self) -> bool:
        return self._state is GateState.OPEN

    async def wait_to_receive(self, at_most: int) -> int:
        """Wait until it makes sense to receive. Returns how many to ask for: *at_most*, or one to probe with."""
        if not self._may_receive.is_set():
            log.debug("receive.held", state=self._state.name.lower(), reason=self._reason)
        while not self._may_receive.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timings.suspected_receive_interval_s):
                    await self._may_receive.wait()
            if self._state is GateState.SUSPECTED:
                break
        return at_most if self.is_open else 1

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        Await *call* and return its result; hold the caller through any outage, and call again after it.

        Raises:
            FatalError: AWS has refused access for longer than new permissions take to become effective.
        """
        if self._state is not GateState.OPEN:
            await self._wait_for_affected()
        if self._state is GateState.OPEN:
            try:
                return await call()
            except OutageError as error:
                self._close(error)
        with self._holding() as held:
            failed_while_open = 0
            while True:
                try:
                    async with self._turn():
                        if not self.is_open:
                            return await self._probe(call)
                    # Another probe has opened the gate. This call runs outside the turn: all callers resume at once.
                    if failed_while_open:
                        with self._waiting():
                            await _wait("held", self._timings.probe.wait_s(failed_while_open))
                    failed_while_open += 1
                    return await call()
                except OutageError as error:
                    self._close(error)
                    if self._outage is not None:
                        self._outage.failed(str(error), held)

    def answered(self) -> None:
        """Note that a receive was answered. Its messages are in flight by now."""

    def cancel_waiters(self) -> None:
        """Cancel every caller that waits here without a running call, or will wait later: the worker is stopping."""
        self._cancelling = True
        for task in list(self._idle):
            task.cancel()

    async def _wait_for_affected(self) -> None:
        """Wait until the gate is open, or until no held caller is left to probe. If SUSPECTED, do not wait."""
        if self._state is GateState.SUSPECTED:
            return
        self._unaffected += 1
        self._update()
        try:
            while not self._others_may_run.is_set():
                with self._waiting():
                    await self._others_may_run.wait()
        finally:
            self._unaffected -= 1
            self._update()

    async def _probe(self, call: Callable[[], Awaitable[T]]) -> T:
        """Await *call* when the next probe is due; open the gate if the outage is over. Call it inside `_turn`."""
        with self._waiting():
            await _wait("probe", self._until_probe_s())
        try:
            result = await call()
        except OutageError as error:
            log.debug("probe.finished", result="outage", reason=str(error))
            self._record(error)
            raise
        except Exception as error:
            log.debug("probe.finished", result="failed", reason=type(error).__name__)
            self._open()  # The call got through, so its failure concerns only its own message.
            raise
        proves = self._used_downstream(result)
        log.debug("probe.finished", result="passed" if proves else "not used")
        if proves:
            self._open()
        return result

    def _until_probe_s(self) -> float:
        backoff_s = self._timings.probe.wait_s(self._failures.failures)
        return max(backoff_s, self._not_before_s - asyncio.get_running_loop().time())

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
        """Mark the caller as waiting, so that `cancel_waiters` cancels it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in a task.
        if self._cancelling:
            raise asyncio.CancelledError
        self._idle.add(task)
        try:
            yield
        finally:
            self._idle.discard(task)

    @contextlib.contextmanager
    def _holding(self) -> Iterator[object]:
        """Count the caller as held. Yields the key of its row of the outage."""
        held = object()
        log.debug("message.held", state=self._state.name.lower(), reason=self._reason)
        self._held += 1
        self._update()
        if self._outage is not None:
            self._outage.failed(self._reason, held)
        try:
            yield held
        finally:
            self._held -= 1
            self._update()
            if self._outage is not None:
                self._outage.ended(held)

    def _close(self, error: OutageError) -> None:
        self._reason = str(error)
        self._not_before_s = max(self._not_before_s, asyncio.get_running_loop().time() + error.retry_after_s)
        if self.is_open:  # Count simultaneous failures once, so that the first probe comes soon.
            self._record(error)

    def _record(self, error: OutageError) -> None:
        before = self._state
        self._state = GateState.SUSPECTED if isinstance(error, SuspectedOutageError) else GateState.CLOSED
        if self._state is not before:
            self._log_change(before, str(error))
        self._update()
        self._failures.failed(error)

    def _open(self) -> None:
        before, self._state = self._state, GateState.OPEN
        self._log_change(before, "a probe got through")
        self._update()
        self._failures.recovered()

    def _log_change(self, before: GateState, reason: str) -> None:
        log.debug("gate.changed", state=self._state.name.lower(), before=before.name.lower(), reason=reason)

    def _update(self) -> None:
        for event, waiting in ((self._others_may_run, self._held), (self._may_receive, self._held + self._unaffected)):
            if self.is_open or waiting == 0:
                event.set()
            else:
                event.clear()


async def _wait(stage: str, wait_s: float) -> None:
    log.debug("retry.scheduled", stage=stage, delay_ms=round(wait_s * 1000))
    await asyncio.sleep(wait_s)
