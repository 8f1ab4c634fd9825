"""Why something was escalated, which part of the system escalated it, and how severe it is."""

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Reason(StrEnum):
    INVALID_CARD_NUMBER = "INVALID_CARD_NUMBER"
    INVALID_PRICE = "INVALID_PRICE"
    MALFORMED_ORDER = "MALFORMED_ORDER"
    VERIFICATION_UNAVAILABLE = "VERIFICATION_UNAVAILABLE"
    WORKFLOW_FAILED = "WORKFLOW_FAILED"
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    FULFILLMENT_REJECTED = "FULFILLMENT_REJECTED"
    FULFILLMENT_EXHAUSTED = "FULFILLMENT_EXHAUSTED"
    UNRECORDED_SHIPMENT = "UNRECORDED_SHIPMENT"
    ORDER_STUCK = "ORDER_STUCK"
    UNDECODABLE_MESSAGE = "UNDECODABLE_MESSAGE"
    UNSPECIFIED = "UNSPECIFIED"


class Source(StrEnum):
    WORKFLOW = "workflow"
    FULFILLMENT = "fulfillment"
    EVENTBRIDGE = "eventbridge"
    SWEEP = "sweep"


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @classmethod
    def highest(cls, severities: "Iterable[Severity]") -> "Severity":
        return max(severities, key=list(cls).index, default=cls.INFO)
