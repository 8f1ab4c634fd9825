"""Finds the cases that do not name an order, although they are about it."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from workers.aws.items import from_item, to_item
from workers.domain.ids import execution_name
from workers.operations.order_letters import Search
from workers.operations.order_table import is_key
from workers.operations.sdk_errors import SDK_ERRORS

if TYPE_CHECKING:
    from workers.operations.stack import Stack

MAX_SCAN_S = 5.0
_RESUBMISSION = "resubmission-"  # How the names of executions begin that `resolve ... resubmit` starts.

Item = Mapping[str, Any]


async def stored_case(stack: "Stack", case_id: str) -> dict[str, Any] | None:
    found = await stack.dynamodb.call(
        "get_item", TableName=stack.names.escalation_table, Key=to_item({"CaseId": case_id}), ConsistentRead=True
    )
    return from_item(found["Item"]) if "Item" in found else None


async def cases_of_letters(stack: "Stack", key: str, searches: Sequence[Search]) -> list[Item]:
    """Return the cases that workers have opened for dead letters that they could not decode."""
    letters = itertools.chain.from_iterable(search.letters for search in searches)
    ids = {letter.case_id for letter in letters if letter.case_id is not None} - {key}
    cases = [await stored_case(stack, case_id) for case_id in sorted(ids) if is_key(case_id)]
    return [case for case in cases if case is not None]


async def cases_resubmitted_as(
    stack: "Stack", order_id: str, own: Item, arns: Iterable[str], now_s: Callable[[], float] = time.monotonic
) -> list[Item]:
    """
    Return the cases without an order that an order was resubmitted from.

    Only a scan of the case table finds them. It is made if one of the order's executions *arns* is a resubmission that
    its *own* case does not know, for `MAX_SCAN_S`, and only if the credentials allow it.
    """
    known = {resolution.get("ExecutionArn") for resolution in own.get("Resolutions", [])}
    known.add((own.get("Claim") or {}).get("ExecutionArn"))
    if not any(execution_name(arn).startswith(_RESUBMISSION) for arn in arns if arn not in known):
        return []
    found, end_at = list[Item](), now_s() + MAX_SCAN_S
    pages = stack.dynamodb.pages(
        "scan",
        TableName=stack.names.escalation_table,
        FilterExpression="Claim.OrderId = :id AND CaseId <> :id",
        ExpressionAttributeValues=to_item({":id": order_id}),
    )
    with contextlib.suppress(*SDK_ERRORS):
        async for page in pages:
            found.extend(map(from_item, page["Items"]))
            if now_s() >= end_at:
                break
    return found
