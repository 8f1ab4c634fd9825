"""Submits orders to the workflow, and reads orders and cases."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
from decimal import Decimal
from typing import Any, Generic, Protocol, TypeVar

from workers.aws.items import from_item
from workers.testing.running import Running
from workers.testing.sdk import shared_client
from workers.testing.snapshots import Case, Order
from workers.testing.stack import Stack
from workers.testing.worker import TIMEOUT_S

CARD_NUMBER = "4000001234567899"  # 16 digits, all that the workflow looks at; of no card.

Snapshot = TypeVar("Snapshot", Order, Case)


@dataclass(frozen=True, slots=True)
class _Kind(Generic[Snapshot]):
    """Orders or cases: their table, its key, and what an item is read as."""

    noun: str
    table: str
    key: str
    snapshot: type[Snapshot]


class GetOrder(Protocol):
    """
    Wait until the order is stored and has these *fields*, and return it.

        order(order_id, status="FULFILLED").shipment_id
    """

    def __call__(self, order_id: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> Order: ...


class GetCase(Protocol):
    """
    Wait until the case exists and has these *fields*, and return it. The case of an order has the order's id.

        case(order_id, state="OPEN").reasons
    """

    def __call__(self, case_id: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> Case: ...


class Orders:
    """Starts orders on the workflow of the session's stack, and reads what became of them."""

    def __init__(self, stack: Stack, running: Running) -> None:
        self._stack = stack
        self._running = running
        self._stepfunctions = shared_client("stepfunctions", stack.local_aws.endpoint)
        self._executions: dict[str, str] = {}
        self._dynamodb = shared_client("dynamodb", stack.local_aws.endpoint)

    def submit(
        self,
        order_id: str | int | None = None,
        *,
        name: str | None = "Ada",
        item_name: str | None = "Bicycle",
        price: str | float | Decimal | None = "129.90",
        cc: str | int | None = CARD_NUMBER,
    ) -> str:
        """
        Start the workflow for an order, by default a valid one with an id of its own; return its id.

        `price="-1"` or `cc="12"` make one that is escalated; None makes it malformed.
        """
        __tracebackhide__ = True
        order_id = f"order-{secrets.token_hex(6)}" if order_id is None else str(order_id)
        fields = {
            "OrderId": as_text("order_id", order_id),
            "Name": as_text("name", name),
            "ItemName": as_text("item_name", item_name),
            "Price": as_text("price", price),
            "CC": as_text("cc", cc),
        }
        started = self._stepfunctions.start_execution(
            stateMachineArn=self._stack.state_machine_arn, input=json.dumps(fields)
        )
        self._executions[order_id] = started["executionArn"]
        return order_id

    def get(self, order_id: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> Order:
        __tracebackhide__ = True
        kind = _Kind("order", self._stack.order_table, "OrderId", Order)
        return self._wait_for(kind, order_id, fields, timeout_s)

    def get_case(self, case_id: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> Case:
        __tracebackhide__ = True
        kind = _Kind("case", self._stack.escalation_table, "CaseId", Case)
        return self._wait_for(kind, case_id, fields, timeout_s)

    def _wait_for(self, kind: "_Kind[Snapshot]", key: str, fields: Mapping[str, Any], timeout_s: float) -> Snapshot:
        __tracebackhide__ = True
        known = [field.name for field in fields_of(kind.snapshot)]
        if unknown := sorted(fields.keys() - set(known)):
            raise TypeError(f"{kind.noun}(...) got {', '.join(unknown)}; the fields are: {', '.join(known)}")
        seen: Snapshot | None = None

        def look() -> Snapshot | None:
            nonlocal seen
            answer = self._dynamodb.get_item(TableName=kind.table, Key={kind.key: {"S": key}}, ConsistentRead=True)
            if "Item" not in answer:
                return None
            seen = kind.snapshot.of(from_item(answer["Item"]))
            return seen if all(getattr(seen, name) == value for name, value in fields.items()) else None

        def missing() -> str:
            if seen is None:
                return f"There was no {kind.noun} {key}{self._workflow(key)}"
            differs = ", ".join(f"{name} {getattr(seen, name)!r}" for name in fields)
            wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
            return f"The {kind.noun} {key} has {differs}, and did not get {wanted}"

        return self._running.wait_until(look, missing, timeout_s)

    def _workflow(self, order_id: str) -> str:
        """Return what the workflow of an order of this test did, without the order's values."""
        if order_id not in self._executions:
            return ""
        return workflow(self._stepfunctions.describe_execution(executionArn=self._executions[order_id]))


def as_text(name: str, value: object) -> str | None:
    """Return a field of an order as an order has it; None stays None, which makes an order malformed."""
    __tracebackhide__ = True
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(
            f"orders.submit: {name} is {value!r}, must be a text or a number, or None for a malformed order"
        )
    return format(Decimal(str(value)), "f")


def workflow(execution: Mapping[str, Any]) -> str:
    """Return what an execution did, in parentheses. Its error and cause have no values of the order."""
    why = ": ".join(filter(None, [execution.get("error"), execution.get("cause")]))
    return f" (its workflow is {execution['status']}{why and f', {why}'})"
