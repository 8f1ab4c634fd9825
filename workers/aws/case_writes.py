"""Builds the writes of a transaction that changes a case and its order."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.aws.case_items import case_item
from workers.aws.items import to_item
from workers.aws.status_index import STATUS_KEY, status_key
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
        more = ", Reasons = :reasons, EscalatedAt = :at"
        return self._change(order, OrderStatus.ESCALATED, case.updated_at, more, {":reasons": case.reasons})

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
        resolution, at = case.resolutions[-1], case.updated_at
        shipped = ", ShipmentId = :shipment, FulfilledAt = :at" if status is OrderStatus.FULFILLED else ""
        expires_at = self.retention.expires_at(at)
        expires = "" if expires_at is None else ", ExpiresAt = :expires"
        values = {
            ":by": resolution.actor,
            ":shipment": resolution.shipment_id if shipped else None,
            ":expires": expires_at,
        }
        return self._change(order, status, at, f", ResolvedBy = :by{shipped}{expires}", values)

    def _change(
        self, order: Order, status: OrderStatus, at: str, more: str, values: dict[str, Any]
    ) -> "TransactWriteItemTypeDef":
        """
        Return the update that gives *order* its new *status* at the time *at*.

        It succeeds only if the order still has the status and the execution that were read.
        """
        values |= {
            ":status": status,
            ":at": at,
            ":key": status_key(status, order.order_id, at),
            ":before": OrderStatus.RECEIVED if status is OrderStatus.ESCALATED else OrderStatus.ESCALATED,
            ":execution": order.execution_arn,
        }
        bound = " AND ExecutionArn = :execution" if order.execution_arn is not None else ""
        return {
            "Update": {
                "TableName": self.order_table,
                "Key": to_item({"OrderId": order.order_id}),
                "UpdateExpression": f"SET #Status = :status, UpdatedAt = :at, {STATUS_KEY} = :key{more}",
                "ConditionExpression": f"#Status = :before{bound}",
                "ExpressionAttributeNames": {"#Status": "Status"},
                "ExpressionAttributeValues": to_item(values),
            }
        }


def _copies(plan: EscalationPlan, order: Order) -> bool:
    """Return whether *plan* opens an episode with a copy of a person's data, which may be erased at this moment."""
    return plan.routes and order.name is not None
