"""The requests for cases as they are sent, and answers that the local AWS never gives."""

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from tests.workers.aws.paged_dynamo import PagedDynamo
from tests.workers.aws.sdk_fakes import refusal
from tests.workers.domain.examples import case
from tests.workers.fakes import EXECUTION, NOW, order
from tests.workers.operations.fakes import Waits
from workers.aws.case_items import case_item
from workers.aws.case_writes import CaseWrites
from workers.aws.cases import THROTTLED, DynamoCases
from workers.aws.items import to_item
from workers.backoff import Backoff
from workers.domain.cases import Case, CaseState, HandledReminder, SentNotification
from workers.domain.escalations import EscalationOutcome, EscalationPlan
from workers.domain.orders import Order, OrderStatus
from workers.domain.resolutions import ResolutionPlan
from workers.domain.retention import Retention
from workers.errors import AccessDeniedError, OutageError, SuspectedOutageError, UnreadableOrderError

CONDITION_FAILED = "ConditionalCheckFailedException"
SHARDS = [f"OPEN#{digit}" for digit in "0123456789abcdef"]
CASE = case(version=2)
ITEM = case_item(replace(CASE, version=1))  # As it is stored when it is read with version 2.


def table(dynamodb: PagedDynamo, **more: Any) -> DynamoCases:
    return DynamoCases(cast("Any", dynamodb), "Cases", "Orders", **more)


def keys(*case_ids: str) -> dict[str, Any]:
    wanted = [{"CaseId": {"S": case_id}} for case_id in case_ids]
    return {"RequestItems": {"Cases": {"Keys": wanted, "ConsistentRead": True}}}


async def test_a_case_is_read_consistently() -> None:
    dynamodb = PagedDynamo(get_item=[{"Item": ITEM}, {}])
    assert await table(dynamodb).get("001") == CASE
    assert await table(dynamodb).get("002") is None
    assert dynamodb.requests == [
        ("get_item", {"TableName": "Cases", "Key": {"CaseId": {"S": case_id}}, "ConsistentRead": True})
        for case_id in ("001", "002")
    ]


@pytest.mark.parametrize("item", [{"CaseId": "001"}, {"CaseId": {"X": "001"}}])
async def test_an_unreadable_answer_is_an_outage_not_a_missing_case(item: Any) -> None:
    with pytest.raises(OutageError, match=r"^GetItem: an unreadable response$"):
        await table(PagedDynamo(get_item=[{"Item": item}])).get("001")


async def test_a_case_its_order_and_the_case_of_its_execution_are_read_together() -> None:
    execution_case = case_item(case(case_id="one", version=3))
    stored = to_item({"OrderId": "001", "Status": "RECEIVED", "ExecutionArn": EXECUTION})
    dynamodb = PagedDynamo(batch_get_item=[{"Responses": {"Cases": [execution_case, ITEM], "Orders": [stored]}}])
    read = await table(dynamodb).read("001", "001", "one")
    assert read == (CASE, Order("001", OrderStatus.RECEIVED, EXECUTION), case(case_id="one", version=4))
    ((operation, request),) = dynamodb.requests
    assert (operation, request["RequestItems"]) == (
        "batch_get_item",
        {
            "Cases": {"Keys": [{"CaseId": {"S": "001"}}, {"CaseId": {"S": "one"}}], "ConsistentRead": True},
            "Orders": {"Keys": [{"OrderId": {"S": "001"}}], "ConsistentRead": True},
        },
    )


async def test_a_case_that_is_asked_for_twice_is_read_once() -> None:
    dynamodb = PagedDynamo(batch_get_item=[{"Responses": {"Cases": [ITEM]}}, {"Responses": {"Cases": []}}])
    assert await table(dynamodb).read("001", None, "001") == (CASE, None, None)
    assert await table(dynamodb).read("002", None) == (None, None, None)
    assert [request for _, request in dynamodb.requests] == [keys("001"), keys("002")]


async def test_an_edited_order_is_returned_as_an_error_with_its_case() -> None:
    edited = to_item({"OrderId": "001", "Status": "PENDING"})
    dynamodb = PagedDynamo(batch_get_item=[{"Responses": {"Cases": [ITEM], "Orders": [edited]}}])
    read, error, _ = await table(dynamodb).read("001", "001")
    assert read == CASE
    assert isinstance(error, UnreadableOrderError)


async def test_an_attribute_of_an_unknown_type_is_an_outage() -> None:
    broken = ITEM | {"State": {"X": "OPEN"}}
    dynamodb = PagedDynamo(batch_get_item=[{"Responses": {"Cases": [broken]}}])
    with pytest.raises(OutageError, match=r"^BatchGetItem: an unreadable response$"):
        await table(dynamodb).read("001", None)


async def test_as_many_reads_of_three_keys_as_fit_share_a_request() -> None:
    dynamodb = PagedDynamo(batch_get_item=[{"Responses": {"Cases": []}} for _ in range(2)])
    cases = table(dynamodb)
    await asyncio.gather(*(cases.read(f"c{number}", None) for number in range(40)))
    sizes = [len(request["RequestItems"]["Cases"]["Keys"]) for _, request in dynamodb.requests]
    assert sizes == [33, 7]


async def test_open_cases_are_found_in_all_pages_of_all_shards_and_read_from_the_table() -> None:
    listed = [case(case_id=case_id, version=2) for case_id in ("a", "b", "c")]
    resolved = case(case_id="d", state=CaseState.RESOLVED)
    index = {
        "OPEN#0": [[{"CaseId": "a"}], [{"CaseId": "b"}]],
        "OPEN#f": [[{"CaseId": "c"}, {"CaseId": "a"}, {"CaseId": "d"}, {"CaseId": "edited"}]],
    }
    stored = [
        *(case_item(replace(each, version=1)) for each in listed),
        case_item(resolved),
        to_item({"CaseId": "edited", "State": "OPEN"}),
    ]
    dynamodb = PagedDynamo(index, batch_get_item=[{"Responses": {"Cases": stored}}])
    assert await table(dynamodb).open_cases() == (listed, ["edited"])
    assert dynamodb.requests == [
        *(
            (
                "query",
                {
                    "TableName": "Cases",
                    "IndexName": "OpenCases",
                    "KeyConditionExpression": "OpenKey = :key",
                    "ExpressionAttributeValues": {":key": {"S": shard}},
                },
            )
            for shard in SHARDS
        ),
        ("batch_get_item", keys("a", "b", "c", "d", "edited")),
    ]


@pytest.mark.parametrize("change", [{"State": "CLOSED"}, {"Episode": None}, {"Reasons": 3}])
async def test_an_edited_case_is_named_and_hides_no_other(change: dict[str, Any]) -> None:
    edited = case_item(case(case_id="x")) | to_item(change)
    for name in [name for name, value in change.items() if value is None]:
        del edited[name]
    index = {"OPEN#0": [[{"CaseId": "x"}, {"CaseId": "001"}]]}
    dynamodb = PagedDynamo(index, batch_get_item=[{"Responses": {"Cases": [edited, ITEM]}}])
    assert await table(dynamodb).open_cases() == ([CASE], ["x"])


async def test_no_query_of_open_cases_outlives_one_that_failed() -> None:
    dynamodb = PagedDynamo({"OPEN#0": [PagedDynamo.NEVER], "OPEN#3": [refusal("InternalServerError", "Query")]})
    with pytest.raises(OutageError):
        await table(dynamodb).open_cases()
    assert dynamodb.running == 0


async def test_open_cases_are_read_a_hundred_at_a_time() -> None:
    ids = [f"c{number}" for number in range(201)]
    index = {"OPEN#3": [[{"CaseId": case_id} for case_id in ids]]}
    dynamodb = PagedDynamo(index, batch_get_item=[{"Responses": {"Cases": [ITEM]}} for _ in range(3)])
    assert await table(dynamodb).open_cases() == ([CASE] * 3, [])
    assert dynamodb.requests_of("batch_get_item") == [keys(*ids[:100]), keys(*ids[100:200]), keys(*ids[200:])]


async def test_without_open_cases_no_item_is_read() -> None:
    dynamodb = PagedDynamo()
    assert await table(dynamodb).open_cases() == ([], [])
    assert [name for name, _ in dynamodb.requests] == ["query"] * 16


async def test_only_unprocessed_cases_are_read_again_with_waits_only_after_empty_answers() -> None:
    left = [keys("b", "c")["RequestItems"], keys("c")["RequestItems"]]
    index = {"OPEN#0": [[{"CaseId": case_id} for case_id in ("a", "b", "c")]]}
    answers = [
        {"Responses": {}, "UnprocessedKeys": left[0]},
        {"Responses": {"Cases": [ITEM]}, "UnprocessedKeys": left[0]},
        {"Responses": {"Cases": []}, "UnprocessedKeys": left[1]},
        {"Responses": {"Cases": [ITEM]}, "UnprocessedKeys": {}},
    ]
    dynamodb, waits = PagedDynamo(index, batch_get_item=answers), Waits()
    assert await table(dynamodb, throttled=waits).open_cases() == ([CASE] * 2, [])
    assert dynamodb.requests_of("batch_get_item") == [
        keys("a", "b", "c"),
        *({"RequestItems": items} for items in (left[0], left[0], left[1])),
    ]
    assert waits.attempts == [1, 3]


def test_an_empty_answer_is_waited_for_up_to_five_seconds() -> None:
    assert Backoff(base_s=0.1, cap_s=5.0) == THROTTLED


async def test_an_index_that_cannot_be_read_is_not_empty() -> None:
    dynamodb = PagedDynamo({"OPEN#7": [[{"CaseId": "a"}], refusal("AccessDeniedException", "Query")]})
    with pytest.raises(AccessDeniedError):
        await table(dynamodb).open_cases()


@pytest.mark.parametrize(
    ("found", "expected"),
    [([], None), (["one"], "one"), (["001", "one"], "001"), (["one", "001"], "001"), (["001", "002"], "001")],
)
async def test_a_case_is_found_by_its_execution_the_orders_first(found: list[str], expected: str | None) -> None:
    dynamodb = PagedDynamo(query=[{"Items": [to_item({"CaseId": case_id}) for case_id in found]}])
    assert await table(dynamodb).find_by_execution(EXECUTION) == expected
    assert dynamodb.requests == [
        (
            "query",
            {
                "TableName": "Cases",
                "IndexName": "CasesByExecution",
                "KeyConditionExpression": "ExecutionArn = :execution",
                "ExpressionAttributeValues": {":execution": {"S": EXECUTION}},
            },
        )
    ]


@pytest.mark.parametrize("answer", [{}, {"Items": [{}]}, {"Items": [{"CaseId": "001"}]}])
async def test_an_unreadable_index_is_an_outage(answer: Any) -> None:
    with pytest.raises(OutageError, match=r"^Query: an unreadable response$"):
        await table(PagedDynamo(query=[answer])).find_by_execution(EXECUTION)


def plan(written: Case | None, merged: Case | None = None) -> EscalationPlan:
    escalated = EscalationOutcome.ESCALATED
    return EscalationPlan(escalated, escalates_order=True, case=written, routes=True, merged=merged)


async def test_a_plan_without_a_case_writes_nothing() -> None:
    dynamodb = PagedDynamo()
    await table(dynamodb).apply(plan(None), order())
    await table(dynamodb).resolve(ResolutionPlan(None, OrderStatus.CANCELLED), order())
    assert dynamodb.requests == []


@pytest.mark.parametrize("merged", [None, case(case_id="one", state=CaseState.RESOLVED)])
async def test_a_plan_is_one_transaction(merged: Case | None) -> None:
    dynamodb = PagedDynamo(transact_write_items=[{}])
    kept = Retention(90)
    await table(dynamodb, retention=kept).apply(plan(CASE, merged), order())
    ((_, request),) = dynamodb.requests
    expected = CaseWrites("Cases", "Orders", kept).of_escalation(plan(CASE, merged), CASE, order())
    assert request["TransactItems"] == expected
    assert len(expected) == (2 if merged is None else 3)


async def test_a_merging_plan_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its second case may be the first one of another transaction, and a request must not write an item twice."""
    cases = table(PagedDynamo())
    sent: list[str] = []

    async def alone(_writes: Any) -> None:
        sent.append("alone")

    async def together(case_id: str, _writes: Any) -> None:
        sent.append(f"together as {case_id}")

    monkeypatch.setattr(cases._transactions, "write", alone)
    monkeypatch.setattr(cases._transactions, "write_together", together)
    await cases.apply(plan(CASE, case(case_id="one")), order())
    await cases.apply(plan(CASE), order())
    assert sent == ["alone", "together as 001"]


async def test_a_case_is_put_and_resolved_in_a_transaction() -> None:
    dynamodb = PagedDynamo(transact_write_items=[{}, {}])
    made = ResolutionPlan(replace(CASE, state=CaseState.RESOLVED), None)
    assert made.case is not None
    await table(dynamodb).put(CASE)
    await table(dynamodb).resolve(made, None)
    writes = CaseWrites("Cases", "Orders")
    assert [request["TransactItems"] for _, request in dynamodb.requests] == [
        [writes.put(CASE)],
        writes.of_resolution(made, made.case, None),
    ]


HANDLED = HandledReminder(episode=4, tries=2, message_id="r1", at=NOW)


async def test_a_reminder_is_claimed_if_the_case_is_open_and_no_newer_one_was() -> None:
    dynamodb = PagedDynamo(update_item=[{"Attributes": ITEM}])
    assert await table(dynamodb).claim_reminder("001", HANDLED, "2026-11-22T10:00:00.000000Z") == CASE
    assert dynamodb.requests == [
        (
            "update_item",
            {
                "TableName": "Cases",
                "Key": {"CaseId": {"S": "001"}},
                "UpdateExpression": "SET Reminder = :handled ADD Version :one",
                "ConditionExpression": "#State = :open AND Episode = :episode AND (attribute_not_exists(Reminder)"
                " OR Reminder.#At < :forgotten OR Reminder.Episode < :episode OR Reminder.Tries < :tries"
                " OR (Reminder.Tries = :tries AND Reminder.MessageId = :message))",
                "ExpressionAttributeNames": {"#State": "State", "#At": "At"},
                "ExpressionAttributeValues": {
                    ":handled": {
                        "M": {
                            "Episode": {"N": "4"},
                            "Tries": {"N": "2"},
                            "MessageId": {"S": "r1"},
                            "At": {"S": NOW},
                        }
                    },
                    ":one": {"N": "1"},
                    ":open": {"S": "OPEN"},
                    ":episode": {"N": "4"},
                    ":tries": {"N": "2"},
                    ":message": {"S": "r1"},
                    ":forgotten": {"S": "2026-11-22T10:00:00.000000Z"},
                },
                "ReturnValues": "ALL_NEW",
            },
        )
    ]


async def test_a_reminder_that_another_message_has_claimed_is_none() -> None:
    dynamodb = PagedDynamo(update_item=[refusal(CONDITION_FAILED, "UpdateItem")])
    assert await table(dynamodb).claim_reminder("001", HANDLED, NOW) is None


async def test_a_reminder_whose_answer_is_unreadable_is_claimed_again_later() -> None:
    with pytest.raises(OutageError, match=r"^UpdateItem: an unreadable response$"):
        await table(PagedDynamo(update_item=[{}])).claim_reminder("001", HANDLED, NOW)


SENT = SentNotification(channel="pager", episode=3, at=NOW)


async def test_a_sent_notification_is_added_to_its_episode() -> None:
    dynamodb = PagedDynamo(update_item=[{}])
    await table(dynamodb).record_sent(case(case_id="002", episode=3), SENT)
    assert dynamodb.requests == [
        (
            "update_item",
            {
                "TableName": "Cases",
                "Key": {"CaseId": {"S": "002"}},
                "UpdateExpression": "SET Routed = list_append(Routed, :sent) ADD Version :one",
                "ConditionExpression": "Episode = :episode",
                "ExpressionAttributeValues": {
                    ":sent": {"L": [{"M": {"Channel": {"S": "pager"}, "Episode": {"N": "3"}, "At": {"S": NOW}}}]},
                    ":one": {"N": "1"},
                    ":episode": {"N": "3"},
                },
            },
        )
    ]


async def test_a_notification_of_an_earlier_episode_is_dropped_without_an_error() -> None:
    await table(PagedDynamo(update_item=[refusal(CONDITION_FAILED, "UpdateItem")])).record_sent(CASE, SENT)


@pytest.mark.parametrize(
    ("code", "error"), [("ValidationException", ClientError), ("CodeOfTomorrow", SuspectedOutageError)]
)
async def test_any_other_refusal_of_an_update_is_raised(code: str, error: type[Exception]) -> None:
    dynamodb = PagedDynamo(update_item=[refusal(code, "UpdateItem"), refusal(code, "UpdateItem")])
    with pytest.raises(error):
        await table(dynamodb).claim_reminder("001", HANDLED, NOW)
    with pytest.raises(error):
        await table(dynamodb).record_sent(CASE, SENT)


@pytest.mark.parametrize(
    ("operation", "call"),
    [
        ("get_item", lambda cases: cases.get("001")),
        ("query", lambda cases: cases.find_by_execution(EXECUTION)),
        ("batch_get_item", lambda cases: cases._get_all(["001"])),
    ],
)
async def test_a_request_that_aws_blames_is_not_an_outage(operation: str, call: Any) -> None:
    with pytest.raises(ClientError):
        await call(table(PagedDynamo(**{operation: [refusal("ValidationException")]})))
    with pytest.raises(OutageError):
        await call(table(PagedDynamo(**{operation: [refusal("InternalServerError", status=500)]})))
