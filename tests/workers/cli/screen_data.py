"""What the screens of `orders` show in their tests: orders, cases and dead letters with long ids and texts."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.workers.cli.tables import FakeTables
from tests.workers.domain.examples import case, evidence
from tests.workers.fakes import order
from tests.workers.operations.fakes import EXECUTION, NOW, FakeClient, fake_stack, refused
from tests.workers.operations.queue_fakes import FakeQueue
from workers import clock
from workers.aws.case_items import case_item
from workers.aws.items import to_item
from workers.domain.cases import Case, CaseState, Resolution, SentNotification
from workers.domain.orders import Order
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.submissions import submission_name
from workers.operations.stack import Stack

SHORT, UUID = "bike-2", "8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7"
LONGEST = "shop-7.berlin_2026-11-22_customer-0004711_order-000000000123-xyz"  # 64 characters, as long as an id may be.
MESSAGE = "9bbca8e2-ed2b-4234-9372-fc105e3d71ad"
LETTER, OTHER_LETTER = "f0a11831-b803-4f2f-ad94-b8188bb2446f", "17edd485-51fd-4446-a6fd-520b6594fc8f"
IDS = (SHORT, UUID, LONGEST, f"message-{MESSAGE}", LETTER, OTHER_LETTER)
FIRST, SECOND = submission_name(UUID, 1), submission_name(UUID, 2)
NAME, ITEM = "Charlotte Featherstonehaugh-Cholmondeley", "Mountain bicycle, 27.5 inch, with two spare tyres"
BOTH = (Reason.INVALID_CARD_NUMBER, Reason.INVALID_PRICE)
UNDECODABLE = (
    "UNDECODABLE_MESSAGE: neither a JSON object nor an OrderId: it has a character that is not allowed; an OrderId must"
    " be 1 to 64 of A-Z a-z 0-9 . _ -, first a letter or digit, and not like a card number"
)


def ago(**units: float) -> str:
    return clock.at((NOW - timedelta(**units)).timestamp())


def _order(order_id: str, status: str, updated_at: str, name: str, item: str, **more: Any) -> dict[str, Any]:
    fields = {"OrderId": order_id, "Status": status, "UpdatedAt": updated_at, "Name": name, "ItemName": item}
    return fields | {"Price": "80000", "CC": "************5678", "CreatedAt": ago(days=2), "Attempts": 0} | more


ORDERS = [
    _order(
        UUID,
        "ESCALATED",
        ago(hours=3),
        NAME,
        ITEM,
        Price="-80000",
        CC="****",
        Reasons=[*BOTH],
        ExecutionArn=f"{EXECUTION}:{SECOND}",
    ),
    _order(SHORT, "RECEIVED", ago(seconds=90), "Grace Hopper", "Bell", ExecutionArn=f"{EXECUTION}:x"),
    _order(LONGEST, "FULFILLED", ago(hours=5), "東京の自転車屋", "City bicycle", Attempts=3),
    _order("bike-3", "CANCELLED", ago(days=1), "Alan Turing", "Lamp", CancelledBy="ada", Reasons=["INVALID_PRICE"]),
]


def list_stack() -> Stack:
    """Return a stack with `ORDERS`, all in the first shard of their status."""

    def query(ExpressionAttributeValues: Any, **_: Any) -> Iterator[Any]:  # noqa: N803 - the SDK's name.
        key = ExpressionAttributeValues[":key"]["S"]
        yield {"Items": [to_item(each) for each in ORDERS if _key(each) == key]}

    def batch_get_item(RequestItems: Any) -> Any:  # noqa: N803
        ids = [key["OrderId"]["S"] for key in RequestItems["OrderTable"]["Keys"]]
        return {"Responses": {"OrderTable": [to_item(each) for each in ORDERS if each["OrderId"] in ids]}}

    return fake_stack(dynamodb=FakeClient(query=query, batch_get_item=batch_get_item))


def _key(stored: dict[str, Any]) -> str:
    day = f"#{stored['UpdatedAt'][:10]}" if stored["Status"] in {"FULFILLED", "CANCELLED"} else ""
    return f"{stored['Status']}{day}#0"


def sweep_stack(**output: Any) -> Stack:
    """Return a stack whose last sweep had this output."""
    machine = "arn:aws:states:us-east-1:000000000000:stateMachine:OrderFulfillmentStateMachine"
    arn = f"arn:aws:states:us-east-1:000000000000:execution:StuckOrderSweep:{UUID}"
    found = {"Deferred": None, "LimitSeconds": 21_600, "QueueAgeSeconds": 7_300, "Before": ago(hours=8), "More": True}
    found |= {"Escalated": [UUID, LONGEST]} | output
    described = {"status": "SUCCEEDED", "startDate": NOW, "stopDate": NOW, "output": json.dumps(found)}
    stepfunctions = FakeClient(
        list_executions=lambda **_: {"executions": [{"executionArn": arn}]}, describe_execution=lambda **_: described
    )
    return fake_stack(machine, stepfunctions=stepfunctions)


ESCALATED = case(
    case_id=UUID,
    order_id=UUID,
    severity=Severity.CRITICAL,
    reasons=BOTH,
    sources=(Source.WORKFLOW, Source.FULFILLMENT),
    opened_at=ago(hours=3),
    episode=2,
    execution_arns=(f"{EXECUTION}:{FIRST}", f"{EXECUTION}:{SECOND}"),
    message_ids=("8b1de1f0-e25f-4c3e-a0b3-a1d6ff8a4a11", MESSAGE),
    evidence=(
        evidence(
            "8b1de1f0-e25f-4c3e-a0b3-a1d6ff8a4a11", ago(hours=4), reasons=BOTH, execution_arn=f"{EXECUTION}:{FIRST}"
        ),
        evidence(
            MESSAGE,
            ago(hours=3),
            source=Source.FULFILLMENT,
            reasons=(Reason.FULFILLMENT_EXHAUSTED,),
            detail="Failed 5 times; last error: the provider did not answer within 10 s",
            execution_arn=f"{EXECUTION}:{SECOND}",
            attempts=5,
        ),
    ),
    routed=(
        SentNotification(channel="log", episode=1, at=ago(hours=4)),
        SentNotification(channel="https-oncall", episode=2, at=ago(hours=3)),
    ),
    resolutions=(
        Resolution(
            action="resubmit",
            episode=1,
            actor="ada",
            note="the customer has given another card, and the price was a typo",
            at=ago(hours=3, minutes=30),
            execution_arn=f"{EXECUTION}:{SECOND}",
        ),
    ),
)
NAMELESS = Case(
    case_id=f"message-{MESSAGE}",
    state=CaseState.OPEN,
    severity=Severity.INFO,
    opened_at=ago(hours=1),
    updated_at=ago(hours=1),
    reasons=(Reason.UNDECODABLE_MESSAGE,),
)
WAITING = case(case_id=LONGEST, order_id=LONGEST, opened_at=ago(days=4), reasons=(Reason.FULFILLMENT_REJECTED,))
RESOLVED = [
    replace(
        each,
        state=CaseState.RESOLVED,
        updated_at=ago(hours=hours),
        resolutions=(Resolution(action=action, episode=each.episode, actor="ada", note=note, at=ago(hours=hours)),),
    )
    for each, action, note, hours in (
        (ESCALATED, "cancel", "the customer has ordered elsewhere, after two weeks without an answer", 1),
        (NAMELESS, "close", "the sender is told", 2),
        (WAITING, "fulfill", "sent by courier", 3),
    )
]


def install_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = FakeTables(ESCALATED, NAMELESS, WAITING).install(monkeypatch)
    tables.orders[UUID] = stored_order()
    tables.orders[LONGEST] = order("FULFILLED", order_id=LONGEST, name="東京の自転車屋", item_name="Bell", price="7.50")


def stored_order() -> Order:
    return order("ESCALATED", order_id=UUID, name=NAME, item_name=ITEM, price="-80000")


def cases_stack() -> Stack:
    """Return a stack with the orders of the open cases, and with the resolved cases."""

    def query(ExpressionAttributeValues: Any, **_: Any) -> Iterator[Any]:  # noqa: N803
        key = ExpressionAttributeValues[":key"]["S"]
        items = [case_item(each) for each in RESOLVED]
        yield {"Items": [item for item in items if item["OpenKey"]["S"] == key]}

    def batch_get_item(RequestItems: Any) -> Any:  # noqa: N803
        ((table, request),) = RequestItems.items()
        ids = [next(iter(key.values()))["S"] for key in request["Keys"]]
        items = [case_item(each) for each in RESOLVED]
        if table == "OrderTable":
            named = [each | {"ExecutionArn": f"{EXECUTION}:x"} for each in ORDERS]
            items = [to_item(each) for each in named]
        key = "OrderId" if table == "OrderTable" else "CaseId"
        return {"Responses": {table: [item for item in items if item[key]["S"] in ids]}}

    return fake_stack(dynamodb=FakeClient(query=query, batch_get_item=batch_get_item))


class StoryAws:
    """An escalated order with its case, two executions and a dead letter."""

    def __init__(self) -> None:
        self.letters = FakeQueue(LETTER)
        redriven = {"DeadLetterQueueSourceArn": "q", "SentTimestamp": str(int(NOW.timestamp() * 1000 - 7_200_000))}
        self.letters.parts[LETTER] = {"Body": UUID, "Attributes": redriven}

    def stack(self) -> Stack:
        return fake_stack(
            sqs=cast("FakeClient", self),
            dynamodb=FakeClient(get_item=self._get_item),
            stepfunctions=FakeClient(get_execution_history=self._history),
        )

    def _get_item(self, Key: Any, **_: Any) -> Any:  # noqa: N803
        return {"Item": to_item(ORDERS[0]) if "OrderId" in Key else case_item(ESCALATED)}

    def _history(self, executionArn: str, **_: Any) -> Iterator[Any]:  # noqa: N803
        hours = {f"{EXECUTION}:{FIRST}": 4.0, f"{EXECUTION}:{SECOND}": 3.4}.get(executionArn)
        if hours is None:
            raise refused("ExecutionDoesNotExist", "GetExecutionHistory")
        states = ("Update the order table", "Are details Proper", "Put message in Escalation Queue")
        kinds = [("ExecutionStarted", None), *(("TaskStateEntered", state) for state in states)]
        for number, (kind, state) in enumerate([*kinds, ("ExecutionSucceeded", None)]):
            at = NOW - timedelta(hours=hours) + timedelta(seconds=number)
            entered = {} if state is None else {"stateEnteredEventDetails": {"name": state}}
            yield {"events": [{"type": kind, "timestamp": at, **entered}]}

    async def call(self, operation: str, **request: Any) -> Any:
        if operation == "get_queue_url":
            return {"QueueUrl": request["QueueName"]}
        url = request["QueueUrl"]
        if url.endswith("DLQ"):
            return await (self.letters if url.startswith("OrderF") else FakeQueue()).call(operation, **request)
        target = f"arn:aws:sqs:us-east-1:000000000000:{url.removesuffix('Queue')}DLQ"
        policy = json.dumps({"deadLetterTargetArn": target})
        return {"Attributes": {"RedrivePolicy": policy, "ApproximateNumberOfMessages": "4"}}


def letters_stack() -> Stack:
    """Return a stack with an undecodable dead letter, and one that SQS has moved."""
    aws = StoryAws()
    aws.letters = FakeQueue(LETTER, OTHER_LETTER)
    sent = {"SentTimestamp": str(int((NOW - timedelta(hours=2)).timestamp() * 1000))}
    labels = {"Reason": UNDECODABLE, "ErrorClass": "UndecodableError", "OriginMessageId": MESSAGE}
    aws.letters.parts = {
        LETTER: {
            "Body": "please check!",
            "Attributes": sent,
            "MessageAttributes": {name: {"DataType": "String", "StringValue": text} for name, text in labels.items()},
        },
        OTHER_LETTER: {
            "Body": json.dumps({"OrderId": LONGEST, "ExecutionArn": f"{EXECUTION}:{FIRST}"}),
            "Attributes": sent | {"DeadLetterQueueSourceArn": "arn:aws:sqs:us-east-1:000000000000:Q"},
        },
    }
    return aws.stack()


def queues_stack() -> Stack:
    counts = {"OrderFulfillmentQueue": "1204", "OrderFulfillmentDLQ": "5", "EscalationQueue": "0", "EscalationDLQ": "0"}

    def attributes(QueueUrl: str, **_: Any) -> Any:  # noqa: N803
        states = ("", "NotVisible", "Delayed")
        found = {f"ApproximateNumberOfMessages{state}": counts[QueueUrl] for state in states}
        target = f"arn:aws:sqs:us-east-1:000000000000:{QueueUrl.removesuffix('Queue')}DLQ"
        return {"Attributes": found | {"RedrivePolicy": json.dumps({"deadLetterTargetArn": target})}}

    def ages(Dimensions: Any, **_: Any) -> Any:  # noqa: N803
        known = {"OrderFulfillmentQueue": 90.4, "OrderFulfillmentDLQ": 7200.0}.get(Dimensions[0]["Value"])
        return {"Datapoints": [] if known is None else [{"Timestamp": NOW - timedelta(minutes=2), "Maximum": known}]}

    sqs = FakeClient(get_queue_url=lambda QueueName: {"QueueUrl": QueueName}, get_queue_attributes=attributes)  # noqa: N803
    return fake_stack(sqs=sqs, cloudwatch=FakeClient(get_metric_statistics=ages))


def orders_csv() -> str:
    rows = [f"o-{n},Ada,Bicycle,12.50,4929123412345678" for n in range(1, 4)]
    return "\n".join(["OrderId,Name,ItemName,Price,CC", *rows, f"{LONGEST},,Bicycle,x,1"])


def submit_stack() -> Stack:
    """Return a stack whose workflow escalates the first two orders of the file, and fulfills the third."""
    outcomes: dict[str, tuple[str, list[str]]] = {
        "o-1": ("ESCALATED", [*BOTH]),
        "o-2": ("ESCALATED", ["INVALID_PRICE"]),
        "o-3": ("FULFILLED", []),
    }

    def batch_get_item(RequestItems: Any) -> Any:  # noqa: N803
        ((table, request),) = RequestItems.items()
        ids = [key["OrderId"]["S"] for key in request["Keys"]]
        return {"Responses": {table: [to_item(_ended(order_id, *outcomes[order_id])) for order_id in ids]}}

    return fake_stack(
        stepfunctions=FakeClient(
            start_execution=lambda **_: {"startDate": NOW, "ResponseMetadata": {}},
            describe_execution=lambda **_: {"status": "SUCCEEDED", "startDate": NOW},
        ),
        dynamodb=FakeClient(batch_get_item=batch_get_item),
    )


def _ended(order_id: str, status: str, reasons: list[str]) -> dict[str, Any]:
    arn = f"{EXECUTION}:{submission_name(order_id, 1)}"
    more = {"Price": "12.50", "ExecutionArn": arn, "Reasons": reasons}
    return _order(order_id, status, ago(seconds=1), "Ada", "Bicycle", **more)
