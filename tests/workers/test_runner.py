"""Starting and stopping a worker's process: signals are real ones, sent to a process of its own."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from workers.errors import FatalError
from workers.runner import Status, first_error, stop_on_signals, unless_stopped

# Runs on until it is killed or exits by itself; it ignores its cancellation, as a handler may.
STUBBORN = """
import asyncio, sys
from workers import logs
from workers.runner import stop_on_signals

async def run():
    logs.configure(level="INFO", as_json=True)
    stop_on_signals(asyncio.Event(), exit_after_s=float(sys.argv[1]))
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(run())
"""


@contextlib.contextmanager
def stubborn_process(exit_after_s: float) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a process that does not stop, once it handles signals. It is killed at the end."""
    command = [sys.executable, "-c", STUBBORN, str(exit_after_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def read_line(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_does_not_stop_exits_with_code_1(number: signal.Signals) -> None:
    with stubborn_process(exit_after_s=0.1) as process:
        process.send_signal(number)
        received, failed = read_line(process), read_line(process)
        assert process.wait(10) == 1
    assert (received["event"], received["signal"]) == ("signal.received", number.name)
    assert (failed["event"], failed["level"], failed["reason"]) == (
        *("worker.failed", "critical"),
        "a handler keeps running although it was cancelled",
    )


def test_a_second_signal_ends_the_process_at_once() -> None:
    with stubborn_process(exit_after_s=60) as process:
        process.send_signal(signal.SIGINT)
        assert read_line(process)["event"] == "signal.received"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


async def test_the_first_signal_only_sets_the_event() -> None:
    stop = asyncio.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop_on_signals(stop, exit_after_s=60)
    try:
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(stop.wait(), 5)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_work_that_ends_before_the_stop_returns_its_result() -> None:
    async def work() -> str:
        return "done"

    assert await unless_stopped(asyncio.Event(), work()) == "done"


async def test_a_stop_cancels_the_work() -> None:
    stop, began, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "done"

    waiting = asyncio.create_task(unless_stopped(stop, work()))
    await began.wait()
    stop.set()
    assert await waiting is None
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> str:
        raise FatalError("no queue")

    with pytest.raises(FatalError, match=r"^no queue$"):
        await unless_stopped(asyncio.Event(), work())


def test_the_first_error_of_nested_groups_is_found() -> None:
    first, second = FatalError("first"), FatalError("second")
    nested = ExceptionGroup("stages", [ExceptionGroup("pollers", [ExceptionGroup("poller", [first])]), second])
    assert first_error(cast("ExceptionGroup[FatalError]", nested)) is first
    assert first_error(ExceptionGroup("stages", [second, first])) is second


def test_before_there_is_a_consumer_it_is_healthy_and_not_ready() -> None:
    status = Status()
    assert (status.health(), status.readiness()) == (None, "waiting for AWS")
