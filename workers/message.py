"""A message as it was received, and what becomes of it."""

import asyncio
from collections.abc import Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One received message. `sent_at_s` and `first_received_at_s` are seconds since the epoch."""

    id: str
    receipt_handle: str
    body: str
    receive_count: int = 1
    sent_at_s: float = 0.0
    first_received_at_s: float = 0.0
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """
    A handler is done with the message: delete it. `outcome` goes into the log.

    `proves` is false where it took nothing of what may be down: then this does not tell that an outage is over.
    """

    outcome: str
    proves: bool = True


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """A handler has put a copy into the dead-letter queue: delete the original."""

    outcome: str


@dataclass(frozen=True, slots=True)
class Released:
    """The message goes back to its queue, to be received again after `delay_s` seconds."""

    outcome: str
    delay_s: int = 0


Settlement = Acknowledged | DeadLettered | Released


class Ending(StrEnum):
    """The one line that every received message ends in."""

    ACKNOWLEDGED = "message.acknowledged"
    RELEASED = "message.released"
    DEAD_LETTERED = "message.dead_lettered"
    ABANDONED = "message.abandoned"


@dataclass(slots=True, eq=False, kw_only=True)
class Delivery:
    """
    A message in hand, from its receipt to its settlement.

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
