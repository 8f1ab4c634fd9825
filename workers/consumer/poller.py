"""Receives messages: one long poll when the queue is idle, several receives under backlog, none without free slots."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from workers.consumer.demand import Demand
from workers.consumer.elapsed import elapsed_s
from workers.consumer.failures import FailureTracker, outages_only
from workers.consumer.gate import Gate
from workers.consumer.message import Message
from workers.consumer.output import Output
from workers.consumer.pause import Pause
from workers.consumer.ports import MAX_BATCH, Queue
from workers.consumer.prefetch import Prefetch
from workers.consumer.slots import Slots
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError
from workers.metrics import StageOutage

log = structlog.get_logger(__name__)

# An outage counts for this long after the last failed receive: longer than a failing receive and its backoff take.
# While all slots are taken, no receive is tried, so nothing shows that the outage is over.
FRESH_S = 120.0
# How long receives wait for messages while another one is running. So they end soon after a burst, and do not keep
# slots reserved. With a wait of a second, SQS still looks for messages on all of its servers.
EXTRA_WAIT_S = 1


@dataclass(frozen=True, slots=True)
class _Receive:
    """A running receive: how many slots it has reserved, when it began by the two clocks, and how long it waits."""

    reserved: int
    asked_at_s: float
    started_at_s: float
    wait_s: float


@dataclass(slots=True, kw_only=True)
class Poller:
    """
    Keeps the slots filled. Passes the messages it receives to `accept`, with the time of the request (by `now_s`).

    While slots are free and the gate is open, as many receives run as `demand` says: one when the queue is idle. Under
    load a receive waits a little until `min_batch` slots are free, because a receive of one message costs as much as
    one of ten. During an outage only one receive at a time is tried.

    While the output of the log is full, or the queue is paused, nothing is received.

    `is_stuck` is true if a receive takes longer than `stuck_after_s` seconds.
    """

    queue: Queue
    slots: Slots
    gate: Gate
    accept: Callable[[Sequence[Message], float], None]
    prefetch: Prefetch
    demand: Demand
    min_batch: int
    stuck_after_s: float
    now_s: Callable[[], float] = elapsed_s
    timings: Timings = DEFAULT_TIMINGS
    outage: StageOutage | None = None
    output: Output = field(default_factory=Output)
    pause: Pause = field(default_factory=lambda: Pause(None))
    polled: Callable[[], None] = lambda: None  # Called for each receive that SQS has answered.
    _receives: dict[asyncio.Future[Sequence[Message]], _Receive] = field(default_factory=dict)
    _answered: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: asyncio.Future[None] | None = None
    _failures: FailureTracker = field(init=False)
    _failed_at_s: float = -math.inf
    _retry_at_s: float = -math.inf

    def __post_init__(self) -> None:
        self._failures = FailureTracker("poll", self.timings, self.outage)

    async def run(self) -> None:
        """
        Receive until cancelled.

        Running receives finish first and their messages go to `accept`: otherwise they would stay invisible for a whole
        visibility timeout.

        Raises:
            ExceptionGroup: Of `FatalError`: the queue is gone, or AWS refuses access for good.
        """
        self._ended = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as stage:
                stage.create_task(self.pause.watch(), name="pause")
                stage.create_task(self._keep_receiving(), name="receive")
                await self._ended
        finally:
            if self.outage is not None:
                self.outage.ended(self._failures)

    def is_failing(self) -> bool:
        return self._failures.failures > 0

    def is_stuck(self) -> bool:
        """Return whether a receive has been running for longer than any timeout allows."""
        now_s = asyncio.get_running_loop().time()
        return any(now_s - receive.started_at_s > self.stuck_after_s for receive in self._receives.values())

    def asked(self) -> int:
        """Return how many messages the running receives have asked for."""
        return sum(receive.reserved for receive in self._receives.values())

    def waits_s(self) -> list[float]:
        """Return for each running receive how many more seconds it may wait for messages."""
        now_s = asyncio.get_running_loop().time()
        return [max(0.0, receive.started_at_s + receive.wait_s - now_s) for receive in self._receives.values()]

    async def _keep_receiving(self) -> None:
        try:
            while True:
                self._receive(await self._reserve())
        finally:
            # A task group cancels a task once. So this waits for the answers even if the drain time ends meanwhile.
            if self._receives:
                await asyncio.wait(self._receives)

    def _receive(self, reserved: int) -> None:
        max_wait_s = EXTRA_WAIT_S if self._receives else None
        wait_s = self.queue.wait_s if max_wait_s is None else min(self.queue.wait_s, max_wait_s)
        receive = _Receive(reserved, self.now_s(), asyncio.get_running_loop().time(), wait_s)
        request = asyncio.ensure_future(outages_only(self.queue.receive(reserved, max_wait_s)))
        self._receives[request] = receive
        request.add_done_callback(self._finish)

    async def _reserve(self) -> int:
        """Wait until another receive is needed and slots are free for it; return how many are reserved."""
        while True:
            if len(self._receives) >= self.demand.polls:
                await self._await_answer()
                continue
            await self.output.wait_for_room()
            await self.pause.wait()
            if (wait_s := self._until_retry_s()) > 0:
                await asyncio.sleep(wait_s)
            limit = await self.gate.wait_to_receive(MAX_BATCH)
            to_probe = not self.gate.is_open
            if to_probe and self._receives:
                await self._await_answer()
                continue
            reserved = await self.slots.reserve(min(limit, self.min_batch), limit, self.prefetch.max_wait_s)
            # While this waited, the gate may have closed, an answer may have shown that no other receive is needed, a
            # receive may have failed, whose slots are these, the output of the log may have become full, or the queue
            # may have been paused.
            needed = len(self._receives) < self.demand.polls and self._until_retry_s() <= 0
            if needed and not self.output.is_full and not self.pause.is_paused and (to_probe or self.gate.is_open):
                return reserved
            self.slots.release(reserved)

    def _until_retry_s(self) -> float:
        return self._retry_at_s - asyncio.get_running_loop().time()

    async def _await_answer(self) -> None:
        self._answered.clear()
        await self._answered.wait()

    def _finish(self, request: asyncio.Future[Sequence[Message]]) -> None:
        """Pass on the messages of an answered *request*. Any error that is not an outage ends the stage."""
        receive = self._receives.pop(request)
        self._answered.set()
        try:
            messages = self._messages(request, receive)
            self.slots.release(receive.reserved - len(messages))
            self.accept(messages, receive.asked_at_s)
            self.gate.answered()
        except Exception as error:  # noqa: BLE001 - raised by `run`.
            if self._ended is not None and not self._ended.done():
                self._ended.set_exception(error)

    def _messages(self, request: asyncio.Future[Sequence[Message]], receive: _Receive) -> Sequence[Message]:
        """Return the messages of an answered request, none if it failed."""
        try:
            messages = request.result()
        except asyncio.CancelledError:
            return ()
        except OutageError as error:
            self._log(receive, received=0, reason=str(error))
            self._fail(error, receive)
            return ()
        self._failures.recovered()
        self.polled()
        took_s = asyncio.get_running_loop().time() - receive.started_at_s
        self.demand.answered(len(messages), took_s, len(self._receives) + 1)
        self.prefetch.receive_s = self.demand.receive_s
        self._log(receive, len(messages))
        return messages

    def _log(self, receive: _Receive, received: int, reason: str | None = None) -> None:
        duration_s = asyncio.get_running_loop().time() - receive.started_at_s
        log.debug(
            "receive.finished",
            asked=receive.reserved,
            received=received,
            duration_ms=round(duration_s * 1000, 1),
            running=len(self._receives),
            reason=reason,
        )

    def _fail(self, error: OutageError, receive: _Receive) -> None:
        """Count a failed receive, and wait before the next one. Receives that fail together count once."""
        self.demand.shrink()
        if receive.started_at_s < self._failed_at_s:
            return
        self._failed_at_s = asyncio.get_running_loop().time()
        wait_s = self.timings.poll_retry.wait_s(self._failures.failures + 1)
        self._retry_at_s = self._failed_at_s + wait_s
        log.debug("retry.scheduled", stage="poll", delay_ms=round(wait_s * 1000))
        self._failures.failed(error)
