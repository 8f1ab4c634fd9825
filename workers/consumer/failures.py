"""What a stage says while AWS, or whatever else it needs, does not answer."""

import asyncio

import structlog

from workers.errors import AccessDeniedError, FatalError, OutageError

log = structlog.get_logger(__name__)

LOG_EVERY_S = 30.0  # An outage is one story, not a line per try.
ACCESS_DENIED_PATIENCE_S = 60.0  # Changes to IAM spread within seconds; a minute of refusals is a decision.


class FailureTracker:
    """
    Follows the failures of one stage, from the first to the recovery.

    Logs `<stage>.failed` at the first failure and then at most every `LOG_EVERY_S` seconds, and `<stage>.recovered`.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.failures = 0
        self._since_s = 0.0
        self._logged_at_s = 0.0
        self._denied_since_s: float | None = None

    def failed(self, error: OutageError) -> None:
        """
        Take note of one more failure in a row.

        Raises:
            FatalError: AWS has refused access for longer than permissions take to spread.
        """
        now_s = asyncio.get_running_loop().time()
        if self.failures == 0:
            self._since_s = now_s
        if self.failures == 0 or now_s - self._logged_at_s >= LOG_EVERY_S:
            self._logged_at_s = now_s
            log.warning(f"{self.stage}.failed", reason=str(error), failures=self.failures + 1)
        self.failures += 1
        if not isinstance(error, AccessDeniedError):
            self._denied_since_s = None
        elif self._denied_since_s is None:
            self._denied_since_s = now_s
        elif now_s - self._denied_since_s > ACCESS_DENIED_PATIENCE_S:
            raise FatalError(str(error)) from error

    def recovered(self) -> None:
        """Take note of a success."""
        if self.failures:
            duration_s = asyncio.get_running_loop().time() - self._since_s
            log.info(f"{self.stage}.recovered", failures=self.failures, duration_ms=round(duration_s * 1000))
            self.failures, self._denied_since_s = 0, None
