"""A message in flight, from its receipt to its end."""

import asyncio
import logging
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import StrEnum

from workers.consumer.message import Message, Settlement


class Ending(StrEnum):
    """The one line that every received message ends in."""

    ACKNOWLEDGED = "message.acknowledged"
    RELEASED = "message.released"
    DEAD_LETTERED = "message.dead_lettered"
    ABANDONED = "message.abandoned"


@dataclass(slots=True, eq=False, kw_only=True)
class Delivery:
    """
    A message in flight, from its receipt to its settlement.

    `context` is what it is handled in: it knows the ids that its log lines carry. `receipt_handle` is the newest one;
    `received_at_s`, `visible_at_s` (when others may receive it again) and `handled_since_s` (None while no handler is
    at it) are in the event loop's time.
    """

    message: Message
    receipt_handle: str
    received_at_s: float
    visible_at_s: float
    started: bool = False
    lost: bool = False
    timed_out: bool = False
    handled_since_s: float | None = None
    task: asyncio.Task[None] | None = None
    settlement: Settlement | None = None
    context: Context = field(default_factory=copy_context)


_LEVELS = {
    Ending.ACKNOWLEDGED: logging.INFO,
    Ending.RELEASED: logging.INFO,
    Ending.DEAD_LETTERED: logging.ERROR,
    Ending.ABANDONED: logging.WARNING,
}
