"""Backpressure: how many more messages may be taken on."""

import asyncio


class Slots:
    """Counts free places for messages in hand. One is free again once its message is settled."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free = size
        self._freed = asyncio.Event()

    async def reserve(self, at_least: int, at_most: int) -> int:
        """Wait until *at_least* slots are free, then reserve those and others, up to *at_most*."""
        while self._free < at_least:
            self._freed.clear()
            await self._freed.wait()
        taken = min(self._free, at_most)
        self._free -= taken
        return taken

    def release(self, count: int) -> None:
        self._free += count
        self._freed.set()
