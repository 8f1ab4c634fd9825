"""The four sample orders: started as executions, followed to their end, shown as one table."""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

from deploy.aws import Aws
from deploy.errors import DeployError
from deploy.local.aws import ROOT
from deploy.local.log_lines import LogLine
from deploy.local.workers import Workers
from deploy.progress import Progress
from workers.domain.ids import execution_arn
from workers.domain.orders import OrderStatus

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

SAMPLES = ROOT / "statemachine" / "samples"
# On an idle machine, all four take two seconds.
TIMEOUT_S = 90.0
_POLL_S = 0.2
_QUEUE_OF_STATE = {
    "Put message in OrderFulfillment Queue": "OrderFulfillmentQueue",
    "Put message in Escalation Queue": "EscalationQueue",
}
_WORKER_EVENTS = frozenset({"order.fulfilled", "escalation.routed"})


@dataclass(frozen=True, slots=True)
class Expected:
    """How a sample must end."""

    item_status: str
    queue: str
    worker: str


EXPECTED: Mapping[str, Expected] = {
    "001": Expected("FULFILLED", "OrderFulfillmentQueue", "order.fulfilled"),
    "002": Expected("ESCALATED", "EscalationQueue", "escalation.routed INVALID_PRICE"),
    "003": Expected("ESCALATED", "EscalationQueue", "escalation.routed INVALID_CARD_NUMBER"),
    "004": Expected("ESCALATED", "EscalationQueue", "escalation.routed INVALID_CARD_NUMBER, INVALID_PRICE"),
}


@dataclass(frozen=True, slots=True)
class Started:
    """A sample's execution. `earlier` means that a previous run on the same state started it."""

    order_id: str
    execution_arn: str
    earlier: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a sample has got."""

    order_id: str
    execution_status: str = "RUNNING"
    states: tuple[str, ...] = ()
    item_status: str = ""
    worker: str = ""

    @property
    def queue(self) -> str:
        return ", ".join(_QUEUE_OF_STATE[state] for state in self.states if state in _QUEUE_OF_STATE)

    @property
    def finished(self) -> bool:
        return self.execution_status != "RUNNING" and _is_handled(self.item_status) and bool(self.worker)

    def problems(self) -> list[str]:
        """Return every difference from what is expected."""
        expected = EXPECTED[self.order_id]
        compared = (
            ("execution", self.execution_status, "SUCCEEDED"),
            ("item", self.item_status, expected.item_status),
            ("queue", self.queue, expected.queue),
            ("worker", self.worker, expected.worker),
        )
        return [
            f"{self.order_id}: {name} is {found or 'missing'}, expected {wanted}"
            for name, found, wanted in compared
            if found != wanted
        ]


def start(aws: Aws, state_machine_arn: str) -> list[Started]:
    """Start every sample as the execution `sample-<OrderId>`, unless an earlier run has done so."""
    started = []
    for path in sorted(SAMPLES.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        order_id = json.loads(text)["OrderId"]
        name = f"sample-{order_id}"
        try:
            answer = aws.stepfunctions.start_execution(stateMachineArn=state_machine_arn, name=name, input=text)
            started.append(Started(order_id, answer["executionArn"], earlier=False))
        except aws.stepfunctions.exceptions.ExecutionAlreadyExists:
            arn = execution_arn(state_machine_arn, name)
            started.append(Started(order_id, arn, earlier=True))
    return started


def follow(
    aws: Aws, order_table: str, started: Iterable[Started], workers: Workers, progress: Progress
) -> list[Outcome]:
    """
    Wait until all samples have finished, at most `TIMEOUT_S`. Returns their outcomes, also the unfinished ones.

    Raises `DeployError` with the workers' last lines if the workers end first.
    """
    samples = list(started)
    outcomes = {sample.order_id: Outcome(sample.order_id) for sample in samples}
    deadline = time.monotonic() + TIMEOUT_S
    while not all(outcome.finished for outcome in outcomes.values()) and time.monotonic() < deadline:
        if not _read_for(workers, _POLL_S):
            raise DeployError(f"The workers have ended:\n{workers.reason()}")
        for sample in samples:
            if outcomes[sample.order_id].finished:
                continue
            outcomes[sample.order_id] = outcome = _look(aws, order_table, sample, workers.lines)
            if outcome.finished:
                progress.note(f"  order {sample.order_id}: {outcome.item_status}")
    return list(outcomes.values())


def _read_for(workers: Workers, seconds: float) -> bool:
    """Read the workers' log lines for a moment; returns whether the workers still run."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        while (left_s := deadline - time.monotonic()) > 0:
            if workers.read(left_s) is None:
                return False
    return True


def _look(aws: Aws, order_table: str, sample: Started, lines: Iterable[LogLine]) -> Outcome:
    arn = sample.execution_arn
    execution = aws.stepfunctions.describe_execution(executionArn=arn)
    if execution["status"] == "RUNNING":
        return Outcome(sample.order_id)
    pages = aws.stepfunctions.get_paginator("get_execution_history").paginate(
        executionArn=arn,
        includeExecutionData=False,  # The data holds the card number.
    )
    states = tuple(
        event["stateEnteredEventDetails"]["name"]
        for page in pages
        for event in page["events"]
        if "stateEnteredEventDetails" in event
    )
    key: dict[str, AttributeValueTypeDef] = {"OrderId": {"S": sample.order_id}}
    item = aws.dynamodb.get_item(TableName=order_table, Key=key, ConsistentRead=True).get("Item", {})
    status = item.get("Status", {}).get("S", "")
    worker = _logged(sample, lines)
    if not worker and sample.earlier and _is_handled(status):
        at = item.get("FulfilledAt", {}).get("S") or item.get("EscalatedAt", {}).get("S") or "before"
        worker = f"earlier {at[:19]}".strip()
    return Outcome(sample.order_id, execution["status"], states, status, worker)


def _is_handled(item_status: str) -> bool:
    return item_status in set(OrderStatus) - {OrderStatus.RECEIVED}


def _logged(sample: Started, lines: Iterable[LogLine]) -> str:
    """Return the event and reasons that a worker logged for the sample's order."""
    for line in lines:
        fields = line.fields
        if line.event in _WORKER_EVENTS and fields.get("order_id") == sample.order_id:
            reasons = fields.get("reasons") or ()
            return f"{line.event} {', '.join(sorted(reasons))}".strip()
    return ""


def table(outcomes: Iterable[Outcome]) -> Table:
    """Return the outcomes as a table that fits a terminal of 80 columns."""
    shown = Table(title="Sample orders", title_justify="left", box=None, padding=(0, 1, 1, 0))
    for heading in ("order", "execution", "states entered", "item", "queue", "worker"):
        shown.add_column(heading, no_wrap=heading != "states entered", overflow="fold")
    for outcome in outcomes:
        shown.add_row(
            outcome.order_id,
            outcome.execution_status,
            "\n".join(outcome.states) or "-",
            outcome.item_status or "-",
            outcome.queue.removesuffix("Queue") or "-",
            outcome.worker.replace(", ", "\n").replace(" ", "\n") or "-",
        )
    return shown
