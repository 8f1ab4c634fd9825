"""Receives messages: one long poll when the queue is idle, several under backlog, none without free slots."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.consumer.failures import FailureTracker
from workers.consumer.gate import Gate
from workers.consumer.message import Message
from workers.consumer.ports import MAX_BATCH, Queue
from workers.consumer.prefetch import Prefetch
from workers.consumer.slots import Slots
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import OutageError


@dataclass(slots=True, kw_only=True)
class Poller:
    """
    Keeps the slots filled: hands every message it receives to `accept`.

    One poll is always under way while there are free slots and the gate is open. A full answer tells of a backlog and
    starts another poll beside it, up to `max_polls`; an answer that is not full ends the extra ones. Under load a
    receive waits a little until `min_batch` slots are free.
    """

    queue: Queue
    slots: Slots
    gate: Gate
    accept: Callable[[Sequence[Message]], None]
    prefetch: Prefetch
    min_batch: int
    max_polls: int
    stuck_after_s: float
    timings: Timings = DEFAULT_TIMINGS
    _polls: int = 0
    _under_way_since_s: dict[asyncio.Future[Sequence[Message]], float] = field(default_factory=dict)
    _failures: FailureTracker = field(init=False)

    def __post_init__(self) -> None:
        self._failures = FailureTracker("poll", self.timings)

    async def run(self) -> None:
        """
        Receive until cancelled. A receive under way then finishes first: what it brings would otherwise stay invisible.

        Raises:
            FatalError: The queue is gone, or AWS refuses access for good.
        """
        async with asyncio.TaskGroup() as polls:
            polls.create_task(self._poll(polls), name="poll")

    def is_failing(self) -> bool:
        return self._failures.failures > 0

    def is_stuck(self) -> bool:
        """Tell whether a receive has been under way for longer than any timeout allows."""
        now_s = asyncio.get_running_loop().time()
        return any(now_s - since_s > self.stuck_after_s for since_s in self._under_way_since_s.values())

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
        """Receive once and hand on what came; return how many that were."""
        limit = await self.gate.wait_to_receive(MAX_BATCH)
        reserved = await self.slots.reserve(min(limit, self.min_batch), limit, self.prefetch.max_wait_s)
        if limit > 1 and not self.gate.is_open:  # It closed while this waited for slots.
            self.slots.release(reserved)
            return 0
        request = asyncio.ensure_future(self.queue.receive(reserved))
        self._under_way_since_s[request] = asyncio.get_running_loop().time()
        request.add_done_callback(self._under_way_since_s.pop)
        try:
            messages = await asyncio.shield(request)
        except asyncio.CancelledError:
            self._hand_on(reserved, await self._finish(request))
            raise
        except OutageError as error:
            self.slots.release(reserved)
            self._failures.failed(error)
            await asyncio.sleep(self.timings.poll_retry.wait_s(self._failures.failures))
            return 0
        self._failures.recovered()
        self._hand_on(reserved, messages)
        return len(messages)

    async def _finish(self, request: asyncio.Future[Sequence[Message]]) -> Sequence[Message]:
        try:
            return await request
        except OutageError:
            return ()

    def _hand_on(self, reserved: int, messages: Sequence[Message]) -> None:
        self.slots.release(reserved - len(messages))
        self.accept(messages)
