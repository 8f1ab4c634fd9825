from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.workers.operations.fakes import EXECUTION, FakeClient, fake_stack, refused
from workers.aws.items import from_item, to_item
from workers.domain.orders import OrderStatus
from workers.domain.resolutions import Action, Request
from workers.operations import cancel
from workers.operations.cancel import cancel_order
from workers.operations.errors import OperationError
from workers.operations.stack import Stack

REQUEST = Request(action=Action.CANCEL, actor="ada", note="customer has left")
NOW = "2026-11-22T12:00:00.000000Z"
ORDER = {"OrderId": "001", "Name": "Ada", "ExecutionArn": f"{EXECUTION}:one", "UpdatedAt": "then", "OpenKey": "x"}


class Tables:
    """The order 001 and its case. `becomes` are the statuses that the order gets just before each write."""

    reasons: tuple[str, ...] = ("INVALID_PRICE",)

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: str | None, case: str | None = None) -> None:
        self.order = None if status is None else ORDER | {"Status": status}
        self.case = case
        self.becomes: list[str] = []
        self.days = ""
        self.updates: list[dict[str, Any]] = []
        self.resolved: list[Request] = []
        monkeypatch.setattr(cancel, "resolve_case", self._resolve)

    def stack(self) -> Stack:
        tags = [{"Key": "OrderRetentionDays", "Value": self.days}]
        client = FakeClient(
            get_item=self._get,
            update_item=self._update,
            describe_table=lambda **_: {"Table": {"TableArn": "arn"}},
            list_tags_of_resource=lambda **_: {"Tags": tags},
        )
        return fake_stack(dynamodb=client)

    def _get(self, TableName: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - AWS's name.
        if TableName == "OrderTable":
            return {} if self.order is None else {"Item": to_item(self.order)}
        return (
            {}
            if self.case is None
            else {"Item": to_item({"CaseId": "001", "State": self.case, "Reasons": self.reasons})}
        )

    def _update(self, **request: Any) -> dict[str, Any]:
        assert self.order is not None
        if self.becomes:
            self.order["Status"] = self.becomes.pop(0)
        if self.order["Status"] != from_item(request["ExpressionAttributeValues"])[":before"]:
            raise refused("ConditionalCheckFailedException", "UpdateItem")
        self.updates.append(request)
        self.order["Status"] = "CANCELLED"
        return {}

    async def _resolve(self, _stack: Stack, case_id: str, request: Request, order: object) -> None:
        assert (case_id, order, self.case) == ("001", None, "OPEN")
        self.resolved.append(request)
        self.case = "RESOLVED"
        assert self.order is not None
        if self.order["Status"] == "ESCALATED":
            self.order["Status"] = "CANCELLED"


async def test_a_received_order_is_cancelled_in_one_conditional_write(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED")
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.was, cancelled.closed_case, cancelled.still_open) == (OrderStatus.RECEIVED, False, ())
    (update,) = tables.updates
    assert update["ConditionExpression"] == "#Status = :before AND ExecutionArn = :execution"
    assert update["UpdateExpression"].endswith("CancelNote = :note, CancelledAt = :at")
    assert from_item(update["ExpressionAttributeValues"]) == {
        ":cancelled": "CANCELLED",
        ":before": "RECEIVED",
        ":execution": f"{EXECUTION}:one",
        ":at": NOW,
        ":key": "CANCELLED#2026-11-22#7",
        ":by": "ada",
        ":note": "customer has left",
    }


async def test_a_cancelled_order_expires_if_the_stack_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED")
    tables.days = "90"
    await cancel_order(tables.stack(), "001", REQUEST)
    (update,) = tables.updates
    assert ", ExpiresAt = :expires" in update["UpdateExpression"]
    assert update["ExpressionAttributeValues"][":expires"] == {"N": "1803124800"}


@pytest.mark.parametrize("status", ["RECEIVED", "ESCALATED", "CANCELLED"])
async def test_an_open_case_is_closed_with_its_order(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """`CANCELLED`: the command was killed before it closed the case, and is repeated."""
    tables = Tables(monkeypatch, status, "OPEN")
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.was, cancelled.closed_case, cancelled.still_open) == (status, True, ())
    assert tables.resolved == [REQUEST]
    assert len(tables.updates) == (status == "RECEIVED")


async def test_a_report_that_a_cancelled_order_was_shipped_is_not_closed_by_repeating_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = Tables(monkeypatch, "CANCELLED", "OPEN")
    tables.reasons = ("UNRECORDED_SHIPMENT",)
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.closed_case, cancelled.still_open, tables.resolved) == (False, ["UNRECORDED_SHIPMENT"], [])


async def test_a_shipment_that_is_reported_while_the_order_is_cancelled_is_left_to_a_person(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = Tables(monkeypatch, "RECEIVED", "OPEN")
    tables.reasons = ("FULFILLMENT_EXHAUSTED", "UNRECORDED_SHIPMENT")
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.closed_case, cancelled.still_open, tables.resolved) == (False, [*tables.reasons], [])
    assert tables.order is not None
    assert tables.order["Status"] == "CANCELLED"


async def test_an_escalated_order_with_an_unrecorded_shipment_is_cancelled_with_its_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = Tables(monkeypatch, "ESCALATED", "OPEN")
    tables.reasons = ("UNRECORDED_SHIPMENT",)
    assert (await cancel_order(tables.stack(), "001", REQUEST)).closed_case


async def test_a_cancelled_order_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "CANCELLED", "RESOLVED")
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.was, cancelled.closed_case, tables.updates) == (OrderStatus.CANCELLED, False, [])


@pytest.mark.parametrize(
    ("status", "problem"),
    [
        (None, "there is no order '001' in the table; `orders show 001` tells if it is on its way"),
        ("FULFILLED", "order 001 is FULFILLED: it is too late to cancel it"),
        ("PENDING", "order 001 cannot be read: it was edited in the table"),
    ],
)
async def test_any_other_order_is_refused(monkeypatch: pytest.MonkeyPatch, status: str | None, problem: str) -> None:
    tables = Tables(monkeypatch, status)
    with pytest.raises(OperationError, match=problem):
        await cancel_order(tables.stack(), "001", REQUEST)
    assert tables.updates == []


async def test_what_cannot_be_an_id_is_not_sent_to_aws() -> None:
    dynamodb = FakeClient()
    with pytest.raises(OperationError, match=r"there is no order '\*{4}'"):
        await cancel_order(fake_stack(dynamodb=dynamodb), "4929 1234 1234 5678", REQUEST)
    assert dynamodb.requests == []


async def test_an_error_of_aws_is_not_taken_for_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED")

    def refuse(**_: Any) -> Any:
        raise refused("AccessDeniedException", "UpdateItem")

    monkeypatch.setattr(tables, "_update", refuse)
    with pytest.raises(ClientError, match="AccessDenied"):
        await cancel_order(tables.stack(), "001", REQUEST)


async def test_an_order_that_is_shipped_meanwhile_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED")
    tables.becomes = ["FULFILLED"]
    with pytest.raises(OperationError, match="it is too late to cancel it"):
        await cancel_order(tables.stack(), "001", REQUEST)


async def test_an_order_that_is_escalated_meanwhile_is_cancelled_with_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED", "OPEN")
    tables.becomes = ["ESCALATED"]
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.was, cancelled.closed_case) == (OrderStatus.ESCALATED, True)


@pytest.mark.parametrize("case", ["RESOLVED", None])
async def test_an_escalated_order_without_an_open_case_is_cancelled_alone(
    monkeypatch: pytest.MonkeyPatch, case: str | None
) -> None:
    """The execution that resubmitted it has not recorded it, and perhaps never will."""
    tables = Tables(monkeypatch, "ESCALATED", case)
    cancelled = await cancel_order(tables.stack(), "001", REQUEST)
    assert (cancelled.was, cancelled.closed_case, tables.resolved) == (OrderStatus.ESCALATED, False, [])
    (update,) = tables.updates
    assert update["ConditionExpression"] == "#Status = :before AND ExecutionArn = :execution"
    assert "CancelledAt" not in update["UpdateExpression"], "no message may still ship it"


async def test_an_escalated_order_that_is_resubmitted_meanwhile_is_cancelled_as_it_is_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tables = Tables(monkeypatch, "ESCALATED", "RESOLVED")
    tables.becomes = ["RECEIVED"]
    assert (await cancel_order(tables.stack(), "001", REQUEST)).was is OrderStatus.RECEIVED


async def test_an_order_that_keeps_changing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "ESCALATED", "RESOLVED")
    tables.becomes = ["RECEIVED", "ESCALATED"] * 5
    with pytest.raises(OperationError, match="others are changing order 001 now; try again"):
        await cancel_order(tables.stack(), "001", REQUEST)
    assert (tables.updates, len(tables.becomes)) == ([], 5)


async def test_a_resubmission_that_was_interrupted_closes_the_case_first(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED", "OPEN")

    async def finished_first(*_: object) -> None:
        tables.case = "RESOLVED"
        raise OperationError("the case is already resolved by grace")

    monkeypatch.setattr(cancel, "resolve_case", finished_first)
    assert (await cancel_order(tables.stack(), "001", REQUEST)).closed_case


async def test_a_case_that_cannot_be_closed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(monkeypatch, "RECEIVED", "OPEN")

    async def refuse(*_: object) -> None:
        raise OperationError("others are changing this case")

    monkeypatch.setattr(cancel, "resolve_case", refuse)
    with pytest.raises(OperationError, match="others are changing this case"):
        await cancel_order(tables.stack(), "001", REQUEST)


async def test_the_case_of_an_order_that_was_never_recorded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OperationError) as raised:
        await cancel_order(Tables(monkeypatch, None, "OPEN").stack(), "001", REQUEST)
    assert str(raised.value) == (
        "there is no order '001' in the table, but its case is open;"
        " to close it: `orders escalations resolve 001 cancel --actor NAME --note TEXT`"
    )
