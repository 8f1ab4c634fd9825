"""Selects the workers' log lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ESCALATION_EVENT = "escalation.routed"


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects log lines. The default is all of them."""

    order_id: str | None = None
    escalations: bool = False

    @property
    def everything(self) -> bool:
        return self.order_id is None and not self.escalations

    def may_match(self, raw: bytes) -> bool:
        """Return whether the unparsed line *raw* could match: a cheap test that rules out most lines."""
        return (self.order_id is None or self.order_id.encode(errors="replace") in raw) and (
            not self.escalations or ESCALATION_EVENT.encode() in raw
        )

    def matches(self, fields: Mapping[str, Any]) -> bool:
        return (self.order_id is None or self.order_id in (fields.get("order_id"), fields.get("case_id"))) and (
            not self.escalations or fields.get("event") == ESCALATION_EVENT
        )
