from types import SimpleNamespace
from typing import Any

import pytest

from tests.workers.operations.fakes import EXECUTION, FakeClient, Waits, fake_stack
from workers.aws.items import to_item
from workers.domain.submissions import recorded_fields, submission_name
from workers.operations import stored_orders
from workers.operations.ledger import Entry, marks_of
from workers.operations.retries import Retries
from workers.operations.stored_orders import LOOK_S, MAX_LOOKS, described, differing_fields, is_taken, submitted_before

CARD = "4929123412345678"
ORDER = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
STORED = ORDER | {"CC": "************5678", "Status": "FULFILLED", "ExecutionArn": f"{EXECUTION}:other"}

SEE = "see `orders show 001`"
FOURTH = submission_name("001", 4)
START_FIFTH = "; to start this one in its place, use --submission 5"


def arn(number: int) -> str:
    return f"{EXECUTION}:{submission_name('001', number)}"


def entry(**changes: str) -> Entry:
    return Entry("001", "orders.csv", 7, marks_of(recorded_fields(ORDER | changes)))


@pytest.mark.parametrize(
    ("given", "stored", "fields"),
    [
        ({}, {}, []),
        ({"Name": "Grace"}, {}, ["Name"]),
        (
            {"Name": "Grace", "ItemName": "B", "Price": "12.5", "CC": CARD[::-1]},
            {},
            ["Name", "ItemName", "Price", "CC"],
        ),
        ({"Name": f"Ada {CARD}"}, {"Name": "Ada ****"}, []),
        ({"Price": CARD}, {"Price": "****"}, []),
        ({"CC": f"0000{CARD[4:]}"}, {}, []),  # The table holds only the last four digits.
        ({"CC": CARD[1:]}, {}, ["CC"]),
        ({"CC": "12"}, {"CC": "****"}, []),
        ({}, {"CC": "****"}, ["CC"]),
        ({"More": "x"}, {}, []),
    ],
)
def test_an_order_differs_from_the_stored_one_in(
    given: dict[str, str], stored: dict[str, str], fields: list[str]
) -> None:
    assert differing_fields(entry(**given), STORED | stored) == fields


def test_an_erased_order_is_not_said_to_differ() -> None:
    erased = {"OrderId": "001", "Status": "FULFILLED", "ErasedAt": "2026-11-26T10:00:00Z"}
    assert differing_fields(entry(), erased) == []


def test_an_item_of_another_system_differs_in_the_fields_that_it_lacks() -> None:
    assert differing_fields(entry(), {"OrderId": "001", "Status": "CANCELLED", "Price": 12}) == [
        "Name",
        "ItemName",
        "Price",
        "CC",
    ]


@pytest.mark.parametrize(
    ("number", "given", "stored", "text"),
    [
        (1, {}, {}, "the stored order is FULFILLED; if this is a new order, it needs an OrderId of its own"),
        (1, {}, {"Status": "RECEIVED"}, "the stored order is RECEIVED, in progress; see `orders show 001`"),
        (
            2,
            {},
            {"Status": "ESCALATED", "ExecutionArn": arn(1)},
            "the stored order is ESCALATED; to start this one in its place, use --submission 3",
        ),
        (
            1,
            {"Price": "1"},
            {"Status": "ESCALATED", "ExecutionArn": arn(1)},
            "the stored order is ESCALATED and differs in Price; to start this one in its place, use --submission 2",
        ),
        (
            1,
            {"Price": "1", "CC": "1"},
            {"Status": "ESCALATED", "ExecutionArn": f"{EXECUTION}:{FOURTH}"},
            f"the stored order, recorded by execution {FOURTH}, is ESCALATED and differs in Price, CC{START_FIFTH}",
        ),
        (
            1,
            {"Name": "Grace"},
            {"Status": "RECEIVED"},
            f"the stored order, recorded by execution other, is RECEIVED and differs in Name, in progress; {SEE}",
        ),
    ],
)
def test_a_stored_order_is_described_with_what_to_do(
    number: int, given: dict[str, str], stored: dict[str, str], text: str
) -> None:
    assert described(entry(**given), STORED | stored, number) == text


def test_an_erased_order_is_not_compared_with_its_marker() -> None:
    marker = {"OrderId": "001", "Status": "FULFILLED", "ExecutionArn": arn(1), "ErasedAt": "2026-11-22T12:00:00Z"}
    assert described(entry(), marker, 1) == (
        "the stored order was FULFILLED, and was erased at 2026-11-22T12:00:00Z;"
        " a new order needs an OrderId of its own"
    )


class Table:
    """The order 001 as each read finds it; None: it is missing."""

    def __init__(self, *reads: dict[str, Any] | None) -> None:
        self.reads = list(reads)

    def batch_get_item(self, *, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        item = self.reads.pop(0)
        return {"Responses": {next(iter(RequestItems)): [] if item is None else [to_item(STORED | item)]}}


async def look(table: Table, number: int = 1, look_s: float = 0) -> dict[str, Any]:
    stack, retries = fake_stack(dynamodb=FakeClient(batch_get_item=table.batch_get_item)), Retries(backoff=Waits())
    before = submitted_before(stack, lambda: [entry()], number, retries, look_s=look_s)
    ((_, item),) = [found async for found in before]
    return dict(item or {})


async def test_an_order_that_its_execution_is_about_to_record_is_looked_at_again() -> None:
    table = Table(None, None, {"ExecutionArn": arn(1), "Price": "9"})
    assert (await look(table))["Price"] == "9"
    assert table.reads == []


async def test_an_escalated_order_that_the_execution_may_start_over_is_looked_at_again() -> None:
    escalated = {"Status": "ESCALATED", "ExecutionArn": arn(1), "Price": "9"}
    table = Table(escalated, escalated, {"Status": "RECEIVED", "ExecutionArn": arn(2)})
    assert (await look(table, number=2))["Price"] == "12.50"
    assert table.reads == []


@pytest.mark.parametrize(
    "item",
    [
        {"Price": "9"},
        {"Price": "9", "Status": "RECEIVED"},
        {"Price": "9", "Status": "ESCALATED", "ExecutionArn": arn(1)},
        {"Status": "ESCALATED"},
    ],
)
async def test_an_order_that_will_not_change_is_looked_at_once(item: dict[str, Any]) -> None:
    assert await look(Table(item)) == STORED | item


@pytest.mark.parametrize("item", [None, {"Status": "ESCALATED", "Price": "9"}])
async def test_it_looks_only_for_a_few_seconds(monkeypatch: pytest.MonkeyPatch, item: dict[str, Any] | None) -> None:
    table, slept = Table(*[item] * 9), list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(stored_orders, "asyncio", SimpleNamespace(sleep=sleep))
    await look(table, look_s=7)
    assert (len(table.reads), slept) == (9 - MAX_LOOKS, [7] * (MAX_LOOKS - 1))


@pytest.mark.parametrize(
    ("item", "taken"),
    [
        ({"Status": "RECEIVED"}, True),
        ({"Status": "RECEIVED", "ExecutionArn": arn(2)}, False),
        ({"Status": "ESCALATED"}, False),
        ({"Status": "FULFILLED", "ExecutionArn": arn(2)}, True),
        ({"Status": "CANCELLED"}, True),
    ],
)
async def test_an_order_is_taken_if_it_is_final_or_in_progress_elsewhere(item: dict[str, Any], *, taken: bool) -> None:
    assert await is_taken(fake_stack(), entry(), STORED | item, 2) is taken


def test_an_order_is_looked_at_again_for_three_seconds() -> None:
    assert (MAX_LOOKS - 1) * LOOK_S == 3
