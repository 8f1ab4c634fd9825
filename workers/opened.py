"""What a handler has opened for itself, such as a connection to a database, for as long as its worker runs."""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

from workers.errors import FatalError, plain_name

T = TypeVar("T")


class Opened:
    """
    Enters context managers, and exits them in reverse order when it is closed.

    Each is entered and exited in a task of its own, always the same one: task groups and timeouts need that. If one
    ends before it is closed, *stop* is set, so that the worker stops in order.
    """

    def __init__(self, stop: asyncio.Event | None = None) -> None:
        self._stop = stop or asyncio.Event()
        self._open: list[_Context[Any]] = []

    async def enter(self, name: str, context: AbstractAsyncContextManager[T]) -> T:
        """Enter *context*, called *name* in errors, and return what it yields. Raises whatever it raises."""
        entering = _Context(name, context, self._stop)
        value = await entering.enter()
        self._open.append(entering)
        return value

    async def close(self) -> None:
        """
        Exit all contexts.

        Raises:
            FatalError: One of them failed, or had ended before.
        """
        problem: FatalError | None = None
        while self._open:
            try:
                await self._open.pop().exit()
            except FatalError as error:
                problem = problem or error
        if problem is not None:
            raise problem


class _Context(Generic[T]):
    def __init__(self, name: str, context: AbstractAsyncContextManager[T], stop: asyncio.Event) -> None:
        self._name = name
        self._context = context
        self._stop = stop
        self._closing = asyncio.Event()
        self._entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(), name=name)

    async def enter(self) -> T:
        try:
            await asyncio.wait((self._entered, self._task), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait((self._task,))
            if not self._task.cancelled():
                self._task.exception()  # Marks it as read: the stop matters more.
            raise
        if not self._entered.done():
            self._task.result()  # Raises why it ended.
        self._task.add_done_callback(lambda _: self._stop.set())
        return self._entered.result()

    async def exit(self) -> None:
        before = self._task.done()
        self._closing.set()
        await asyncio.wait((self._task,))
        try:
            self._task.result()
        except (Exception, asyncio.CancelledError) as error:
            when = "failed while the worker was running" if before else "failed at its end"
            raise FatalError(f"{self._name} {when}: {explained(error)}") from error
        if before:
            raise FatalError(f"{self._name} ended while the worker was running")

    async def _live(self) -> None:
        try:
            async with self._context as value:
                self._entered.set_result(value)
                await self._closing.wait()
        except SystemExit as error:  # It would end the event loop.
            raise RuntimeError("sys.exit() was called") from error


def explained(error: BaseException) -> str:
    """Return the kind of *error* in words, and its text on one line; of a group, those of its first error."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(str(error).split())
    return f"{plain_name(error)}: {text}" if text else plain_name(error)
