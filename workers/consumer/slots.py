"""Backpressure: how many more messages may be taken on."""

import asyncio
from contextlib import suppress


class Slots:
    """Counts places for messages in flight. One is free again once its message is settled."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._freed = asyncio.Event()

    async def reserve(self, at_least: int, at_most: int, max_wait_s: float | None = None) -> int:
        """
        Reserve up to *at_most* free slots, as soon as *at_least* are free.

        With *max_wait_s* that is awaited for so many seconds after the first one is free; then fewer will do.
        """
        await self._await_free(1)
        while True:
            if self._free < at_least:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max_wait_s):
                        await self._await_free(at_least)
            if self._free > 0:
                break
            await self._await_free(1)  # Someone else was faster.
        taken = min(self._free, at_most)
        self._taken += taken
        return taken

    def release(self, count: int) -> None:
        self._taken -= count
        self._freed.set()

    def resize(self, size: int) -> None:
        """Have *size* slots from now on; where more are taken, that many must be released first."""
        if size > self._size:
            self._freed.set()
        self._size = size

    @property
    def _free(self) -> int:
        return self._size - self._taken

    async def _await_free(self, count: int) -> None:
        while self._free < count:
            self._freed.clear()
            await self._freed.wait()
