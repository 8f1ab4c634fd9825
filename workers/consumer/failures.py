"""Counts and logs the failures of a stage, from the first one to the recovery."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import AccessDeniedError, FatalError, OutageError, plain_name
from workers.metrics import StageOutage

log = structlog.get_logger(__name__)

T = TypeVar("T")


async def outages_only(call: Awaitable[T]) -> T:
    """
    Await a call to the queue, and turn any unexpected error into an `OutageError`.

    The next call may succeed, so such an error must not end the consumer.

    Raises:
        OutageError: The call failed.
        FatalError: The queue is gone.
    """
    try:
        return await call
    except (OutageError, FatalError):
        raise
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        raise OutageError("the call was cancelled by something else") from error
    except Exception as error:
        raise OutageError(f"the call failed ({plain_name(error)})") from error


class FailureTracker:
    """
    Counts the consecutive failures of one stage.

    Logs `<stage>.failed` at the first failure, and then at most every `log_every_s` seconds. Logs `<stage>.recovered`
    once the stage works again. If *outage* is given, the consecutive failures are one of its rows.
    """

    def __init__(self, stage: str, timings: Timings = DEFAULT_TIMINGS, outage: StageOutage | None = None) -> None:
        self.stage = stage
        self.failures = 0
        self._timings = timings
        self._outage = outage
        self._denied_since_s: float | None = None
        # Set by the first failure.
        self._since_s: float
        self._logged_at_s: float
        self._denied_at_s: float

    def failed(self, error: OutageError) -> None:
        """
        Count one more failure.

        Raises:
            FatalError: AWS has refused access for longer than new permissions take to become effective.
        """
        now_s = asyncio.get_running_loop().time()
        if self._outage is not None:
            self._outage.failed(str(error), self)
        if self.failures == 0:
            self._since_s = now_s
        if self.failures == 0 or now_s - self._logged_at_s >= self._timings.log_every_s:
            self._logged_at_s = now_s
            log.warning(f"{self.stage}.failed", reason=str(error), failures=self.failures + 1)
        self.failures += 1
        if not isinstance(error, AccessDeniedError):
            self._denied_since_s = None
            return
        if self._denied_since_s is None or now_s - self._denied_at_s > self._timings.access_denied_fresh_s:
            self._denied_since_s = now_s
        self._denied_at_s = now_s
        if now_s - self._denied_since_s > self._timings.access_denied_patience_s:
            raise FatalError(str(error)) from error

    def recovered(self) -> None:
        """Start counting from zero again: the stage works."""
        if self._outage is not None:
            self._outage.ended(self)
        if self.failures:
            duration_s = asyncio.get_running_loop().time() - self._since_s
            log.info(f"{self.stage}.recovered", failures=self.failures, duration_ms=round(duration_s * 1000))
            self.failures, self._denied_since_s = 0, None
