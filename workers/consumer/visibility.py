"""Keeps messages in flight invisible to other consumers, and cancels handlers that take too long."""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from workers.consumer.delivery import Cancellation, Delivery
from workers.consumer.failures import FailureTracker, outages_only
from workers.consumer.in_flight import InFlight
from workers.consumer.ports import MAX_BATCH, Queue, Refusal
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError
from workers.metrics import StageOutage

log = structlog.get_logger(__name__)

MAX_CONCURRENT_REQUESTS = 5  # A thousand messages in flight take a hundred requests.
MAX_ATTEMPTS = 3  # Immediate attempts for a refused entry. After that, it waits for the backoff.
EXTEND_AT = 0.5  # Extend once this share of the visibility timeout is left: time for several tries.
EXTEND_TOGETHER_AT = 0.65  # Then also extend messages with up to this share left, so that batches fill.
# The longest wait between two looks at the clock. The event loop's timers stop while the machine is suspended.
MAX_WAIT_S, MAX_WAIT_SHARE = 1.0, 0.05  # The share is that of the visibility timeout.
# An outage counts for this long after the last failed extension. Messages that cannot be extended are soon lost. The
# next messages are not extended before half their visibility timeout is over.
FRESH_S = 300.0
RETRY_CAP_SHARE = 0.1  # Caps the wait at this share of the visibility timeout: five tries fit into the half left.


@dataclass(slots=True, kw_only=True)
class VisibilityExtender:
    """
    Extends the visibility timeout of every message in flight, ten per request, until it is deleted or released.

    Cancels handlers that have been running for `max_handle_s` seconds, and handlers whose message's receipt is lost:
    because SQS says so, or because the visibility timeout has run out by our own clock.
    """

    queue: Queue
    in_flight: InFlight
    max_handle_s: float
    timings: Timings = DEFAULT_TIMINGS
    outage: StageOutage | None = None

    async def run(self) -> None:
        """
        Run until cancelled.

        Raises:
            ExceptionGroup: Of `FatalError`: the queue is gone, or AWS refuses access for good.
        """
        async with asyncio.TaskGroup() as loops:
            loops.create_task(self._keep_cancelling(), name="cancel")
            loops.create_task(self._keep_extending(), name="extend")

    async def _keep_cancelling(self) -> None:
        """Cancel handlers that are late or whose receipt is lost, even while an extension request hangs."""
        while True:
            self._cancel_lost()
            self._cancel_late()
            await asyncio.sleep(self._until_next_cancellation_s())

    async def _keep_extending(self) -> None:
        failures = FailureTracker("visibility_extension", self.timings, self.outage)
        retry = self.timings.extension_retry
        retry = replace(retry, cap_s=min(retry.cap_s, RETRY_CAP_SHARE * self.queue.visibility_timeout_s))
        while True:
            expiring = self._expiring()
            if not expiring:
                await asyncio.sleep(self._until_next_extension_s())
                continue
            try:
                await self._extend_all(expiring)
            except OutageError as error:
                failures.failed(error)
                wait_s = retry.wait_s(failures.failures)
                log.debug("retry.scheduled", stage=failures.stage, delay_ms=round(wait_s * 1000))
                await asyncio.sleep(wait_s)
            else:
                failures.recovered()

    def _extendable(self) -> list[Delivery]:
        now_s = self.in_flight.now_s()
        return [delivery for delivery in self.in_flight if delivery.needs_extension and not delivery.is_lost(now_s)]

    def _expiring(self) -> list[Delivery]:
        """Return the deliveries to extend now, the most urgent first."""
        now_s, timeout_s = self.in_flight.now_s(), self.queue.visibility_timeout_s
        deliveries = sorted(self._extendable(), key=lambda delivery: delivery.visible_at_s)
        if not deliveries or deliveries[0].visible_at_s - now_s > EXTEND_AT * timeout_s:
            return []
        return [delivery for delivery in deliveries if delivery.visible_at_s - now_s <= EXTEND_TOGETHER_AT * timeout_s]

    def _until_next_extension_s(self) -> float:
        """Return how long to wait. After a long poll, part of the timeout of new messages is already over."""
        now_s, timeout_s = self.in_flight.now_s(), self.queue.visibility_timeout_s
        waits_s = [delivery.visible_at_s - EXTEND_AT * timeout_s - now_s for delivery in self._extendable()]
        return min([*waits_s, self._max_wait_s])

    def _until_next_cancellation_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        waits_s = [self.max_handle_s - delivery.running_for_s(now_s) for delivery in self._cancellable()]
        return min([*waits_s, self._max_wait_s])

    @property
    def _max_wait_s(self) -> float:
        return min(MAX_WAIT_S, MAX_WAIT_SHARE * self.queue.visibility_timeout_s)

    def _cancellable(self) -> list[Delivery]:
        return [delivery for delivery in self.in_flight if delivery.cancellation is None]

    def _cancel_lost(self) -> None:
        for delivery in self.in_flight:
            if self.in_flight.is_lost(delivery):
                _cancel_lost(delivery)

    def _cancel_late(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for delivery in self._cancellable():
            if delivery.running_for_s(now_s) >= self.max_handle_s:
                delivery.cancel(Cancellation.TIMED_OUT)

    async def _extend_all(self, expiring: Sequence[Delivery]) -> None:
        waiting, attempts, failures = deque(expiring), Counter[Delivery](), list[OutageError]()

        async def extend_in_turn() -> None:
            while waiting:
                batch = [waiting.popleft() for _ in range(min(MAX_BATCH, len(waiting)))]
                now_s = self.in_flight.now_s()
                # Some may have been released or lost meanwhile.
                batch = [delivery for delivery in batch if delivery.needs_extension and not delivery.is_lost(now_s)]
                attempts.update(batch)
                try:
                    refused = await self._extend(batch) if batch else []
                except OutageError as error:
                    failures.append(error)
                    return
                for delivery, refusal in refused:
                    if attempts[delivery] < MAX_ATTEMPTS:
                        waiting.appendleft(delivery)  # Next, not behind hundreds of others.
                    else:
                        failures.append(OutageError(f"extension refused: {refusal.code}"))

        async with asyncio.TaskGroup() as extending:
            for _ in range(MAX_CONCURRENT_REQUESTS):
                extending.create_task(extend_in_turn(), name="extend")
        if failures:  # Raise only after the last batch, so that a refused entry does not delay the others.
            raise failures[0]

    async def _extend(self, batch: Sequence[Delivery]) -> list[tuple[Delivery, Refusal]]:
        """
        Extend *batch*; return the deliveries that were refused for now, and why.

        A response that comes after the delivery's visibility timeout has run out does not count: another consumer may
        have received the message before SQS got the request.
        """
        timeout_s = self.queue.visibility_timeout_s
        visible_at_s = self.in_flight.now_s() + timeout_s
        started_at_s = asyncio.get_running_loop().time()
        handles = [delivery.receipt_handle for delivery in batch]
        answers = await outages_only(self.queue.change_visibility([(handle, timeout_s) for handle in handles]))
        duration_s = asyncio.get_running_loop().time() - started_at_s
        log.debug(
            "visibility.extended",
            entries=len(batch),
            failed=len(answers) - list(answers).count(None),
            timeout_s=timeout_s,
            duration_ms=round(duration_s * 1000, 1),
        )
        refused = []
        for delivery, handle, refusal in zip(batch, handles, answers, strict=True):
            if delivery.receipt_handle != handle:
                continue  # Received again meanwhile: only the newest receipt counts.
            if self.in_flight.is_lost(delivery) or (refusal is not None and refusal.receipt_lost):
                _cancel_lost(delivery)
            elif refusal is None:
                delivery.extend(visible_at_s)
            else:
                refused.append((delivery, refusal))
        return refused


def _cancel_lost(delivery: Delivery) -> None:
    """Cancel the handler once: a second cancellation would cut its clean-up short."""
    if delivery.cancellation is not Cancellation.RECEIPT_LOST:
        delivery.cancel(Cancellation.RECEIPT_LOST)
