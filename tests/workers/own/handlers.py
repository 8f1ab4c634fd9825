"""Handlers that can be loaded, and things that cannot. Its annotations are strings, as in many modules."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pydantic import BaseModel

from workers import Message  # noqa: TC001 - its annotations are read at run time.

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from decimal import Decimal


class Return(BaseModel):
    order_id: str


async def of_message(message: Message) -> None: ...


async def of_model(item: Return) -> None: ...


async def of_anything(message) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001


async def with_default(item: Return, *, again: bool = False) -> None: ...


class Service:
    async def handle(self, item: Return) -> None: ...

    async def __call__(self, item: Return) -> None: ...


class NotAsync:
    def __call__(self, item: Return) -> None: ...


service = Service()
partial = functools.partial(Service.handle, service)
not_async = NotAsync()
number = 7


def blocking(message: Message) -> None: ...


async def of_nothing() -> None: ...


async def of_two(item: Return, message: Message) -> None: ...


async def of_dict(document: dict[str, str]) -> None: ...


async def of_text(body: str) -> None: ...


async def of_unknown(price: Decimal) -> None: ...


async def undecorated() -> AsyncIterator[Callable[[Message], Awaitable[None]]]:
    yield of_message


@asynccontextmanager
async def opens() -> AsyncIterator[Callable[[Message], Awaitable[None]]]:
    yield of_message


@asynccontextmanager
async def opens_local() -> AsyncIterator[object]:
    class Local(BaseModel):
        n: int

    async def handle(item: Local) -> int:
        return Local(n=item.n).n

    yield handle


@asynccontextmanager
async def opens_with(url: str) -> AsyncIterator[str]:
    yield url


class Opens:
    async def __aenter__(self) -> object:
        return of_model

    async def __aexit__(self, *_: object) -> None: ...


class OnlyEnters:
    async def __aenter__(self) -> object:
        return of_model
