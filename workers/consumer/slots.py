"""Backpressure: how many more messages may be received."""

import asyncio
from contextlib import suppress


class Slots:
    """Counts the places for messages in flight. A slot is free again once its message has ended."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._freed = asyncio.Event()

    async def reserve(self, at_least: int, at_most: int, max_wait_s: float | None = None) -> int:
        """
        Wait until *at_least* slots are free, then reserve up to *at_most*; return how many.

        With *max_wait_s*, wait at most that many seconds after the first slot is free; then fewer may be reserved.
        """
        await self._await_free(1)
        while True:
            if self._free < at_least:
                with suppress(TimeoutError):
                    async with asyncio.timeout(max_wait_s):
                        await self._await_free(at_least)
            if self._free > 0:
                break
            await self._await_free(1)  # Another caller was faster.
        taken = min(self._free, at_most)
        self._taken += taken
        return taken

    def release(self, count: int) -> None:
        self._taken -= count
        self._freed.set()

    def resize(self, size: int) -> None:
        """Change the number of slots. If more than *size* are taken, none is free until enough are released."""
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
