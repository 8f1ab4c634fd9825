"""A message in flight: its states, and why its handling was cancelled."""

import asyncio
import logging
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from enum import Enum, auto

from workers.consumer.message import Message, Released, Settlement


class Ending(Enum):
    """The last log line of a message: its event and level. Every received message gets exactly one."""

    ACKNOWLEDGED = "message.acknowledged", logging.INFO
    RELEASED = "message.released", logging.INFO
    DEAD_LETTERED = "message.dead_lettered", logging.ERROR
    ABANDONED = "message.abandoned", logging.WARNING

    def __init__(self, event: str, level: int) -> None:
        self.event = event
        self.level = level


class DeliveryState(Enum):
    """How far a delivery has come. `Delivery` has the table of transitions."""

    RECEIVED = auto()
    HELD = auto()
    RUNNING = auto()
    SETTLING = auto()


class Cancellation(Enum):
    """Why the work on a delivery is cancelled."""

    TIMED_OUT = auto()
    RECEIPT_LOST = auto()
    STOPPING = auto()


@dataclass(slots=True, eq=False, kw_only=True)
class Delivery:
    """
    A message in flight, from its receipt to its end.

    | state    | meaning                                           | next                          |
    | -------- | ------------------------------------------------- | ----------------------------- |
    | RECEIVED | its task waits for a free handler                 | `start`: HELD                 |
    | HELD     | a handler is free; in an outage the gate holds it | `begin_handling`: RUNNING     |
    | RUNNING  | the handler is working on it                      | `end_handling`: HELD          |
    | SETTLING | it waits for its delete or release                | `InFlight.end`: not in flight |

    `settle` leads from any state to SETTLING. Until then `cancel` cancels the delivery's task; `cancellation` says why.
    A delivery whose receipt is lost is not settled: `InFlight.end` ends it from any state.

    Only these methods change a delivery. Their callers:

    - `InFlight` creates it and renews its receipt.
    - `Consumer` assigns its task, starts it, marks when its handler begins and ends, and cancels it at a stop.
    - `VisibilityExtender` extends it, and cancels it when its handler takes too long or its receipt is lost.
    - `Acknowledger` settles it. Both `Acknowledger` and `Consumer` end deliveries through `InFlight.end`.

    `receipt_handle` is the newest one. `context` has the ids for the log lines of this message. `received_at_s` and
    `handled_since_s` (None unless RUNNING) are times of the event loop. `visible_at_s` is when other consumers can
    receive the message. It is a time of `elapsed_s`, as SQS's visibility timeout also runs while the machine is
    suspended.
    """

    message: Message
    receipt_handle: str
    received_at_s: float
    visible_at_s: float
    context: Context = field(default_factory=copy_context)
    handled_since_s: float | None = field(default=None, init=False)
    settlement: Settlement | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _started: bool = field(default=False, init=False)
    _receipt_lost: bool = field(default=False, init=False)
    _cancellation: Cancellation | None = field(default=None, init=False)

    @property
    def state(self) -> DeliveryState:
        if self.settlement is not None:
            return DeliveryState.SETTLING
        if self.handled_since_s is not None:
            return DeliveryState.RUNNING
        return DeliveryState.HELD if self._started else DeliveryState.RECEIVED

    @property
    def cancellation(self) -> Cancellation | None:
        """Why it was cancelled. A lost receipt outranks the other reasons, until the receipt is renewed."""
        return Cancellation.RECEIPT_LOST if self._receipt_lost else self._cancellation

    def is_lost(self, now_s: float) -> bool:
        """
        Return whether another consumer may have received the message by now.

        That is the case if SQS has said that the receipt is lost, or if the visibility timeout has run out. SQS usually
        accepts the old receipt even then, so an extension or release would take the message away from the other
        consumer.
        """
        return self._receipt_lost or self.visible_at_s <= now_s

    @property
    def needs_extension(self) -> bool:
        """Whether the message must stay invisible. That includes a handled message until its delete is accepted."""
        return not self._receipt_lost and not isinstance(self.settlement, Released)

    def running_for_s(self, now_s: float) -> float:
        """Return how many seconds the handler has been working on it; 0 unless RUNNING."""
        return 0.0 if self.handled_since_s is None else now_s - self.handled_since_s

    def assign(self, task: asyncio.Task[None]) -> None:
        """Set the task that handles it, which `cancel` cancels."""
        self._task = task

    def start(self) -> None:
        """Mark that a handler is free for it. From now on a stop lets it finish."""
        self._started = True

    def begin_handling(self, now_s: float) -> None:
        self.handled_since_s = now_s

    def end_handling(self, now_s: float) -> float:
        """Return how many seconds the handler took."""
        began_s, self.handled_since_s = self.handled_since_s, None
        return 0.0 if began_s is None else now_s - began_s

    def renew_receipt(self, receipt_handle: str, visible_at_s: float) -> None:
        """Replace the receipt: the message was delivered again, and only the newest receipt counts."""
        self.receipt_handle = receipt_handle
        self.visible_at_s = visible_at_s
        self._receipt_lost = False

    def extend(self, visible_at_s: float) -> None:
        self.visible_at_s = max(self.visible_at_s, visible_at_s)

    def settle(self, settlement: Settlement) -> None:
        self.settlement = settlement

    def cancel(self, reason: Cancellation) -> None:
        """Cancel its task, unless it is settled. A lost receipt also ends its extensions."""
        if reason is Cancellation.RECEIPT_LOST:
            self._receipt_lost = True
        else:
            self._cancellation = reason
        if self._task is not None and self.settlement is None:
            self._task.cancel()
