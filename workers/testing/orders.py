"""Submits orders to the workflow, and reads orders and cases."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import fields as fields_of
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
        self._dynamodb = shared_client("dynamodb", stack.local_aws.endpoint)

    def submit(
        self,
        order_id: str | None = None,
        *,
        name: str = "Ada",
        item_name: str = "Bicycle",
        price: str = "129.90",
        cc: str = CARD_NUMBER,
    ) -> str:
        """
        Start the workflow for an order, by default a valid one with an id of its own; return its id.

        `price="-1"` or `cc="12"` make one that is escalated.
        """
        order_id = f"order-{secrets.token_hex(6)}" if order_id is None else order_id
        fields = {"OrderId": order_id, "Name": name, "ItemName": item_name, "Price": price, "CC": cc}
        self._stepfunctions.start_execution(stateMachineArn=self._stack.state_machine_arn, input=json.dumps(fields))
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
        seen: list[Snapshot] = []

        def look() -> Snapshot | None:
            answer = self._dynamodb.get_item(TableName=kind.table, Key={kind.key: {"S": key}}, ConsistentRead=True)
            if "Item" not in answer:
                return None
            seen[:] = [kind.snapshot.of(from_item(answer["Item"]))]
            matches = all(getattr(seen[0], name) == value for name, value in fields.items())
            return seen[0] if matches else None

        def missing() -> str:
            if not seen:
                return f"There was no {kind.noun} {key}"
            differs = ", ".join(f"{name} {getattr(seen[0], name)!r}" for name in fields)
            wanted = ", ".join(f"{name}={value!r}" for name, value in fields.items())
            return f"The {kind.noun} {key} has {differs}, and did not get {wanted}"

        return self._running.wait_until(look, missing, timeout_s)
