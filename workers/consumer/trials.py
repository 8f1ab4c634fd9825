"""Handles messages that were delivered too often, one at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from workers.consumer.delivery import Delivery
from workers.consumer.message import Acknowledged, DeadLettered, Message, Settlement
from workers.consumer.ports import Handler
from workers.consumer.timings import DEFAULT_TIMINGS, Timings
from workers.errors import FatalError, OutageError, plain_name

log = structlog.get_logger(__name__)

Handle = Callable[[Message], Awaitable[Acknowledged | DeadLettered]]


class Trials:
    """
    Gives messages up, one at a time.

    The handler counts each call of `give_up` against the message. Neither a stop nor an outage says anything about the
    message, so the handler takes the count back if one of them ends the call. The count stays if the process dies, or
    if the message fails, times out or loses its receipt while the handler works on it.
    """

    def __init__(self, handler: Handler, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._handler = handler
        self._timings = timings
        self._alone = asyncio.Lock()

    async def run(
        self,
        delivery: Delivery,
        handle: Callable[[Delivery, Handle], Awaitable[Settlement]],
        is_stopped: Callable[[Delivery], bool],
    ) -> Settlement:
        """Await *handle* with the handler's `give_up`. *is_stopped* says whether a stop has cancelled the delivery."""
        began = held = False

        async def give_up(message: Message) -> Acknowledged | DeadLettered:
            nonlocal began, held
            began, held = True, False
            try:
                return await self._handler.give_up(message)
            except OutageError:
                held = True
                raise

        async with self._alone:
            log.debug("trial.begun")
            try:
                return await handle(delivery, give_up)
            except FatalError:  # From the handler: the count stays. Or, if held, from an outage that lasted too long.
                if held:
                    await self._take_back(delivery.message)
                raise
            except asyncio.CancelledError:
                if held or (began and is_stopped(delivery)):
                    await self._take_back(delivery.message)
                raise

    async def _take_back(self, message: Message) -> None:
        """
        Have the handler take the count back, for at most `take_back_s` seconds.

        The message is released only afterward. Otherwise its next delivery would be counted first, and then this count
        could not be taken back any more. Further cancellations, at the end of the drain time, do not interrupt this.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(self._handler.take_back(message), name="take_back")
        until_s = loop.time() + self._timings.take_back_s
        while not task.done() and (left_s := until_s - loop.time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=left_s)
        if not task.done():
            task.cancel()
            log.warning("trial.not_taken_back", reason="no answer in time")
        elif (error := task.exception()) is not None:
            log.warning("trial.not_taken_back", reason=str(error) or plain_name(error))
