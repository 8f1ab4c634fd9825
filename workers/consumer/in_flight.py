"""The messages in flight: received, and not yet deleted, released or abandoned."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator

import structlog
from structlog.contextvars import bind_contextvars

from workers.consumer.delivery import Delivery, DeliveryState, Ending
from workers.consumer.elapsed import elapsed_s
from workers.consumer.message import Message
from workers.consumer.slots import Slots
from workers.metrics import Metrics

log = structlog.get_logger(__name__)

MAX_REMEMBERED = 50_000  # Handled ids, at most about 10 MB. Reached only at 400 messages a second.


class InFlight:
    """
    Knows every message in flight, and the ids of those handled recently, so that none is handled twice.

    Remembers handled ids for two visibility timeouts: a message whose delete was refused or lost comes back after one.
    The event loop's clock measures that time, and stops while the machine is suspended: a message that is handled just
    before a suspend comes back after it, and must be remembered then.

    *now_s* is the clock of visibility timeouts.
    """

    def __init__(
        self,
        slots: Slots,
        visibility_timeout_s: int,
        metrics: Metrics,
        *,
        max_remembered: int = MAX_REMEMBERED,
        now_s: Callable[[], float] = elapsed_s,
    ) -> None:
        self.now_s = now_s
        self._slots = slots
        self._metrics = metrics
        self._visibility_timeout_s = visibility_timeout_s
        self._max_remembered = max_remembered
        self._deliveries: dict[str, Delivery] = {}
        self._handled: OrderedDict[str, float] = OrderedDict()
        metrics.in_flight.set_function(lambda: len(self._deliveries))

    def __len__(self) -> int:
        return len(self._deliveries)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(list(self._deliveries.values()))

    def take(self, message: Message, asked_at_s: float) -> Delivery | None:
        """
        Add *message* and return its delivery; return None if the message is already in flight.

        *asked_at_s* is when the message was requested. Its visibility timeout began later; only SQS knows exactly when.

        If the message is already in flight, only its new receipt handle is kept, because the newest one counts. If the
        response came so late that the visibility timeout has run out, the new handle is ignored too.
        """
        visible_at_s = asked_at_s + self._visibility_timeout_s
        if (known := self._deliveries.get(message.id)) is not None:
            if visible_at_s > self.now_s():
                known.renew_receipt(message.receipt_handle, visible_at_s)
            return None
        delivery = Delivery(
            message=message,
            receipt_handle=message.receipt_handle,
            received_at_s=asyncio.get_running_loop().time(),
            visible_at_s=visible_at_s,
        )
        delivery.context.run(bind_contextvars, message_id=message.id, receive_count=message.receive_count)
        self._deliveries[message.id] = delivery
        self._metrics.received.inc()
        self._metrics.age_s.observe(max(0.0, time.time() - message.sent_at_s))
        return delivery

    def not_begun(self) -> int:
        """Return how many messages have no running handler and are not settled."""
        waiting = (DeliveryState.RECEIVED, DeliveryState.HELD)
        return sum(delivery.state in waiting for delivery in self._deliveries.values())

    def is_lost(self, delivery: Delivery) -> bool:
        """Return whether another consumer may have *delivery* by now. See `Delivery.is_lost`."""
        return delivery.is_lost(self.now_s())

    def remember(self, delivery: Delivery) -> None:
        """Remember *delivery* as handled, even if its delete fails later."""
        now_s = asyncio.get_running_loop().time()
        self._handled[delivery.message.id] = now_s
        self._handled.move_to_end(delivery.message.id)  # Keeps the oldest first when an id is handled again.
        oldest_s = now_s - 2 * self._visibility_timeout_s
        while len(self._handled) > self._max_remembered or next(iter(self._handled.values())) < oldest_s:
            self._handled.popitem(last=False)

    def was_handled(self, message_id: str) -> bool:
        """Return whether this process has handled the message within the last two visibility timeouts."""
        handled_at_s = self._handled.get(message_id)
        if handled_at_s is None:
            return False
        return asyncio.get_running_loop().time() - handled_at_s <= 2 * self._visibility_timeout_s

    def end(self, delivery: Delivery, ending: Ending, outcome: str) -> None:
        """Write the last log line of *delivery* and free its slot. Only the first call counts."""
        if self._deliveries.pop(delivery.message.id, None) is None:
            return
        self._slots.release(1)
        self._metrics.settled.inc(ending.event, outcome)
        duration_s = asyncio.get_running_loop().time() - delivery.received_at_s
        # In a copy: the caller may be running in this context, and a context cannot be entered twice.
        delivery.context.copy().run(
            log.log, ending.level, ending.event, outcome=outcome, duration_ms=round(duration_s * 1000, 1)
        )
