"""A DynamoDB client that tests script, with indexes of open items."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tests.workers.aws.sdk_fakes import FakeSdk
from workers.aws.items import to_item


class PagedDynamo(FakeSdk):
    """
    A `FakeSdk` whose index has these *pages* of items, by the value of `OpenKey`.

    A page that is an error fails; `NEVER` does not come. `running` counts the queries that run.
    """

    NEVER = object()
    running = 0

    def __init__(self, pages: Mapping[str, Sequence[Any]] = {}, /, **answers: list[Any]) -> None:
        super().__init__(**answers)
        self._pages = pages

    def get_paginator(self, operation: str) -> "PagedDynamo":
        assert operation == "query"
        return self

    async def paginate(self, **request: Any) -> AsyncIterator[dict[str, Any]]:
        self.requests.append(("query", request))
        self.running += 1
        try:
            for page in self._pages.get(request["ExpressionAttributeValues"][":key"]["S"], ()):
                if page is self.NEVER:
                    await self._never()
                if isinstance(page, Exception):
                    raise page
                yield {"Items": [to_item(item) for item in page]}
        finally:
            self.running -= 1

    async def _never(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):  # A call that is cancelled ends some turns of the loop later.
                await asyncio.sleep(0)
