"""Limits how many messages a consumer begins a second, and receives only those that can begin soon."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from workers.consumer.gate import Gate
from workers.consumer.ports import MAX_BATCH
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.metrics import Metrics, StageOutage

T = TypeVar("T")

# A message is received at most this long before its turn: longer than a receive takes, and far below a visibility
# timeout. Another worker could handle a message that waits here for longer.
AHEAD_S = 1.0
# A turn that comes late, because timers do, is made up for if it is at most this late. Otherwise each turn would add
# its delay, and the rate would be missed.
MAX_LATE_S = 0.05
# When receives look again whether messages may be received, if nothing has said so before.
LOOK_S = 1.0


def make_gate(
    per_second: float | None,
    not_begun: Callable[[], int],
    used_downstream: Callable[[Any], bool],
    timings: Timings,
    metrics: Metrics,
) -> Gate:
    """Return the gate of a consumer; without a rate, a plain one."""
    outage = metrics.outages.stage("downstream")
    if per_second is None:
        return Gate(used_downstream, timings, outage)
    metrics.rate_limit.set(per_second)
    return PacedGate(per_second, not_begun, used_downstream, timings, outage)


class PacedGate(Gate):
    """
    A gate that messages pass one at a time, `1 / per_second` seconds apart.

    Each call that goes through takes a turn: also those that the gate makes again after an outage, and its probes. A
    turn that nobody takes is lost, so that there are no bursts. Who waits for a turn has not begun: a stop cancels it.

    A receive asks for no more messages than can begin within `AHEAD_S`, less those in *not_begun*: the messages that
    were received or asked for, and have not begun. It waits until that is worth a request.
    """

    def __init__(
        self,
        per_second: float,
        not_begun: Callable[[], int],
        used_downstream: Callable[[Any], bool] = lambda _: True,
        timings: Timings = DEFAULT_TIMINGS,
        outage: StageOutage | None = None,
    ) -> None:
        super().__init__(used_downstream, timings, outage)
        self._every_s = 1 / per_second
        self._not_begun = not_begun
        self._min_batch = max(1, min(MAX_BATCH, int(AHEAD_S * per_second) // 2))
        self._next_s = -math.inf  # When the next call may begin.
        self._turns = asyncio.Lock()
        self._changed = asyncio.Event()

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        async def call_in_turn() -> T:
            with self._waiting():
                await self._take_turn()
            return await call()

        return await super().run(call_in_turn)

    async def wait_to_receive(self, at_most: int) -> int:
        while True:
            limit = await super().wait_to_receive(at_most)
            if not self.is_open:
                return limit  # To probe with: those that wait here are held by the outage.
            self._changed.clear()
            now_s = asyncio.get_running_loop().time()
            begins_s, not_begun = max(self._next_s, now_s), self._not_begun()
            # The small part is for sums of floats that are a little less than a whole number of turns.
            free = math.floor((now_s + AHEAD_S - begins_s) / self._every_s + 1e-6) + 1 - not_begun
            if free >= min(self._min_batch, at_most):
                return min(limit, free)
            free_at_s = begins_s + (not_begun + self._min_batch - 1) * self._every_s - AHEAD_S
            await self._change(free_at_s - now_s if self._next_s > now_s else LOOK_S)

    def answered(self) -> None:
        self._changed.set()

    async def _take_turn(self) -> None:
        loop = asyncio.get_running_loop()
        if self._next_s <= loop.time() and not self._turns.locked():
            self._next_s = loop.time() + self._every_s
        else:
            async with self._turns:
                await asyncio.sleep(self._next_s - loop.time())
                self._next_s = max(self._next_s, loop.time() - MAX_LATE_S) + self._every_s
        self._changed.set()

    async def _change(self, max_wait_s: float) -> None:
        """Wait until a message begins or a receive is answered, but no longer than *max_wait_s* seconds."""
        try:
            async with asyncio.timeout(max_wait_s):
                await self._changed.wait()
        except TimeoutError:
            pass
