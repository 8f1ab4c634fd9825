"""Counts and logs the failures of a stage, from the first one to the recovery."""

import asyncio

import structlog

from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import AccessDeniedError, FatalError, OutageError

log = structlog.get_logger(__name__)


class FailureTracker:
    """
    Counts the consecutive failures of one stage.

    Logs `<stage>.failed` at the first failure, then at most every `log_every_s` seconds, and `<stage>.recovered`.
    """

    def __init__(self, stage: str, timings: Timings = DEFAULT_TIMINGS) -> None:
        self.stage = stage
        self.failures = 0
        self._timings = timings
        self._since_s = 0.0
        self._logged_at_s = 0.0
        self._denied_since_s: float | None = None

    def failed(self, error: OutageError) -> None:
        """
        Count one more failure.

        Raises:
            FatalError: AWS has refused access for longer than new permissions take to become effective.
        """
        now_s = asyncio.get_running_loop().time()
        if self.failures == 0:
            self._since_s = now_s
        if self.failures == 0 or now_s - self._logged_at_s >= self._timings.log_every_s:
            self._logged_at_s = now_s
            log.warning(f"{self.stage}.failed", reason=str(error), failures=self.failures + 1)
        self.failures += 1
        if not isinstance(error, AccessDeniedError):
            self._denied_since_s = None
        elif self._denied_since_s is None:
            self._denied_since_s = now_s
        elif now_s - self._denied_since_s > self._timings.access_denied_patience_s:
            raise FatalError(str(error)) from error

    def recovered(self) -> None:
        """Start counting from zero again: the stage works."""
        if self.failures:
            duration_s = asyncio.get_running_loop().time() - self._since_s
            log.info(f"{self.stage}.recovered", failures=self.failures, duration_ms=round(duration_s * 1000))
            self.failures, self._denied_since_s = 0, None
