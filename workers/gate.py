"""Holds messages while something that all of them need is down."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from workers.backoff import full_jitter_s
from workers.errors import OutageError
from workers.trouble import Trouble

T = TypeVar("T")

PROBE_BASE_S = 0.2
PROBE_CAP_S = 10.0  # An outage is noticed to be over this late at worst.


class Gate:
    """
    Open while all is well. The first outage closes it: messages in hand wait, none are received.

    One held message at a time probes, with backoff; as soon as one gets through, all do.
    """

    def __init__(self) -> None:
        self._open = True
        self._admitting = asyncio.Event()
        self._admitting.set()
        self._probing = asyncio.Lock()
        self._held = 0
        self._trouble = Trouble("downstream")

    @property
    def is_open(self) -> bool:
        return self._open

    async def admit(self, at_most: int) -> int:
        """Wait until receiving makes sense, then return how many: *at_most*, or one to probe with if none is held."""
        await self._admitting.wait()
        return at_most if self._open else 1

    async def through(self, call: Callable[[], Awaitable[T]]) -> T:
        """
        Await *call* and return its result; hold the caller through any outage.

        Raises:
            FatalError: AWS has refused access for longer than permissions take to spread.
        """
        if self._open:
            try:
                return await call()
            except OutageError as error:
                self._close(error)
        with self._holding():
            while True:
                async with self._probing:
                    if not self._open:
                        await asyncio.sleep(
                            full_jitter_s(self._trouble.failures, base_s=PROBE_BASE_S, cap_s=PROBE_CAP_S)
                        )
                        try:
                            result = await call()
                        except OutageError as error:
                            self._trouble.note(error)
                            continue
                        except Exception:
                            self._reopen()  # It got through; that it then failed is this message's own matter.
                            raise
                        self._reopen()
                        return result
                try:  # Another's probe got through. Outside the lock: all held messages resume at once.
                    return await call()
                except OutageError as error:
                    self._close(error)

    @contextmanager
    def _holding(self) -> Iterator[None]:
        self._held += 1
        self._update()
        try:
            yield
        finally:
            self._held -= 1
            self._update()

    def _close(self, error: OutageError) -> None:
        if self._open:  # Of a hundred calls that fail at once, one counts: the first probe comes soon all the same.
            self._open = False
            self._update()
            self._trouble.note(error)

    def _reopen(self) -> None:
        self._open = True
        self._update()
        self._trouble.over()

    def _update(self) -> None:
        if self._open or self._held == 0:
            self._admitting.set()
        else:
            self._admitting.clear()
