"""What a stop waits for, in words."""

import math
from collections.abc import Iterable, Sequence

from workers.consumer.delivery import Delivery, DeliveryState


def awaited(polls_s: Sequence[float], in_flight: Iterable[Delivery], drain_s: float) -> str | None:
    """
    Return what a stop waits for, and for how long at most; None if that is nothing.

    *polls_s* says for each running receive how many seconds it may still take, *drain_s* how many the handlers may.
    """
    running = sum(delivery.state is DeliveryState.RUNNING for delivery in in_flight)
    awaited = []
    if polls_s:
        polls = "a long poll" if len(polls_s) == 1 else f"{len(polls_s)} long polls"
        awaited.append(f"{polls}, at most {math.ceil(max(polls_s))} s")
    if running:
        messages = "a message" if running == 1 else f"{running} messages"
        awaited.append(f"{messages}, at most {drain_s:g} s")
    return "; ".join(awaited) or None
