"""Builds the writes of a transaction that changes a case and its order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.aws.case_items import case_item
from workers.aws.items import to_item
from workers.aws.open_index import open_key
from workers.domain.cases import Case
from workers.domain.escalations import EscalationPlan
from workers.domain.orders import Order, OrderStatus
from workers.domain.resolutions import ResolutionPlan
from workers.domain.retention import FOR_EVER, Retention

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb.type_defs import TransactWriteItemTypeDef


@dataclass(frozen=True, slots=True)
class CaseWrites:
    """
    The writes to both tables. Each has a condition.

    - A case is written only if its `Version` has not changed since the case was read.
    - An order is changed only if it still has the status and the execution that were read with it.

    What makes an order final or a case resolved also sets when it expires. A case that is opened again, or a new
    execution of an order, replaces the whole item, and so does not expire any more.
    """

    table: str
    order_table: str
    retention: Retention = FOR_EVER

    def of_escalation(self, plan: EscalationPlan, case: Case, order: Order | None) -> "list[TransactWriteItemTypeDef]":
        """Return the writes for *plan*, whose case is *case*."""
        writes = [self.put(case)]
        if plan.escalates_order and order is not None:
            writes.append(self._escalate(order, case))
        elif order is not None and (plan.counts_rejection or _copies(plan, order)):
            writes.append(self._unchanged(order))
        if plan.merged is not None:
            writes.append(self.put(plan.merged))
        return writes

    def of_resolution(self, plan: ResolutionPlan, case: Case, order: Order | None) -> "list[TransactWriteItemTypeDef]":
        """Return the writes for *plan*, whose case is *case*."""
        writes = [self.put(case)]
        if plan.order_status is not None and order is not None:
            writes.append(self._finish(order, plan.order_status, case))
        return writes

    def put(self, case: Case) -> "TransactWriteItemTypeDef":
        first = case.version == 0
        put: TransactWriteItemTypeDef = {
            "Put": {
                "TableName": self.table,
                "Item": case_item(case, self.retention),
                "ConditionExpression": "attribute_not_exists(CaseId)" if first else "Version = :version",
            }
        }
        if not first:
            put["Put"]["ExpressionAttributeValues"] = to_item({":version": case.version})
        return put

    def _escalate(self, order: Order, case: Case) -> "TransactWriteItemTypeDef":
        return self._change(
            order,
            OrderStatus.RECEIVED,
            "SET #Status = :status, Reasons = :reasons, EscalatedAt = :at, UpdatedAt = :at, OpenKey = :open",
            {
                ":status": OrderStatus.ESCALATED,
                ":reasons": case.reasons,
                ":at": case.updated_at,
                ":open": open_key(OrderStatus.ESCALATED, order.order_id),
            },
        )

    def _unchanged(self, order: Order) -> "TransactWriteItemTypeDef":
        """Return the check that *order* still has the execution that it had when it was read, and was not erased."""
        condition = "ExecutionArn = :execution" if order.execution_arn else "attribute_not_exists(ExecutionArn)"
        named = "" if order.name is None else " AND attribute_exists(#Name)"
        check: TransactWriteItemTypeDef = {
            "ConditionCheck": {
                "TableName": self.order_table,
                "Key": to_item({"OrderId": order.order_id}),
                "ConditionExpression": condition + named,
            }
        }
        if named:
            check["ConditionCheck"]["ExpressionAttributeNames"] = {"#Name": "Name"}
        if order.execution_arn:
            check["ConditionCheck"]["ExpressionAttributeValues"] = to_item({":execution": order.execution_arn})
        return check

    def _finish(self, order: Order, status: OrderStatus, case: Case) -> "TransactWriteItemTypeDef":
        """Return the update that sets an escalated order's final *status*. *case*'s newest resolution is the cause."""
        shipment_id = case.resolutions[-1].shipment_id
        shipped = ", ShipmentId = :shipment, FulfilledAt = :at" if status is OrderStatus.FULFILLED else ""
        expires_at = self.retention.expires_at(case.updated_at)
        expires = "" if expires_at is None else ", ExpiresAt = :expires"
        return self._change(
            order,
            OrderStatus.ESCALATED,
            f"SET #Status = :status, UpdatedAt = :at{shipped}{expires} REMOVE OpenKey",
            {
                ":status": status,
                ":at": case.updated_at,
                ":shipment": shipment_id if shipped else None,
                ":expires": expires_at,
            },
        )

    def _change(
        self, order: Order, status: OrderStatus, update: str, values: dict[str, Any]
    ) -> "TransactWriteItemTypeDef":
        """Return an update of *order* that succeeds only if it still has *status* and the execution read with it."""
        bound = " AND ExecutionArn = :execution" if order.execution_arn is not None else ""
        return {
            "Update": {
                "TableName": self.order_table,
                "Key": to_item({"OrderId": order.order_id}),
                "UpdateExpression": update,
                "ConditionExpression": f"#Status = :before{bound}",
                "ExpressionAttributeNames": {"#Status": "Status"},
                "ExpressionAttributeValues": to_item(values | {":before": status, ":execution": order.execution_arn}),
            }
        }


def _copies(plan: EscalationPlan, order: Order) -> bool:
    """Return whether *plan* opens an episode with a copy of a person's data, which may be erased at this moment."""
    return plan.routes and order.name is not None
