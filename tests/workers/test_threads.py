import asyncio
import functools
import subprocess
import sys
import threading
from contextvars import ContextVar

import pytest

from workers.threads import NoFreeThreadError, Threads, in_thread

ORDER = ContextVar("ORDER", default="none")


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


async def test_threads_are_reused_daemons_and_have_the_callers_context() -> None:
    threads = Threads(5, "calls")
    ORDER.set("001")

    def call() -> tuple[str, bool, str]:
        return threading.current_thread().name, threading.current_thread().daemon, ORDER.get()

    assert [await threads.run(call) for _ in range(3)] == [("calls-1", True, "001")] * 3
    assert (threads._started, threads._busy) == (1, 0)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), asyncio.CancelledError(), GeneratorExit()])
async def test_any_error_of_a_call_is_raised_in_its_caller(error: BaseException) -> None:
    threads = Threads(1, "calls")

    def call() -> None:
        raise error

    with pytest.raises(type(error)):
        await threads.run(call)
    assert await threads.run(int, "3") == 3, "its thread is free"


async def test_a_call_that_raises_stop_iteration_does_not_hang() -> None:
    with pytest.raises(RuntimeError, match="raised StopIteration") as raised:
        await Threads(1, "calls").run(next, iter(()))
    assert isinstance(raised.value.__cause__, StopIteration)


async def test_a_cancelled_call_keeps_its_thread_until_it_ends() -> None:
    threads, release, started = Threads(1, "calls"), threading.Event(), asyncio.Event()
    loop, reported = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))

    def call() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait(10)

    caller = asyncio.create_task(threads.run(call))
    await started.wait()
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    with pytest.raises(NoFreeThreadError, match="all 1 threads are busy"):
        await threads.run(call)
    release.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await threads.run(int, "3") == 3
            except NoFreeThreadError:
                await asyncio.sleep(0.001)
            else:
                break
    assert reported == []


HANGING = """
import asyncio, threading
from workers.threads import Threads

async def run():
    began = threading.Event()
    def hang():
        began.set()
        threading.Event().wait(60)
    call = asyncio.create_task(Threads(1, "calls").run(hang))
    await asyncio.sleep(0)
    began.wait(10)
    call.cancel()

asyncio.run(run())
print("ended")
"""


@pytest.mark.process
def test_a_process_ends_without_waiting_for_a_call_that_hangs() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


async def test_a_thread_is_started_only_if_all_others_are_busy() -> None:
    threads, both, release = Threads(2, "calls"), threading.Barrier(2, timeout=10), threading.Event()

    def call() -> str:
        both.wait()
        release.wait(10)
        return threading.current_thread().name

    first, second = (asyncio.create_task(threads.run(call)) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(NoFreeThreadError, match="all 2 threads are busy"):
        await threads.run(call)
    release.set()
    assert sorted(await asyncio.gather(first, second)) == ["calls-1", "calls-2"]
    assert threads._started == 2


async def test_a_thread_that_the_system_cannot_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(1, "calls")

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        for _ in range(2):
            with pytest.raises(NoFreeThreadError, match="can't start new thread"):
                await threads.run(int, "3")
    assert await threads.run(int, "3") == 3


async def test_a_call_has_all_its_arguments() -> None:
    assert await Threads(1, "calls").run(divmod, 7, 2) == (3, 1)


async def test_a_single_call_has_a_thread_named_after_its_function() -> None:
    def name() -> str:
        return threading.current_thread().name

    assert await in_thread(name) == "name"
    assert await in_thread(functools.partial(name)) == "call"


def test_a_call_that_ends_after_the_loop_was_closed_is_dropped() -> None:
    release, begun, ended = threading.Event(), threading.Event(), threading.Event()
    threads = Threads(1, "calls")

    def call() -> None:
        begun.set()
        release.wait(10)

    async def give_up() -> None:
        caller = asyncio.create_task(threads.run(call))
        await asyncio.sleep(0)
        caller.cancel()

    asyncio.run(give_up())
    begun.wait(10)
    threads._calls.put(ended.set)
    release.set()
    assert ended.wait(10), "its thread goes on"
