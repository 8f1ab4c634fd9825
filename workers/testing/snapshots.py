"""Orders and cases as tests see them: what was in the table at one moment. Card numbers are masked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order. Times are RFC 3339 UTC. `item` has all attributes, which docs/operating.md describes."""

    order_id: str
    status: str
    execution_arn: str | None
    name: str | None
    item_name: str | None
    price: str | None
    cc: str | None
    created_at: str | None
    updated_at: str | None
    shipment_id: str | None
    fulfilled_at: str | None
    escalated_at: str | None
    reasons: tuple[str, ...]
    attempts: int
    item: Mapping[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        return cls(
            order_id=item["OrderId"],
            status=item["Status"],
            execution_arn=item.get("ExecutionArn"),
            name=item.get("Name"),
            item_name=item.get("ItemName"),
            price=item.get("Price"),
            cc=item.get("CC"),
            created_at=item.get("CreatedAt"),
            updated_at=item.get("UpdatedAt"),
            shipment_id=item.get("ShipmentId"),
            fulfilled_at=item.get("FulfilledAt"),
            escalated_at=item.get("EscalatedAt"),
            reasons=tuple(item.get("Reasons", ())),
            attempts=item.get("Attempts", 0),
            item=item,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An escalation case. Times are RFC 3339 UTC. `item` has all attributes, evidence and history included."""

    case_id: str
    state: str
    severity: str
    reasons: tuple[str, ...]
    sources: tuple[str, ...]
    order_id: str | None
    opened_at: str
    updated_at: str
    episode: int
    channels: tuple[str, ...]
    attempts: int | None
    item: Mapping[str, Any]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        return cls(
            case_id=item["CaseId"],
            state=item["State"],
            severity=item["Severity"],
            reasons=tuple(item["Reasons"]),
            sources=tuple(item["Sources"]),
            order_id=item.get("OrderId"),
            opened_at=item["OpenedAt"],
            updated_at=item["UpdatedAt"],
            episode=item["Episode"],
            channels=tuple(item.get("Channels", ())),
            attempts=item.get("Attempts"),
            item=item,
        )
