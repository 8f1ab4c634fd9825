"""Which orders count as stuck: the rule of the sweep, as statemachine/stuck-order-sweep.asl.json has it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from workers.operations.ages import format_age
from workers.operations.errors import OperationError
from workers.operations.names import DEFAULT_STATE_MACHINE
from workers.operations.sdk_errors import ClientError
from workers.operations.status_metrics import RECENT

if TYPE_CHECKING:
    from workers.operations.stack import Queue, Stack

SWEEP = "StuckOrderSweep"
# Tags of the sweep's state machine. deploy/pipeline.yaml sets them from these parameters.
LIMIT_TAG, STATE_TAG = "StuckAfterMinutes", "SweepState"
DEFAULT_LIMIT = timedelta(hours=6)  # The parameter's default.
_MAX_DIGITS = 5  # Of the limit, which is at most 10 days.
_WORKERS = ("fulfillment", "escalation")
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Deferred(StrEnum):
    """Why no order counts as stuck for now."""

    PENDING = "PENDING"
    OUTAGE = "OUTAGE"
    AGE_UNKNOWN = "AGE_UNKNOWN"

    @property
    def explanation(self) -> str:
        match self:
            case Deferred.PENDING:
                return "workers of an earlier release, which do not know its messages, may run (SweepState is PENDING)"
            case Deferred.OUTAGE:
                return "a worker has reported an outage in the last 15 minutes, and orders wait until it is over"
            case Deferred.AGE_UNKNOWN:
                return "messages wait, and CloudWatch does not say for how long (a local AWS never does)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Orders are stuck that are `RECEIVED` for longer than *limit* and *queue_age* together, unless *deferred*."""

    limit: timedelta
    queue_age: timedelta | None
    deferred: Deferred | None

    def before(self, now: datetime) -> datetime:
        """
        Return the time before which stuck orders became `RECEIVED`.

        Raises:
            OperationError: No order counts as stuck for now.
        """
        if self.deferred is not None or self.queue_age is None:
            why = (self.deferred or Deferred.AGE_UNKNOWN).explanation
            listed = f"`orders list --status RECEIVED --older-than {format_age(self.limit.total_seconds())}`"
            raise OperationError(f"no order counts as stuck: {why}; {listed} lists all that wait")
        return now - self.limit - self.queue_age


async def sweep_arn(stack: "Stack") -> str:
    """
    Return the ARN of the sweep's state machine, which has the same prefix as that of the order workflow.

    Raises:
        OperationError: The order workflow has a name of its own, so the sweep's is unknown.
    """
    head, _, name = (await stack.state_machine_arn()).rpartition(":")
    if not name.endswith(DEFAULT_STATE_MACHINE):
        raise OperationError(
            f"STATE_MACHINE names {name}, must end in {DEFAULT_STATE_MACHINE} to find {SWEEP} beside it"
        )
    return f"{head}:{name.removesuffix(DEFAULT_STATE_MACHINE)}{SWEEP}"


def no_sweep(arn: str) -> OperationError:
    return OperationError(f"there is no state machine {arn.rpartition(':')[2]}: deploy the pipeline of this release")


async def read_rule(stack: "Stack") -> Rule:
    """
    Return the rule as it is now, from the sweep's limit, the queues and CloudWatch.

    Raises:
        OperationError: There is no sweep.
    """
    arn = await sweep_arn(stack)
    tags = await _tags(stack, arn)
    limit = _limit(tags, arn)
    names = (stack.names.order_fulfillment_queue, stack.names.escalation_queue)
    queues = [await stack.queue(name) for name in names]
    prefix = arn.rpartition(":")[2].removesuffix(SWEEP)
    found, is_complete = await _metrics(stack, queues, prefix)
    ages = [_age(values, queue) for values, queue in zip(found[: len(queues)], queues, strict=True)]
    known = [age for age in ages if age is not None]
    queue_age = timedelta(seconds=math.ceil(max(known))) if is_complete and len(known) == len(ages) else None
    deferred = None
    if tags.get(STATE_TAG) == Deferred.PENDING:
        deferred = Deferred.PENDING
    elif any(count for values in found[len(queues) :] for count in values):
        deferred = Deferred.OUTAGE
    elif queue_age is None:
        deferred = Deferred.AGE_UNKNOWN
    return Rule(limit=limit, queue_age=queue_age, deferred=deferred)


async def _tags(stack: "Stack", arn: str) -> dict[str, str]:
    try:
        answer = await stack.stepfunctions.call("list_tags_for_resource", resourceArn=arn)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"ResourceNotFound", "StateMachineDoesNotExist"}:
            raise no_sweep(arn) from error
        raise
    return {tag["key"]: tag["value"] for tag in answer["tags"]}


def _limit(tags: Mapping[str, str], arn: str) -> timedelta:
    minutes = tags.get(LIMIT_TAG, "")
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) <= _MAX_DIGITS):
        raise OperationError(
            f"the tag {LIMIT_TAG} of {arn.rpartition(':')[2]} must be a number of minutes: deploy the stack again"
        )
    return timedelta(minutes=int(minutes))


def _age(values: Sequence[float], queue: "Queue") -> float | None:
    """Return the age of the oldest message: an empty queue that was idle for hours has no metric, and the age 0."""
    if values:
        return max(values)
    return None if any(int(queue.attributes.get(name, "0")) for name in _COUNTS) else 0.0


async def _metrics(stack: "Stack", queues: Iterable["Queue"], prefix: str) -> tuple[list[list[float]], bool]:
    """Return the values of the last 15 minutes, of the queues' ages, then of the workers' outages, and if all came."""
    asked = [
        *(_query("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue.name, "Maximum") for queue in queues),
        *(_query(f"{prefix}OrderFulfillment", "OutagesProlonged", "Worker", worker, "Sum") for worker in _WORKERS),
    ]
    now = stack.now()
    answer: Any = await stack.cloudwatch.call(
        "get_metric_data",
        MetricDataQueries=[{"Id": f"m{number}", "MetricStat": query} for number, query in enumerate(asked)],
        StartTime=now - RECENT,
        EndTime=now,
    )
    found: list[list[float]] = [[] for _ in asked]
    for result in answer["MetricDataResults"]:
        found[int(result["Id"].removeprefix("m"))] += result["Values"]
    complete = [result for result in answer["MetricDataResults"] if result["StatusCode"] == "Complete"]
    return found, len(complete) == len(asked)


def _query(namespace: str, metric: str, dimension: str, value: str, stat: str) -> dict[str, Any]:
    named = {"Namespace": namespace, "MetricName": metric, "Dimensions": [{"Name": dimension, "Value": value}]}
    return {"Metric": named, "Period": 60, "Stat": stat}
