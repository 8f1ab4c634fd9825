"""
Erases what the tables hold about one order, at a person's request.

The order's item is replaced by a marker without the person's data: its id and status, the ids of its executions and
shipment, and the channels that were notified. So a repeated erasure still says what others keep. As long as the marker
is there, a message that is delivered again, or another submission under the same id, does not ship the order again.
DynamoDB deletes the marker after `MARKER_DAYS`, when AWS has forgotten the order's executions, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.errors import TRANSACTION_CANCELLED, cancellation_codes, error_code
from workers.aws.items import from_item, to_item
from workers.domain.cases import CaseState
from workers.domain.escalations import Escalation
from workers.domain.orders import OrderStatus
from workers.domain.retention import MIN_RETENTION_DAYS, Retention
from workers.domain.text import clean
from workers.operations.errors import OperationError
from workers.operations.order_table import is_key
from workers.operations.progress import Progress, unreported
from workers.operations.sdk_errors import ClientError

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MARKER_DAYS = MIN_RETENTION_DAYS
MAX_DELETES = 90  # DynamoDB: 100 writes per transaction.
_IDS = ("CaseId", "OrderId", "MergedInto", "ExecutionArn", "ExecutionArns", "Resolutions", "Claim")
_FIELDS = (*_IDS, "State", "Version", "Routed")
_CONFLICTS = {"ConditionalCheckFailed", "TransactionConflict"}
_FINAL = (OrderStatus.FULFILLED, OrderStatus.CANCELLED)

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What the tables hold about an order: its item, and every case about it or about one of its executions."""

    order_id: str
    order: Item | None
    cases: Sequence[Item]

    @property
    def erased_before(self) -> bool:
        """Return whether only the marker of an earlier erasure is left."""
        return self.order is not None and "ErasedAt" in self.order and not self.cases

    @property
    def executions(self) -> set[str]:
        """The ARNs of the executions that the order and its cases name."""
        return _executions([*([self.order] if self.order is not None else []), *self.cases])

    @property
    def channels(self) -> list[str]:
        """The channels that got a notification about one of the cases, also of those that were erased before."""
        notified = {str(sent.get("Channel")) for case in self.cases for sent in case.get("Routed", [])}
        return sorted(notified.union((self.order or {}).get("Channels", [])))

    @property
    def shipment_id(self) -> str | None:
        """The id of the order's shipment, if it has one."""
        return None if self.order is None else self.order.get("ShipmentId")


@dataclass(frozen=True, slots=True)
class Erasure:
    """The audit of an erasure. It contains none of the erased data."""

    order_id: str
    at: str
    actor: str
    case_ids: Sequence[str]


async def find_to_erase(stack: "Stack", order_id: str, progress: Progress = unreported) -> Found:
    """
    Find all items about an order. This reads the whole case table: cases of its executions do not name the order.

    Raises:
        OperationError: The order or one of its cases is open, or there is nothing to erase.
    """
    if not is_key(order_id):
        raise OperationError(f"there is no order or case {clean(order_id)!r}")
    key = to_item({"OrderId": order_id})
    answer = await stack.dynamodb.call("get_item", TableName=stack.names.order_table, Key=key, ConsistentRead=True)
    order = from_item(answer["Item"]) if "Item" in answer else None
    if order is not None and order.get("Status") not in _FINAL:
        raise OperationError(
            f"order {order_id} is {clean(order.get('Status'))}: only a final order can be erased."
            f" Cancel it first: orders cancel {order_id}"
        )
    found = Found(order_id, order, await _cases(stack, order_id, order, progress))
    for case in found.cases:
        if case.get("State") == CaseState.OPEN:
            case_id = clean(case["CaseId"])
            raise OperationError(
                f"case {case_id} is open. Resolve it first; orders escalations show {case_id} shows it"
            )
    if order is None and not found.cases:
        raise OperationError(f"there is no order or case {order_id}; `orders show` tells if AWS knows its executions")
    return found


async def _cases(stack: "Stack", order_id: str, order: Item | None, progress: Progress) -> list[Item]:
    """Return the cases about the order or one of its executions; the order's own one last."""
    found, others = list[Item](), list[Item]()
    names = {f"#{name}": name for name in _FIELDS}
    pages = stack.dynamodb.pages(
        "scan",
        TableName=stack.names.escalation_table,
        ConsistentRead=True,
        ProjectionExpression=", ".join(names),
        ExpressionAttributeNames=names,
    )
    async for page in pages:
        progress(len(page["Items"]))
        for case in map(from_item, page["Items"]):
            claim: Item = case.get("Claim") or {}
            if order_id in {case["CaseId"], case.get("OrderId"), case.get("MergedInto"), claim.get("OrderId")}:
                found.append(case)
            elif "OrderId" not in case and not case["CaseId"].startswith("#"):  # With `#`, it is no case.
                others.append(case)
    executions = _executions([*found, *([] if order is None else [order])])
    while more := _about(executions, others):  # A case without an order may name further executions.
        found += more
        others = [case for case in others if case not in more]
        executions |= _executions(more)
    return sorted(found, key=lambda case: case["CaseId"] == order_id)


def _about(executions: set[str], cases: Iterable[Item]) -> list[Item]:
    """Return the cases about one of *executions*."""
    case_ids = {Escalation(message_id="", order_id=None, reasons=(), execution_arn=arn).case_id for arn in executions}
    return [case for case in cases if case["CaseId"] in case_ids or not executions.isdisjoint(_executions([case]))]


def _executions(items: Iterable[Item]) -> set[str]:
    named: list[object] = []
    for item in items:
        named += [item.get("ExecutionArn"), (item.get("Claim") or {}).get("ExecutionArn")]
        named += item.get("ExecutionArns", [])
        named += [resolution.get("ExecutionArn") for resolution in item.get("Resolutions", [])]
    return {arn for arn in named if isinstance(arn, str)}


async def erase(stack: "Stack", found: Found, actor: str) -> Erasure:
    """
    Delete the cases and replace the order by its marker, in one transaction (in several if there are very many cases).

    It is written only if nothing has changed since it was found. If it is interrupted, repeat it.

    Raises:
        OperationError: Something has changed meanwhile.
    """
    if found.erased_before and found.order is not None:
        return Erasure(found.order_id, str(found.order["ErasedAt"]), str(found.order.get("ErasedBy")), [])
    at = clock.written(stack.now())
    # Its own case may be opened while a person confirms. The delete of a case that is still missing passes.
    own = [] if any(case["CaseId"] == found.order_id for case in found.cases) else [{"CaseId": found.order_id}]
    deletes = [_delete(stack, case) for case in (*found.cases, *own)]
    while len(deletes) > MAX_DELETES:
        await _write(stack, deletes[:MAX_DELETES])
        deletes = deletes[MAX_DELETES:]
    await _write(stack, [*deletes, *([] if found.order is None else [_mark(stack, found, found.order, at, actor)])])
    return Erasure(found.order_id, at, actor, [str(case["CaseId"]) for case in found.cases])


def _delete(stack: "Stack", case: Item) -> dict[str, Any]:
    version = case.get("Version")
    delete = {
        "TableName": stack.names.escalation_table,
        "Key": to_item({"CaseId": case["CaseId"]}),
        "ConditionExpression": "attribute_not_exists(Version)" if version is None else "Version = :version",
    }
    return {"Delete": delete if version is None else delete | _values({":version": version})}


def _mark(stack: "Stack", found: Found, order: Item, at: str, actor: str) -> dict[str, Any]:
    """Return the write that replaces *order* by its marker. A final order changes only if it expires."""
    execution = order.get("ExecutionArn")
    marker = {
        "OrderId": order["OrderId"],
        "Status": order["Status"],
        "ExecutionArn": execution,
        "ExecutionArns": sorted(found.executions) or None,
        "ShipmentId": found.shipment_id,
        "Channels": found.channels or None,
        "CancelledAt": order.get("CancelledAt"),  # A worker may still be shipping it.
        "UpdatedAt": at,
        "ErasedAt": at,
        "ErasedBy": actor,
        "ExpiresAt": Retention(MARKER_DAYS).expires_at(at),
    }
    bound = "attribute_not_exists(ExecutionArn)" if execution is None else "ExecutionArn = :execution"
    put = {
        "TableName": stack.names.order_table,
        "Item": to_item(marker),
        "ConditionExpression": f"#Status = :status AND {bound}",
        "ExpressionAttributeNames": {"#Status": "Status"},
    }
    return {"Put": put | _values({":status": order["Status"], ":execution": execution})}


def _values(values: Item) -> dict[str, Any]:
    return {"ExpressionAttributeValues": to_item(values)}


async def _write(stack: "Stack", writes: Sequence[Item]) -> None:
    try:
        await stack.dynamodb.call("transact_write_items", TransactItems=writes)
    except ClientError as error:
        if error_code(error) != TRANSACTION_CANCELLED or not _CONFLICTS & set(cancellation_codes(error)):
            raise
        raise OperationError("the order or one of its cases has just changed; look at it, then try again") from None
