"""How long to wait before another try."""

import random


def full_jitter_s(attempt: int, *, base_s: float, cap_s: float) -> float:
    """
    Return a random wait in seconds before try number *attempt* + 1, counted from 1.

    Full jitter: anything from nothing to the exponential bound. It spreads a crowd of clients best of the usual
    variants (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """
    bound_s = min(cap_s, base_s * 2 ** min(attempt - 1, 32))
    return random.uniform(0, bound_s)  # noqa: S311 - jitter, not a secret.
