"""Stops receiving while people have paused the queue."""

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import structlog

from workers.consumer.failures import FailureTracker, outages_only
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import FatalError, OutageError
from workers.metrics import Metrics

log = structlog.get_logger(__name__)

READ_EVERY_S = 60.0
MAX_READ_S = 10.0  # Also how long the first receive waits at most for the first answer.
# Whether the queue is paused may be unknown for long without harm: if the role of a task is older than its worker.
LOGGED_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True)
class Person:
    """Who paused or resumed a queue, since when and why; None if that cannot be read."""

    actor: str | None = None
    since: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class PauseState:
    """Who has paused a queue, None if it is not paused; and who resumed it last, as far as that is known."""

    paused: Person | None = None
    resumed: Person | None = None


class Pauses(Protocol):
    """Where people say that a queue is paused."""

    async def read(self) -> PauseState:
        """Return whether the queue is paused. May raise any error."""


class Pause:
    """
    Knows whether the queue is paused. It looks once a minute, and before the first receive.

    If that fails, it stays as it was, at the start not paused: this must never stop a worker, nor make it unhealthy.
    """

    def __init__(
        self, pauses: Pauses | None, metrics: Metrics | None = None, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        """Without *pauses*, the queue is never paused."""
        self.current: Person | None = None
        self._pauses = pauses
        self._failures = FailureTracker("pause_check", replace(timings, log_every_s=LOGGED_EVERY_S))
        self._since_s: float  # Set when it is paused.
        self._may_receive = asyncio.Event()
        if pauses is None:
            self._may_receive.set()
        elif metrics is not None:
            metrics.paused.set_function(lambda: float(self.is_paused))

    @property
    def is_paused(self) -> bool:
        return self.current is not None

    def note(self) -> str | None:
        """Return what a healthy worker says about the pause; None if there is none."""
        if self.current is None:
            return None
        since = f" since {self.current.since}" if self.current.since else ""
        return f"paused{since} by {self.current.actor or 'an unknown person'}"

    async def wait(self) -> None:
        """Wait until the queue is not paused."""
        await self._may_receive.wait()

    async def watch(self) -> None:
        """Look again and again, until cancelled."""
        while self._pauses is not None:
            await self._look(self._pauses)
            await asyncio.sleep(READ_EVERY_S)

    async def _look(self, pauses: Pauses) -> None:
        try:
            async with asyncio.timeout(MAX_READ_S):
                found = await outages_only(pauses.read())
        except TimeoutError:
            self._failures.failed(OutageError(f"no answer within {MAX_READ_S:g} s"))
        except (OutageError, FatalError) as error:
            self._failures.failed(OutageError(str(error)))  # Of no other class: a lasting AccessDenied is not fatal.
        else:
            self._failures.recovered()
            self._change(found)
        if not self.is_paused:
            self._may_receive.set()

    def _change(self, found: PauseState) -> None:
        before, self.current = self.current, found.paused
        if self.current == before:
            return
        now_s = asyncio.get_running_loop().time()
        if self.current is not None:
            self._since_s = self._since_s if before is not None else now_s
            self._may_receive.clear()
            log.info("consumer.paused", **asdict(self.current))
        else:
            by = found.resumed or Person()
            if before is not None and (by.since or "") < (before.since or ""):  # Of a pause before.
                by = Person()
            log.info("consumer.resumed", **asdict(by), duration_ms=round((now_s - self._since_s) * 1000))
