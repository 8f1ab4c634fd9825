import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.workers.aws.sdk_fakes import Waiting, two_at_once
from workers.aws.transactions import MAX_GROUP, MAX_GROUP_BYTES, SINGLE_WRITES, Transactions
from workers.errors import ConflictError, OutageError, SuspectedOutageError


class FakeDynamo:
    """
    Accepts transactions, except for what the test sets.

    `reasons`: why a write is not accepted, by its name. `refused`: the name because of which a whole request is
    refused. `errors`: raised for the next requests, whatever is in them; after `lost`, their writes are applied.
    `group_errors`: raised for the next requests with more than one write.
    """

    def __init__(self, **reasons: str) -> None:
        self.reasons = reasons
        self.refused: str | None = None
        self.code = "ValidationException"
        self.errors: list[Exception] = []
        self.group_errors: list[Exception] = []
        self.lost = False
        self.garbled: list[Any] | None = None
        self.requests: list[list[str]] = []
        self.tokens: list[str] = []
        self.written: Counter[str] = Counter()

    async def transact_write_items(self, *, TransactItems: list[Any], ClientRequestToken: str) -> None:  # noqa: N803
        names = [write["Put"]["Item"]["CaseId"]["S"] for write in TransactItems]
        self.requests.append(names)
        self.tokens.append(ClientRequestToken)
        await asyncio.sleep(0)
        assert len(set(names)) == len(names) <= 100, "DynamoDB refuses this"
        if self.errors:
            self.written.update(names if self.lost else [])
            raise self.errors.pop(0)
        if self.group_errors and len(names) > 1:
            raise self.group_errors.pop(0)
        if self.refused in names:
            raise ClientError({"Error": {"Code": self.code}}, "TransactWriteItems")
        codes = [self.reasons.get(name, "None") for name in names]
        if set(codes) != {"None"}:
            raise cancelled([{"Code": code} for code in codes] if self.garbled is None else self.garbled)
        self.written.update(names)

    @property
    def sizes(self) -> list[int]:
        return [len(names) for names in self.requests]


def cancelled(reasons: list[Any]) -> ClientError:
    response: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
    return ClientError(response, "TransactWriteItems")


def put(name: str, text: str = "") -> Any:
    return {"Put": {"TableName": "Cases", "Item": {"CaseId": {"S": name}, "Text": {"S": text}}}}


def names(count: int) -> list[str]:
    return [f"c{n}" for n in range(count)]


async def write_all(transactions: Transactions, wanted: Iterable[str], *parts: str) -> list[BaseException | None]:
    """Write transactions at the same time. Each has a write with its name, and one for each of *parts*."""
    calls = [
        transactions.write_together(name, [put(name), *(put(f"{name}-{part}") for part in parts)]) for name in wanted
    ]
    return await asyncio.gather(*calls, return_exceptions=True)


def kinds(results: Sequence[BaseException | None]) -> list[str | None]:
    return [None if result is None else type(result).__name__ for result in results]


async def test_a_transaction_that_comes_alone_is_written_alone() -> None:
    dynamodb = FakeDynamo()
    assert await write_all(Transactions(dynamodb), ["a"], "order") == [None]  # type: ignore[arg-type]
    assert dynamodb.requests == [["a", "a-order"]]


async def test_concurrent_transactions_share_a_request() -> None:
    dynamodb: Any = FakeDynamo()
    assert await write_all(Transactions(dynamodb), names(60), "order") == [None] * 60
    assert dynamodb.sizes == [50, 50, 20]
    assert len(dynamodb.written) == 120
    assert len(set(dynamodb.tokens)) == 3


async def test_two_requests_run_at_once() -> None:
    dynamodb = Waiting()
    transactions = Transactions(cast("Any", dynamodb))
    await two_at_once(dynamodb, [transactions.write_together(name, [put(name)]) for name in names(4)], {})


async def test_transactions_with_the_same_key_are_in_different_requests() -> None:
    dynamodb: Any = FakeDynamo()
    assert await write_all(Transactions(dynamodb), ["a", "b", "a"]) == [None] * 3
    assert [sorted(request) for request in dynamodb.requests] == [["a", "b"], ["a"]]


@pytest.mark.parametrize("named", ["c3", "c3-order"])
async def test_what_dynamodb_does_not_accept_goes_alone_and_the_rest_together(named: str) -> None:
    dynamodb: Any = FakeDynamo(**{named: "ConditionalCheckFailed"})
    results = await write_all(Transactions(dynamodb), names(10), "order")
    assert kinds(results) == [None] * 3 + ["ConflictError"] + [None] * 6
    assert sorted(dynamodb.sizes) == [2, 18, 20]
    assert dynamodb.written == Counter(name for n in range(10) for name in (f"c{n}", f"c{n}-order") if n != 3), (
        "each other transaction is written once"
    )


CODES = [
    *("None", "ConditionalCheckFailed", "TransactionConflict", "ValidationError", "ItemCollectionSizeLimitExceeded"),
    *("ThrottlingError", "ProvisionedThroughputExceeded", "AccessDenied", "CodeOfTomorrow"),
]


@pytest.mark.parametrize("seed", range(20))
async def test_a_transaction_ends_in_a_group_as_it_ends_alone(seed: int) -> None:
    mix = random.Random(seed)
    rarely_accepted = [mix.choice(CODES) for _ in range(40)]
    mostly_accepted = [mix.choice(CODES) if mix.random() < 0.1 else "None" for _ in range(40)]
    for codes in (rarely_accepted, mostly_accepted):
        reasons = {
            name + mix.choice(["", "-order"]): code
            for name, code in zip(names(40), codes, strict=True)
            if code != "None"
        }
        together: Any = FakeDynamo(**reasons)
        alone: Any = FakeDynamo(**reasons)
        singles = Transactions(alone)
        expected = await asyncio.gather(
            *(singles.write([put(name), put(f"{name}-order")]) for name in names(40)), return_exceptions=True
        )
        results = await write_all(Transactions(together), names(40), "order")
        assert kinds(results) == kinds(expected)
        assert [str(result) for result in results] == [str(result) for result in expected]
        assert together.written == alone.written


async def test_a_throttled_transaction_is_not_sent_again_at_once() -> None:
    dynamodb: Any = FakeDynamo(c3="ThrottlingError", **{"c5-order": "ProvisionedThroughputExceeded"})
    results = await write_all(Transactions(dynamodb), names(10), "order")
    assert [str(result) for result in results if result is not None] == [
        "TransactWriteItems: ThrottlingError",
        "TransactWriteItems: ProvisionedThroughputExceeded",
    ]
    assert dynamodb.sizes == [20, 16]
    everything: Any = FakeDynamo(**dict.fromkeys(names(MAX_GROUP), "ThrottlingError"))
    assert kinds(await write_all(Transactions(everything), names(MAX_GROUP))) == ["OutageError"] * MAX_GROUP
    assert len(everything.requests) == 1


async def test_a_conflict_that_is_over_when_a_transaction_goes_alone_is_none() -> None:
    dynamodb: Any = FakeDynamo()
    dynamodb.group_errors = [cancelled([{"Code": "None"}, {"Code": "TransactionConflict"}, {"Code": "None"}])]
    assert await write_all(Transactions(dynamodb), names(3)) == [None] * 3
    assert sorted(dynamodb.sizes) == [1, 2, 3]
    assert dynamodb.written == Counter(names(3))


async def test_a_transaction_whose_groups_are_cancelled_by_others_goes_alone() -> None:
    dynamodb: Any = FakeDynamo()
    transactions = Transactions(dynamodb)
    dynamodb.group_errors = [
        cancelled([{"Code": "TransactionConflict"}, *[{"Code": "None"}] * 3]),
        cancelled([{"Code": "TransactionConflict"}, *[{"Code": "None"}] * 2]),
    ]
    assert await write_all(transactions, names(4)) == [None] * 4
    assert dynamodb.written == Counter(names(4))
    assert sorted(dynamodb.sizes) == [1, 1, 1, 1, 3, 4]


async def test_after_two_cancelled_groups_in_a_row_transactions_go_alone_for_a_while() -> None:
    dynamodb: Any = FakeDynamo(c0="TransactionConflict")
    transactions = Transactions(dynamodb)
    for _ in range(2):
        await write_all(transactions, ["c0"], "order")
        dynamodb.requests.clear()
    for _ in range(2):  # And again afterward.
        # Each of the two groups is cancelled; what is left of it is one transaction, so no group.
        for _ in range(2):
            assert kinds(await write_all(transactions, names(2))) == ["ConflictError", None]
        dynamodb.requests.clear()
        assert await write_all(transactions, names(SINGLE_WRITES + 1)[1:]) == [None] * SINGLE_WRITES
        assert dynamodb.sizes == [1] * SINGLE_WRITES
    dynamodb.requests.clear()
    assert await write_all(transactions, names(11)[1:]) == [None] * 10
    assert dynamodb.sizes == [10]


async def test_a_written_group_between_two_cancelled_ones_keeps_the_groups() -> None:
    dynamodb: Any = FakeDynamo(c0="TransactionConflict")
    transactions = Transactions(dynamodb)
    for _ in range(10):
        assert kinds(await write_all(transactions, names(MAX_GROUP))) == ["ConflictError"] + [None] * (MAX_GROUP - 1)
    # Each time: the group, then the one alone and the rest together.
    assert Counter(dynamodb.sizes) == {MAX_GROUP: 10, 1: 10, MAX_GROUP - 1: 10}


@pytest.mark.parametrize(
    "garbled", [[], [{"Code": "None"}] * 3, [{"Code": "ConditionalCheckFailed"}], [5, None, {}, {}], "odd"]
)
async def test_if_the_reasons_name_no_write_all_go_alone(garbled: Any) -> None:
    dynamodb: Any = FakeDynamo(c1="ConditionalCheckFailed")
    dynamodb.garbled = garbled
    results = await write_all(Transactions(dynamodb), names(3))
    assert [result is None for result in results] == [True, False, True]
    assert sorted(dynamodb.sizes) == [1, 1, 1, 3]


async def test_a_request_that_is_refused_because_of_one_transaction_fails_only_that_one() -> None:
    dynamodb: Any = FakeDynamo()
    dynamodb.refused = "c17"
    results = await write_all(Transactions(dynamodb), names(MAX_GROUP))
    assert [n for n, result in enumerate(results) if result is not None] == [17]
    assert isinstance(results[17], ClientError)
    assert len(dynamodb.requests) <= 11, "it is halved, not sent one by one"
    assert dynamodb.written == Counter(name for name in names(MAX_GROUP) if name != "c17")


async def test_a_half_that_meets_an_outage_does_not_fail_the_other() -> None:
    dynamodb: Any = FakeDynamo()
    too_large = ClientError({"Error": {"Code": "ValidationException"}}, "TransactWriteItems")
    dynamodb.errors = [too_large, ClientError({"Error": {"Code": "ThrottlingException"}}, "TransactWriteItems")]
    assert kinds(await write_all(Transactions(dynamodb), names(4))) == ["OutageError", "OutageError", None, None]


async def test_a_group_stays_below_the_size_that_dynamodb_allows() -> None:
    dynamodb: Any = FakeDynamo()
    transactions = Transactions(dynamodb)
    await asyncio.gather(*(transactions.write_together(name, [put(name, "x" * 390_000)]) for name in names(25)))
    assert max(dynamodb.sizes) == 7, "7 x 390 KB are below 3 MB, 8 are not"
    assert sum(dynamodb.sizes) == 25
    assert dynamodb.written == Counter(names(25))


async def test_text_that_is_not_unicode_is_left_to_dynamodb() -> None:
    dynamodb: Any = FakeDynamo()
    await Transactions(dynamodb).write_together("a", [put("a", "\ud800")])
    assert dynamodb.requests == [["a"]]


async def test_bytes_that_were_put_into_a_case_by_hand_are_written_back() -> None:
    dynamodb: Any = FakeDynamo()
    write = put("a")
    write["Put"]["Item"]["Note"] = {"B": b"\xff"}
    await Transactions(dynamodb).write_together("a", [write])
    assert dynamodb.requests == [["a"]]


async def test_a_lost_response_to_a_group_is_an_outage_for_all_its_callers() -> None:
    dynamodb: Any = FakeDynamo()
    dynamodb.errors, dynamodb.lost = [ReadTimeoutError(endpoint_url="http://x")], True
    assert [isinstance(result, OutageError) for result in await write_all(Transactions(dynamodb), names(3))] == [
        True
    ] * 3
    assert len(dynamodb.requests) == 1, "not sent again: it may have been written"
    assert dynamodb.written == Counter(names(3))


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ProvisionedThroughputExceededException", "InternalServerError"]
)
async def test_an_outage_is_one_for_the_whole_group(code: str) -> None:
    dynamodb: Any = FakeDynamo()
    dynamodb.errors = [ClientError({"Error": {"Code": code}}, "TransactWriteItems")]
    assert kinds(await write_all(Transactions(dynamodb), names(3))) == ["OutageError"] * 3
    assert len(dynamodb.requests) == 1


async def test_a_transaction_that_always_fails_with_an_unknown_code_is_soon_alone() -> None:
    dynamodb: Any = FakeDynamo()
    dynamodb.refused, dynamodb.code = "c1", "CodeOfTomorrow"
    transactions = Transactions(dynamodb)
    for _ in range(2):
        assert kinds(await write_all(transactions, names(3))) == [SuspectedOutageError.__name__] * 3
    assert kinds(await write_all(transactions, names(3))) == [None, SuspectedOutageError.__name__, None]


async def test_a_conflict_is_raised_as_one() -> None:
    dynamodb: Any = FakeDynamo(a="TransactionConflict")
    with pytest.raises(ConflictError, match="order or case has changed"):
        await Transactions(dynamodb).write([put("a")])


async def test_a_transaction_that_is_cancelled_for_another_reason_is_no_conflict() -> None:
    dynamodb: Any = FakeDynamo(a="ItemCollectionSizeLimitExceeded")
    with pytest.raises(ClientError):
        await Transactions(dynamodb).write([put("a")])


def test_a_group_stays_below_the_size_that_dynamodb_takes() -> None:
    assert (MAX_GROUP, MAX_GROUP_BYTES) == (25, 3_000_000)
