"""Cases and orders in memory, which the console resolves with the real rules."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.workers.cli.tables import FakeTables
from tests.workers.domain.examples import case
from tests.workers.escalation.test_resolver import ResolvableFakeCases
from tests.workers.fakes import EXECUTION, NO_WAIT, NOW, FakeOrders, Journal, order
from workers.escalation.resolver import Resolver

ARN = "arn:aws:states:us-east-1:000000000000:execution:Orders:"


class Executions:
    """Those that were started, with their orders. `before` is called before each start."""

    def __init__(self) -> None:
        self.started: dict[str, Mapping[str, str]] = {}
        self.before: Any = None

    def arn(self, name: str) -> str:
        return ARN + name

    async def start(self, name: str, order: Mapping[str, str]) -> str:
        if self.before is not None:
            await self.before()
        self.started[name] = dict(order)
        return self.arn(name)


class Desk:
    """Open cases 1, 2, ... with an escalated order each, as many as *number*."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = 1) -> None:
        ids = [str(n) for n in range(1, number + 1)]
        self.journal = Journal()
        self.fake_orders = FakeOrders(
            self.journal,
            *(
                order("ESCALATED", each, name="Ada", item_name="Bicycle", price="-123", cc="************5678")
                for each in ids
            ),
        )
        cases = (case(case_id=each, order_id=each, execution_arns=(EXECUTION,)) for each in ids)
        self.fake_cases = ResolvableFakeCases(self.journal, self.fake_orders, *cases)
        self.executions = Executions()
        self.resolver = Resolver(
            orders=self.fake_orders,
            cases=self.fake_cases,
            executions=self.executions,
            now=lambda: NOW,
            conflict_backoff=NO_WAIT,
        )
        tables = FakeTables().install(monkeypatch)
        tables.cases, tables.orders = self.cases, self.orders
        monkeypatch.setattr("workers.console.pages.resolve.read_cases", tables._read_cases)
        for room in ("resolve", "resolve_many"):
            monkeypatch.setattr(f"workers.operations.{room}.opened_resolver", self._opened)

    @property
    def cases(self) -> dict[str, Any]:
        return self.fake_cases.cases

    @property
    def orders(self) -> dict[str, Any]:
        return self.fake_orders.orders

    @asynccontextmanager
    async def _opened(self, _stack: object) -> AsyncIterator[Resolver]:
        yield self.resolver

    def open_again(self, case_id: str) -> None:
        self.cases[case_id] = replace(self.cases[case_id], episode=self.cases[case_id].episode + 1)

    def states(self) -> list[tuple[str, str]]:
        """Return the state of each case and the status of its order."""
        return [(each.state, self.orders[key].status) for key, each in self.cases.items()]
