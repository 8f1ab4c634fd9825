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

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

SAMPLES = ROOT / "statemachine" / "samples"
# An idle machine needs two seconds for all four.
TIMEOUT_S = 90.0
_POLL_S = 0.2
_FINAL = frozenset({"FULFILLED", "ESCALATED", "CANCELLED"})
_QUEUE_OF_STATE = {
    "Put message in OrderFulfillment Queue": "OrderFulfillmentQueue",
    "Put message in Escalation Queue": "EscalationQueue",
}
_TOLD_BY = frozenset({"order.fulfilled", "escalation.routed"})


@dataclass(frozen=True, slots=True)
class Expected:
    """How a sample has to end."""

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
    """A sample's execution; `anew` where it is from this run, not an earlier one on the same state."""

    order_id: str
    execution_arn: str
    anew: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a sample, as far as it got."""

    order_id: str
    execution_status: str = "RUNNING"
    states: tuple[str, ...] = ()
    item_status: str = ""
    worker: str = ""

    @property
    def queue(self) -> str:
        return ", ".join(_QUEUE_OF_STATE[state] for state in self.states if state in _QUEUE_OF_STATE)

    @property
    def settled(self) -> bool:
        return self.execution_status != "RUNNING" and (self.item_status in _FINAL and bool(self.worker))

    def problems(self) -> list[str]:
        """Return how this differs from what the sample has to end as; nothing where it does not."""
        expected = EXPECTED[self.order_id]
        found = (
            ("execution", self.execution_status, "SUCCEEDED"),
            ("item", self.item_status, expected.item_status),
            ("queue", self.queue, expected.queue),
            ("worker", self.worker, expected.worker),
        )
        return [
            f"{self.order_id}: {what} is {is_or_none or 'missing'}, expected {wanted}"
            for what, is_or_none, wanted in found
            if is_or_none != wanted
        ]


def start(aws: Aws, state_machine_arn: str) -> list[Started]:
    """Start every sample as the execution `sample-<OrderId>`; one that an earlier run started is left as it is."""
    started = []
    for path in sorted(SAMPLES.glob("*.json")):
        text = path.read_text(encoding="utf-8")
        order_id = json.loads(text)["OrderId"]
        name = f"sample-{order_id}"
        try:
            answer = aws.stepfunctions.start_execution(stateMachineArn=state_machine_arn, name=name, input=text)
            started.append(Started(order_id, answer["executionArn"], anew=True))
        except aws.stepfunctions.exceptions.ExecutionAlreadyExists:
            arn = f"{state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
            started.append(Started(order_id, arn, anew=False))
    return started


def follow(
    aws: Aws, order_table: str, started: Iterable[Started], workers: Workers, progress: Progress
) -> list[Outcome]:
    """
    Wait until all have settled or `TIMEOUT_S` has passed; returns what there is then.

    Raises `DeployError` with their last lines where the workers end before.
    """
    samples = list(started)
    outcomes = {sample.order_id: Outcome(sample.order_id) for sample in samples}
    deadline = time.monotonic() + TIMEOUT_S
    while not all(outcome.settled for outcome in outcomes.values()) and time.monotonic() < deadline:
        if not _read_for(workers, _POLL_S):
            raise DeployError(
                "\n".join(["The workers have ended:", *(line.text for line in list(workers.lines)[-10:])])
            )
        for sample in samples:
            if outcomes[sample.order_id].settled:
                continue
            outcomes[sample.order_id] = outcome = _look(aws, order_table, sample, workers.lines)
            if outcome.settled:
                progress.note(f"  order {sample.order_id}: {outcome.item_status}")
    return list(outcomes.values())


def _read_for(workers: Workers, seconds: float) -> bool:
    """Take what the workers log for a moment; returns whether they still run."""
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
        includeExecutionData=False,  # It holds the card number.
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
    worker = _told(sample, lines)
    if not worker and not sample.anew and status in _FINAL:
        at = item.get("FulfilledAt", {}).get("S") or item.get("EscalatedAt", {}).get("S") or "before"
        worker = f"earlier {at[:19]}".strip()
    return Outcome(sample.order_id, execution["status"], states, status, worker)


def _told(sample: Started, lines: Iterable[LogLine]) -> str:
    """Return what a worker logged when it finished this execution's order."""
    for line in lines:
        fields = line.fields
        if line.event in _TOLD_BY and fields.get("order_id") == sample.order_id:
            reasons = fields.get("reasons") or ()
            return f"{line.event} {', '.join(sorted(reasons))}".strip()
    return ""


def table(outcomes: Iterable[Outcome]) -> Table:
    """Lay the outcomes out for people, narrow enough for a terminal of 80 columns."""
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
