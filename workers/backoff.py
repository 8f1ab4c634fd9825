"""How long to wait before another try."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    Exponential backoff with full jitter: a wait from 0 to `base_s`, doubled with each try, at most `cap_s`.

    Full jitter spreads many clients best of the usual variants (AWS Architecture Blog, "Exponential Backoff And
    Jitter").
    """

    base_s: float
    cap_s: float

    def wait_s(self, attempt: int) -> float:
        """Return how many seconds to wait after try number *attempt*, counted from 1."""
        return random.uniform(0, self.max_wait_s(attempt))  # noqa: S311 - jitter, not a secret.

    def max_wait_s(self, attempt: int) -> float:
        """Return the longest wait after try number *attempt*: the wait without jitter."""
        return min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 32))


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float) -> float:
    """Return `Backoff(base_s, cap_s).wait_s(attempt)`."""
    return Backoff(base_s, cap_s).wait_s(attempt)
