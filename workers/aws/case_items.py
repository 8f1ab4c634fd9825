"""Converts escalation cases to items of their table, and back."""

from typing import Any

from workers.aws.items import attributes, to_item
from workers.aws.status_index import STATUS_KEY, status_key
from workers.domain.cases import (
    Case,
    CaseState,
    Claim,
    Dropped,
    Episode,
    Evidence,
    HandledReminder,
    OrderCopy,
    Resolution,
    SentNotification,
)
from workers.domain.orders import OrderStatus
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.retention import FOR_EVER, Retention


def case_item(case: Case, retention: Retention = FOR_EVER) -> dict[str, Any]:
    """
    Return the item for *case*, in DynamoDB's JSON. It expires only while the case is resolved.

    `ExecutionArn` is the newest execution: the key of the index `CasesByExecution`.
    """
    derived = {
        "FirstSeenAt": case.first_seen_at,
        "LastSeenAt": case.last_seen_at,
        STATUS_KEY: status_key(case.state, case.case_id, case.resolved_at or case.opened_at),
        "ExecutionArn": case.execution_arns[-1] if case.execution_arns else None,
        "Version": case.version + 1,
        "ExpiresAt": None if case.state is CaseState.OPEN else retention.expires_at(case.updated_at),
    }
    return attributes(case) | to_item(derived)


def case_of(item: dict[str, Any]) -> Case:
    """
    Return the case in *item*.

    Raises:
        KeyError, TypeError, ValueError: The item is not a case: someone has edited it by hand.
    """
    return Case(
        case_id=item["CaseId"],
        state=CaseState(item["State"]),
        severity=Severity(item["Severity"]),
        opened_at=item["OpenedAt"],
        opened_by=item.get("OpenedBy"),
        updated_at=item["UpdatedAt"],
        order_id=item.get("OrderId"),
        episode=item["Episode"],
        reasons=_reasons(item["Reasons"]),
        sources=tuple(map(Source, item["Sources"])),
        execution_arns=tuple(item["ExecutionArns"]),
        rejected_executions=tuple(item.get("RejectedExecutions", [])),
        message_ids=tuple(item["MessageIds"]),
        evidence=tuple(map(_evidence, item["Evidence"])),
        order=_order_copy(item["Order"]) if "Order" in item else None,
        channels=tuple(item.get("Channels", [])),
        routed=tuple(map(_sent, item["Routed"])),
        resolutions=tuple(map(_resolution, item.get("Resolutions", []))),
        episodes=tuple(map(_episode, item.get("Episodes", []))),
        claim=_claim(item["Claim"]) if "Claim" in item else None,
        attempts=item.get("Attempts"),
        merged_into=item.get("MergedInto"),
        reminder=_reminder(item["Reminder"]) if "Reminder" in item else None,
        dropped=_dropped(item["Dropped"]) if "Dropped" in item else None,
        version=item["Version"],
    )


def _evidence(item: dict[str, Any]) -> Evidence:
    return Evidence(
        at=item["At"],
        message_id=item["MessageId"],
        reasons=_reasons(item["Reasons"]),
        source=Source(item["Source"]) if "Source" in item else None,
        detail=item.get("Detail"),
        execution_arn=item.get("ExecutionArn"),
        attempts=item.get("Attempts"),
        queue=item.get("Queue"),
        origin_message_id=item.get("OriginMessageId"),
    )


def _order_copy(item: dict[str, Any]) -> OrderCopy:
    return OrderCopy(
        order_id=item["OrderId"],
        status=OrderStatus(item["Status"]),
        execution_arn=item.get("ExecutionArn"),
        name=item.get("Name"),
        item_name=item.get("ItemName"),
        price=item.get("Price"),
        cc=item.get("CC"),
        created_at=item.get("CreatedAt"),
        attempts=item["Attempts"],
        shipment_id=item.get("ShipmentId"),
    )


def _sent(item: dict[str, Any]) -> SentNotification:
    return SentNotification(
        channel=item["Channel"], episode=item["Episode"], at=item["At"], given_up=item.get("GivenUp")
    )


def _episode(item: dict[str, Any]) -> Episode:
    return Episode(
        number=item["Number"],
        opened_at=item["OpenedAt"],
        last_seen_at=item["LastSeenAt"],
        severity=Severity(item["Severity"]),
        reasons=_reasons(item["Reasons"]),
        sources=tuple(map(Source, item["Sources"])),
        attempts=item.get("Attempts"),
        order=_order_copy(item["Order"]) if "Order" in item else None,
    )


def _resolution(item: dict[str, Any]) -> Resolution:
    return Resolution(
        action=item["Action"],
        episode=item["Episode"],
        actor=item["Actor"],
        note=item["Note"],
        at=item["At"],
        shipment_id=item.get("ShipmentId"),
        execution_arn=item.get("ExecutionArn"),
    )


def _claim(item: dict[str, Any]) -> Claim:
    return Claim(
        actor=item["Actor"],
        note=item["Note"],
        at=item["At"],
        episode=item["Episode"],
        number=item["Number"],
        order_id=item["OrderId"],
        execution_arn=item["ExecutionArn"],
    )


def _reminder(item: dict[str, Any]) -> HandledReminder:
    return HandledReminder(episode=item["Episode"], tries=item["Tries"], message_id=item["MessageId"], at=item["At"])


def _dropped(item: dict[str, Any]) -> Dropped:
    return Dropped(
        evidence=item.get("Evidence", 0),
        message_ids=item.get("MessageIds", 0),
        execution_arns=item.get("ExecutionArns", 0),
        rejected_executions=item.get("RejectedExecutions", 0),
        routed=item.get("Routed", 0),
        resolutions=item.get("Resolutions", 0),
        episodes=item.get("Episodes", 0),
    )


def _reasons(values: list[str]) -> tuple[Reason, ...]:
    return tuple(map(Reason, values))
