"""Calls your own handler, and settles the message by what it does."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from workers.consumer.message import Acknowledged, DeadLettered, Message
from workers.domain.reasons import Reason
from workers.errors import (
    FatalError,
    OutageError,
    PermanentError,
    TransientError,
    UndecodableError,
    WorkerError,
    plain_name,
)
from workers.own.loading import Handle
from workers.ports import DeadLetters
from workers.trials import MAX_TRIALS

log = structlog.get_logger(__name__)

# The begin of a dead letter's reason.
PERMANENT_ERROR = "PERMANENT_ERROR"
ATTEMPTS_EXHAUSTED = "ATTEMPTS_EXHAUSTED"
DELIVERED_TOO_OFTEN = "DELIVERED_TOO_OFTEN"

_HANDLED = Acknowledged("handled")


@dataclass(slots=True, kw_only=True)
class OwnHandler:
    """
    Calls `call` with what `decode` makes of a message.

    There is no order to count attempts and trials on, so SQS's receive count stands in for both: a message moves to the
    dead-letter queue if it fails at delivery `max_attempts` or a later one, or if it is delivered more than
    `max_deliveries` and `MAX_TRIALS` times without an outcome.
    """

    call: Handle
    decode: Callable[[Message], object]
    dead_letters: DeadLetters
    max_attempts: int
    max_deliveries: int

    async def handle(self, message: Message) -> Acknowledged | DeadLettered:
        try:
            await self._call(self.decode(message))
        except UndecodableError as error:
            await self._dead_letter(message, f"{Reason.UNDECODABLE_MESSAGE}: {error}", error)
            return DeadLettered("undecodable")
        except BaseException as error:  # noqa: BLE001 - what it raises must not end the worker.
            return await self._settle(message, _translated(error))
        return _HANDLED

    async def _call(self, argument: object) -> None:
        bound = get_contextvars()
        try:
            result = await self.call(argument)
        finally:
            if get_contextvars() != bound:  # A handler may clear them, as web applications do.
                bind_contextvars(**bound)
        if result is not None:
            _check(result)

    async def give_up(self, message: Message) -> Acknowledged | DeadLettered:
        """
        Handle a message that was delivered too often, alone, and after `MAX_TRIALS` such deliveries no more.

        SQS has counted the delivery before it begins, so a message that crashes its worker is given up in the end.
        """
        if message.receive_count <= self.max_deliveries + MAX_TRIALS:
            return await self.handle(message)
        text = f"delivered {message.receive_count} times without an outcome; not handled again"
        await self._dead_letter(message, f"{DELIVERED_TOO_OFTEN}: {text}")
        return DeadLettered("delivered_too_often")

    async def take_back(self, message: Message) -> None:
        """Do nothing: SQS's receive count cannot be taken back."""

    async def _settle(self, message: Message, error: Exception) -> DeadLettered:
        """
        Move a message to the dead-letter queue if it is refused for good, or has used up its attempts.

        Raises:
            Exception: It is not: *error*.
        """
        if isinstance(error, PermanentError):
            await self._dead_letter(message, f"{PERMANENT_ERROR}: {str(error) or 'no reason given'}", error)
            return DeadLettered("permanent_error")
        if isinstance(error, OutageError | FatalError) or message.receive_count < self.max_attempts:
            raise error
        log.error("message.attempts_exhausted", attempts=message.receive_count, exc_info=error)
        # The text of an error that is not ours could be anything. It is only in the log, masked.
        last = str(error) if isinstance(error, WorkerError) and str(error) else plain_name(error)
        text = f"failed at delivery {message.receive_count}; last error: {last}"
        await self._dead_letter(message, f"{ATTEMPTS_EXHAUSTED}: {text}", error)
        return DeadLettered("attempts_exhausted")

    async def _dead_letter(self, message: Message, reason: str, error: Exception | None = None) -> None:
        bind_contextvars(reason=reason)  # For the last line of the message.
        await self.dead_letters.send(message, reason=reason, error=error)


def _check(result: object) -> None:
    """
    Take a handler for failed that returns a coroutine or a task: nothing would wait for what that does.

    Raises:
        TransientError: *result* is one.
    """
    if not inspect.isawaitable(result):
        return
    kind = type(result).__name__
    if inspect.iscoroutine(result):
        result.close()  # Otherwise Python warns that it was never awaited, too.
    raise TransientError(f"the handler returned a {kind} without awaiting it: is an await missing?")


def _translated(error: BaseException) -> Exception:
    """
    Return what the handler has raised, as the consumer takes it.

    Raises:
        CancelledError: The call was cancelled. Some libraries turn a cancellation into another error.
    """
    if (task := asyncio.current_task()) is not None and task.cancelling():
        raise asyncio.CancelledError from error
    match error:
        case asyncio.CancelledError():
            translation = TransientError("the handler cancelled itself")
        case Exception():
            return error
        case _:  # It would end the worker: for example, a handler that calls sys.exit().
            translation = TransientError(f"the handler raised {plain_name(error)}")
    translation.__cause__ = error
    return translation
