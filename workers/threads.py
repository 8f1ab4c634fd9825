"""Blocking calls in threads, for asyncio."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


async def in_thread(function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """
    Run *function* in a new thread and return its result. Cancelling the caller does not stop the thread.

    The thread is a daemon, unlike those of `asyncio.to_thread`: an interrupted process ends at once, instead of waiting
    until its last request times out.
    """
    future: Future[Result] = Future()
    future.set_running_or_notify_cancel()  # So that nothing but the thread sets its outcome.

    def run() -> None:
        try:
            result = function(*arguments, **named)
        except BaseException as error:  # noqa: BLE001 - the caller gets it.
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name=getattr(function, "__name__", "call"), daemon=True).start()
    return await asyncio.wrap_future(future)
