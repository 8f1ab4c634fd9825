"""
Trials: how a message that was delivered too often is handled.

Such a message may be crashing its worker, or may only have been in flight during crashes and stops. So it is handled a
few more times, alone, and each of these trials is counted before it begins. A trial that a stop or an outage cuts short
is taken back: only a message that crashes its worker, or fails, uses up its trials.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import structlog

from workers.consumer.message import Message

log = structlog.get_logger(__name__)

MAX_TRIALS = 3  # More than one, because another message may crash the worker during a trial.


def trial_id(message: Message) -> str:
    """Return the id of a trial: the message's id and receive count."""
    return f"{message.id}/{message.receive_count}"


@dataclass(slots=True)
class TrialCounter:
    """
    Counts trials, and takes them back.

    A count may still be written after its caller is cancelled. So the call that counts always runs to its end, and
    `take_back` waits for that.
    """

    _counting: dict[str, asyncio.Task[int | None]] = field(default_factory=dict)

    async def count(self, trial: str, counting: Coroutine[Any, Any, int | None]) -> int | None:
        """Await *counting*, which counts *trial*, and return the number of trials."""
        task = self._counting[trial] = asyncio.create_task(counting, name="count_trial")
        task.add_done_callback(lambda _: self._forget(trial))
        return await asyncio.shield(task)

    async def take_back(self, trial: str, take_back: Callable[[], Awaitable[bool]]) -> None:
        """Once the count of *trial* has ended, await *take_back*, which returns whether it took the trial back."""
        if (task := self._counting.get(trial)) is not None:
            await asyncio.wait([task])
        if await take_back():
            log.info("trial.taken_back")

    def _forget(self, trial: str) -> None:
        task = self._counting.pop(trial)
        if not task.cancelled():
            task.exception()  # Marks the error as read, in case the caller was cancelled and did not get it.
