from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.workers.domain.examples import case, order_copy
from tests.workers.operations.fakes import FakeClient, fake_stack
from workers.aws.case_items import case_item
from workers.aws.items import from_item
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.reasons import Reason, Severity
from workers.operations.cases import Selection
from workers.operations.resolved_cases import CaseListing
from workers.operations.status_index import Entry, FinalEntry
from workers.operations.windows import Window


def resolved(case_id: str, at: str, actor: str = "ada", **changes: Any) -> Case:
    """Return a case that *actor* resolved at a day and time of November 2026, such as `22T09:00`."""
    at = f"2026-11-{at}:00.000000Z"
    record = Resolution(action="close", episode=1, actor=actor, note="as agreed", at=at)
    return case(
        **{"case_id": case_id, "state": CaseState.RESOLVED, "resolutions": (record,), "updated_at": at} | changes
    )


class CaseTable:
    """The table of cases and its index, which is up to date."""

    def __init__(self, *cases: Case) -> None:
        self.items = {each.case_id: case_item(each) for each in cases}
        self.client = FakeClient(query=self._query, batch_get_item=self._batch_get_item)
        self.reported: list[int] = []

    def _query(self, **request: Any) -> Iterator[dict[str, Any]]:
        assert (request["TableName"], request["IndexName"]) == ("EscalationTable", "OpenCases")
        values = from_item(request["ExpressionAttributeValues"])
        found = [
            item
            for item in self.items.values()
            if item["OpenKey"]["S"] == values[":key"]
            and values[":since"] <= item["UpdatedAt"]["S"] <= values[":before"]
        ]
        yield {"Items": sorted(found, key=lambda item: str(item["UpdatedAt"]), reverse=True)}

    def _batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        keys = RequestItems["EscalationTable"]["Keys"]
        return {"Responses": {"EscalationTable": [self.items[key["CaseId"]["S"]] for key in keys]}}

    def listing(self, **selection: Any) -> CaseListing:
        limits = {name: selection.pop(name) for name in ("limit", "max_read") if name in selection}
        stack = fake_stack(dynamodb=self.client)
        return CaseListing(stack, Selection(**selection), progress=self.reported.append, **limits)


async def ids(listing: CaseListing) -> list[str]:
    return [each.case_id async for each in listing.cases()]


def since(age: timedelta, until: timedelta | None = None) -> Window:
    return Window.of(fake_stack().now(), age, until)


async def test_resolved_cases_of_seven_days_come_newest_first_without_a_scan() -> None:
    table = CaseTable(
        *(resolved(f"d{day}", f"{day}T09:00") for day in (14, 16, 20, 21)),
        resolved("late", "22T11:00"),
        case(case_id="open"),
    )
    listing = table.listing()
    assert await ids(listing) == ["late", "d21", "d20", "d16"]
    assert (listing.found.read, listing.found.oldest_final) == (4, "2026-11-16T09:00:00.000000Z")
    assert (listing.found.matched, table.reported) == (4, [4])
    assert {operation for operation, _ in table.client.requests} == {"query", "batch_get_item"}


async def test_what_was_added_to_a_case_later_does_not_move_its_resolution() -> None:
    noted = replace(resolved("noted", "20T09:00"), updated_at="2026-11-22T11:00:00.000000Z")
    table = CaseTable(noted)
    assert await ids(table.listing(window=since(timedelta(days=3), timedelta(days=1)))) == ["noted"]
    assert await ids(table.listing(window=since(timedelta(days=1)))) == []


async def test_a_case_that_was_merged_or_opened_again_is_left_out() -> None:
    table = CaseTable(resolved("merged", "22T09:00", merged_into="001"), resolved("reopened", "22T09:00"))
    key = table.items["reopened"]["OpenKey"]
    table.items["reopened"] = case_item(case(case_id="reopened")) | {"OpenKey": key}
    assert await ids(table.listing()) == []


EDITS: list[dict[str, Any]] = [{}, {"Severity": {"S": "odd"}}, {"Reasons": {"N": "7"}}]


@pytest.mark.parametrize("edit", EDITS)
async def test_a_case_that_was_edited_is_named(edit: dict[str, Any]) -> None:
    table = CaseTable(resolved("edited", "22T09:00"), resolved("good", "22T08:00"))
    del table.items["edited"]["Severity"]
    table.items["edited"] |= {"Severity": {"S": "info"}} | edit if edit else {}
    listing = table.listing()
    assert (await ids(listing), listing.unreadable) == (["good"], ["edited"])


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({"severity": "critical"}, ["b"]),
        ({"reason": "INVALID_PRICE"}, ["b"]),
        ({"actor": "GRACE"}, ["b"]),
        ({"name": "lovelace"}, ["a"]),
        ({"item": "LAMP", "name": "ada"}, ["a"]),
        ({"older_than": timedelta(hours=3)}, ["b"]),
    ],
)
async def test_cases_are_selected(selection: dict[str, Any], expected: list[str]) -> None:
    ordered = replace(order_copy("ESCALATED"), name="Ada Lovelace", item_name="Lamp")
    table = CaseTable(
        resolved("a", "22T10:00", order=ordered),
        resolved("b", "22T08:00", "Grace", severity=Severity.CRITICAL, reasons=(Reason.INVALID_PRICE,)),
    )
    assert await ids(table.listing(**selection)) == expected


async def test_a_listing_is_bounded() -> None:
    table = CaseTable(*(resolved(f"c{n}", f"22T0{n}:00") for n in range(5)))
    limited, cut = table.listing(limit=2), table.listing(max_read=3)
    assert (await ids(limited), limited.found.is_limited) == (["c4", "c3"], True)
    assert len(await ids(cut)) == 3
    assert (cut.found.is_cut, cut.found.read) == (True, 3)


def test_final_entries_are_ordered_from_the_newest() -> None:
    older, newer = FinalEntry("2026-11-21", "1"), FinalEntry("2026-11-22", "2")
    assert sorted([older, newer]) == [newer, older]
    assert (older.is_final, Entry("2026-11-21", "1").is_final) == (True, False)
