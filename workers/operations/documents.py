"""
What commands print for scripts, as plain values: one convention for all of them, described in docs/json.md.

Names are in snake_case, and a document always has all of its fields: `None` or an empty list if they do not apply.
Times are RFC 3339 in UTC, prices are strings. What only the workers need (keys of indexes, versions) is left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, get_origin

from workers import clock
from workers.aws.case_items import case_item
from workers.aws.items import attribute_name, from_item
from workers.domain.cases import (
    Case,
    Claim,
    Dropped,
    Episode,
    Evidence,
    OrderCopy,
    Resolution,
    SentNotification,
)
from workers.domain.orders import Order

ORDER_FIELDS = (
    "order_id",
    "status",
    "name",
    "item_name",
    "price",
    "cc",
    "reasons",
    "attempts",
    "execution_arn",
    "shipment_id",
    "created_at",
    "started_at",
    "updated_at",
    "escalated_at",
    "fulfilled_at",
    "cancelled_at",
    "cancelled_by",
    "cancel_note",
    "resolved_by",
    "erased_at",
    "erased_by",
    "expires_at",
)
_CASE_TIMES = ("first_seen_at", "last_seen_at")  # Stored with a case, and derived from its other fields.
_INTERNAL = {"opened_by", "reminder", "version"}  # Only the workers need them.
_NESTED = {
    "evidence": Evidence,
    "order": OrderCopy,
    "routed": SentNotification,
    "resolutions": Resolution,
    "episodes": Episode,
    "claim": Claim,
    "dropped": Dropped,
}


def order_document(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of the order table, in plain values."""
    document = {name: _value(name, item.get(attribute_name(name))) for name in ORDER_FIELDS}
    return document | {"reasons": texts(document["reasons"]), "attempts": document["attempts"] or 0}


def texts(value: Any) -> list[str]:
    """Return a stored list of texts. Someone may have edited the table, so that it can be of any kind."""
    if isinstance(value, list | set):
        return [*map(str, value)]
    return [] if value is None else [str(value)]


def order_now(order: Order | None) -> dict[str, Any] | None:
    """Return what an `Order` has of `order_document`."""
    if order is None:
        return None
    names = [field.name for field in fields(Order) if field.name in ORDER_FIELDS]
    return {name: _value(name, getattr(order, name)) for name in names}


def record_document(at: str | None, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an execution recorded of an order, and when."""
    names = ("name", "item_name", "price", "cc")
    return {"at": clock.rfc_3339(at)} | {name: _value(name, item.get(attribute_name(name))) for name in names}


def case_document(case: Case | Mapping[str, Any]) -> dict[str, Any]:
    """Return a case, or an item of the escalation table in plain values."""
    item = from_item(case_item(case)) if isinstance(case, Case) else case
    return _document(Case, item) | {name: _value(name, item.get(attribute_name(name))) for name in _CASE_TIMES}


def _document(kind: Any, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the dataclass *kind* from its stored form *item*."""
    document = dict[str, Any]()
    for field in fields(kind):
        if field.name in _INTERNAL:
            continue
        value = item.get(attribute_name(field.name))
        if value is None:
            value = [] if get_origin(field.type) is tuple else None if field.default is MISSING else field.default
        document[field.name] = _value(field.name, value)
    return document


def _value(name: str, value: Any) -> Any:
    """Return the value of a field. Someone may have edited the table, so that it can be of any kind."""
    if name == "at" or name.endswith("_at"):
        return clock.rfc_3339(value)
    if name == "price" and value is not None:
        return str(value)
    kind = _NESTED.get(name)
    if kind is not None and isinstance(value, Mapping):
        return _document(kind, value)
    if kind is not None and isinstance(value, Sequence) and not isinstance(value, str):
        return [_document(kind, entry) if isinstance(entry, Mapping) else entry for entry in value]
    return value


CASE_COLUMNS = (
    "case_id",
    "state",
    "severity",
    "reasons",
    "sources",
    "episode",
    "opened_at",
    "resolved_at",
    "resolution",
    "actor",
    "note",
    "order_id",
    "order_status",
    "name",
    "item_name",
    "price",
    "cc",
    "attempts",
    "execution_arn",
)


def case_row(case: Case, order: Order | None) -> dict[str, Any]:
    """Return a case on one line, with the resolution of its current episode and the status that its order has now."""
    document, resolution = case_document(case), case.resolution_of(case.episode)
    row = document | (document["order"] or {}) | {name: document[name] for name in ("order_id", "attempts")}
    row |= {
        "resolved_at": clock.rfc_3339(case.resolved_at),
        "resolution": resolution and resolution.action,
        "actor": resolution and resolution.actor,
        "note": resolution and resolution.note,
        "order_status": order and order.status,
        "execution_arn": case.execution_arns[-1] if case.execution_arns else None,
    }
    return {column: row.get(column) for column in CASE_COLUMNS}
