"""What all viewers of a page share: it is read once for all of them, and only while somebody watches."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from workers.operations.ages import format_age

Value = TypeVar("Value")

KEPT_S = 15.0  # How long a feed is read after its last viewer has gone: a click takes a moment to the next page.
MAX_FEEDS = 200  # Of all pages that are watched; beyond it, the feed that was watched the longest ago ends.
FORGOTTEN_S = 300.0  # After its last viewer: what a feed has read may be large.
_LONG_AGO_S = float("-inf")
Explain = Callable[[Exception], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Reading(Generic[Value]):
    """
    What was read last, and when, in seconds of the loop's clock. `number` counts the readings.

    After a failure, `problem` says why, and `value` is still that of the reading before; None if there was none.
    """

    number: int
    at_s: float
    value: Value | None
    problem: str | None = None


class Feed(Generic[Value]):
    """
    Calls *read* every *every_s* seconds while there are viewers, and keeps the last value for them.

    The period may depend on that value (None: there is none yet): then *every_s* is a function of it.
    *explain* returns what an error means for a person, None if it is an internal error: that goes to *failed*.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Value]],
        every_s: "float | Callable[[Value | None], float]",
        explain: Explain,
        failed: Callable[[Exception], None],
    ) -> None:
        self._read, self._explain, self._failed = read, explain, failed
        self._every: Callable[[Value | None], float] = every_s if callable(every_s) else lambda _: every_s
        self._last: Reading[Value] | None = None
        self._changed = asyncio.Event()
        self._soon = asyncio.Event()
        self._viewers = 0
        self._task: asyncio.Task[None] | None = None
        self._valid_from_s = _LONG_AGO_S
        self._polled_from_s = _LONG_AGO_S
        self._reported: str | None = None
        self.watched_s = _LONG_AGO_S

    @property
    def _every_s(self) -> float:
        return self._every(None if self._last is None else self._last.value)

    @property
    def is_watched(self) -> bool:
        return self._viewers > 0

    @property
    def was_watched(self) -> bool:
        return self._task is not None

    async def latest(self, wait_s: float | None = None) -> Reading[Value] | None:
        """
        Return the last reading, if it is not much older than a period; otherwise wait for one, *wait_s* at most.

        If it is not there by then, it is read on for the next viewer. While a reading takes long, as in an outage, this
        is the one before it, whose problem says so. None if there is none, or if nothing was read for a while.
        """
        with self._watching():
            after = self._fresh_after()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    return await self._next(after)
            return self._late()

    async def readings(self) -> AsyncGenerator[Reading[Value], None]:
        """Yield the last reading if it is fresh, then each new one."""
        with self._watching():
            number = self._fresh_after()
            while True:
                reading = await self._next(number)
                yield reading
                number = reading.number

    def refresh(self) -> None:
        """Read again at once: something was changed here. Readings that began before do not count any more."""
        self._valid_from_s = asyncio.get_running_loop().time()
        self._soon.set()

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _late(self) -> Reading[Value] | None:
        last = self._last
        if last is None or last.at_s < max(self._valid_from_s, self._polled_from_s):
            return None
        age = format_age(asyncio.get_running_loop().time() - last.at_s)
        return replace(last, problem=last.problem or f"this is from {age} ago: AWS has not answered since")

    def _fresh_after(self) -> int:
        """Return the number of the last reading that is too old to be shown; 0 if there is none."""
        if self._last is None:
            return 0
        oldest_s = max(self._valid_from_s, asyncio.get_running_loop().time() - self._every_s - KEPT_S)
        return self._last.number if self._last.at_s < oldest_s else self._last.number - 1

    async def _next(self, number: int) -> Reading[Value]:
        while self._last is None or self._last.number <= number or self._last.at_s < self._valid_from_s:
            self._changed.clear()
            await self._changed.wait()
        return self._last

    @contextlib.contextmanager
    def _watching(self) -> Iterator[None]:
        self._viewers += 1
        if self._task is None or self._task.done():
            self._polled_from_s = asyncio.get_running_loop().time()
            self._task = asyncio.create_task(self._run(), name="console-feed")
        try:
            yield
        finally:
            self._viewers -= 1
            self.watched_s = asyncio.get_running_loop().time()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        number = 0 if self._last is None else self._last.number
        while self._viewers or loop.time() - self.watched_s < KEPT_S:
            self._soon.clear()
            began_s = loop.time()
            value, problem = await self._attempt()
            number += 1
            self._last = Reading(number, began_s, value, problem)
            self._changed.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._soon.wait()

    async def _attempt(self) -> tuple[Value | None, str | None]:
        try:
            value = await self._read()
        except Exception as error:  # noqa: BLE001 - the page says it, and the next attempt may succeed.
            problem = await self._explained(error)
            if problem is None and self._reported != repr(error):  # It is said once, not at each attempt.
                self._failed(error)
                self._reported = repr(error)
            kept = None if self._last is None else self._last.value
            return kept, problem or "an internal error; the console's log has it"
        self._reported = None
        return value, None

    async def _explained(self, error: Exception) -> str | None:
        try:
            return await self._explain(error)
        except Exception:  # noqa: BLE001 - to explain an error may need AWS, which has just failed.
            return None


@dataclass(slots=True)
class Feeds:
    """The feeds of the console, by what they read."""

    explain: Explain
    failed: Callable[[Exception], None]
    _feeds: dict[Hashable, Feed[Any]] = field(default_factory=dict)

    def feed(
        self,
        key: Hashable,
        read: Callable[[], Awaitable[Value]],
        every_s: "float | Callable[[Value | None], float]",
    ) -> Feed[Value]:
        """Return the feed *key*: the one that exists, or a new one. Nothing is read before it is watched."""
        found = self._feeds.get(key)
        if found is None:
            self._drop_forgotten()
            self._drop_unwatched()
            found = self._feeds[key] = Feed(read, every_s, self.explain, self.failed)
        return found

    def refresh(self) -> None:
        """Read all feeds again: an action has changed something."""
        for feed in self._feeds.values():
            feed.refresh()

    def close(self) -> None:
        for feed in self._feeds.values():
            feed.close()

    def _drop_forgotten(self) -> None:
        """Drop feeds that nobody watches any more, with what they have read; those that nobody has watched yet stay."""
        oldest_s = asyncio.get_running_loop().time() - FORGOTTEN_S
        for key, feed in [*self._feeds.items()]:
            if feed.was_watched and not feed.is_watched and feed.watched_s < oldest_s:
                self._feeds.pop(key).close()

    def _drop_unwatched(self) -> None:
        while len(self._feeds) >= MAX_FEEDS:
            idle = [key for key, feed in self._feeds.items() if not feed.is_watched]
            if not idle:
                return
            oldest = min(idle, key=lambda key: self._feeds[key].watched_s)
            self._feeds.pop(oldest).close()
