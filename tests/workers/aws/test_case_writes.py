"""The transactions that change a case and its order, as they are sent."""

from dataclasses import replace
from typing import Any

import pytest

from tests.workers.domain.examples import case
from tests.workers.fakes import ANOTHER, EXECUTION, NOW, order
from workers.aws.case_items import case_item
from workers.aws.case_writes import CaseWrites
from workers.aws.status_index import status_key
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.escalations import EscalationOutcome, EscalationPlan
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason
from workers.domain.resolutions import ResolutionPlan
from workers.domain.retention import FOR_EVER, Retention

WRITES = CaseWrites("Cases", "Orders")
KEPT = Retention(90)
EXPIRES_AT = 1_795_345_200 + 90 * 24 * 3600  # 90 days after NOW.
CASE = case(updated_at=NOW, reasons=(Reason.INVALID_PRICE, Reason.INVALID_CARD_NUMBER))


def put(written: Case, retention: Retention = FOR_EVER) -> dict[str, Any]:
    """Return the write of a case that was read with version 2."""
    return {
        "Put": {
            "TableName": "Cases",
            "Item": case_item(written, retention),
            "ConditionExpression": "Version = :version",
            "ExpressionAttributeValues": {":version": {"N": "2"}},
        }
    }


def plan(escalated: Case, **changes: Any) -> EscalationPlan:
    made = EscalationPlan(EscalationOutcome.ESCALATED, escalates_order=False, case=escalated, routes=True)
    return replace(made, **changes)


def resolved(status: str | None, **resolution: Any) -> tuple[ResolutionPlan, Case]:
    record = Resolution(action="fulfill", episode=1, actor="ada", note="as agreed", at=NOW, **resolution)
    earlier = replace(record, shipment_id="S-0")
    closed = replace(CASE, state=CaseState.RESOLVED, resolutions=(earlier, record))
    return ResolutionPlan(closed, None if status is None else OrderStatus(status)), closed


def test_a_new_case_is_written_only_if_there_is_none() -> None:
    new = replace(CASE, version=0)
    assert WRITES.put(new) == {
        "Put": {
            "TableName": "Cases",
            "Item": case_item(new),
            "ConditionExpression": "attribute_not_exists(CaseId)",
        }
    }


def test_a_case_is_written_only_if_its_version_is_that_read_before() -> None:
    assert WRITES.put(CASE) == put(CASE)


def test_a_resolved_case_expires_as_the_stack_says() -> None:
    _, closed = resolved(None)
    write = CaseWrites("Cases", "Orders", KEPT).put(closed)
    assert write == put(closed, KEPT)
    assert write["Put"]["Item"]["ExpiresAt"] == {"N": str(EXPIRES_AT)}
    assert "ExpiresAt" not in WRITES.put(closed)["Put"]["Item"]


@pytest.mark.parametrize("execution", [EXECUTION, None])
def test_an_order_is_escalated_with_its_case(execution: str | None) -> None:
    received = order(execution_arn=execution)
    bound = "" if execution is None else " AND ExecutionArn = :execution"
    bound_to = {} if execution is None else {":execution": {"S": execution}}
    assert WRITES.of_escalation(plan(CASE, escalates_order=True), CASE, received) == [
        put(CASE),
        {
            "Update": {
                "TableName": "Orders",
                "Key": {"OrderId": {"S": "001"}},
                "UpdateExpression": "SET #Status = :status, UpdatedAt = :at, OpenKey = :key, Reasons = :reasons,"
                " EscalatedAt = :at",
                "ConditionExpression": f"#Status = :before{bound}",
                "ExpressionAttributeNames": {"#Status": "Status"},
                "ExpressionAttributeValues": {
                    ":status": {"S": "ESCALATED"},
                    ":reasons": {"L": [{"S": "INVALID_PRICE"}, {"S": "INVALID_CARD_NUMBER"}]},
                    ":at": {"S": NOW},
                    ":key": {"S": status_key("ESCALATED", "001", NOW)},
                    ":before": {"S": "RECEIVED"},
                    **bound_to,
                },
            }
        },
    ]


@pytest.mark.parametrize(
    ("execution", "condition"),
    [
        (
            ANOTHER,
            {
                "ConditionExpression": "ExecutionArn = :execution",
                "ExpressionAttributeValues": {":execution": {"S": ANOTHER}},
            },
        ),
        (None, {"ConditionExpression": "attribute_not_exists(ExecutionArn)"}),
    ],
)
def test_a_rejection_is_counted_only_for_the_orders_current_execution(
    execution: str | None, condition: dict[str, Any]
) -> None:
    rejected = order("ESCALATED", execution_arn=execution)
    assert WRITES.of_escalation(plan(CASE, counts_rejection=True), CASE, rejected) == [
        put(CASE),
        {"ConditionCheck": {"TableName": "Orders", "Key": {"OrderId": {"S": "001"}}, **condition}},
    ]


def test_an_order_that_is_escalated_for_a_rejection_is_written_once() -> None:
    both = WRITES.of_escalation(plan(CASE, escalates_order=True, counts_rejection=True), CASE, order())
    assert [list(write) for write in both] == [["Put"], ["Update"]]


@pytest.mark.parametrize("changes", [{}, {"escalates_order": True}, {"counts_rejection": True}])
def test_a_case_is_written_alone_if_its_order_does_not_change_or_is_missing(changes: dict[str, bool]) -> None:
    assert WRITES.of_escalation(plan(CASE, **changes), CASE, None) == [put(CASE)]
    assert WRITES.of_escalation(plan(CASE), CASE, order()) == [put(CASE)]


def test_a_merged_case_is_written_too() -> None:
    merged = case(case_id="one", state=CaseState.RESOLVED, merged_into="001")
    assert WRITES.of_escalation(plan(CASE, merged=merged), CASE, None) == [put(CASE), put(merged)]


@pytest.mark.parametrize(
    ("status", "retention", "update", "values"),
    [
        (
            "FULFILLED",
            FOR_EVER,
            ", ShipmentId = :shipment, FulfilledAt = :at",
            {":shipment": {"S": "S-1"}},
        ),
        (
            "FULFILLED",
            KEPT,
            ", ShipmentId = :shipment, FulfilledAt = :at, ExpiresAt = :expires",
            {":shipment": {"S": "S-1"}, ":expires": {"N": str(EXPIRES_AT)}},
        ),
        ("CANCELLED", FOR_EVER, "", {}),
        (
            "CANCELLED",
            KEPT,
            ", ExpiresAt = :expires",
            {":expires": {"N": str(EXPIRES_AT)}},
        ),
    ],
)
def test_an_order_is_finished_with_its_case(
    status: str, retention: Retention, update: str, values: dict[str, Any]
) -> None:
    made, closed = resolved(status, shipment_id="S-1")
    assert CaseWrites("Cases", "Orders", retention).of_resolution(made, closed, order("ESCALATED")) == [
        put(closed, retention),
        {
            "Update": {
                "TableName": "Orders",
                "Key": {"OrderId": {"S": "001"}},
                "UpdateExpression": f"SET #Status = :status, UpdatedAt = :at, OpenKey = :key, ResolvedBy = :by{update}",
                "ConditionExpression": "#Status = :before AND ExecutionArn = :execution",
                "ExpressionAttributeNames": {"#Status": "Status"},
                "ExpressionAttributeValues": {
                    ":status": {"S": status},
                    ":at": {"S": NOW},
                    ":key": {"S": f"{status}#2026-11-22#7"},
                    ":by": {"S": "ada"},
                    ":before": {"S": "ESCALATED"},
                    ":execution": {"S": EXECUTION},
                    **values,
                },
            }
        },
    ]


def test_a_case_is_resolved_alone_if_its_order_does_not_change_or_is_missing() -> None:
    without, closed = resolved(None)
    assert WRITES.of_resolution(without, closed, order("ESCALATED")) == [put(closed)]
    cancelling, closed = resolved("CANCELLED")
    assert WRITES.of_resolution(cancelling, closed, None) == [put(closed)]
