import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientConnectionError, ClientSession
from pydantic import BaseModel

from workers import OutageError, PermanentError


class Return(BaseModel):
    order_id: str
    item: str


@asynccontextmanager
async def open_returns() -> AsyncIterator[object]:
    async with ClientSession(os.environ["SHOP_URL"]) as shop:

        async def take_back(returned: Return) -> None:
            try:
                async with shop.put(f"/returns/{returned.order_id}", json=returned.model_dump()) as answer:
                    if answer.status == 404:
                        raise PermanentError("the shop has no such order")
                    if answer.status >= 500:
                        raise OutageError(f"the shop answers with {answer.status}")
            except ClientConnectionError as error:
                raise OutageError("the shop cannot be reached") from error

        yield take_back
