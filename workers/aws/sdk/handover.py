"""Hands the outcome of a direct request to the SDK, which treats it as the outcome of its own first attempt."""

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiobotocore.awsrequest import AioAWSResponse

if TYPE_CHECKING:
    from botocore.client import BaseClient

# The SDK allows a client only so many retries at a time: each takes 10 or less of a quota, each success gives 1 back.
QUOTA, RETRY_COST = 500, 10


@dataclass(slots=True)
class _Outcome:
    """What came of the first attempt. None once the SDK has it."""

    result: AioAWSResponse | Exception | None


_outcome: ContextVar[_Outcome | None] = ContextVar("outcome", default=None)


@dataclass(frozen=True, slots=True)
class Received:
    """A response to a direct request."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes

    async def read(self) -> bytes:
        return self.body

    def response(self, url: str) -> AioAWSResponse:
        """Return the response in the form that the SDK's own HTTP session returns."""
        headers: Any = {name.lower(): value for name, value in self.headers.items()}
        return AioAWSResponse(url, self.status_code, headers, self)


def is_handed_over() -> bool:
    """Return whether the running call of the SDK is one whose first attempt was made already."""
    return _outcome.get() is not None


class Handover:
    """
    Makes calls of *client* whose first attempt has been made already.

    The SDK goes on from there as from an attempt of its own: it parses the response, decides whether to try again,
    waits before that, counts the call and raises its errors. The first attempt counts towards the client's
    `total_max_attempts`. So a client with a single attempt sends nothing more.

    This uses the SDK's event `before-send`: if a handler returns a response or raises an error, nothing is sent.
    """

    def __init__(self, client: "BaseClient") -> None:
        self.used_quota = 0  # How much of its quota for retries the SDK may have used, at most.
        client.meta.events.register("before-send", self._first_attempt)  # type: ignore[arg-type] # As in `sign_json`.

    async def call(
        self,
        operation: Callable[..., Awaitable[Any]],
        request: Mapping[str, Any],
        result: AioAWSResponse | Exception,
    ) -> Any:
        """Call *operation*, a method of the client, as if its first attempt had had the outcome *result*."""
        token = _outcome.set(_Outcome(result))
        try:
            return await operation(**request)
        finally:
            _outcome.reset(token)

    def _first_attempt(self, **_: Any) -> AioAWSResponse | None:
        outcome = _outcome.get()
        if outcome is None:
            return None
        result, outcome.result = outcome.result, None
        if isinstance(result, Exception):
            raise result
        if result is None:
            self.used_quota = min(self.used_quota + RETRY_COST, QUOTA)  # The SDK tries again.
        return result
