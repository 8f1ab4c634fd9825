"""Looks at the tables, queues and executions at the end, apart from what the workers' lines say."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from deploy.stacks import contents as stack_contents
from deploy.stacks import parameters, pipeline, template
from tests.acceptance.account import Account
from tests.acceptance.plan import Plan
from workers.domain.orders import OrderStatus

_UNSUCCESSFUL = ("FAILED", "TIMED_OUT", "ABORTED")
_SHOWN = 10
_POLL_S = 2.0


def problems(account: Account, plan: Plan, outputs: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the stored orders and cases."""
    stored = {item["OrderId"]["S"]: item for item in _items(account, outputs["OrderTableName"])}
    cases = {item["CaseId"]["S"]: item for item in _items(account, outputs["EscalationTableName"])}
    wrong = []
    for order_id, expected in plan.expected.items():
        order, case = stored.get(order_id, {}), cases.get(order_id, {})
        found = (order.get("Status", {}).get("S", "not stored"), _texts(order.get("Reasons")))
        wanted = (str(expected.status), set(expected.reasons))
        if found != wanted:
            wrong.append(f"{order_id}: is {found[0]} {sorted(found[1])}, expected {wanted[0]} {sorted(wanted[1])}")
        elif expected.status is OrderStatus.FULFILLED and "ShipmentId" not in order:
            wrong.append(f"{order_id}: is FULFILLED without a shipment")
        elif expected.status is OrderStatus.ESCALATED and case.get("State", {}).get("S") != "OPEN":
            wrong.append(f"{order_id}: is ESCALATED without an open case")
    more = [f"and {len(wrong) - _SHOWN} more orders like that"] if len(wrong) > _SHOWN else []
    return wrong[:_SHOWN] + more


def _texts(attribute: Mapping[str, Any] | None) -> set[str]:
    if attribute is None:
        return set()
    return set(attribute.get("SS") or [entry["S"] for entry in attribute.get("L", [])])


def _items(account: Account, table: str) -> Iterator[dict[str, Any]]:
    pages = account.client("dynamodb").get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    for page in pages:
        yield from page["Items"]


def contents(account: Account, plan: Plan, state_machine_arn: str) -> tuple[list[str], list[str]]:
    """
    Return a line for each table, queue and kind of execution, and what is not finished.

    SQS's numbers of messages lag, so it waits until they are 0, for `plan.patience_s` at most.
    """
    tables = template.tables(template.load(template.PIPELINE), {parameters.PREFIX: plan.prefix})
    name, deadline_s = pipeline.stack_name(plan.prefix), time.monotonic() + plan.patience_s
    while True:
        seen = stack_contents.look(account.deployer, name, tables)
        waiting = [f"{queue.name} holds {queue.holds}" for queue in seen.queues if queue.messages]
        if not waiting or time.monotonic() > deadline_s:
            break
        time.sleep(_POLL_S)
    if seen.running_executions:
        waiting.append(f"{seen.running_executions} executions are still running")
    ended = _unsuccessful(account, state_machine_arn)
    lines = [*seen.lines(), *(f"{count} executions {status}" for status, count in ended.items())]
    return lines, waiting + [f"{count} executions ended {status}" for status, count in ended.items() if count]


def _unsuccessful(account: Account, state_machine_arn: str) -> dict[str, int]:
    pages = account.client("stepfunctions").get_paginator("list_executions").paginate
    return {
        status: sum(len(page["executions"]) for page in pages(stateMachineArn=state_machine_arn, statusFilter=status))
        for status in _UNSUCCESSFUL
    }
