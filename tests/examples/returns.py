from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import ClientResponse, ClientSession
from pydantic import BaseModel

from workers import OutageError, PermanentError


class Return(BaseModel):
    order_id: str
    reason: str = "not given"


@asynccontextmanager
async def open_returns() -> AsyncIterator[Callable[[Return], Awaitable[None]]]:
    async with ClientSession("http://localhost:8000") as shop:

        async def accept(item: Return) -> None:
            answer: ClientResponse = await shop.put(f"/returns/{item.order_id}", json=item.model_dump())
            if answer.status == 404:
                raise PermanentError("there is no such order")
            if answer.status >= 500:
                raise OutageError(f"the shop answers {answer.status}")

        yield accept
