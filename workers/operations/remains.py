"""What is still known about an order elsewhere after it was erased, and for how long."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

from workers.aws.errors import error_code
from workers.domain.cases import LOG_CHANNEL
from workers.domain.orders import is_order_id
from workers.domain.submissions import submission_name
from workers.operations.erase import Found
from workers.operations.names import DEFAULT_STATE_MACHINE
from workers.operations.sdk_errors import SDK_ERRORS, ClientError, explained

if TYPE_CHECKING:
    from workers.operations.stack import Stack

HISTORY = timedelta(days=90)  # Step Functions: how long it keeps an execution after its end. Nothing can delete it.
RECOVERY_DAYS = 35  # DynamoDB: point-in-time recovery, unless the table has another period.
_GONE = {"ExecutionDoesNotExist", "InvalidArn", "ValidationException"}
_DAY_S = 24 * 3600
_HISTORY = "the whole order, card number included"
_ITEMS = "the erased items"
_LINES = "ids, and why the order failed, masked"
_MESSAGES = "ids, and what an escalation said, masked"


@dataclass(frozen=True, slots=True)
class Remainder:
    """Where something is kept, what it is, and until when."""

    where: str
    what: str
    until: str


async def what_remains(stack: "Stack", found: Found) -> list[Remainder]:
    """Return what an erasure of *found* does not reach. What AWS does not tell is `unknown`, with the reason."""
    names = stack.names
    rows = [
        *await _asked(stack, "execution history", _HISTORY, _history(stack, found)),
        *await _backups(stack, (names.order_table, names.escalation_table)),
        *await _asked(stack, "log groups", _LINES, _log_groups(stack)),
        *await _queues(stack, (names.order_fulfillment_queue, names.escalation_queue)),
    ]
    if channels := [channel for channel in found.channels if channel != LOG_CHANNEL]:
        what = "the notifications of its escalations"
        rows.append(Remainder(f"channels: {', '.join(channels)}", what, "as their receivers keep them"))
    if found.shipment_id is not None:
        shipment = f"the order, as shipment {found.shipment_id}"
        rows.append(Remainder("the provider, if there is one", shipment, "as it keeps it"))
    return rows


async def _asked(
    stack: "Stack", where: str, what: str, asking: Coroutine[Any, Any, Sequence[Remainder]]
) -> Sequence[Remainder]:
    """Return the answer, or a row that says why there is none."""
    try:
        return await asking
    except SDK_ERRORS as error:
        return [Remainder(where, what, f"unknown: {await explained(error, stack)}")]


async def _history(stack: "Stack", found: Found) -> list[Remainder]:
    """Return the executions that AWS still keeps: those that are named, and those that `orders submit` has started."""
    arns = sorted(found.executions)
    ends = [await _end(stack, arn) for arn in arns]
    if is_order_id(found.order_id):
        for number in count(1):
            arn = await stack.execution_arn(submission_name(found.order_id, number))
            if arn in arns:
                continue
            if (end := await _end(stack, arn)) is None:
                break
            ends.append(end)
    kept = [end for end in ends if end is not None]
    if not kept:
        return []
    number_of = f"{len(kept)} execution{'' if len(kept) == 1 else 's'}"
    until = _day(max(kept) + HISTORY)
    return [Remainder("execution history", f"{_HISTORY}: {number_of}", until)]


async def _end(stack: "Stack", arn: str) -> datetime | None:
    """Return when an execution ended, now if it is running, None if AWS does not keep it."""
    try:
        answer = await stack.stepfunctions.call("describe_execution", executionArn=arn, includedData="METADATA_ONLY")
    except ClientError as error:
        if error_code(error) in _GONE:
            return None
        raise
    end: datetime = answer.get("stopDate") or stack.now()
    return end


async def _backups(stack: "Stack", tables: Sequence[str]) -> list[Remainder]:
    async def of(table: str) -> list[Remainder]:
        answer = await stack.dynamodb.call("describe_continuous_backups", TableName=table)
        recovery = answer["ContinuousBackupsDescription"].get("PointInTimeRecoveryDescription", {})
        if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
            return []
        days = recovery.get("RecoveryPeriodInDays", RECOVERY_DAYS)
        return [Remainder(f"recovery of {table}", _ITEMS, f"{_day(stack.now() + timedelta(days=days))} ({days} days)")]

    return await _each(stack, tables, "recovery of", _ITEMS, of)


async def _queues(stack: "Stack", queues: Sequence[str]) -> list[Remainder]:
    async def of(name: str) -> list[Remainder]:
        queue = await stack.queue(name)
        dead_letters = await stack.attributes(queue.dead_letter_url)
        days = {int(each["MessageRetentionPeriod"]) // _DAY_S for each in (queue.attributes, dead_letters)}
        return [Remainder(f"{name} and its dead letters", _MESSAGES, f"{max(days)} days after a message was sent")]

    return await _each(stack, queues, "messages of", _MESSAGES, of)


async def _each(
    stack: "Stack",
    names: Sequence[str],
    where: str,
    what: str,
    of: Callable[[str], Coroutine[Any, Any, list[Remainder]]],
) -> list[Remainder]:
    return [row for name in names for row in await _asked(stack, f"{where} {name}", what, of(name))]


async def _log_groups(stack: "Stack") -> list[Remainder]:
    """Return the stack's log groups. Their names follow from the name of the state machine."""
    machine = (await stack.state_machine_arn()).rpartition(":")[2]
    if not machine.endswith(DEFAULT_STATE_MACHINE):
        return [Remainder("log groups", _LINES, "unknown: the name of the state machine is not that of a stack")]
    prefix = machine.removesuffix(DEFAULT_STATE_MACHINE)
    rows = []
    for start in (
        f"/aws/vendedlogs/states/{machine}",
        f"/aws/lambda/{prefix}VerifyCCAndPrice",
        f"/ecs/{prefix}order-fulfillment/",
    ):
        async for page in stack.logs.pages("describe_log_groups", logGroupNamePrefix=start):
            for group in page["logGroups"]:
                days = group.get("retentionInDays")
                until = "for ever" if days is None else f"{days} days after a line was written"
                rows.append(Remainder(f"log group {group['logGroupName']}", _LINES, until))
    return rows


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"
