"""Receives messages: one long poll when the queue is idle, several under backlog, none without free slots."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.consumer.elapsed import elapsed_s
from workers.consumer.failures import FailureTracker, outages_only
from workers.consumer.gate import Gate
from workers.consumer.message import Message
from workers.consumer.ports import MAX_BATCH, Queue
from workers.consumer.prefetch import Prefetch
from workers.consumer.slots import Slots
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError
from workers.metrics import StageOutage

# An outage counts for this long after the last failed receive: longer than a failing receive and its backoff take.
# While all slots are taken, no receive is tried, so nothing shows that the outage is over.
FRESH_S = 120.0


@dataclass(slots=True, kw_only=True)
class Poller:
    """
    Keeps the slots filled. Passes the messages it receives to `accept`, with the time of the request (by `now_s`).

    One poll always runs while slots are free and the gate is open. A full answer means a backlog, so another poll
    starts, up to `max_polls`. A poll ends when its answer is not full, unless it is the first poll. Under load a
    receive waits a little until `min_batch` slots are free, because a receive of one message costs as much as one of
    ten.

    `is_stuck` is true if a receive takes longer than `stuck_after_s` seconds.
    """

    queue: Queue
    slots: Slots
    gate: Gate
    accept: Callable[[Sequence[Message], float], None]
    prefetch: Prefetch
    min_batch: int
    max_polls: int
    stuck_after_s: float
    now_s: Callable[[], float] = elapsed_s
    timings: Timings = DEFAULT_TIMINGS
    outage: StageOutage | None = None
    _polls: int = 0
    _started_at_s: dict[asyncio.Future[Sequence[Message]], float] = field(default_factory=dict)
    _failures: FailureTracker = field(init=False)

    def __post_init__(self) -> None:
        self._failures = FailureTracker("poll", self.timings, self.outage)

    async def run(self) -> None:
        """
        Receive until cancelled.

        A running receive finishes first and its messages go to `accept`: otherwise they would stay invisible for a
        whole visibility timeout.

        Raises:
            ExceptionGroup: Of `FatalError`: the queue is gone, or AWS refuses access for good.
        """
        try:
            async with asyncio.TaskGroup() as polls:
                polls.create_task(self._poll(polls), name="poll")
        finally:
            if self.outage is not None:
                self.outage.ended(self._failures)

    def is_failing(self) -> bool:
        return self._failures.failures > 0

    def is_stuck(self) -> bool:
        """Return whether a receive has been running for longer than any timeout allows."""
        now_s = asyncio.get_running_loop().time()
        return any(now_s - started_at_s > self.stuck_after_s for started_at_s in self._started_at_s.values())

    async def _poll(self, polls: asyncio.TaskGroup) -> None:
        self._polls += 1
        first = self._polls == 1
        try:
            while True:
                received = await self._receive()
                if received == MAX_BATCH and self._polls < self.max_polls:
                    polls.create_task(self._poll(polls), name="poll")
                elif received < MAX_BATCH and not first:
                    return
        finally:
            self._polls -= 1

    async def _receive(self) -> int:
        """Receive once and pass the messages on; return how many there were."""
        limit = await self.gate.wait_to_receive(MAX_BATCH)
        reserved = await self.slots.reserve(min(limit, self.min_batch), limit, self.prefetch.max_wait_s)
        if limit > 1 and not self.gate.is_open:  # The gate closed while this poll waited for slots.
            self.slots.release(reserved)
            return 0
        asked_at_s = self.now_s()
        request = asyncio.ensure_future(outages_only(self.queue.receive(reserved)))
        self._started_at_s[request] = asyncio.get_running_loop().time()
        request.add_done_callback(self._started_at_s.pop)
        try:
            messages = await asyncio.shield(request)
        except asyncio.CancelledError:
            self._pass_on(reserved, await self._finish(request), asked_at_s)
            raise
        except OutageError as error:
            self.slots.release(reserved)
            self._failures.failed(error)
            await asyncio.sleep(self.timings.poll_retry.wait_s(self._failures.failures))
            return 0
        self._failures.recovered()
        self._pass_on(reserved, messages, asked_at_s)
        return len(messages)

    async def _finish(self, request: asyncio.Future[Sequence[Message]]) -> Sequence[Message]:
        try:
            return await request
        except OutageError:
            return ()

    def _pass_on(self, reserved: int, messages: Sequence[Message], asked_at_s: float) -> None:
        self.slots.release(reserved - len(messages))
        self.accept(messages, asked_at_s)
