"""A DynamoDB client that tests script, with indexes of open items."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from tests.workers.aws.sdk_fakes import FakeSdk
from workers.aws.items import to_item


class PagedDynamo(FakeSdk):
    """A `FakeSdk` whose index has these *pages* of items, by the value of `OpenKey`. A page that is an error fails."""

    def __init__(self, pages: Mapping[str, Sequence[Any]] = {}, /, **answers: list[Any]) -> None:
        super().__init__(**answers)
        self._pages = pages

    def get_paginator(self, operation: str) -> "PagedDynamo":
        assert operation == "query"
        return self

    async def paginate(self, **request: Any) -> AsyncIterator[dict[str, Any]]:
        self.requests.append(("query", request))
        for page in self._pages.get(request["ExpressionAttributeValues"][":key"]["S"], ()):
            if isinstance(page, Exception):
                raise page
            yield {"Items": [to_item(item) for item in page]}
