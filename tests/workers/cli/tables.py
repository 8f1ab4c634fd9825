"""The tables of orders and of cases, in memory, for commands that read them with the workers' adapters."""

from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from workers.domain.cases import Case
from workers.operations.cases import with_order
from workers.operations.progress import Progress, unreported

if TYPE_CHECKING:
    from workers.domain.orders import Order


class FakeTables:
    """`orders` and `cases` by id. `edited`: the ids of open cases that cannot be read. `read`: all ids in order."""

    def __init__(self, *cases: Case) -> None:
        self.cases = {case.case_id: case for case in cases}
        self.orders: dict[str, Order] = {}
        self.edited: list[str] = []
        self.read: list[str] = []
        self.opened = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "FakeTables":
        monkeypatch.setattr("workers.operations.cases.tables", self._open)
        monkeypatch.setattr("workers.operations.cases.read_cases", self._read_cases)
        return self

    async def _read_cases(
        self, _stack: object, case_ids: Collection[str], progress: Progress = unreported
    ) -> dict[str, Any]:
        progress(len(case_ids))
        return {each: with_order(each, self.cases.get(each), self.orders) for each in case_ids}

    def _open(self, _stack: object) -> AbstractContextManager[Any]:
        self.opened += 1
        return nullcontext((_Table(self.orders, self), _Table(self.cases, self)))


class _Table:
    def __init__(self, items: dict[str, Any], tables: FakeTables) -> None:
        self._items = items
        self._tables = tables

    async def get(self, item_id: str) -> Any:
        self._tables.read.append(item_id)
        return self._items.get(item_id)

    async def open_cases(self) -> tuple[list[Case], list[str]]:
        return [*self._items.values()], self._tables.edited
