"""Unit tests of a handler: the real consumer on a queue in memory, without AWS and without another process."""

import asyncio
import contextlib
import itertools
import logging
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from workers.consumer.consumer import Consumer, Limits
from workers.consumer.message import Acknowledged, DeadLettered
from workers.consumer.message import Message as Received
from workers.consumer.ports import Handler, Refusal
from workers.errors import OutageError, WorkerError
from workers.message import Message
from workers.opened import Opened
from workers.own.decoding import decoder
from workers.own.handler import OwnHandler
from workers.own.loading import loaded
from workers.own.opening import opened_handler
from workers.testing.bodies import body_text

MAX_ATTEMPTS, MAX_DELIVERIES = 5, 10  # The defaults of WORKER_MAX_ATTEMPTS and WORKER_MAX_DELIVERIES.
TIMEOUT_S = 60.0
_WAIT_S, _LOOK_S = 0.01, 0.001
_LIMITS = Limits(
    concurrency=1, max_deliveries=MAX_DELIVERIES, max_handle_s=900, drain_s=10, max_polls=1, stuck_poll_s=900
)


class MemoryQueue:
    """
    A queue in memory. It delivers each message that is sent to it once, and records what becomes of it.

    `deletes` and `changes` have the receipt handles of each request, `changes` with the seconds until the message is
    visible again. Such a message does not come back by itself: send it again, with a higher receive count.
    """

    name = "queue"

    def __init__(self, sent: Iterable[Received] = (), *, visibility_timeout_s: int = 60, wait_s: float = 0.02) -> None:
        self.visibility_timeout_s = visibility_timeout_s
        self.wait_s = wait_s
        self.deletes: list[list[str]] = []
        self.changes: list[list[tuple[str, int]]] = []
        self._sent = deque(sent)
        self._arrived = asyncio.Event()

    def send(self, *sent: Received) -> None:
        self._sent.extend(sent)
        self._arrived.set()

    @property
    def deleted(self) -> list[str]:
        return [handle for batch in self.deletes for handle in batch]

    @property
    def changed(self) -> list[tuple[str, int]]:
        return [entry for batch in self.changes for entry in batch]

    async def receive(self, limit: int, max_wait_s: int | None = None) -> Sequence[Received]:
        if not self._sent:
            await self._wait_for_messages(max_wait_s)
        return self._take(limit)

    async def delete(self, receipt_handles: Sequence[str]) -> Sequence[Refusal | None]:
        self.deletes.append(list(receipt_handles))
        return [None] * len(receipt_handles)

    async def change_visibility(self, entries: Sequence[tuple[str, int]]) -> Sequence[Refusal | None]:
        self.changes.append(list(entries))
        return [None] * len(entries)

    async def _wait_for_messages(self, max_wait_s: int | None) -> None:
        self._arrived.clear()
        with contextlib.suppress(TimeoutError):
            wait_s = self.wait_s if max_wait_s is None else min(self.wait_s, max_wait_s)
            await asyncio.wait_for(self._arrived.wait(), wait_s)

    def _take(self, limit: int) -> list[Received]:
        return [self._sent.popleft() for _ in range(min(limit, len(self._sent)))]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of one message.

    - `acknowledged`: it is deleted.
    - `released`: it comes back after `delay_s` seconds, a random time that grows with the receive count.
    - `dead_lettered`: it is in the dead-letter queue, with `reason`.
    - `held`: the handler reported an outage, and the message waits for its end.

    `error` is what the handler raised, `reason` its text or that of the dead letter.
    """

    status: Literal["acknowledged", "released", "dead_lettered", "held"]
    reason: str = ""
    delay_s: int | None = None
    error: Exception | None = None


def run_handler(handler: Any, *messages: object, max_attempts: int = MAX_ATTEMPTS) -> list[Outcome]:
    """
    Let a worker handle each of *messages* once, one after the other; return what became of them, in the same order.

    *handler* is what `python -m workers run` takes: an async function, or what opens one. A message is its body, as a
    text or as what becomes JSON, or a `workers.Message`, for example with attributes or a `receive_count`.

    Raises `workers.errors.FatalError` if *handler* cannot be one. In async code, await `run_handler_async`.
    """
    __tracebackhide__ = True
    if _in_async_code():
        raise RuntimeError("run_handler cannot be called by async code: await run_handler_async(...)")
    received = _received(messages)
    try:
        return asyncio.run(_outcomes(handler, received, max_attempts, TIMEOUT_S))
    except (WorkerError, TimeoutError) as error:  # The text says it all: no frames of ours and of asyncio.
        raise error.with_traceback(None) from error.__cause__


def _in_async_code() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # Not a context of what the handler raises later.
        return False
    return True


async def run_handler_async(
    handler: Any, *messages: object, max_attempts: int = MAX_ATTEMPTS, timeout_s: float = TIMEOUT_S
) -> list[Outcome]:
    """Do what `run_handler` does. Raises `TimeoutError` if a message takes longer than *timeout_s* seconds."""
    __tracebackhide__ = True
    received = _received(messages)
    try:
        return await _outcomes(handler, received, max_attempts, timeout_s)
    except (WorkerError, TimeoutError) as error:
        raise error.with_traceback(None) from error.__cause__


async def _outcomes(handler: Any, messages: Sequence[Received], max_attempts: int, timeout_s: float) -> list[Outcome]:
    opened, name = Opened(), getattr(handler, "__qualname__", type(handler).__qualname__)
    try:
        handling = await opened_handler(loaded(name, handler), opened)
        outcomes = []
        for message in messages:
            letters = _DeadLetters()
            own = OwnHandler(
                call=handling.handle,
                decode=decoder(handling.model),
                dead_letters=letters,
                max_attempts=max_attempts,
                max_deliveries=MAX_DELIVERIES,
            )
            with contextlib.nullcontext() if structlog.is_configured() else _plain_lines():
                outcomes.append(await _outcome(own, letters, message, timeout_s))
        return outcomes
    finally:
        await opened.close()


async def _outcome(handler: Handler, letters: "_DeadLetters", message: Received, timeout_s: float) -> Outcome:
    queue, stop = MemoryQueue([message], wait_s=_WAIT_S), asyncio.Event()
    recorder = _Recorder(handler, queue)
    consuming = asyncio.create_task(Consumer(queue, recorder, _LIMITS).run(stop), name="consumer")
    try:
        async with asyncio.timeout(timeout_s):
            while not (consuming.done() or recorder.is_held or queue.deletes or recorder.is_released):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)  # Any of these ends the wait, so there is no event to wait for.
            stop.set()
            await consuming
    except ExceptionGroup as group:
        error = first_error(group)
        raise error from error.__cause__
    except TimeoutError:
        raise TimeoutError(f"the handler took longer than {timeout_s:g} s for {message.id}") from None
    finally:
        consuming.cancel()
    if recorder.is_held:
        return Outcome("held", str(recorder.error), None, recorder.error)
    if isinstance(recorder.settlement, Acknowledged):
        return Outcome("acknowledged")
    if isinstance(recorder.settlement, DeadLettered):
        return Outcome("dead_lettered", letters.reason, None, letters.error)
    *_, (_, delay_s) = queue.changed
    return Outcome("released", str(recorder.error), delay_s, recorder.error)


@contextlib.contextmanager
def _plain_lines() -> Iterator[None]:
    """
    Show the lines that a worker writes by default.

    Without the local variables of tracebacks, which structlog's own defaults spend a second on.
    """
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, plain],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()


def first_error(error: Exception) -> Exception:
    """Return the first error of a group, however deep its groups are nested."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _received(messages: Iterable[object]) -> list[Received]:
    """Return messages as the queue delivers them."""
    __tracebackhide__ = True
    return list(map(_delivered, messages, itertools.count(1)))


def _delivered(message: object, number: int) -> Received:
    __tracebackhide__ = True
    if not isinstance(message, Message):
        message = Message(id=f"message-{number}", body=body_text(message))
    attributes = {
        name: {"DataType": "Binary", "BinaryValue": value}
        if isinstance(value, bytes)
        else {"DataType": "String", "StringValue": value}
        for name, value in message.attributes.items()
    }
    return Received(
        id=message.id,
        receipt_handle=f"receipt-{number}",
        body=message.body,
        receive_count=message.receive_count,
        sent_at_s=message.sent_at.timestamp(),
        first_received_at_s=message.first_received_at.timestamp(),
        attributes=attributes,
    )


class _DeadLetters:
    def __init__(self) -> None:
        self.reason = ""
        self.error: Exception | None = None

    async def send(self, message: Received, *, reason: str, error: Exception | None = None) -> None:  # noqa: ARG002
        self.reason, self.error = reason, error


@dataclass(slots=True)
class _Recorder:
    """Passes messages on to `handler`, and records how it ended."""

    handler: Handler
    queue: MemoryQueue
    settlement: Acknowledged | DeadLettered | None = None
    error: Exception | None = None
    extensions: int = 0

    @property
    def is_held(self) -> bool:
        return isinstance(self.error, OutageError)

    @property
    def is_released(self) -> bool:
        return self.error is not None and len(self.queue.changes) > self.extensions

    async def handle(self, message: Received) -> Acknowledged | DeadLettered:
        return await self._record(self.handler.handle(message))

    async def give_up(self, message: Received) -> Acknowledged | DeadLettered:
        return await self._record(self.handler.give_up(message))

    async def take_back(self, message: Received) -> None:
        await self.handler.take_back(message)

    async def _record(self, call: Awaitable[Acknowledged | DeadLettered]) -> Acknowledged | DeadLettered:
        try:
            self.settlement = await call
        except Exception as error:
            self.error = error
            self.extensions = len(self.queue.changes)  # Of a handler that took long.
            raise
        return self.settlement
