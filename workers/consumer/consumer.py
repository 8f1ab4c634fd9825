"""The pipeline of one queue: it wires the stages, handles messages, and stops in order."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from workers.consumer.acknowledger import Acknowledger
from workers.consumer.delivery import Cancellation, Delivery, DeliveryState, Ending
from workers.consumer.demand import Demand
from workers.consumer.drain import awaited
from workers.consumer.elapsed import elapsed_s
from workers.consumer.in_flight import InFlight
from workers.consumer.message import Acknowledged, DeadLettered, Message, Released, Settlement
from workers.consumer.output import OUTPUT_FULL, Output
from workers.consumer.pause import Pause, Pauses
from workers.consumer.poller import FRESH_S as POLL_FRESH_S
from workers.consumer.poller import Poller
from workers.consumer.ports import MAX_BATCH, Handler, Lines, Queue
from workers.consumer.prefetch import Prefetch
from workers.consumer.rate import make_gate
from workers.consumer.slots import Slots
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.consumer.trials import Handle, Trials
from workers.consumer.visibility import FRESH_S as EXTENSION_FRESH_S
from workers.consumer.visibility import VisibilityExtender
from workers.errors import FatalError, TransientError
from workers.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    The limits of one consumer. Durations in seconds.

    At most `concurrency` handlers run at once. A message delivered more than `max_deliveries` times is given up. A
    handler may run for `max_handle_s`; once the consumer stops, for `drain_s` at most. Up to `max_polls` receives run
    at once. A receive that runs for longer than `stuck_poll_s` makes the consumer unhealthy. At most `per_second`
    messages begin a second; None: any number.
    """

    concurrency: int
    max_deliveries: int
    max_handle_s: float
    drain_s: float
    max_polls: int
    stuck_poll_s: float
    per_second: float | None = None


class Consumer:
    """
    Moves messages from one queue through its handler to the acknowledger.

    The path of a message: the `Poller` receives it, `_accept` adds it to those in flight, `_process` calls the handler,
    and the `Acknowledger` deletes or releases it. Meanwhile the `VisibilityExtender` keeps it invisible to other
    consumers, and the `Gate` holds it while a service that the handler needs is down. Before a message is acknowledged,
    the important *lines* about it are written.
    """

    def __init__(
        self,
        queue: Queue,
        handler: Handler,
        limits: Limits,
        metrics: Metrics | None = None,
        timings: Timings = DEFAULT_TIMINGS,
        *,
        now_s: Callable[[], float] = elapsed_s,
        lines: Lines | None = None,
        pauses: Pauses | None = None,
        in_flight: Callable[..., InFlight] = InFlight,
    ) -> None:
        """*now_s* is the clock of visibility timeouts, *in_flight* makes the `InFlight`."""
        self._metrics = metrics or Metrics()
        self._outages = self._metrics.outages
        self._output = Output(lines, self._outages.stage("log_output"))
        self.pause = Pause(pauses, self._metrics, timings)
        self._handler = handler
        self._limits = limits
        self._timings = timings
        self._prefetch = Prefetch(limits.concurrency, prefetch_s=timings.prefetch_s)
        self._slots = Slots(limits.concurrency + self._prefetch.count)
        self._in_flight = in_flight(self._slots, queue.visibility_timeout_s, self._metrics, now_s=now_s)
        self._gate = make_gate(limits.per_second, self._not_begun, _used_downstream, timings, self._metrics)
        self._running = asyncio.Semaphore(limits.concurrency)
        self._trials = Trials(handler, timings)
        self._acknowledger = Acknowledger(queue, self._in_flight, timings, self._outages)
        self._visibility = VisibilityExtender(
            queue=queue,
            in_flight=self._in_flight,
            max_handle_s=limits.max_handle_s,
            timings=timings,
            outage=self._outages.stage("visibility_extension", fresh_s=EXTENSION_FRESH_S),
        )
        self._poller = Poller(
            queue=queue,
            slots=self._slots,
            gate=self._gate,
            accept=self._accept,
            prefetch=self._prefetch,
            demand=Demand(limits.max_polls),
            min_batch=min(limits.concurrency, MAX_BATCH),
            stuck_after_s=limits.stuck_poll_s,
            now_s=now_s,
            timings=timings,
            outage=self._outages.stage("poll", fresh_s=POLL_FRESH_S),
            output=self._output,
            pause=self.pause,
            polled=self._metrics.polled,
        )
        self._work: asyncio.TaskGroup | None = None
        self._stopping = False

    def _not_begun(self) -> int:
        return self._in_flight.not_begun() + self._poller.asked()

    def handling_s(self) -> list[float]:
        """Return for each message in flight how many seconds its handler has been running; 0 if it is not running."""
        now_s = asyncio.get_running_loop().time()
        return [delivery.running_for_s(now_s) for delivery in self._in_flight]

    def health_problem(self) -> str | None:
        """Return a problem that only a restart fixes, or None. An outage of AWS is not such a problem."""
        if self._poller.is_stuck():
            return "no poll has finished for too long"
        if max(self.handling_s(), default=0.0) > self._limits.max_handle_s + self._timings.stuck_margin_s:
            return "a handler has been running for too long"
        return None

    def readiness_problem(self) -> str | None:
        """Return why this consumer receives nothing, or what has failed for too long; None if all is well."""
        if self._stopping:
            return "stopping"
        if self._output.is_full:
            return OUTPUT_FULL
        return "polls fail" if self._poller.is_failing() else self._outages.problem()

    async def run(self, stop: asyncio.Event) -> None:
        """
        Consume until *stop* is set, then drain for at most `drain_s` seconds.

        Raises:
            ExceptionGroup: A stage failed for good; the process should exit.
        """
        try:
            async with asyncio.TaskGroup() as last:
                acknowledging = last.create_task(self._acknowledger.run(), name="acknowledger")
                try:
                    await self._extend_and_consume(stop)
                finally:
                    for delivery in self._in_flight:
                        if delivery.settlement is None:  # Its task never ran, or raised a `FatalError`.
                            self._acknowledger.settle(delivery, Released("stopping"))
                    self._acknowledger.close()
                    # Wait here: after a failed stage the group would cancel the acknowledger before it has flushed.
                    await asyncio.wait([acknowledging])
        finally:
            for delivery in self._in_flight:
                self._in_flight.end(delivery, Ending.ABANDONED, "unconfirmed")

    async def _extend_and_consume(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as side:
            extending = side.create_task(self._visibility.run(), name="visibility")
            try:
                await self._consume(stop)
            finally:
                extending.cancel()

    async def _consume(self, stop: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(None) as drain, asyncio.TaskGroup() as self._work:
                polling = self._work.create_task(self._poll(), name="poller")
                try:
                    await stop.wait()
                finally:  # Also after a failed stage, so that `_accept` releases the messages of a running receive.
                    self._stopping = True
                log.info(
                    "consumer.stopping",
                    in_flight=len(self._in_flight),
                    drain_s=self._limits.drain_s,
                    waiting_for=awaited(self._poller.waits_s(), self._in_flight, self._limits.drain_s),
                )
                drain.reschedule(asyncio.get_running_loop().time() + self._limits.drain_s)
                polling.cancel()
                self._gate.cancel_waiters()
                for delivery in self._in_flight:
                    if delivery.state is DeliveryState.RECEIVED:
                        delivery.cancel(Cancellation.STOPPING)
        except TimeoutError:
            log.warning("consumer.drain_expired", drain_s=self._limits.drain_s)

    async def _poll(self) -> None:
        try:
            await self._poller.run()
        except Exception:
            self._stopping = True  # Before the group cancels the others.
            raise

    def _accept(self, messages: Sequence[Message], asked_at_s: float) -> None:
        for message in messages:
            delivery = self._in_flight.take(message, asked_at_s)
            if delivery is None:
                self._slots.release(1)  # Already in flight, so it already has a slot.
            elif self._in_flight.was_handled(message.id):
                self._acknowledger.settle(delivery, Acknowledged("duplicate"))
            elif self._stopping or self._work is None:
                self._acknowledger.settle(delivery, Released("stopping"))
            else:
                self._work.create_task(self._process(delivery), name=message.id, context=delivery.context)

    async def _process(self, delivery: Delivery) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in a task.
        delivery.assign(task)  # Not earlier: a task cancelled before its first step would not end the delivery.
        if delivery.cancellation is not None:
            self._cut_short(delivery, asyncio.CancelledError())
            return
        try:
            if delivery.message.receive_count > self._limits.max_deliveries:
                settlement = await self._trials.run(delivery, self._handle, self._is_stopped)
            else:
                settlement = await self._handle(delivery, self._handler.handle)
            if self._output.awaits(delivery.message.id):
                settlement = await self._output.logged(delivery.message.id, settlement)
        except asyncio.CancelledError as error:
            self._cut_short(delivery, error)
            raise
        except Exception:
            self._stopping = True  # From now on the group starts no tasks, and receives may be answered at any moment.
            raise
        self._acknowledger.settle(delivery, settlement)

    def _cut_short(self, delivery: Delivery, error: asyncio.CancelledError) -> None:
        """Settle or end a cancelled delivery, depending on the reason."""
        match self._cancellation(delivery):
            case Cancellation.RECEIPT_LOST:
                self._in_flight.end(delivery, Ending.ABANDONED, "receipt_lost")
            case Cancellation.TIMED_OUT:
                log.warning("message.timed_out", max_handle_s=self._limits.max_handle_s)
                delay_s = self._release_delay_s(delivery.message.receive_count)
                self._acknowledger.settle(delivery, Released("timed_out", delay_s))
            case Cancellation.STOPPING:
                self._acknowledger.settle(delivery, Released("stopping"))
            case None:  # The handler, or something it awaited, cancelled itself.
                log.error("message.failed", exc_info=error)
                delay_s = self._release_delay_s(delivery.message.receive_count)
                self._acknowledger.settle(delivery, Released("unexpected_error", delay_s))

    def _cancellation(self, delivery: Delivery) -> Cancellation | None:
        if delivery.cancellation is None and self._stopping:
            return Cancellation.STOPPING  # The task group cancelled it: the drain time is over, or a stage failed.
        return delivery.cancellation

    def _is_stopped(self, delivery: Delivery) -> bool:
        return self._cancellation(delivery) is Cancellation.STOPPING

    async def _handle(self, delivery: Delivery, handle: Handle) -> Settlement:
        loop, message = asyncio.get_running_loop(), delivery.message

        async def handle_now() -> Acknowledged | DeadLettered:
            if self._in_flight.is_lost(delivery):
                delivery.cancel(Cancellation.RECEIPT_LOST)
                await asyncio.sleep(0)  # Raises the cancellation.
            delivery.begin_handling(loop.time())
            try:
                return await handle(message)
            finally:
                self._observe(delivery.end_handling(loop.time()))

        try:
            async with self._running:
                delivery.start()
                return await self._gate.run(handle_now)
        except FatalError:
            raise
        except TransientError as error:
            log.warning("message.failed", reason=str(error))
            delay_s = max(self._release_delay_s(message.receive_count), math.ceil(error.retry_after_s))
            return Released("transient", delay_s)
        except Exception:
            log.exception("message.failed")
            return Released("unexpected_error", self._release_delay_s(message.receive_count))

    def _release_delay_s(self, receive_count: int) -> int:
        return round(self._timings.release.wait_s(receive_count))

    def _observe(self, handle_s: float) -> None:
        self._metrics.handle_s.observe(handle_s)
        self._prefetch.observe(handle_s)
        self._slots.resize(self._limits.concurrency + self._prefetch.count)


def _used_downstream(settlement: Acknowledged | DeadLettered) -> bool:
    return not isinstance(settlement, Acknowledged) or settlement.used_downstream
