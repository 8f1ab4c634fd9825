"""A message in flight, from its receipt to its end."""

import asyncio
import logging
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from workers.consumer.message import Message, Settlement


class Ending(StrEnum):
    """The last log line of a message, and its level. Every received message gets exactly one."""

    level: int

    def __new__(cls, event: str, level: int) -> Self:
        member = str.__new__(cls, event)
        member._value_ = event
        member.level = level
        return member

    ACKNOWLEDGED = "message.acknowledged", logging.INFO
    RELEASED = "message.released", logging.INFO
    DEAD_LETTERED = "message.dead_lettered", logging.ERROR
    ABANDONED = "message.abandoned", logging.WARNING


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
