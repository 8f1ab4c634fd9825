"""What a handler opens for itself is closed after it, and ends the worker if it ends before."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext, suppress

import pytest

from workers.errors import FatalError
from workers.opened import Opened
from workers.own.loading import Opening
from workers.own.opening import NotOpenedError, opened_handler


@asynccontextmanager
async def recorded(name: str, steps: list[str]) -> AsyncIterator[str]:
    steps.append(f"open {name}")
    yield name
    steps.append(f"close {name}")


async def test_contexts_are_closed_in_reverse_order() -> None:
    opened, steps = Opened(), list[str]()
    assert [await opened.enter(name, recorded(name, steps)) for name in ("a", "b")] == ["a", "b"]
    await opened.close()
    await opened.close()
    assert steps == ["open a", "open b", "close b", "close a"]


async def test_a_context_is_opened_and_closed_in_one_task() -> None:
    tasks: list[object] = []

    @asynccontextmanager
    async def grouped() -> AsyncIterator[None]:
        async with asyncio.TaskGroup():
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

    opened = Opened()
    await asyncio.create_task(opened.enter("group", grouped()))
    await opened.close()
    assert len(tasks) == 2
    assert tasks[0] is tasks[1]


async def test_a_failing_end_is_named_and_the_others_are_closed() -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        yield
        raise OSError("gone")

    opened, steps = Opened(), list[str]()
    await opened.enter("a", recorded("a", steps))
    await opened.enter("shop:open", failing())
    with pytest.raises(FatalError, match=r"^shop:open failed at its end: OS error: gone$"):
        await opened.close()
    assert steps == ["open a", "close a"]


async def test_a_background_task_that_fails_stops_the_worker() -> None:
    async def fail() -> None:
        raise ValueError("lost")

    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            yield

    stop = asyncio.Event()
    opened = Opened(stop)
    await opened.enter("shop:open", failing())
    async with asyncio.timeout(30):
        await stop.wait()
    with pytest.raises(FatalError, match=r"^shop:open failed while the worker was running: value error: lost$"):
        await opened.close()


@pytest.mark.parametrize(
    ("quiet", "problem"),
    [
        (True, "shop:open ended while the worker was running"),
        (False, "shop:open failed while the worker was running: cancelled error"),
    ],
)
async def test_a_context_that_ends_by_itself_stops_the_worker(quiet: bool, problem: str) -> None:
    @asynccontextmanager
    async def ending() -> AsyncIterator[None]:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        with suppress(asyncio.CancelledError) if quiet else nullcontext():
            yield

    stop = asyncio.Event()
    opened = Opened(stop)
    await opened.enter("shop:open", ending())
    async with asyncio.timeout(30):
        await stop.wait()
    with pytest.raises(FatalError, match=f"^{problem}$"):
        await opened.close()


async def test_an_error_while_a_stop_closes_it_is_not_reported_as_lost() -> None:
    gc.freeze()  # So that the look below is only at what is new.
    reported = list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reported.append(context))

    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        try:
            await asyncio.sleep(1000)
        finally:
            raise OSError("gone")
        yield

    opening = asyncio.create_task(Opened().enter("slow", failing()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    del opening
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_a_stop_while_it_opens_closes_what_is_open() -> None:
    began, steps = asyncio.Event(), list[str]()

    @asynccontextmanager
    async def slow() -> AsyncIterator[None]:
        try:
            began.set()
            await asyncio.sleep(1000)
            yield
        finally:
            steps.append("closed")

    opening = asyncio.create_task(Opened().enter("slow", slow()))
    await began.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert steps == ["closed"]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ConnectionRefusedError("no"), NotOpenedError, r"^shop:open cannot be opened: connection refused error: no$"),
        (TimeoutError(), NotOpenedError, r"^shop:open cannot be opened: timeout error$"),
        (KeyError("URL"), FatalError, r"^shop:open cannot be opened: key error: 'URL', .*test_opened.py, line [0-9]+$"),
        (SystemExit(1), FatalError, r"^shop:open cannot be opened: runtime error: sys.exit\(\) was called"),
    ],
)
async def test_what_may_pass_is_an_outage_and_anything_else_ends_the_start(
    error: BaseException, kind: type[Exception], text: str
) -> None:
    @asynccontextmanager
    async def failing() -> AsyncIterator[None]:
        raise error
        yield

    opened = Opened()
    with pytest.raises(kind, match=text):
        await opened_handler(Opening("shop:open", failing), opened)
    await opened.close()


async def test_what_is_yielded_must_be_a_handler() -> None:
    opened, steps = Opened(), list[str]()
    with pytest.raises(FatalError, match=r"^what shop:open yields is not a function, must be an async function"):
        await opened_handler(Opening("shop:open", lambda: recorded("a", steps)), opened)
    await opened.close()
    assert steps == ["open a", "close a"]
