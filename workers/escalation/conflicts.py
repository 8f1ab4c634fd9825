"""Repeats the read and write of a case if another writer changed the case or its order in between."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from workers.backoff import Backoff
from workers.errors import ConflictError

MAX_TRIES = 5  # Two workers that write to the same case need two or three.
CONFLICT_BACKOFF = Backoff(base_s=0.02, cap_s=0.5)


class Writer(Protocol):
    """An object with methods that `retry_conflicts` decorates."""

    @property
    def conflict_backoff(self) -> Backoff: ...


W = TypeVar("W", bound=Writer)
P = ParamSpec("P")
T = TypeVar("T")


def retry_conflicts(method: Callable[Concatenate[W, P], Awaitable[T]]) -> Callable[Concatenate[W, P], Awaitable[T]]:
    """
    Decorate an async *method*: if it raises `ConflictError`, it runs again, up to `MAX_TRIES` times in all.

    A loop, because tenacity takes 26 us for each call, even if nothing is retried.
    """

    @functools.wraps(method)
    async def retrying(writer: W, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for tries in range(1, MAX_TRIES):
            try:
                return await method(writer, *args, **kwargs)
            except ConflictError:
                await asyncio.sleep(writer.conflict_backoff.wait_s(tries))
        return await method(writer, *args, **kwargs)

    return retrying
