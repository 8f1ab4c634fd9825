from collections.abc import Iterable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import EXECUTION, FakeClient, fake_stack
from workers.aws.items import from_item, to_item
from workers.operations.erase import MAX_DELETES, Erasure, Found, erase, find_to_erase
from workers.operations.errors import OperationError

NOW = "2026-11-22T12:00:00.000000Z"
ONE, TWO, THREE = (f"{EXECUTION}:{name}" for name in ("one", "two", "three"))
ORDER = {
    "OrderId": "001",
    "Name": "Ada",
    "ItemName": "Bicycle",
    "Price": "1",
    "CC": "************5678",
    "Status": "FULFILLED",
    "ExecutionArn": ONE,
    "ShipmentId": "S-1",
}


def case(case_id: str, **fields: Any) -> dict[str, Any]:
    return {"CaseId": case_id, "State": "RESOLVED", "Version": 3} | fields


OWN = case("001", OrderId="001", ExecutionArns=[ONE])


class Tables:
    """The order 001, and all cases in pages of two."""

    def __init__(self, order: dict[str, Any] | None = ORDER, cases: Iterable[dict[str, Any]] = ()) -> None:
        self.order = order
        self.cases = list(cases)
        self.written: list[list[dict[str, Any]]] = []
        self.read: list[int] = []
        self.codes: list[str] = []  # Why DynamoDB cancels the next transaction.
        client = FakeClient(
            get_item=lambda **_: {} if self.order is None else {"Item": to_item(self.order)},
            scan=self._scan,
            transact_write_items=self._write,
        )
        self.stack = fake_stack(dynamodb=client)

    def _scan(self, **request: Any) -> Iterable[dict[str, Any]]:
        assert request["ConsistentRead"]
        for at in range(0, len(self.cases), 2):
            yield {"Items": [to_item(item) for item in self.cases[at : at + 2]]}

    def _write(self, TransactItems: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - AWS's name.
        if self.codes:
            reasons: Any = [{"Code": code} for code in self.codes]
            error: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(error, "TransactWriteItems")
        self.written.append(TransactItems)
        return {}

    async def found(self) -> Found:
        return await find_to_erase(self.stack, "001", self.read.append)


def ids(found: Found) -> list[str]:
    return [item["CaseId"] for item in found.cases]


async def test_an_order_becomes_a_marker_and_its_cases_are_deleted_in_one_transaction() -> None:
    tables = Tables(cases=[OWN])
    erasure = await erase(tables.stack, await tables.found(), "grace")
    assert erasure == Erasure("001", NOW, "grace", ["001"])
    ((delete, put),) = tables.written
    assert delete["Delete"] == {
        "TableName": "EscalationTable",
        "Key": to_item({"CaseId": "001"}),
        "ConditionExpression": "Version = :version",
        "ExpressionAttributeValues": to_item({":version": 3}),
    }
    assert from_item(put["Put"]["Item"]) == {
        "OrderId": "001",
        "Status": "FULFILLED",
        "ExecutionArn": ONE,
        "ExecutionArns": [ONE],
        "ShipmentId": "S-1",
        "UpdatedAt": NOW,
        "ErasedAt": NOW,
        "ErasedBy": "grace",
        "ExpiresAt": 1803124800,
    }
    assert put["Put"]["ConditionExpression"] == "#Status = :status AND ExecutionArn = :execution"
    assert from_item(put["Put"]["ExpressionAttributeValues"]) == {":status": "FULFILLED", ":execution": ONE}


async def test_the_cases_of_its_executions_are_found_and_no_others() -> None:
    claimed = case("message-1", Claim={"OrderId": "001", "ExecutionArn": THREE})
    tables = Tables(
        cases=[
            case("#trials#m-1", ExecutionArns=[ONE]),
            case("002", OrderId="002", ExecutionArns=[ONE]),
            case("three"),  # Of the execution that was claimed from message-1.
            case("one", ExecutionArns=[ONE]),  # A notice of EventBridge, of the order's own execution.
            OWN | {"Resolutions": [{"ExecutionArn": TWO}]},
            case("merged", OrderId="001"),
            case("pointer", MergedInto="001"),
            case("four"),  # Of the execution that only `listed` names.
            case(
                "listed", ExecutionArns=[TWO, f"{EXECUTION}:four"]
            ),  # Of the execution with which the order was resubmitted.
            case("other", ExecutionArns=[f"{EXECUTION}:other"]),
            claimed,
        ]
    )
    assert sorted(ids(await tables.found())) == sorted(
        ["one", "001", "merged", "pointer", "four", "listed", "message-1", "three"]
    )
    assert tables.read == [2, 2, 2, 2, 2, 1]
    assert ids(await tables.found())[-1] == "001"


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED", "PENDING"])
async def test_an_open_order_is_refused_and_the_way_out_is_named(status: str) -> None:
    with pytest.raises(OperationError, match=rf"order 001 is {status}: .*: orders cancel 001"):
        await Tables(ORDER | {"Status": status}).found()


async def test_an_open_case_is_refused_and_the_way_out_is_named() -> None:
    with pytest.raises(
        OperationError, match=r"case one is open\. Resolve it first; orders escalations show one shows it"
    ):
        await Tables(cases=[OWN, case("one", State="OPEN", ExecutionArns=[ONE])]).found()


@pytest.mark.parametrize("order_id", ["001", "4929123412345678"])
async def test_nothing_to_erase_is_an_error(order_id: str) -> None:
    with pytest.raises(OperationError, match="there is no order or case") as raised:
        await find_to_erase(Tables(None).stack, order_id)
    assert "4929" not in str(raised.value)


async def test_the_cases_of_an_order_that_is_not_stored_are_erased() -> None:
    tables = Tables(None, [case("001", OrderId="001")])
    erasure = await erase(tables.stack, await tables.found(), "grace")
    assert erasure.case_ids == ["001"]
    assert [list(write) for write in tables.written[0]] == [["Delete"]]


async def test_a_repeated_erasure_reports_the_first_one_and_writes_nothing() -> None:
    marker = {"OrderId": "001", "Status": "CANCELLED", "ErasedAt": "then", "ErasedBy": "ada"}
    tables = Tables(marker)
    assert await erase(tables.stack, await tables.found(), "grace") == Erasure("001", "then", "ada", [])
    assert tables.written == []


async def test_after_an_erasure_it_is_still_known_who_else_keeps_something() -> None:
    tables = Tables(cases=[case("001", OrderId="001", ExecutionArns=[ONE, TWO], Routed=[{"Channel": "pager"}])])
    before = await tables.found()
    for late in (case("three", ExecutionArns=[TWO, THREE], Routed=[{"Channel": "log"}]), None):
        await erase(tables.stack, await tables.found(), "grace")
        tables.order = from_item(tables.written[-1][-1]["Put"]["Item"])
        tables.cases = [] if late is None else [late]
    after = await tables.found()
    assert after.erased_before
    assert (before.channels, before.executions, before.shipment_id) == (["pager"], {ONE, TWO}, "S-1")
    assert (after.channels, after.executions, after.shipment_id) == (["log", "pager"], {ONE, TWO, THREE}, "S-1")


async def test_a_case_that_was_opened_after_an_erasure_is_erased_too() -> None:
    tables = Tables({"OrderId": "001", "Status": "CANCELLED", "ErasedAt": "then", "ErasedBy": "ada"}, [OWN])
    await erase(tables.stack, await tables.found(), "grace")
    ((_, put),) = tables.written
    assert put["Put"]["ConditionExpression"] == "#Status = :status AND attribute_not_exists(ExecutionArn)"


@pytest.mark.parametrize("code", ["ConditionalCheckFailed", "TransactionConflict"])
async def test_what_has_changed_meanwhile_is_not_erased(code: str) -> None:
    tables = Tables(cases=[OWN])
    found = await tables.found()
    tables.codes = ["None", code]
    with pytest.raises(OperationError, match="has just changed; look at it, then try again"):
        await erase(tables.stack, found, "grace")


async def test_a_case_that_is_opened_while_the_person_confirms_stops_the_erasure() -> None:
    tables = Tables(cases=[case("one", ExecutionArns=[ONE])])
    erasure = await erase(tables.stack, await tables.found(), "grace")
    assert erasure.case_ids == ["one"]
    _, own, _ = tables.written[0]
    assert own["Delete"]["Key"] == to_item({"CaseId": "001"})
    assert own["Delete"]["ConditionExpression"] == "attribute_not_exists(Version)"


async def test_a_marker_keeps_that_a_worker_may_still_be_shipping_the_order() -> None:
    """A worker that gets its message again reports that it may have been shipped."""
    tables = Tables(ORDER | {"Status": "CANCELLED", "CancelledAt": "then", "CancelledBy": "ada"}, [OWN])
    await erase(tables.stack, await tables.found(), "grace")
    marker = from_item(tables.written[0][-1]["Put"]["Item"])
    assert marker["CancelledAt"] == "then"
    assert "CancelledBy" not in marker


async def test_another_error_of_a_transaction_is_raised_as_it_is() -> None:
    tables = Tables()
    found = await tables.found()
    tables.codes = ["ThrottlingError"]
    with pytest.raises(ClientError):
        await erase(tables.stack, found, "grace")


async def test_the_order_and_its_own_case_come_last_so_that_a_repetition_finds_all_cases() -> None:
    """The own case names the executions by which the others are found."""
    others = [case(f"e-{n}", ExecutionArns=[ONE]) for n in range(MAX_DELETES + 5)]
    tables = Tables(cases=[OWN, *others])
    await erase(tables.stack, await tables.found(), "grace")
    first, last = tables.written
    assert len(first) == MAX_DELETES
    assert [next(iter(write)) for write in last] == ["Delete"] * 6 + ["Put"]
    assert last[-2]["Delete"]["Key"] == to_item({"CaseId": "001"})


async def test_as_many_cases_as_fit_are_deleted_in_one_transaction() -> None:
    tables = Tables(cases=[OWN, *(case(f"e-{n}", ExecutionArns=[ONE]) for n in range(MAX_DELETES - 1))])
    await erase(tables.stack, await tables.found(), "grace")
    assert [len(writes) for writes in tables.written] == [MAX_DELETES + 1]
