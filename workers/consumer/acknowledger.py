"""Deletes and releases settled messages, in batches. The last stage to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from itertools import count

import structlog

from workers.consumer.delivery import Delivery, Ending
from workers.consumer.failures import FailureTracker, outages_only
from workers.consumer.in_flight import InFlight
from workers.consumer.message import Acknowledged, DeadLettered, Released, Settlement
from workers.consumer.ports import MAX_BATCH, Queue, Refusal
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError
from workers.metrics import Outages, StageOutage

log = structlog.get_logger(__name__)

_Request = Callable[[Sequence[Delivery]], Awaitable[Sequence[Refusal | None]]]


class _Batcher:
    """Collects deliveries and sends them ten at a time, or fewer after *max_wait_s* seconds."""

    def __init__(self, send: Callable[[list[Delivery]], None], max_wait_s: float) -> None:
        self._send = send
        self._max_wait_s = max_wait_s
        self._entries: list[Delivery] = []
        self._timer: asyncio.TimerHandle | None = None

    def put(self, delivery: Delivery) -> None:
        self._entries.append(delivery)
        if len(self._entries) >= MAX_BATCH:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._max_wait_s, self.flush)

    def flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            batch, self._entries = self._entries, []
            self._send(batch)


class Acknowledger:
    """
    Deletes the handled messages, and releases the others to the queue.

    Writes a message's last log line once SQS has accepted its delete or release. Tries refused entries again with the
    newest receipt handle, until they are accepted, their receipt is lost, or the flush time is over.

    A message is not released if another consumer may have received it: SQS might accept the release, and deliver the
    message to a third consumer. A handled message is always deleted: no consumer needs it any more, and SQS may still
    accept the delete.
    """

    def __init__(
        self, queue: Queue, in_flight: InFlight, timings: Timings = DEFAULT_TIMINGS, outages: Outages | None = None
    ) -> None:
        self._queue = queue
        self._in_flight = in_flight
        self._timings = timings
        self._closing = asyncio.Event()
        self._context = copy_context()
        self._batches: asyncio.TaskGroup | None = None
        self._cancelled = False
        self._outages = outages
        self._deletes = self._batcher(self._delete, FailureTracker("delete", timings))
        self._releases = self._batcher(self._release, FailureTracker("release", timings))

    def settle(self, delivery: Delivery, settlement: Settlement) -> None:
        """Put *delivery* into a batch of deletes or releases. `run` must be running."""
        delivery.settle(settlement)
        if isinstance(settlement, Released):
            log.debug("release.requested", outcome=settlement.outcome, delay_s=settlement.delay_s)
            self._releases.put(delivery)
        else:
            self._in_flight.remember(delivery)
            self._deletes.put(delivery)

    async def run(self) -> None:
        """
        Delete and release until closed; then flush, for at most `flush_s` seconds.

        Raises:
            ExceptionGroup: Of `FatalError`: the queue is gone, or AWS refuses access for good.
        """
        try:
            async with asyncio.timeout(None) as flush, asyncio.TaskGroup() as self._batches:
                try:
                    await self._closing.wait()
                except asyncio.CancelledError:
                    self._cancelled = True
                    raise
                flush.reschedule(asyncio.get_running_loop().time() + self._timings.flush_s)
                self._deletes.flush()
                self._releases.flush()
        except TimeoutError:
            log.warning("acknowledger.flush_expired", flush_s=self._timings.flush_s)

    def close(self) -> None:
        """Flush the pending entries; `run` then returns."""
        self._closing.set()

    def _batcher(self, request: _Request, failures: FailureTracker) -> _Batcher:
        outage = None if self._outages is None else self._outages.stage(failures.stage)

        def start(batch: list[Delivery]) -> None:
            assert self._batches is not None, "settle() before run()"  # noqa: S101 - only a bug fails it.
            if self._cancelled:
                return  # Nothing is sent any more: the messages still in flight are abandoned.
            # Not the context of the message that fills the batch: the batch's log lines would have that message's ids.
            context = self._context.copy()  # A copy per batch, because the SDK keeps state in it.
            sending = self._send(batch, request, failures, outage)
            self._batches.create_task(sending, name=failures.stage, context=context)

        return _Batcher(start, self._timings.max_batch_wait_s)

    async def _send(
        self, batch: list[Delivery], request: _Request, failures: FailureTracker, outage: StageOutage | None
    ) -> None:
        """Send *batch*; send its refused entries again until none is left. Its failures are one row of *outage*."""
        key = object()
        try:
            for attempt in count(1):
                batch = self._without_lost(batch)
                if not batch:
                    return
                failure: OutageError | None
                entries, started_at_s = len(batch), asyncio.get_running_loop().time()
                try:
                    batch, failure = await self._send_once(batch, request)
                except OutageError as error:
                    failure = error
                duration_s = asyncio.get_running_loop().time() - started_at_s
                log.debug(
                    "batch.settled",
                    stage=failures.stage,
                    entries=entries,
                    failed=len(batch),
                    attempt=attempt,
                    duration_ms=round(duration_s * 1000, 1),
                    reason=None if failure is None else str(failure),
                )
                if failure is None:
                    failures.recovered()
                    return
                if outage is not None:
                    outage.failed(str(failure), key)
                failures.failed(failure)
                wait_s = self._timings.acknowledge_retry.wait_s(attempt)
                log.debug("retry.scheduled", stage=failures.stage, delay_ms=round(wait_s * 1000))
                await asyncio.sleep(wait_s)
        finally:
            if outage is not None:
                outage.ended(key)

    def _without_lost(self, batch: list[Delivery]) -> list[Delivery]:
        """End the deliveries that are too late to release; return the other deliveries of *batch*."""
        sendable = []
        for delivery in batch:
            if isinstance(delivery.settlement, Released) and self._in_flight.is_lost(delivery):
                self._in_flight.end(delivery, Ending.ABANDONED, "receipt_lost")
            else:
                sendable.append(delivery)
        return sendable

    async def _send_once(self, batch: list[Delivery], request: _Request) -> tuple[list[Delivery], OutageError | None]:
        """Send *batch*; return the deliveries to send again, and the reason if there are any."""
        handles = [delivery.receipt_handle for delivery in batch]
        again, codes = list[Delivery](), set[str]()
        for delivery, handle, refusal in zip(batch, handles, await request(batch), strict=True):
            if delivery.receipt_handle != handle or (refusal is not None and not refusal.receipt_lost):
                again.append(delivery)  # Refused for now, or received again meanwhile: only the newest receipt counts.
                codes.update([] if refusal is None else [refusal.code])
            elif refusal is None:
                self._end(delivery)
            else:
                self._in_flight.end(delivery, Ending.ABANDONED, "receipt_lost")
        if not again:
            return again, None
        reason = f"entries refused: {len(again)}" + (f" ({', '.join(sorted(codes))})" if codes else "")
        return again, OutageError(reason)

    def _end(self, delivery: Delivery) -> None:
        match delivery.settlement:
            case Acknowledged(outcome=outcome):
                self._in_flight.end(delivery, Ending.ACKNOWLEDGED, outcome)
            case DeadLettered(outcome):
                self._in_flight.end(delivery, Ending.DEAD_LETTERED, outcome)
            case Released(outcome):
                self._in_flight.end(delivery, Ending.RELEASED, outcome)

    async def _delete(self, batch: Sequence[Delivery]) -> Sequence[Refusal | None]:
        return await outages_only(self._queue.delete([delivery.receipt_handle for delivery in batch]))

    async def _release(self, batch: Sequence[Delivery]) -> Sequence[Refusal | None]:
        entries = [
            (delivery.receipt_handle, delivery.settlement.delay_s)
            for delivery in batch
            if isinstance(delivery.settlement, Released)  # Each is, in a batch of releases.
        ]
        return await outages_only(self._queue.change_visibility(entries))
