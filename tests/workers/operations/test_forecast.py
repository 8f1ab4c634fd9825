"""What a check says, and what a submission of the same orders then does."""

import json
from collections import Counter
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, Waits, fake_stack, refused
from workers.aws.items import to_item
from workers.domain.submissions import submission_name
from workers.operations.forecast import Forecast, forecast
from workers.operations.ledger import Ledger, State
from workers.operations.order_record import Record
from workers.operations.records import BadRecord
from workers.operations.retries import Retries
from workers.operations.stack import Stack
from workers.operations.submit import Problems, Submission, Summary

CARD = "4929123412345678"
OTHER = f"{EXECUTION}:other"


def record(order_id: str, line: int, **changes: str) -> Record:
    order = {"OrderId": order_id, "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": CARD} | changes
    return Record(line, order_id, json.dumps(order), "x")


def stored(order_id: str, number: int = 1, **changes: Any) -> dict[str, Any]:
    order = {"OrderId": order_id, "Name": "Ada", "ItemName": "Bell", "Price": "1", "CC": "************5678"}
    arn = f"{EXECUTION}:{submission_name(order_id, number)}"
    return order | {"Status": "FULFILLED", "ExecutionArn": arn} | changes


def stack_with(*items: dict[str, Any], existing: set[str] = set()) -> Stack:  # noqa: B006 - not changed.
    by_id = {item["OrderId"]: item for item in items}

    def batch_get_item(*, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        ((table, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {table: [to_item(by_id[order_id]) for order_id in ids if order_id in by_id]}}

    def start_execution(**request: Any) -> dict[str, Any]:
        if request["name"] in existing:
            raise refused("ExecutionAlreadyExists")
        return {"startDate": NOW, "ResponseMetadata": {}}

    return fake_stack(
        dynamodb=FakeClient(batch_get_item=batch_get_item), stepfunctions=FakeClient(start_execution=start_execution)
    )


def ledger_of(*records: Record) -> Ledger:
    ledger = Ledger()
    for one in records:
        ledger.add(one)
    return ledger


async def found_in(stack: Stack, ledger: Ledger, number: int = 1) -> tuple[Forecast, list[BadRecord]]:
    found, different, compared = Forecast(Problems()), list[BadRecord](), list[int]()
    await forecast(
        stack,
        ledger,
        found,
        number=number,
        retries=Retries(backoff=Waits()),
        different=different.append,
        progress=compared.append,
    )
    assert found.not_compared or compared == [1] * len(ledger)
    return found, different


async def test_new_orders_would_be_fulfilled_or_escalated_with_their_reasons() -> None:
    records = [
        record("1", 1),
        record("2", 2, Price="-1"),
        record("3", 3, CC="12"),
        record("4", 4, CC="12", Price="x"),
        record("5", 5, CC="12"),
    ]
    found, _ = await found_in(stack_with(), ledger_of(*records))
    assert {why: [entry.line for entry in first] for why, first in found.first_to_escalate.items()} == {
        ("INVALID_PRICE",): [2],
        ("INVALID_CARD_NUMBER",): [3, 5],
        ("INVALID_CARD_NUMBER", "INVALID_PRICE"): [4],
    }
    found.first_to_escalate.clear()
    assert found == Forecast(
        Problems(),
        to_start=Counter(
            {(): 1, ("INVALID_PRICE",): 1, ("INVALID_CARD_NUMBER",): 2, ("INVALID_CARD_NUMBER", "INVALID_PRICE"): 1}
        ),
    )
    assert found.good


# The stored orders; of those of the third submission the first column of the next table says what becomes of them.
ITEMS = {
    "final": stored("final"),
    "cancelled": stored("cancelled", Status="CANCELLED"),
    "in-progress": stored("in-progress", Status="RECEIVED"),
    "escalated": stored("escalated", Status="ESCALATED"),
    "escalated-third": stored("escalated-third", 3, Status="ESCALATED"),
    "escalated-other": stored("escalated-other", ExecutionArn=OTHER, Status="ESCALATED"),
    "of-another": stored("of-another", ExecutionArn=OTHER),
    "erased": {"OrderId": "erased", "Status": "FULFILLED", "ErasedAt": "2026-11-26T10:00:00Z"},
}


@pytest.mark.parametrize(
    ("number", "to_start", "already"),
    [
        (1, 1, {"FULFILLED": 3, "CANCELLED": 1, "RECEIVED": 1, "ESCALATED": 3}),
        (3, 3, {"FULFILLED": 3, "CANCELLED": 1, "RECEIVED": 1, "ESCALATED": 1}),
    ],
)
async def test_the_check_says_what_a_submission_does(number: int, to_start: int, already: dict[str, int]) -> None:
    records = [record(order_id, line) for line, order_id in enumerate([*ITEMS, "new"], 1)]
    existing = {submission_name(order_id, number) for order_id in (ITEMS if number == 1 else ["escalated-third"])}
    stack = stack_with(*ITEMS.values(), existing=existing)
    ledger = ledger_of(*records)
    found, different = await found_in(stack, ledger, number)
    assert (found.to_start, found.already_submitted, different) == (Counter({(): to_start}), Counter(already), [])
    submission = Submission(stack, ledger, lambda: records, Summary(), number=number)
    await submission.run(look_s=0)
    assert submission.summary == Summary(submitted=to_start, already_submitted=sum(already.values()))


async def test_different_orders_are_named_and_rejected() -> None:
    ledger = ledger_of(record("1", 1), record("2", 2, Price="9"))
    found, different = await found_in(stack_with(stored("1"), stored("2", Status="RECEIVED")), ledger)
    problem = "would be skipped: the stored order is RECEIVED and differs in Price, in progress; see `orders show 2`"
    assert different == [BadRecord(2, problem, "2", "x")]
    assert found == Forecast(Problems(), Problems(1, different), already_submitted=Counter({"FULFILLED": 1}))
    assert not found.good
    assert [entry.order_id for entry in ledger.entries(having=State.NOT_SUBMITTED)] == ["2"]
    assert ledger.problem("2") == problem


async def test_a_check_starts_nothing() -> None:
    stack = stack_with()
    await found_in(stack, ledger_of(record("1", 1)))
    assert isinstance(stack.stepfunctions, FakeClient)
    assert stack.stepfunctions.requests == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NoCredentialsError(), "no AWS credentials"),
        (refused("AccessDeniedException", "BatchGetItem"), "these credentials do not allow BatchGetItem"),
    ],
)
async def test_without_the_table_the_check_says_so_and_what_the_files_tell(error: Exception, text: str) -> None:
    reads = 0

    def batch_get_item(*, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803 - boto3's name.
        nonlocal reads
        reads += 1
        if reads > 1:
            raise error
        ((table, request),) = RequestItems.items()
        return {"Responses": {table: [to_item(stored(key["OrderId"]["S"])) for key in request["Keys"]]}}

    ledger = ledger_of(*(record(f"o-{n}", n, Price="-1" if n in {7, 107} else "1") for n in range(150)))
    found, different = await found_in(fake_stack(dynamodb=FakeClient(batch_get_item=batch_get_item)), ledger)
    assert (found.to_start, found.already_submitted) == (Counter({(): 148, ("INVALID_PRICE",): 1}), Counter())
    assert [entry.line for entry in found.first_to_escalate[("INVALID_PRICE",)]] == [107]
    assert [bad.order_id for bad in different] == ["o-7"]  # What was compared before is not counted twice.
    assert text in str(found.not_compared)
    assert not found.good


async def test_an_internal_error_is_raised() -> None:
    def bug(**_: Any) -> None:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        await found_in(fake_stack(dynamodb=FakeClient(batch_get_item=bug)), ledger_of(record("1", 1)))


async def test_only_the_first_orders_to_escalate_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.operations.forecast.MAX_SHOWN", 2)
    found, _ = await found_in(stack_with(), ledger_of(*(record(f"o-{n}", n, Price="-1") for n in range(4))))
    assert found.to_start == Counter({("INVALID_PRICE",): 4})
    assert [entry.line for entry in found.first_to_escalate["INVALID_PRICE",]] == [0, 1]


@pytest.mark.parametrize(
    "problem",
    [
        {"bad": Problems(1)},
        {"different": Problems(1)},
        {"not_compared": "AWS cannot be reached"},
        {"refusal": "all would be escalated"},
    ],
)
def test_one_problem_of_any_kind_is_enough(problem: dict[str, Any]) -> None:
    assert Forecast(Problems()).good
    assert not Forecast(**{"bad": Problems()} | problem).good
