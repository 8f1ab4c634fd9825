import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from tests.workers.operations.fakes import EXECUTION, FakeClient, empty_queues, fake_stack, refused
from tests.workers.operations.queue_fakes import FakeQueue
from workers.aws.items import from_item, to_item
from workers.domain.submissions import submission_name
from workers.operations.errors import OperationError
from workers.operations.related_cases import cases_resubmitted_as
from workers.operations.stack import Stack
from workers.operations.story import gather

CARD = "4929123412345678"
RESUBMITTED, SUBMITTED = f"{EXECUTION}:resubmitted", f"{EXECUTION}:{submission_name('1', 1)}"
ORDER = {"OrderId": "1", "Status": "FULFILLED", "CC": CARD, "ExecutionArn": RESUBMITTED}
RESOLUTION = {"ExecutionArn": RESUBMITTED, "At": "2026-11-22T11:00:00.000000Z", "Action": "resubmit", "Actor": "ada"}
CASE = {
    "CaseId": "1",
    "MessageIds": ["m-1"],
    "ExecutionArns": [f"{EXECUTION}:gone"],
    "Resolutions": [RESOLUTION],
}
STARTED = {RESUBMITTED: 12, SUBMITTED: 10}


def stack(*items: dict[str, Any]) -> Stack:
    """Return a stack with these items, and with the executions `STARTED` at those hours."""

    def get_item(**request: Any) -> dict[str, Any]:
        assert request["ConsistentRead"]
        key = from_item(request["Key"])
        assert list(key) == [{"OrderTable": "OrderId", "EscalationTable": "CaseId"}[request["TableName"]]]
        found = [item for item in items if key.items() <= item.items()]
        return {"Item": to_item(found[0])} if found else {}

    def history(**request: Any) -> Iterator[dict[str, Any]]:
        hour = STARTED.get(request["executionArn"]) if items else None
        if hour is None:
            raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        yield {"events": [{"type": "ExecutionStarted", "timestamp": datetime(2026, 11, 22, hour, tzinfo=UTC)}]}

    return fake_stack(
        sqs=empty_queues(),
        dynamodb=FakeClient(get_item=get_item),
        stepfunctions=FakeClient(get_execution_history=history),
    )


async def test_executions_are_found_by_order_case_and_submission_each_once() -> None:
    story = await gather(stack(ORDER, CASE), "1")
    assert story.order == ORDER | {"CC": "****"}
    assert story.case == CASE
    assert [(execution.arn, execution.problem) for execution in story.executions] == [
        (f"{EXECUTION}:gone", "does not exist, or no longer"),
        (SUBMITTED, None),
        (RESUBMITTED, None),
    ]
    assert [(entry.source, entry.text) for entry in story.timeline] == [
        ("execution 2", "started"),
        ("case", "resolved by ada, resubmit: execution resubmitted"),
        ("execution 3", "started"),
    ]


@pytest.mark.parametrize("key", ["1", CARD, "", "a\x1b[2Jb"])
async def test_an_unknown_id_is_one_line(key: str) -> None:
    empty = stack()
    with pytest.raises(OperationError, match=r"^there is no order or case [^\x1b]*$") as raised:
        await gather(empty, key)
    assert CARD not in str(raised.value)


async def test_log_lines_are_found_by_order_case_execution_and_message() -> None:
    lines = [
        {"event": "received", "message_id": "m-2"},
        {"event": "named", "message_id": "m-2", "order_id": "1"},
        {"event": "routed", "message_id": "m-1"},
        {"event": "started", "execution_arn": SUBMITTED},
        {"event": "other", "message_id": "m-3", "order_id": "2"},
        {"event": "mentioned", "detail": "order 1"},
    ]
    log = io.BytesIO(b"honcho: text\n" + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    story = await gather(stack(ORDER, CASE), "1", [log])
    events = [entry.text.split()[0] for entry in story.timeline if entry.source == "log"]
    assert events == ["received", "named", "routed", "started"]


async def test_an_order_without_a_case_or_execution_has_a_story() -> None:
    story = await gather(stack({"OrderId": "1", "Status": "RECEIVED"}), "1")
    assert (story.order, story.case) == ({"OrderId": "1", "Status": "RECEIVED"}, None)
    assert [execution.arn for execution in story.executions] == [SUBMITTED]


async def test_a_case_without_an_order_has_a_story() -> None:
    story = await gather(stack({"CaseId": "message-1"}), "message-1")
    assert (story.order, story.case, story.executions) == (None, {"CaseId": "message-1"}, [])


async def test_the_case_of_an_execution_is_shown_with_the_order_that_it_names() -> None:
    case = {"CaseId": "execution-1", "OrderId": "1"}
    story = await gather(stack(ORDER, case), "execution-1")
    assert (story.order, story.case) == (ORDER | {"CC": "****"}, case)
    merged = case | {"MergedInto": "1"}
    assert (await gather(stack(ORDER, merged), "execution-1")).order is None


async def test_an_execution_alone_has_a_story() -> None:
    story = await gather(stack({"OrderId": "another"}), "1")
    assert (story.order, [execution.arn for execution in story.executions]) == (None, [SUBMITTED])


async def test_resolutions_without_an_execution_name_none() -> None:
    case = {"CaseId": "1", "Resolutions": [{"Action": "cancel", "ExecutionArn": None}, {"Action": "cancel"}]}
    assert [execution.arn for execution in (await gather(stack(case), "1")).executions] == [SUBMITTED]


async def test_further_submissions_are_looked_for_until_one_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (2, 4):
        monkeypatch.setitem(STARTED, f"{EXECUTION}:{submission_name('1', number)}", 10 + number)
    order = ORDER | {"ExecutionArn": f"{EXECUTION}:{submission_name('1', 1)}"}
    story = await gather(stack(order), "1")
    assert [execution.name for execution in story.executions] == [submission_name("1", number) for number in (1, 2)]


async def test_submissions_before_and_after_the_last_known_one_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (3, 5, 6, 8):
        monkeypatch.setitem(STARTED, f"{EXECUTION}:{submission_name('1', number)}", 10 + number)
    monkeypatch.delitem(STARTED, SUBMITTED)
    story = await gather(stack(ORDER | {"ExecutionArn": f"{EXECUTION}:{submission_name('1', 5)}"}), "1")
    assert [execution.name for execution in story.executions] == [submission_name("1", number) for number in (3, 5, 6)]


async def test_only_twenty_numbers_before_the_last_known_submission_are_looked_at() -> None:
    asked = list[str]()

    def history(**request: Any) -> Iterator[dict[str, Any]]:
        asked.append(request["executionArn"].rpartition("-")[2])
        raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        yield {}

    order = {"OrderId": "1", "ExecutionArn": f"{EXECUTION}:{submission_name('1', 900_000)}"}
    dynamodb = FakeClient(get_item=lambda **_: {"Item": to_item(order)})
    stepfunctions = FakeClient(get_execution_history=history)
    await gather(fake_stack(sqs=empty_queues(), dynamodb=dynamodb, stepfunctions=stepfunctions), "1")
    assert asked == ["900000", *map(str, range(899_980, 900_000)), "900001"]
    order["ExecutionArn"] = order["ExecutionArn"].replace("Orders", "Before").replace("900000", "1")
    asked.clear()
    await gather(fake_stack(sqs=empty_queues(), dynamodb=dynamodb, stepfunctions=stepfunctions), "1")
    assert asked == ["1", "1", "2"], "the last one is of another state machine"


async def test_the_execution_of_a_claim_and_of_a_copied_order_is_found() -> None:
    case = {
        "CaseId": "2",
        "Claim": {"ExecutionArn": f"{EXECUTION}:claimed"},
        "Order": {"ExecutionArn": f"{EXECUTION}:newest"},
        "Episodes": [{"Order": {"ExecutionArn": f"{EXECUTION}:oldest"}}, {"Number": 2}],
    }
    story = await gather(stack(case), "2")
    assert [execution.name for execution in story.executions] == ["oldest", "newest", "claimed"]


async def test_a_dead_letter_alone_has_a_story() -> None:
    queue = queue_of_letter("1")
    story = await gather(fake_stack(sqs=queue, dynamodb=nothing(), stepfunctions=unknown_executions()), "1")
    assert (story.order, story.case, story.executions) == (None, None, [])
    assert [letter.id for search in story.searches for letter in search.letters] == ["m-1", "m-1"]


async def test_an_id_that_can_be_an_order_is_to_be_submitted() -> None:
    with pytest.raises(OperationError, match=r"^there is no order or case 1; to submit it: `orders submit FILE`$"):
        await gather(stack(), "1")
    with pytest.raises(OperationError, match=r"^there is no order or case a b, and this cannot be an OrderId$"):
        await gather(stack(), "a b")


async def test_an_unknown_id_may_have_dead_letters_that_were_not_looked_at() -> None:
    queue = queue_of_letter("2")
    queue.operations["receive_message"] = lambda **_: {}
    problem = r"\(dead letters of EscalationQueue: looked at 0 of about 1; there may be others of this order\)$"
    with pytest.raises(OperationError, match=problem):
        await gather(fake_stack(sqs=queue, dynamodb=nothing(), stepfunctions=unknown_executions()), "1")


def nothing() -> FakeClient:
    return FakeClient(get_item=lambda **_: {})


def unknown_executions() -> FakeClient:
    def history(**_: Any) -> Iterator[dict[str, Any]]:
        raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        yield {}

    return FakeClient(get_execution_history=history)


def queue_of_letter(body: str) -> FakeClient:
    """Return an SQS whose dead-letter queues have one message each, which stays hidden once it was received."""
    queue, received = empty_queues(), list[str]()
    queue.operations["get_queue_attributes"] = lambda **_: {
        "Attributes": {
            "ApproximateNumberOfMessages": "1",
            "RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ"}',
        }
    }

    def receive(**_: Any) -> dict[str, Any]:
        received.append(body)
        message = {"MessageId": "m-1", "ReceiptHandle": "r", "Body": body}
        return {"Messages": [message]} if len(received) <= 2 else {}

    queue.operations["receive_message"] = receive
    queue.operations["change_message_visibility_batch"] = lambda **_: {}
    return queue


async def test_executions_that_may_not_be_read_are_asked_for_once() -> None:
    asked = list[str]()

    def history(**request: Any) -> Iterator[dict[str, Any]]:
        asked.append(request["executionArn"])
        raise refused("AccessDeniedException", "GetExecutionHistory")
        yield {}

    dynamodb = FakeClient(get_item=lambda **_: {"Item": to_item({"OrderId": "1", "CaseId": "1"})})
    stepfunctions = FakeClient(get_execution_history=history)
    story = await gather(fake_stack(sqs=empty_queues(), dynamodb=dynamodb, stepfunctions=stepfunctions), "1")
    assert (story.executions, asked) == ([], [SUBMITTED])


async def test_each_log_file_is_searched_for_all_ids() -> None:
    first, second = (
        io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        for lines in (
            [{"event": "one", "order_id": "1", "message_id": "m-2"}],
            [{"event": "two", "case_id": "1"}, {"event": "three", "message_id": "m-9"}],
        )
    )
    story = await gather(stack(ORDER, CASE), "1", [first, second])
    assert [entry.text for entry in story.timeline if entry.source == "log"] == ["one message_id=m-2", "two"]


OWN = f"{EXECUTION}:own"


@pytest.mark.parametrize(
    "item",
    [
        {"OrderId": "2", "ExecutionArn": OWN},
        {"CaseId": "2", "ExecutionArns": [OWN]},
        {"CaseId": "2", "Resolutions": [{"ExecutionArn": OWN}]},
    ],
    ids=["the order", "the case", "a resolution"],
)
async def test_an_execution_is_found_that_only_one_item_names(item: dict[str, Any]) -> None:
    assert [execution.arn for execution in (await gather(stack(item), "2")).executions] == [OWN]


@pytest.mark.parametrize("item", [{"OrderId": "2"}, {"CaseId": "2"}])
async def test_an_order_or_case_without_any_execution_has_a_story(item: dict[str, Any]) -> None:
    story = await gather(stack(item), "2")
    assert (story.order or story.case, story.executions, story.timeline) == (item, [], [])


@pytest.mark.parametrize("key", [CARD, "", "x" * 256])
async def test_nothing_is_asked_for_an_impossible_id(key: str) -> None:
    dynamodb, stepfunctions, sqs = FakeClient(), FakeClient(), FakeClient()
    with pytest.raises(OperationError):
        await gather(fake_stack(sqs=sqs, dynamodb=dynamodb, stepfunctions=stepfunctions), key)
    assert dynamodb.requests + stepfunctions.requests + sqs.requests == []


async def test_submissions_are_looked_for_only_under_an_order_id() -> None:
    dynamodb = FakeClient(get_item=lambda **_: {"Item": to_item({"CaseId": "no/order"})})
    stepfunctions = FakeClient()
    assert (
        await gather(fake_stack(sqs=empty_queues(), dynamodb=dynamodb, stepfunctions=stepfunctions), "no/order")
    ).executions == []
    assert stepfunctions.requests == []


async def test_log_lines_of_an_order_without_a_case_are_found() -> None:
    log = io.BytesIO(b'{"event": "named", "order_id": "2"}\n')
    assert [entry.text for entry in (await gather(stack({"OrderId": "2"}), "2", [log])).timeline] == ["named"]


async def test_executions_that_started_together_stay_in_the_order_of_the_case() -> None:
    at = [datetime(2026, 11, 22, 10, minute, tzinfo=UTC) for minute in range(3)]
    times = {f"{EXECUTION}:b": [at[0], at[2]], f"{EXECUTION}:a": [at[0], at[1]]}

    def history(**request: Any) -> Iterator[dict[str, Any]]:
        if request["executionArn"] not in times:
            raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        yield {"events": [{"type": "ExecutionStarted", "timestamp": at} for at in times[request["executionArn"]]]}

    dynamodb = FakeClient(get_item=lambda **_: {"Item": to_item({"CaseId": "1", "ExecutionArns": list(times)})})
    story = await gather(
        fake_stack(sqs=empty_queues(), dynamodb=dynamodb, stepfunctions=FakeClient(get_execution_history=history)), "1"
    )
    assert [execution.name for execution in story.executions] == ["b", "a"]


def with_letter(found: Stack, body: str, origin: str = "o-1") -> Stack:
    """Return *found* with an undecodable dead letter in each of its dead-letter queues."""
    attributes = {"Reason": "UNDECODABLE_MESSAGE: neither", "OriginMessageId": origin}
    letters = FakeQueue("m-1")
    letters.parts["m-1"] = {
        "Body": body,
        "MessageAttributes": {name: {"StringValue": text} for name, text in attributes.items()},
    }

    async def call(operation: str, **request: Any) -> Any:
        if operation == "get_queue_url":
            return {"QueueUrl": request["QueueName"]}
        if request["QueueUrl"] == "DLQ":
            return await letters.call(operation, **request)
        return {"Attributes": {"RedrivePolicy": '{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:DLQ"}'}}

    cast("Any", found.sqs).call = call
    return found


async def test_the_case_of_a_dead_letter_that_names_the_order_is_found() -> None:
    case = {"CaseId": "message-o-1", "State": "OPEN"}
    story = await gather(with_letter(stack(ORDER, case), '{"OrderId": "1", "Reasons": 1}'), "1")
    assert (story.case, story.related_cases) == (None, {"message-o-1": case})
    gone = await gather(with_letter(stack(ORDER), '{"OrderId": "1", "Reasons": 1}'), "1")
    assert gone.related_cases == {}
    own = await gather(with_letter(stack(case), '{"OrderId": "1", "Reasons": 1}'), "message-o-1")
    assert (own.case, own.related_cases) == (case, {})


async def test_a_case_without_an_order_is_shown_with_the_order_that_was_resubmitted_from_it() -> None:
    claim = {"OrderId": "1", "ExecutionArn": RESUBMITTED}
    case = {"CaseId": "message-1", "Claim": claim, "Resolutions": [RESOLUTION]}
    story = await gather(stack(ORDER, case), "message-1")
    assert (story.order, story.case) == (ORDER | {"CC": "****"}, case)
    assert [run.is_current for run in story.runs] == [True]
    begun = case | {"Resolutions": []}
    assert (await gather(stack(ORDER, begun), "message-1")).order is None


RESUBMISSION = f"{EXECUTION}:resubmission-ABC-1"
NAMELESS = {"CaseId": "message-1", "Claim": {"OrderId": "1", "ExecutionArn": RESUBMISSION}}


def with_scan(found: Stack, *pages: dict[str, Any], error: Exception | None = None) -> FakeClient:
    def scan(**request: Any) -> Iterator[Any]:
        assert from_item(request["ExpressionAttributeValues"]) == {":id": "1"}
        for page in pages:
            yield {"Items": [to_item(page)]}
        if error is not None:
            raise error

    client = cast("FakeClient", found.dynamodb)
    client.operations["scan"] = scan
    return client


async def test_the_case_that_an_order_was_resubmitted_from_is_found() -> None:
    found = stack(ORDER | {"ExecutionArn": RESUBMISSION})
    with_scan(found, NAMELESS)
    assert (await gather(found, "1")).related_cases == {"message-1": NAMELESS}
    denied = stack(ORDER | {"ExecutionArn": RESUBMISSION})
    with_scan(denied, error=refused("AccessDeniedException", "Scan"))
    assert (await gather(denied, "1")).related_cases == {}


@pytest.mark.parametrize(
    "items",
    [
        (ORDER,),
        (ORDER | {"ExecutionArn": RESUBMISSION}, {"CaseId": "1", "Resolutions": [{"ExecutionArn": RESUBMISSION}]}),
        (ORDER | {"ExecutionArn": RESUBMISSION}, {"CaseId": "1", "Claim": {"ExecutionArn": RESUBMISSION}}),
    ],
)
async def test_the_case_table_is_not_scanned_if_the_orders_own_case_knows_its_executions(items: Any) -> None:
    found = stack(*items)
    client = with_scan(found, NAMELESS)
    assert (await gather(found, "1")).related_cases == {}
    assert "scan" not in {operation for operation, _ in client.requests}


async def test_the_scan_for_a_case_ends_in_time() -> None:
    found, times = stack(ORDER), iter((0.0, 4.9, 5.0, 9.0))
    with_scan(found, NAMELESS, NAMELESS | {"CaseId": "message-2"}, NAMELESS | {"CaseId": "message-3"})
    cases = await cases_resubmitted_as(found, "1", {}, [RESUBMISSION], lambda: next(times))
    assert [case["CaseId"] for case in cases] == ["message-1", "message-2"]
