"""Blocking calls in threads, for asyncio."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """
    Run *function* in a new thread and return its result. Cancelling the caller does not stop the thread.

    The thread is a daemon, unlike those of `asyncio.to_thread`: an interrupted process ends at once, instead of waiting
    until its last request times out.
    """
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()  # It cannot be cancelled now: only the thread sets its outcome.

    def run() -> None:
        try:
            result = function(*arguments, **named)
        except BaseException as error:  # noqa: BLE001 - the caller gets it.
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=getattr(function, "__name__", "call"), daemon=True).start()
    return await asyncio.wrap_future(future)


class NoFreeThreadError(Exception):
    """Every thread is busy, or the system cannot start another one."""


class Threads:
    """
    Up to *limit* daemon threads, which are reused.

    A call in a thread cannot be stopped. If its caller is cancelled, the call runs on and keeps its thread until it
    ends, and its result is dropped. The process does not wait for such calls when it ends.
    """

    def __init__(self, limit: int, name: str) -> None:
        self._limit = limit
        self._name = name
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._started = 0
        self._busy = 0  # Changed only in the thread of the event loop.

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """
        Run *function* in a thread, in the caller's context, and return its result.

        Raises:
            NoFreeThreadError: There is no free thread.
        """
        if self._busy == self._limit:
            raise NoFreeThreadError(f"all {self._limit} threads are busy")
        if self._busy == self._started:
            self._start()
        self._busy += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        context = copy_context()

        def call() -> None:
            result: Result | None = None
            raised: BaseException | None = None
            try:
                result = context.run(function, *arguments)
            except StopIteration as error:  # A future does not accept a StopIteration.
                raised = RuntimeError("the call raised StopIteration")
                raised.__cause__ = error
            except BaseException as error:  # noqa: BLE001 - the caller gets it.
                raised = error
            with suppress(RuntimeError):  # The loop is closed: the process ends.
                loop.call_soon_threadsafe(self._end, future, result, raised)

        self._calls.put(call)
        return await future

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._started + 1}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise NoFreeThreadError(str(error)) from error
        self._started += 1

    def _work(self) -> None:
        while True:
            self._calls.get()()

    def _end(self, future: asyncio.Future[Any], result: object, raised: BaseException | None) -> None:
        self._busy -= 1
        if future.done():  # Its caller was cancelled.
            return
        if raised is None:
            future.set_result(result)
        else:
            future.set_exception(raised)
