"""How long to wait before the next attempt."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    Exponential backoff with full jitter: a random wait from 0 to a bound.

    The bound is `base_s` seconds, doubles with each attempt, and stops at `cap_s`. Of the usual variants, full jitter
    spreads many clients best (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """

    base_s: float
    cap_s: float

    def wait_s(self, attempt: int) -> float:
        """Return how many seconds to wait after attempt number *attempt*, counted from 1."""
        return random.uniform(0, self.max_wait_s(attempt))  # noqa: S311 - jitter, not a secret.

    def max_wait_s(self, attempt: int) -> float:
        """Return the longest wait after attempt number *attempt*: the wait without jitter."""
        return min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 32))
