import asyncio
import threading

import pytest

from workers.threads import in_thread


async def test_a_call_runs_in_a_daemon_thread() -> None:
    def call(value: int, *, factor: int) -> tuple[int, bool]:
        return value * factor, threading.current_thread().daemon

    assert await in_thread(call, 3, factor=2) == (6, True)


async def test_an_error_is_raised_in_the_caller() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread(int, "x")


async def test_cancelling_the_caller_does_not_stop_the_call() -> None:
    release, ended = threading.Event(), threading.Event()
    started, loop = asyncio.Event(), asyncio.get_running_loop()

    def call() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(10)
        ended.set()

    caller = asyncio.create_task(in_thread(call))
    await started.wait()
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert not ended.is_set()
    release.set()
    assert ended.wait(10)
