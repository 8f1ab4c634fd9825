"""The contents of a deployed pipeline: items, messages, running executions. Checked before anything is deleted."""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.aws import Aws
from deploy.stacks import stack, template

if TYPE_CHECKING:
    from mypy_boto3_sqs.literals import QueueAttributeNameType

_DEPTHS: "tuple[QueueAttributeNameType, ...]" = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table and its items. `more` means that counting stopped after the first page (1 MB)."""

    name: str
    items: int
    more: bool

    @property
    def holds(self) -> str:
        return f"{'more than ' if self.more else ''}{_counted(self.items, 'item')}"


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue and its messages. SQS's numbers are approximate; they are right a minute after the last change."""

    name: str
    visible: int
    in_flight: int
    delayed: int

    @property
    def messages(self) -> int:
        return self.visible + self.in_flight + self.delayed

    @property
    def holds(self) -> str:
        return (
            f"{_counted(self.messages, 'message')} "
            f"({self.visible} visible, {self.in_flight} in flight, {self.delayed} delayed)"
        )


@dataclass(frozen=True, slots=True)
class Contents:
    """All data that deleting the pipeline would lose."""

    tables: tuple[Table, ...]
    queues: tuple[Queue, ...]
    running_executions: int

    def lines(self) -> list[str]:
        """Return a line for each table and queue, and one for the running executions."""
        named = [(table.name, table.holds) for table in self.tables] + [(q.name, q.holds) for q in self.queues]
        width = max((len(name) for name, _ in named), default=0)
        lines = [f"{name:<{width}}  {holds}" for name, holds in named]
        return [*lines, f"{_counted(self.running_executions, 'running execution')}"]

    def losses(self) -> list[str]:
        """Describe everything that is not empty. If the list is empty, deleting the pipeline loses nothing."""
        tables = [f"{table.name} holds {table.holds}" for table in self.tables if table.items]
        queues = [f"{queue.name} holds {queue.holds}" for queue in self.queues if queue.messages]
        running = self.running_executions
        executions = [f"{_counted(running, 'execution')} {'is' if running == 1 else 'are'} running"] if running else []
        return [*tables, *queues, *executions]


def look(aws: Aws, stack_name: str, tables: Mapping[str, str]) -> Contents:
    """Count the contents of the stack's queues and state machines, and of `tables` (id to name)."""
    resources = stack.resources(aws, stack_name)
    return Contents(
        tables=tuple(table for name in tables.values() if (table := _table(aws, name))),
        queues=tuple(queue for url in resources.get(template.QUEUE_TYPE, []) if (queue := _queue(aws, url))),
        running_executions=_running(aws, _with_orders(resources.get(template.STATE_MACHINE_TYPE, []))),
    )


def _table(aws: Aws, name: str) -> Table | None:
    # A scan, because the count of DescribeTable is up to six hours old.
    try:
        page = aws.dynamodb.scan(TableName=name, Select="COUNT", ConsistentRead=True)
    except aws.dynamodb.exceptions.ResourceNotFoundException:
        return None
    return Table(name, page["Count"], more="LastEvaluatedKey" in page)


def _queue(aws: Aws, url: str) -> Queue | None:
    try:
        attributes = aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=_DEPTHS)["Attributes"]
    except aws.sqs.exceptions.QueueDoesNotExist:
        return None
    visible, in_flight, delayed = (int(attributes[name]) for name in _DEPTHS)
    return Queue(url.rpartition("/")[2], visible, in_flight, delayed)


def _with_orders(state_machine_arns: Iterable[str]) -> list[str]:
    """Return the state machines whose executions may not be lost. The sweep looks again with its next execution."""
    return [arn for arn in state_machine_arns if not arn.endswith("StuckOrderSweep")]


def _running(aws: Aws, state_machine_arns: Iterable[str]) -> int:
    count = 0
    for arn in state_machine_arns:
        with contextlib.suppress(aws.stepfunctions.exceptions.StateMachineDoesNotExist):
            pages = aws.stepfunctions.get_paginator("list_executions").paginate(
                stateMachineArn=arn, statusFilter="RUNNING"
            )
            count += sum(len(page["executions"]) for page in pages)
    return count


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
