"""What `orders show` prints, against a scripted AWS."""

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.workers.cli.console import done, rows, run
from tests.workers.operations.fakes import EXECUTION, FakeClient, fake_stack, refused
from tests.workers.operations.queue_fakes import FakeQueue
from workers.aws.items import from_item, to_item
from workers.cli.show import _seekable, command
from workers.domain.submissions import submission_name

if TYPE_CHECKING:
    from workers.operations.stack import Stack

CARD = "4929123412345678"
FIRST, CURRENT = submission_name("001", 1), submission_name("001", 2)
ORDER: dict[str, Any] = {
    "OrderId": "001",
    "Name": "Ada",
    "ItemName": "Bicycle",
    "Price": "12.50",
    "CC": CARD,
    "Status": "ESCALATED",
    "ExecutionArn": f"{EXECUTION}:{CURRENT}",
    "CreatedAt": "2026-11-22T11:00:00.000000Z",
    "UpdatedAt": "2026-11-22T11:58:30.000000Z",
    "Attempts": 2,
    "Reasons": ["INVALID_PRICE", "FULFILLMENT_EXHAUSTED"],
}
EARLIER = {"ExecutionArn": f"{EXECUTION}:{FIRST}", "Name": "Eva", "CreatedAt": "2026-11-22T10:00:00.000000Z"}
CASE: dict[str, Any] = {
    "CaseId": "001",
    "OrderId": "001",
    "State": "OPEN",
    "Severity": "warning",
    "Episode": 2,
    "Reasons": ["INVALID_PRICE"],
    "OpenedAt": "2026-11-22T11:58:30.000000Z",
    "ExecutionArns": [],
    "Episodes": [
        {"Number": 1, "OpenedAt": "2026-11-22T10:30:00.000000Z", "Order": EARLIER, "Reasons": ["INVALID_PRICE"]}
    ],
}
EVENTS: dict[str, list[Any]] = {
    FIRST: [
        ("ExecutionStarted", 10, None),
        ("PassStateEntered", 10, "Are details Proper"),
        ("ExecutionSucceeded", 10, None),
    ],
    CURRENT: [("ExecutionStarted", 11, None)],
}


def time(hour: int) -> datetime:
    return datetime(2026, 11, 22, hour, tzinfo=UTC)


class Aws:
    """Has *items* (an order, its case), two executions, and a dead letter of the fulfillment queue."""

    def __init__(self, *items: dict[str, Any]) -> None:
        self.items = items
        self.letters = FakeQueue("m-9")
        redriven = {"DeadLetterQueueSourceArn": "q", "SentTimestamp": str(int(time(10).timestamp() * 1000))}
        self.letters.parts["m-9"] = {"Body": "001", "Attributes": redriven}
        self.events = {name: [*events] for name, events in EVENTS.items()} if items else {}
        self.stack: Stack = fake_stack(
            sqs=cast("FakeClient", self),
            dynamodb=FakeClient(get_item=self.get_item),
            stepfunctions=FakeClient(get_execution_history=self.history),
        )

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool) -> dict[str, Any]:  # noqa: N803
        assert ConsistentRead
        assert TableName == ("OrderTable" if "OrderId" in Key else "EscalationTable")
        found = [item for item in self.items if from_item(Key).items() <= item.items() and next(iter(item)) in Key]
        return {"Item": to_item(found[0])} if found else {}

    def history(self, *, executionArn: str, includeExecutionData: bool) -> Iterator[Any]:  # noqa: N803
        assert not includeExecutionData
        events = self.events.get(executionArn.rpartition(":")[2])
        if events is None:
            raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        for kind, hour, state in events:
            entered = {} if state is None else {"stateEnteredEventDetails": {"name": state}}
            yield {"events": [{"type": kind, "timestamp": time(hour), **entered}]}

    async def call(self, operation: str, **request: Any) -> Any:
        if operation == "get_queue_url":
            return {"QueueUrl": request["QueueName"]}
        if request["QueueUrl"].endswith("-DLQ"):
            queue = self.letters if request["QueueUrl"].startswith("OrderF") else FakeQueue()
            return await queue.call(operation, **request)
        target = f"arn:aws:sqs:us-east-1:000000000000:{request['QueueUrl']}-DLQ"
        policy = json.dumps({"deadLetterTargetArn": target})
        return {"Attributes": {"RedrivePolicy": policy, "ApproximateNumberOfMessages": "4"}}


RESOLVE, WHO = "orders escalations resolve 001", "--actor NAME --note TEXT"
NEXT = (
    f"resolve its case: `{RESOLVE} resubmit --price PRICE {WHO}`,"
    f" or `{RESOLVE} fulfill --shipment-id ID {WHO}`, or `{RESOLVE} cancel {WHO}`"
)


def test_the_whole_story_of_an_order_is_shown() -> None:
    ran = done(command, "001", stack=Aws(ORDER, CASE).stack)
    assert ran.stderr == ""
    head, _, rest = ran.stdout.partition("\n\n")
    assert head.splitlines() == [
        "Order 001: ESCALATED for 90s",
        "  Name        Ada",
        "  ItemName    Bicycle",
        "  Price       12.50",
        "  CC          ****",
        "  Attempts    2",
        "  Reasons     INVALID_PRICE, FULFILLMENT_EXHAUSTED",
        "Case 001: OPEN, warning, episode 2: INVALID_PRICE",
        f"Execution 1: {FIRST}: SUCCEEDED",
        "  Started     2026-11-22 10:00:00, ended 2026-11-22 10:00:00",
        "  Outcome     ESCALATED: INVALID_PRICE",
        "  Recorded    2026-11-22 10:00:00: Name Eva",
        f"Execution 2: {CURRENT}: RUNNING, the current one",
        "  Started     2026-11-22 11:00:00",
        "  Outcome     ESCALATED: INVALID_PRICE, FULFILLMENT_EXHAUSTED",
        "Dead letter m-9 in OrderFulfillmentQueue-DLQ: moved by SQS's own redrive: delivered too often, 2h old",
    ]
    table, _, last = rest.partition("\n\n")
    assert rows(table)[:3] == [
        "TIME | FROM | WHAT",
        "2026-11-22 10:00:00.000 | execution 1 | started",
        "2026-11-22 10:00:00.000 | execution 1 | entered Are details Proper",
    ]
    assert last == f"Next: {NEXT}\n"


def test_for_scripts_the_story_is_json() -> None:
    aws = Aws(ORDER, CASE)
    ran = done(command, "001", "--json", stack=aws.stack)
    answer = json.loads(ran.stdout)
    timeline = answer.pop("timeline")
    assert timeline[0] == {"at": "2026-11-22T10:00:00.000Z", "source": "execution 1", "text": "started"}
    assert CARD not in ran.stdout
    order, case = answer.pop("order"), answer.pop("case")
    assert (order["order_id"], order["item_name"], order["price"], order["cc"]) == ("001", "Bicycle", "12.50", "****")
    assert (order["updated_at"], order["fulfilled_at"]) == ("2026-11-22T11:58:30.000000Z", None)
    assert (case["case_id"], case["state"], case["evidence"], case["claim"]) == ("001", "OPEN", [], None)
    (episode,) = case["episodes"]
    assert (episode["number"], episode["order"]["name"], episode["attempts"]) == (1, "Eva", None)
    assert answer == {
        "related_cases": [],
        "executions": [
            {
                "execution_arn": f"{EXECUTION}:{FIRST}",
                "status": "SUCCEEDED",
                "states": ["Are details Proper"],
                "problem": None,
                "current": False,
                "started_at": "2026-11-22T10:00:00.000Z",
                "ended_at": "2026-11-22T10:00:00.000Z",
                "outcome": "ESCALATED: INVALID_PRICE",
                "has_recorded": True,
                "recorded": {
                    "at": "2026-11-22T10:00:00.000000Z",
                    "name": "Eva",
                    "item_name": None,
                    "price": None,
                    "cc": None,
                },
            },
            {
                "execution_arn": f"{EXECUTION}:{CURRENT}",
                "status": "RUNNING",
                "states": [],
                "problem": None,
                "current": True,
                "started_at": "2026-11-22T11:00:00.000Z",
                "ended_at": None,
                "outcome": "ESCALATED: INVALID_PRICE, FULFILLMENT_EXHAUSTED",
                "has_recorded": True,
                "recorded": {
                    "at": "2026-11-22T11:00:00.000000Z",
                    "name": "Ada",
                    "item_name": "Bicycle",
                    "price": "12.50",
                    "cc": "****",
                },
            },
        ],
        "dead_letters": [
            {
                "queue": "OrderFulfillmentQueue-DLQ",
                "id": "m-9",
                "origin_message_id": None,
                "reason": "moved by SQS's own redrive: delivered too often",
                "error": None,
                "order_id": "001",
                "case_id": None,
                "first_received_at": None,
                "sent_at": "2026-11-22T10:00:00.000000Z",
                "age_s": 7200,
            }
        ],
        "dead_letter_queues": [
            {
                "queue": "OrderFulfillmentQueue",
                "dead_letter_queue": "OrderFulfillmentQueue-DLQ",
                "seen": 1,
                "approximate_count": 1,
                "problem": None,
            },
            {
                "queue": "EscalationQueue",
                "dead_letter_queue": "EscalationQueue-DLQ",
                "seen": 0,
                "approximate_count": 0,
                "problem": None,
            },
        ],
        "next": NEXT,
    }


def test_a_case_without_an_order_is_shown_with_what_is_known() -> None:
    aws = Aws({"CaseId": "message-1", "State": "RESOLVED"})
    aws.letters = FakeQueue()
    assert done(command, "message-1", stack=aws.stack).stdout.splitlines() == [
        "Order message-1: not recorded",
        "Case message-1: RESOLVED, None, episode None:",
        "",
        "Next: nothing: its case is resolved",
    ]


def test_an_unknown_id_is_one_line() -> None:
    aws = Aws()
    aws.letters = FakeQueue()
    ran = run(command, "001", stack=aws.stack)
    assert (ran.stdout, str(ran.exception).startswith("there is no order or case")) == ("", True)


@pytest.mark.parametrize(
    ("events", "line"),
    [
        (EVENTS[FIRST], "  Recorded    not known any more"),
        ([("ExecutionStarted", 9, None), ("ExecutionFailed", 9, None)], "  Recorded    nothing"),
        ([("ExecutionStarted", 9, None), ("ExecutionFailed", 9, None)], "  Outcome     FAILED"),
    ],
)
def test_an_earlier_execution_says_whether_it_recorded_something(events: list[Any], line: str) -> None:
    aws = Aws(ORDER)
    aws.events[FIRST] = events
    assert line in done(command, "001", stack=aws.stack).stdout.splitlines()


def test_an_execution_that_is_gone_recorded_what_is_not_known() -> None:
    aws = Aws(ORDER)
    aws.events = {}
    lines = done(command, "001", stack=aws.stack).stdout.splitlines()
    assert f"Execution 1: {CURRENT}: does not exist, or no longer, the current one" in lines
    assert [line for line in lines if "Started" in line or "Recorded" in line] == []


def test_a_record_without_a_time_and_an_order_without_one_are_shown() -> None:
    earlier = {name: value for name, value in EARLIER.items() if name != "CreatedAt"}
    case = CASE | {"Episodes": [{"Number": 1, "Order": earlier | {"Price": "3"}}]}
    order = {name: value for name, value in ORDER.items() if name != "UpdatedAt"}
    lines = done(command, "001", stack=Aws(order, case).stack).stdout.splitlines()
    assert lines[0] == "Order 001: ESCALATED"
    assert "  Recorded    Name Eva; Price 3" in lines


def test_a_queue_that_cannot_be_read_is_said() -> None:
    aws = Aws(ORDER)
    aws.letters.refused.add("receive_message")
    lines = done(command, "001", stack=aws.stack).stdout.splitlines()
    (line,) = [line for line in lines if line.startswith("Dead letters of")]
    assert line.startswith("Dead letters of OrderFulfillmentQueue: ")
    assert "InternalError" in line


def test_a_dead_letter_of_unknown_age_is_shown_without_one() -> None:
    aws = Aws(ORDER)
    aws.letters.parts["m-9"]["Attributes"] = {}
    lines = done(command, "001", stack=aws.stack).stdout.splitlines()
    assert "Dead letter m-9 in OrderFulfillmentQueue-DLQ: not given" in lines


@pytest.mark.parametrize("source", ["file", "-"])
def test_log_lines_are_part_of_the_story(tmp_path: Path, source: str) -> None:
    line = json.dumps({"timestamp": "2026-11-22T11:30:00.123456Z", "event": "order.seen", "order_id": "001"}) + "\n"
    log = tmp_path / "workers.log"
    log.write_text(line, encoding="utf-8")
    ran = done(command, "001", "--logs", str(log) if source == "file" else "-", stack=Aws(ORDER).stack, given=line)
    (row,) = [row for row in rows(ran.stdout) if "order.seen" in row]
    assert row.startswith("2026-11-22 11:30:00.123 | log |")


def test_a_pipe_is_copied_to_a_file_that_is_closed_at_the_end() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with ExitStack() as copies:
        file = io.BytesIO(b"x")
        assert _seekable(file, copies) is file
        copy = _seekable(Pipe(b"lines\n"), copies)
        assert (copy.seekable(), copy.read()) == (True, b"lines\n")
    assert (copy.closed, file.closed) == (True, False)
