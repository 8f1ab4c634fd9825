import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.aws.sdk_fakes import Waiting, two_at_once
from tests.workers.fakes import NO_WAIT
from workers.aws.batch_reads import MAX_TRIES, UNPROCESSED, BatchReads, Item, Key, ReadTable
from workers.backoff import Backoff
from workers.errors import OutageError, SuspectedOutageError

ORDERS, CASES = ReadTable("Orders", "OrderId"), ReadTable("Cases", "CaseId", attributes="CaseId, Note")

Answer = dict[str, Any]


def item(key: Key) -> dict[str, Any]:
    table, value = key
    return {"OrderId" if table == "Orders" else "CaseId": {"S": value}, "Of": {"S": table}}


class FakeDynamo:
    """Has all items, except those of `missing`. `change` changes each answer before it is given."""

    def __init__(self, change: Callable[[Answer], Any] = lambda answer: answer, missing: Sequence[Key] = ()) -> None:
        self.change = change
        self.missing = missing
        self.requests: list[dict[str, Any]] = []
        self.error: Exception | None = None
        self.refused: str | None = None
        self.released = asyncio.Event()
        self.released.set()

    async def batch_get_item(self, *, RequestItems: dict[str, Any]) -> Any:  # noqa: N803 - the SDK's name.
        self.requests.append(RequestItems)
        await self.released.wait()
        if self.error is not None:
            raise self.error
        keys = [(table, value) for table, asked in RequestItems.items() for value in values(asked["Keys"])]
        if self.refused in [value for _, value in keys]:
            raise ClientError({"Error": {"Code": "ValidationException"}}, "BatchGetItem")
        assert len(set(keys)) == len(keys) <= 100
        found = {
            name: [item(key) for key in keys if key[0] == name and key not in self.missing] for name in RequestItems
        }
        return self.change({"Responses": found, "UnprocessedKeys": {}})

    @property
    def keys(self) -> list[list[str]]:
        """The values of the keys of each request."""
        return [[value for asked in request.values() for value in values(asked["Keys"])] for request in self.requests]


def values(keys: Sequence[dict[str, dict[str, str]]]) -> list[str]:
    return [value["S"] for key in keys for value in key.values()]


def reads_of(dynamodb: Any, unprocessed: Backoff = NO_WAIT) -> BatchReads:
    return BatchReads(dynamodb, ORDERS, CASES, unprocessed=unprocessed)


def pairs(count: int) -> list[tuple[Key, Key]]:
    return [(("Orders", f"o{n}"), ("Cases", f"o{n}")) for n in range(count)]


async def read_all(reads: BatchReads, wanted: Sequence[Sequence[Key]]) -> list[list[Item | None] | BaseException]:
    return await asyncio.gather(*(reads.read(*keys) for keys in wanted), return_exceptions=True)


async def test_an_order_and_its_case_are_read_in_one_request() -> None:
    dynamodb = FakeDynamo(missing=[("Cases", "o0")])
    assert await reads_of(dynamodb).read(*pairs(1)[0]) == [item(("Orders", "o0")), None]
    assert dynamodb.requests == [
        {
            "Orders": {"Keys": [{"OrderId": {"S": "o0"}}], "ConsistentRead": True},
            "Cases": {
                "Keys": [{"CaseId": {"S": "o0"}}],
                "ConsistentRead": True,
                "ProjectionExpression": "CaseId, Note",
            },
        }
    ]


async def test_concurrent_reads_share_a_request_of_up_to_a_hundred_keys() -> None:
    dynamodb = FakeDynamo()
    found = await read_all(reads_of(dynamodb), pairs(120))
    assert found == [[item(key) for key in pair] for pair in pairs(120)]
    assert [len(keys) for keys in dynamodb.keys] == [100, 100, 40]


async def test_reads_of_the_same_item_name_its_key_once() -> None:
    dynamodb = FakeDynamo()
    assert await read_all(reads_of(dynamodb), [pairs(1)[0]] * 3) == [[item(key) for key in pairs(1)[0]]] * 3
    assert dynamodb.keys == [["o0", "o0"]]


def leaving_unprocessed(*left: Key, times: int = 1) -> Callable[[Answer], Answer]:
    """Leave some keys unprocessed, a number of times."""
    remaining = [times]

    def change(answer: Answer) -> Answer:
        if remaining[0] == 0:
            return answer
        remaining[0] -= 1
        unprocessed: dict[str, Any] = {}
        for table, value in left:
            items = answer["Responses"].get(table, [])
            kept = [each for each in items if value not in values([each])]
            if len(kept) < len(items):
                answer["Responses"][table] = kept
                name = "OrderId" if table == "Orders" else "CaseId"
                unprocessed.setdefault(table, {"Keys": []})["Keys"].append({name: {"S": value}})
        return answer | {"UnprocessedKeys": unprocessed}

    return change


async def test_only_unprocessed_keys_are_asked_for_again() -> None:
    dynamodb = FakeDynamo(leaving_unprocessed(("Cases", "o1"), ("Orders", "o2")))
    assert await read_all(reads_of(dynamodb), pairs(3)) == [[item(key) for key in pair] for pair in pairs(3)]
    assert dynamodb.keys == [["o0", "o1", "o2", "o0", "o1", "o2"], ["o1", "o2"]]


async def test_reads_whose_keys_were_processed_do_not_wait_for_the_others() -> None:
    dynamodb = FakeDynamo(leaving_unprocessed(("Cases", "o1")))
    waiting = Backoff(base_s=3600, cap_s=3600)
    reads = reads_of(dynamodb, waiting)
    first, second = (asyncio.create_task(reads.read(*pair)) for pair in pairs(2))
    assert await first == [item(key) for key in pairs(2)[0]]
    assert not second.done()
    second.cancel()
    await asyncio.wait([second])


async def test_a_key_that_stays_unprocessed_is_an_outage() -> None:
    dynamodb = FakeDynamo(leaving_unprocessed(("Orders", "o1"), times=100))
    first, second = await read_all(reads_of(dynamodb), pairs(2))
    assert first == [item(key) for key in pairs(2)[0]]
    assert type(second) is OutageError
    assert str(second) == "BatchGetItem: a key was not processed"
    assert dynamodb.keys[1:] == [["o1"]] * (MAX_TRIES - 1)


async def test_a_request_that_is_refused_because_of_one_key_fails_only_its_read() -> None:
    dynamodb = FakeDynamo()
    dynamodb.refused = "o33"
    results = await read_all(reads_of(dynamodb), pairs(50))
    assert [n for n, result in enumerate(results) if not isinstance(result, list)] == [33]
    assert isinstance(results[33], ClientError)
    assert len(dynamodb.requests) <= 13, "it is halved, not sent key by key"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ProvisionedThroughputExceededException", OutageError),
        ("ThrottlingException", OutageError),
        ("CodeOfTomorrow", SuspectedOutageError),
    ],
)
async def test_any_other_error_is_an_outage_for_all_reads(code: str, error: type[OutageError]) -> None:
    dynamodb = FakeDynamo()
    dynamodb.error = ClientError({"Error": {"Code": code}}, "BatchGetItem")
    assert [type(result) for result in await read_all(reads_of(dynamodb), pairs(2))] == [error] * 2
    assert len(dynamodb.requests) == 1


def without(table: str) -> Callable[[Answer], Answer]:
    return lambda answer: {"Responses": {name: found for name, found in answer["Responses"].items() if name != table}}


UNREADABLE: list[Callable[[Answer], Any]] = [
    lambda _: {},
    lambda _: "text",
    lambda _: {"Responses": None},
    lambda _: {"Responses": []},
    lambda _: {"Responses": {}},
    lambda answer: answer | {"UnprocessedKeys": 5},
    lambda answer: answer | {"UnprocessedKeys": {"Orders": {"Keys": [{"OrderId": {"N": 5}}]}}},
    lambda answer: answer | {"UnprocessedKeys": {"Others": {"Keys": [{"OrderId": {"S": "o0"}}]}}},
    lambda answer: {"Responses": answer["Responses"] | {"Others": []}},
]


@pytest.mark.parametrize("change", UNREADABLE)
async def test_an_unreadable_answer_is_not_a_missing_item(change: Callable[[Answer], Any]) -> None:
    dynamodb = FakeDynamo(change, missing=[pair[1] for pair in pairs(2)])
    assert [type(result) for result in await read_all(reads_of(dynamodb), pairs(2))] == [SuspectedOutageError] * 2


@pytest.mark.parametrize(
    "change",
    [
        without("Cases"),
        lambda answer: {"Responses": answer["Responses"] | {"Cases": 5}},
        lambda answer: {"Responses": answer["Responses"] | {"Cases": [*answer["Responses"]["Cases"], 5]}},
        lambda answer: {"Responses": answer["Responses"] | {"Cases": [*answer["Responses"]["Cases"], {}]}},
        lambda answer: {"Responses": answer["Responses"] | {"Cases": [*answer["Responses"]["Cases"], {"CaseId": 5}]}},
    ],
)
async def test_an_unreadable_table_of_an_answer_fails_only_reads_that_need_it(
    change: Callable[[Answer], Any],
) -> None:
    dynamodb = FakeDynamo(change, missing=[("Cases", "o0")])
    orders, cases = [("Orders", "o0")], [("Orders", "o1"), ("Cases", "o0")]
    of_orders, of_cases = await read_all(reads_of(dynamodb), [orders, cases])
    assert of_orders == [item(("Orders", "o0"))]
    assert isinstance(of_cases, SuspectedOutageError)


async def test_an_item_beside_an_unreadable_one_is_found() -> None:
    def change(answer: Answer) -> Answer:
        answer["Responses"]["Cases"].insert(0, {"CaseId": {"N": "5"}})
        return answer

    found, missing = await read_all(reads_of(FakeDynamo(change, missing=[("Cases", "o1")])), pairs(2))
    assert found == [item(key) for key in pairs(2)[0]]
    assert isinstance(missing, SuspectedOutageError)


async def test_a_read_that_is_cancelled_does_not_affect_the_others() -> None:
    dynamodb = FakeDynamo()
    dynamodb.released.clear()
    reads = reads_of(dynamodb)
    first, second = (asyncio.create_task(reads.read(*pair)) for pair in pairs(2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert dynamodb.requests
    first.cancel()
    dynamodb.released.set()
    assert await second == [item(key) for key in pairs(2)[1]]


def test_the_waits_for_unprocessed_keys_double_up_to_five_seconds() -> None:
    assert [UNPROCESSED.max_wait_s(tries) for tries in (1, 2, 6, 7, 20)] == [0.1, 0.2, 3.2, 5.0, 5.0]


async def test_two_requests_run_at_once() -> None:
    dynamodb = Waiting()
    reads = reads_of(dynamodb)
    calls = [reads.read(("Cases", f"c{n}")) for n in range(4)]
    await two_at_once(dynamodb, calls, {"Responses": {}, "UnprocessedKeys": {}})
