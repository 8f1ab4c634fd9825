"""How many messages to prefetch, given how long handlers and receives take."""

import math
from dataclasses import dataclass

from workers.consumer.timings import DEFAULT_TIMINGS

MAX_SHARE = 4  # The most messages to prefetch, per handler that may run. Only fast handlers need that many.
# While a message is handled, others are being received or deleted. Together these take about as long as this many
# receives: one receive, one delete, and the slots that a receive reserves but often does not fill.
RECEIVES = 6
WAIT_SHARE = 0.05  # A slot may stay free for this share of a handler's time, so that a receive brings more messages.
MIN_WAIT_S, MAX_WAIT_S = 0.02, 5.0  # Bounds of that time.
SMOOTHING = 0.05  # The weight of the newest handling time in the mean.


@dataclass(slots=True)
class Prefetch:
    """
    Tracks the mean time that handlers take, `handle_s`, and the shortest that a receive takes, `receive_s`, in seconds.

    Fast handlers need messages in reserve while receives and deletes are running; otherwise they wait for the network.
    Slow handlers need none: another worker could handle a message that waits here for minutes.
    """

    concurrency: int
    handle_s: float = 1.0  # Assumed until handlers have run.
    prefetch_s: float = DEFAULT_TIMINGS.prefetch_s
    receive_s: float = math.inf  # Unknown until receives have brought messages.

    def observe(self, handle_s: float) -> None:
        self.handle_s += SMOOTHING * (handle_s - self.handle_s)

    @property
    def count(self) -> int:
        """How many messages may be in flight beyond those being handled."""
        handle_s = max(self.handle_s, 0.001)
        ahead_s = self.prefetch_s + (RECEIVES * self.receive_s if math.isfinite(self.receive_s) else 0.0)
        return min(int(self.concurrency * ahead_s / handle_s), self.concurrency * MAX_SHARE)

    @property
    def max_wait_s(self) -> float:
        """How many seconds a free slot waits for others: a receive of one message costs as much as one of ten."""
        return min(max(WAIT_SHARE * self.handle_s, MIN_WAIT_S), MAX_WAIT_S)
