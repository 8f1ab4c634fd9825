"""
An event loop whose waits take no time: when nothing is left to do, its clock jumps to the next timer.

So a test that waits for a minute takes a millisecond, and a slow machine changes none of its times. It is for code that
only waits for timers, not for sockets or threads. A folder's conftest.py turns it on for the async tests of the folder:

    from tests.virtual_time import pytest_asyncio_loop_factories, virtual_elapsed_s

With the second name, the clock of visibility timeouts, `elapsed_s`, runs with the loop.

Code that also waits for sockets or threads runs in an ordinary event loop. There the test moves the clock on itself, by
the fixture `loop_clock`, once it knows that what the code needs has arrived.
"""

import asyncio
import selectors
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from workers.consumer import elapsed

TURN_S = 1e-6  # What one turn of the loop takes, so that a loop of `sleep(0)` does not stop the clock.
TICK_S = 1e-9  # What a look at the clock takes: it never shows the same time twice.


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that starts at second 1000, and calls its timers as soon as nothing else is ready."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        self.now_s += TICK_S
        return self.now_s


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:  # There are callbacks to call: what else is ready can wait.
            self._loop.now_s += TURN_S
            return []
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout is not None:
            self._loop.now_s += max(timeout, TURN_S)
        return ready


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual time": VirtualTimeLoop}


class _Clock:
    """Stands for the module `time` where a virtual loop runs."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def clock_gettime(self, clock: int) -> float:
        return _running_s() or time.clock_gettime(clock)

    def time(self) -> float:
        return _running_s() or time.time()


def _running_s() -> float | None:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop.time() if isinstance(loop, VirtualTimeLoop) else None


@pytest.fixture(autouse=True)
def virtual_elapsed_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elapsed, "time", _Clock())


class LoopClock:
    """The clock of the running event loop: it shows the time, and what the test has skipped."""

    def __init__(self) -> None:
        self._skipped_s = 0.0
        loop: Any = asyncio.get_running_loop()
        loop.time = self.time

    def time(self) -> float:
        return time.monotonic() + self._skipped_s

    async def skip(self, seconds: int) -> None:
        """Let *seconds* pass at once. After each, the loop calls what is due."""
        for _ in range(seconds):
            self._skipped_s += 1
            await asyncio.sleep(0)
