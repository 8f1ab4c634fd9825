"""Stops receiving while people have paused the queue."""

import asyncio
from dataclasses import dataclass, replace
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
class Paused:
    """Who paused a queue, when and why; None if that cannot be read."""

    actor: str | None = None
    since: str | None = None
    note: str | None = None


class Pauses(Protocol):
    """Where people say that a queue is paused."""

    async def paused(self) -> Paused | None:
        """Return who paused the queue; None if it is not paused. May raise any error."""


class Pause:
    """
    Knows whether the queue is paused. It looks once a minute, and before the first receive.

    If that fails, it stays as it was, at the start not paused: this must never stop a worker, nor make it unhealthy.
    """

    def __init__(
        self, pauses: Pauses | None, metrics: Metrics | None = None, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        """Without *pauses*, the queue is never paused."""
        self.current: Paused | None = None
        self._pauses = pauses
        self._failures = FailureTracker("pause_check", replace(timings, log_every_s=LOGGED_EVERY_S))
        self._since_s = 0.0
        self._may_receive = asyncio.Event()
        if pauses is None:
            self._may_receive.set()
        elif metrics is not None:
            metrics.paused.set_function(lambda: float(self.is_paused))

    @property
    def is_paused(self) -> bool:
        return self.current is not None

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
                found = await outages_only(pauses.paused())
        except TimeoutError:
            self._failures.failed(OutageError(f"no answer within {MAX_READ_S:g} s"))
        except (OutageError, FatalError) as error:
            self._failures.failed(OutageError(str(error)))  # Of no other class: a lasting AccessDenied is not fatal.
        else:
            self._failures.recovered()
            self._change(found)
        if not self.is_paused:
            self._may_receive.set()

    def _change(self, found: Paused | None) -> None:
        before, self.current = self.current, found
        if found == before:
            return
        now_s = asyncio.get_running_loop().time()
        if found is not None:
            self._since_s = self._since_s if before is not None else now_s
            self._may_receive.clear()
            log.info("consumer.paused", actor=found.actor, since=found.since, note=found.note)
        elif before is not None:
            duration_ms = round((now_s - self._since_s) * 1000)
            log.info(
                "consumer.resumed", actor=before.actor, since=before.since, note=before.note, duration_ms=duration_ms
            )
