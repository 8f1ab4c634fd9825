"""Feeds and streams in virtual time: who reads, how often, and for how long."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from tests.virtual_time import VirtualTimeLoop
from workers.console import feeds
from workers.console.feeds import KEPT_S, Feed, Feeds
from workers.operations.errors import OperationError

EVERY_S = 5.0


def in_virtual_time(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    @functools.wraps(test)
    def run() -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(test())

    del run.__wrapped__  # So that pytest takes it for a plain test.
    return run


@dataclass
class Source:
    """What a feed reads: the number of reads, after *takes_s*. `error` is raised instead."""

    takes_s: float = 0.0
    error: Exception | None = None
    reads: int = 0
    running: int = 0
    failed: list[Exception] = field(default_factory=list)
    explain_fails: bool = False

    async def read(self) -> int:
        self.reads += 1
        number = self.reads
        self.running += 1
        assert self.running == 1
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.running -= 1
        if self.error is not None:
            raise self.error
        return number

    async def explain(self, error: Exception) -> str | None:
        if self.explain_fails:
            raise RuntimeError
        return str(error) if isinstance(error, OperationError) else None

    def feed(self) -> Feed[int]:
        return Feed(self.read, EVERY_S, self.explain, self.failed.append)


@in_virtual_time
async def test_many_viewers_share_one_poller() -> None:
    source = Source(takes_s=1)
    feed = source.feed()
    assert source.reads == 0  # Nobody watches it.

    async def watch() -> list[int | None]:
        async with aclosing(feed.readings()) as readings:
            return [reading.value async for reading in _first(readings, 3)]

    seen = await asyncio.gather(*(watch() for _ in range(20)))
    assert seen == [[1, 2, 3]] * 20
    assert source.reads == 3
    feed.close()


@in_virtual_time
async def test_it_is_not_read_any_more_soon_after_the_last_viewer_has_gone() -> None:
    source = Source()
    feed = source.feed()
    await feed.latest()
    await asyncio.sleep(10 * KEPT_S)
    before = source.reads
    assert before <= 1 + KEPT_S / EVERY_S + 1
    assert not feed.is_watched
    await asyncio.sleep(1000)
    assert source.reads == before
    reading = await feed.latest()  # And read again for the next one.
    assert (reading and reading.number, source.reads) == (before + 1, before + 1)
    feed.close()


@in_virtual_time
async def test_a_reading_that_is_old_is_not_shown_as_the_latest() -> None:
    source = Source(takes_s=2)
    feed = source.feed()
    assert await feed.latest(wait_s=0.1) is None  # It is read on.
    await asyncio.sleep(2)
    reading = await feed.latest(wait_s=0)
    assert (reading is not None, source.reads) == (True, 1)
    await asyncio.sleep(1000)
    assert await feed.latest(wait_s=0.1) is None
    feed.close()


@in_virtual_time
async def test_a_reading_is_shown_for_a_period_and_a_while() -> None:
    for age_s, is_shown in ((EVERY_S + KEPT_S - 1, True), (EVERY_S + KEPT_S + 1, False)):
        source, loop = Source(), asyncio.get_running_loop()
        feed = source.feed()
        await feed.latest()
        await asyncio.sleep(KEPT_S + 1)  # It is read on for a while, and then not any more.
        last = feed._last
        assert last
        source.takes_s = 1
        await asyncio.sleep(last.at_s + age_s - loop.time())
        assert (await feed.latest(wait_s=0) is not None) == is_shown
        feed.close()


@in_virtual_time
async def test_the_period_may_depend_on_what_was_read() -> None:
    source, loop, times = Source(), asyncio.get_running_loop(), list[float]()
    feed = Feed(source.read, lambda value: {None: 99.0, 1: 2.0}.get(value, 7.0), source.explain, source.failed.append)
    async with aclosing(feed.readings()) as readings:
        for _ in range(3):
            await anext(readings)
            times.append(loop.time())
    assert [round(time - times[0]) for time in times] == [0, 2, 9]
    feed.close()


@in_virtual_time
async def test_a_late_reading_says_its_own_problem() -> None:
    source = Source(error=OperationError("no access"))
    feed = source.feed()
    await feed.latest()
    source.takes_s = 1000
    async with aclosing(feed.readings()):
        await asyncio.sleep(KEPT_S)
        late = await feed.latest(wait_s=0)
    assert (late and late.problem) == "no access"
    feed.close()


@in_virtual_time
async def test_while_a_reading_takes_long_the_one_before_is_shown_and_its_age_is_said() -> None:
    source = Source()
    feed = source.feed()
    async with aclosing(feed.readings()) as readings:
        await anext(readings)
        source.takes_s = 1000
        await asyncio.sleep(200)
        late = await feed.latest(wait_s=0)
        assert late is not None
        assert (late.value, late.problem) == (1, "this is from 3m ago: AWS has not answered since")
        feed.refresh()  # Something was changed: that is not on it.
        assert await feed.latest(wait_s=0) is None
    feed.close()


@in_virtual_time
async def test_after_a_refresh_only_what_began_later_counts() -> None:
    source = Source(takes_s=2)
    feed = source.feed()
    await feed.latest()
    await asyncio.sleep(EVERY_S + 1)  # The second reading is under way.
    assert source.reads == 2
    feed.refresh()
    reading = await feed.latest()
    assert (reading and reading.value, source.reads) == (3, 3)
    feed.close()


@in_virtual_time
async def test_a_refresh_reads_at_once() -> None:
    source, loop = Source(), asyncio.get_running_loop()
    feed = source.feed()
    await feed.latest()
    began_s = loop.time()
    feed.refresh()
    await feed.latest()
    assert (source.reads, loop.time() - began_s < 1) == (2, True)
    feed.close()


@in_virtual_time
async def test_a_failure_keeps_the_last_value_and_says_why() -> None:
    source = Source()
    feed = source.feed()
    async with aclosing(feed.readings()) as readings:
        assert (await anext(readings)).problem is None
        source.error = OperationError("AWS does not answer")
        failed = await anext(readings)
        assert (failed.value, failed.problem) == (1, "AWS does not answer")
        source.error = None
        well = await anext(readings)
        assert (well.value, well.problem) == (3, None)
    assert source.failed == []
    feed.close()


@in_virtual_time
async def test_an_internal_error_is_reported_and_reading_goes_on() -> None:
    source = Source(error=ZeroDivisionError("secret"), explain_fails=True)
    feed = source.feed()
    async with aclosing(feed.readings()) as readings:
        reading = await anext(readings)
        assert (reading.value, reading.problem) == (None, "an internal error; the console's log has it")
        assert source.failed == [source.error]
        source.error = None
        assert (await anext(readings)).value == 2
    feed.close()


@in_virtual_time
async def test_the_same_internal_error_is_reported_once() -> None:
    source = Source(error=ZeroDivisionError("a"))
    feed = source.feed()
    async with aclosing(feed.readings()) as readings:
        for _ in range(10):
            await anext(readings)
        assert len(source.failed) == 1
        source.error = ZeroDivisionError("b")
        await anext(readings)
        assert len(source.failed) == 2
        source.error = None
        await anext(readings)
        source.error = ZeroDivisionError("b")
        await anext(readings)
        assert len(source.failed) == 3
    feed.close()


@in_virtual_time
async def test_what_nobody_watches_any_more_is_forgotten() -> None:
    source = Source()
    known = Feeds(source.explain, source.failed.append)
    watched, left, unseen = (known.feed(key, source.read, EVERY_S) for key in ("watched", "left", "unseen"))
    async with aclosing(watched.readings()) as readings:
        await anext(readings)
        await left.latest()
        await asyncio.sleep(feeds.FORGOTTEN_S - 1)
        known.feed("new", source.read, EVERY_S)
        assert known.feed("left", source.read, EVERY_S) is left
        await asyncio.sleep(2)
        known.feed("newer", source.read, EVERY_S)
        assert known.feed("left", source.read, EVERY_S) is not left
        assert known.feed("watched", source.read, EVERY_S) is watched
        assert known.feed("unseen", source.read, EVERY_S) is unseen
    known.close()


@in_virtual_time
async def test_of_many_feeds_those_that_are_watched_stay() -> None:
    source = Source()
    known = Feeds(source.explain, source.failed.append)
    watched = known.feed("watched", source.read, EVERY_S)
    async with aclosing(watched.readings()) as readings:
        await anext(readings)
        first = known.feed(0, source.read, EVERY_S)
        for key in range(1, feeds.MAX_FEEDS + 50):
            known.feed(key, source.read, EVERY_S)
        assert len(known._feeds) == feeds.MAX_FEEDS
        assert known.feed("watched", source.read, EVERY_S) is watched
        assert known.feed(0, source.read, EVERY_S) is not first
        began_s = asyncio.get_running_loop().time()
        known.refresh()
        assert (await anext(readings)).number == 2
        assert asyncio.get_running_loop().time() - began_s < 1
    known.close()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


@in_virtual_time
async def test_the_feed_that_was_watched_the_longest_ago_makes_room() -> None:
    feeds_before, feeds.MAX_FEEDS = feeds.MAX_FEEDS, 2
    try:
        source = Source()
        known = Feeds(source.explain, source.failed.append)
        late, early = (known.feed(key, Source().read, EVERY_S) for key in ("late", "early"))
        await early.latest()
        await asyncio.sleep(1)
        await late.latest()
        known.feed("new", source.read, EVERY_S)
        assert list(known._feeds) == ["late", "new"]
        await asyncio.sleep(0)
        assert (early._task and early._task.cancelled(), late._task and late._task.done()) == (True, False)
        async with (
            aclosing(late.readings()) as one,
            aclosing(known.feed("new", source.read, EVERY_S).readings()) as two,
        ):
            await anext(one)
            await anext(two)
            known.feed("more", source.read, EVERY_S)  # All are watched: none of them ends.
            assert list(known._feeds) == ["late", "new", "more"]
        known.close()
    finally:
        feeds.MAX_FEEDS = feeds_before


async def _first(readings: AsyncGenerator[Any, None], number: int) -> AsyncGenerator[Any, None]:
    for _ in range(number):
        yield await anext(readings)
