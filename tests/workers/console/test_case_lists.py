"""What a list of cases is asked for, and what is read for it."""

from dataclasses import replace
from datetime import timedelta

import pytest
from multidict import MultiDict

from tests.workers.domain.examples import case
from tests.workers.fakes import EXECUTION
from tests.workers.operations.fakes import NOW, fake_stack
from tests.workers.operations.test_resolved_cases import CaseTable, resolved
from workers.console import case_lists
from workers.console.case_lists import RESOLVED_WITHIN, CaseFilter, CasesNow, _mark, _row, listed, read_resolved
from workers.console.query import Query
from workers.domain.cases import CaseState
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Severity
from workers.errors import UnreadableOrderError
from workers.operations.cases import Selection
from workers.operations.windows import Window

WHOLE = {
    "state": "resolved",
    "q": "text",
    "severity": "critical",
    "reason": "ORDER_STUCK",
    "source": "sweep",
    "older_than": "2h",
    "since": "3d",
    "actor": "grace",
    "detail": " It is stuck.",
    "group": "reason",
    "rows": 200,
}
ORDER = Order("a", OrderStatus.ESCALATED, EXECUTION)
CASES = [case(case_id=each, order_id=each) for each in "abc"]


def asked(**values: str) -> CaseFilter:
    return CaseFilter.of(Query(MultiDict(values)))


def test_an_address_has_all_that_a_list_is_asked_for() -> None:
    query = Query(MultiDict({name: str(value) for name, value in WHOLE.items()}))
    found = CaseFilter.of(query)
    assert (found.query(), query.problems, found.is_default) == (WHOLE, {}, False)
    assert found.selection(NOW) == Selection(
        severity="critical",
        reason="ORDER_STUCK",
        source="sweep",
        older_than=timedelta(hours=2),
        window=Window(NOW - timedelta(days=3), None),
        actor="grace",
        text="text",
        detail=" It is stuck.",
    )


def test_without_filters_all_open_cases_are_asked_for() -> None:
    assert (asked().is_default, asked(rows="100", state="open").is_default) == (True, True)
    assert (asked(state="resolved").is_default, asked(rows="100").query()["rows"]) == (False, None)
    assert asked().selection(NOW) == Selection()
    assert asked(state="resolved").selection(NOW) == Selection(window=Window(NOW - RESOLVED_WITHIN, None))


def test_a_list_has_its_first_rows_and_all_counts() -> None:
    cases = [replace(CASES[0], severity=Severity.CRITICAL), *CASES[1:]]
    found = listed(CasesNow(cases, {"a": ORDER}, ["odd"], 9, True, "24h"), CaseFilter(rows=2), NOW)
    assert ([row.case.case_id for row in found.rows], found.matched, found.read) == (["a", "b"], 3, 9)
    assert [row.order for row in found.rows] == [ORDER, None]
    assert (found.all_chosen, found.unreadable, found.is_cut, found.window) == (
        ["1:a", "1:b", "1:c"],
        ["odd"],
        True,
        "24h",
    )
    assert found.severities == {Severity.INFO: 0, Severity.WARNING: 2, Severity.CRITICAL: 1}
    assert (found.reasons, found.details, len(found.marks)) == ([], [], 2)
    narrow = listed(CasesNow(cases, {}, [], 9), CaseFilter(severity="critical"), NOW)
    assert ([row.case.case_id for row in narrow.rows], narrow.severities) == (["a"], found.severities)
    assert not listed(CasesNow(cases, {}, [], 9), CaseFilter(resolved=True), NOW).all_chosen


@pytest.mark.parametrize("group", ["reason", "detail"])
def test_cases_are_grouped_by_one_thing(group: str) -> None:
    found = listed(CasesNow(CASES, {}, [], 3), CaseFilter(group=group), NOW)
    assert (bool(found.reasons), bool(found.details)) == (group == "reason", group == "detail")


def test_a_row_has_changed_with_its_case_or_order() -> None:
    given = CASES[0]
    marks = {
        _mark(_row(each, order))
        for each, order in [
            (given, None),
            (given, ORDER),
            (given, replace(ORDER, status=OrderStatus.RECEIVED)),
            (replace(given, episode=2), None),
            (replace(given, updated_at="2026-11-22T11:59:00.000000Z"), None),
            (replace(given, state=CaseState.RESOLVED), None),
            (CASES[1], None),
        ]
    }
    assert len(marks) == 7
    assert _mark(_row(given, ORDER)) == _mark(_row(given, replace(ORDER, name="x")))


def test_an_order_that_cannot_be_read_is_to_be_corrected() -> None:
    row = _row(CASES[0], UnreadableOrderError("it has no status"))
    assert (row.order, row.order_problem) == (None, "it has no status")
    assert row.step == "correct its order in the table: it cannot be read"
    assert _row(CASES[0], ORDER).order_problem is None


async def test_of_resolved_cases_only_the_orders_that_are_shown_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []

    async def orders(_: object, cases: list[object]) -> dict[str, Order]:
        read.append([each.case_id for each in cases])  # type: ignore[attr-defined]
        return {"new": ORDER}

    monkeypatch.setattr(case_lists, "orders_by_id", orders)
    table = CaseTable(resolved("old", "22T08:00"), resolved("new", "22T09:00"), resolved("older", "20T09:00"))
    stack = fake_stack(dynamodb=table.client)
    found = await read_resolved(stack, CaseFilter(resolved=True, rows=1))
    assert [each.case_id for each in found.cases] == ["new", "old"]
    assert (read, found.orders) == ([["new"]], {"new": ORDER})
    assert (found.read, found.is_cut, found.window, found.unreadable) == (2, False, "24h", [])
    monkeypatch.setattr(case_lists, "MAX_READ", 1)
    assert (await read_resolved(stack, CaseFilter(resolved=True))).is_cut
