"""Repeats a call to AWS while AWS throttles it or has an outage."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

from workers.aws.errors import error_code, translate
from workers.backoff import Backoff
from workers.errors import OutageError, plain_name
from workers.operations.progress import Warn, unreported
from workers.operations.sdk_errors import SDK_ERRORS, UNREACHABLE, ClientError, ResponseParserError

# Unreadable responses that are tolerated before the first readable one: more than are in flight by default.
MAX_UNREADABLE = 50
MAX_RETRY_S = 300.0

_RETRIED = {"ExecutionLimitExceeded"}
_BACKOFF = Backoff(base_s=0.2, cap_s=20.0)

Result = TypeVar("Result")


class Retries:
    """Repeats the calls of one command. *warn* is called once, when the first call is repeated."""

    def __init__(self, *, backoff: Backoff = _BACKOFF, warn: Warn = unreported) -> None:
        self.stop = asyncio.Event()  # Once it is set, no call is repeated.
        self._backoff = backoff
        self._warn = warn
        self._warned = False
        self._answered = False
        self._unreadable = 0

    async def run(
        self, name: str, call: Callable[[], Awaitable[Result]], *, failed: Callable[[Exception], None] = unreported
    ) -> Result:
        """
        Return the result of *call*, repeated for up to `MAX_RETRY_S` seconds. *name* is AWS's name of the operation.

        *failed* is called with each error after which the call is repeated. Such a call may have taken effect: perhaps
        only its response was lost.
        """
        give_up_at = time.monotonic() + MAX_RETRY_S
        for attempt in count(1):
            try:
                result = await call()
            except SDK_ERRORS as error:
                if not self._is_transient(error) or time.monotonic() >= give_up_at:
                    self._answered = self._answered or isinstance(error, ClientError)
                    raise
                failed(error)
                self._report(name, error)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stop.wait(), self._backoff.wait_s(attempt))
                if self.stop.is_set():
                    raise
            else:
                self._answered = True
                return result
        raise AssertionError("unreachable")

    def _report(self, name: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            code = error_code(error) if isinstance(error, ClientError) else plain_name(error)
            self._warn(f"{name}: {code}; continuing more slowly")

    def _is_transient(self, error: Exception) -> bool:
        """
        Return whether AWS will take the same request later: it throttles us, or has an outage.

        Before the first answer, an unreachable endpoint means that the environment is wrong, and more than
        `MAX_UNREADABLE` unreadable responses mean that the endpoint is not AWS.
        """
        if isinstance(error, ClientError):
            return error_code(error) in _RETRIED or type(translate(error)) is OutageError
        if isinstance(error, ResponseParserError):
            self._unreadable += 1
            return self._answered or self._unreadable <= MAX_UNREADABLE
        return self._answered and isinstance(error, UNREACHABLE)
