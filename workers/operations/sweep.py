"""Starts the sweep of stuck orders, and reads what it did."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers import clock
from workers.aws.errors import error_code
from workers.operations.sdk_errors import ClientError
from workers.operations.stuck import no_sweep, sweep_arn

if TYPE_CHECKING:
    from workers.operations.stack import Stack

POLL_S = 1.0
MISSING_POLLS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """
    A run of the sweep. What it found is None until it has ended, and if it failed.

    `deferred` says why it escalated nothing although orders may be stuck. `more`: it did not get to all stuck orders.
    """

    execution_arn: str
    status: str
    started_at: str | None
    ended_at: str | None
    error: str | None = None
    deferred: str | None = None
    limit_s: int | None = None
    queue_age_s: int | None = None
    received_before_at: str | None = None
    escalated: list[str] | None = None
    more: bool | None = None

    @property
    def is_running(self) -> bool:
        return self.status == "RUNNING"

    @property
    def has_looked(self) -> bool:
        """Whether it has ended and escalated every stuck order that it could."""
        return self.status == "SUCCEEDED" and self.deferred is None


async def start(stack: "Stack") -> str:
    """
    Start the sweep; return the ARN of its execution.

    Raises:
        OperationError: There is no sweep.
    """
    return str((await _call(stack, "start_execution", input="{}"))["executionArn"])


async def follow(
    stack: "Stack", execution_arn: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> Sweep:
    """Return a run of the sweep once it has ended. At first, AWS may not know it everywhere."""
    missing = 0
    while True:
        try:
            if not (sweep := await _read(stack, execution_arn)).is_running:
                return sweep
        except ClientError as error:
            missing += 1
            if error_code(error) != "ExecutionDoesNotExist" or missing > MISSING_POLLS:
                raise
        await sleep(POLL_S)


async def newest(stack: "Stack") -> Sweep | None:
    """
    Return the run that was started last; None if there was none in the last 90 days.

    Raises:
        OperationError: There is no sweep.
    """
    found = (await _call(stack, "list_executions", maxResults=1))["executions"]
    return await _read(stack, str(found[0]["executionArn"])) if found else None


async def _call(stack: "Stack", operation: str, **request: Any) -> Any:
    arn = await sweep_arn(stack)
    try:
        return await stack.stepfunctions.call(operation, stateMachineArn=arn, **request)
    except ClientError as error:
        if error.response["Error"]["Code"] == "StateMachineDoesNotExist":
            raise no_sweep(arn) from error
        raise


async def _read(stack: "Stack", execution_arn: str) -> Sweep:
    """Read a run. Its data hold ids and times of orders, and nothing else about them."""
    found: Any = await stack.stepfunctions.call("describe_execution", executionArn=execution_arn)
    output: dict[str, Any] = json.loads(found.get("output") or "{}")
    return Sweep(
        execution_arn=execution_arn,
        status=found["status"],
        started_at=_time(found.get("startDate")),
        ended_at=_time(found.get("stopDate")),
        error=found.get("cause") or found.get("error"),
        deferred=output.get("Deferred"),
        limit_s=output.get("LimitSeconds"),
        queue_age_s=output.get("QueueAgeSeconds"),
        received_before_at=output.get("Before"),
        escalated=output.get("Escalated"),
        more=output.get("More"),
    )


def _time(value: Any) -> str | None:
    return None if value is None else clock.written(value)
