"""Deploys the pipeline, and puts the samples and many orders through both workers on this machine."""

import asyncio
import contextlib
import json
import os
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from deploy.errors import DeployError
from deploy.local import samples
from deploy.local.log_lines import LogLine
from deploy.local.workers import Workers, local_workers
from deploy.progress import Progress
from deploy.stacks import commands, pipeline, stack
from tests.acceptance import checking, measuring
from tests.acceptance.account import Account
from tests.acceptance.findings import Findings, Note, Orders
from tests.acceptance.plan import Plan, records
from workers.domain.orders import OrderStatus
from workers.operations.ledger import Ledger
from workers.operations.stack import Stack
from workers.operations.submit import Submission, Summary
from workers.settings import Settings
from workers.testing.stack import variables

CONCURRENCY = 20
# IAM shows new roles everywhere within seconds, not at once.
NEW_ROLES_S = 15.0
_SUBMISSION = 1
_SETTLED = {"order.fulfilled": OrderStatus.FULFILLED, "escalation.routed": OrderStatus.ESCALATED}
_TROUBLE = {"warning", "error", "critical"}
_READ_S = 1.0


def prove(account: Account, plan: Plan, findings: Findings, log_path: Path) -> None:
    """
    Deploy the pipeline, measure, run the workers, and check how everything ended.

    Raises `DeployError` and botocore's errors. What is wrong with single orders goes to `findings.problems`.
    """
    aws = account.deployer
    with findings.step("Deploying the pipeline, with TableProtection=false"):
        deploy(account, plan, findings)
        if not account.is_local:
            time.sleep(NEW_ROLES_S)
    outputs = findings.outputs
    with findings.step("Timing single calls"):
        findings.calls_ms = measuring.calls_ms(account, plan, outputs["OrderTableName"])
    with findings.step(f"Receiving a backlog of {plan.backlog} messages"):
        findings.receives, durations_ms = measuring.receives(account, plan)
        findings.calls_ms["ReceiveMessage under backlog"] = durations_ms
    with findings.step("Starting the samples, and looking at their messages"):
        started = samples.start(aws, outputs["StateMachineArn"])
        for queue in ("OrderFulfillmentQueue", "EscalationQueue"):
            findings.traced[queue] = measuring.trace_header(account, outputs[f"{queue}Url"])
    watch = Watch(findings.trouble)
    with local_workers(worker_environment(account, outputs), log_path, watch.see) as workers:
        with findings.step("Following the samples through both workers"):
            findings.samples = _followed(account, outputs, started, workers)
            findings.problems += [problem for outcome in findings.samples for problem in outcome.problems()]
        with findings.step(f"{plan.orders} orders, {plan.escalated} of which must be escalated, through both workers"):
            orders = findings.orders = Orders(submitted_at={}, settled_at=watch.settled_at)
            submit(account, outputs, plan, orders.submitted_at, findings.note)
            try:
                wait(workers, watch, plan)
            finally:
                ended = watch.ended(plan)
                orders.fulfilled, orders.escalated = ended[OrderStatus.FULFILLED], ended[OrderStatus.ESCALATED]
    with findings.step("Checking how every order has ended"):
        findings.problems += [*workers.failures(), *watch.problems(plan)]
        findings.problems += checking.problems(account, plan, outputs)
        findings.contents, unfinished = checking.contents(account, plan, outputs["StateMachineArn"])
        findings.problems += unfinished


def deploy(account: Account, plan: Plan, findings: Findings) -> None:
    """Run `python -m deploy up`, and look at the stack."""
    options = Namespace(
        name_prefix=plan.prefix,
        parameter=["TableProtection=false"],
        pipeline_only=True,
        tag=[],
        role_arn=None,
        yes=True,
        allow_replacement=False,
    )
    with contextlib.redirect_stdout(sys.stderr):
        commands.up(options)
    name = pipeline.stack_name(plan.prefix)
    deployed = stack.find(account.deployer, name)
    if deployed is None:
        raise DeployError(f"The stack {name} was deleted in the meantime")
    found = stack.resources(account.deployer, name)
    findings.resources = {kind: len(ids) for kind, ids in sorted(found.items())}
    findings.parameters = stack.parameters(deployed)
    findings.outputs = stack.outputs(deployed)


def worker_environment(account: Account, outputs: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's environment with the stack's names. None of the caller's own settings of workers count."""
    settings = {field.alias for field in Settings.model_fields.values()}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    return kept | variables(outputs) | {"AWS_REGION": account.region, "AWS_DEFAULT_REGION": account.region}


def _followed(
    account: Account, outputs: Mapping[str, str], started: list[samples.Started], workers: Workers
) -> list[samples.Outcome]:
    deadline_s = time.monotonic() + samples.TIMEOUT_S
    while True:
        try:
            return samples.follow(account.deployer, outputs["OrderTableName"], started, workers, Progress())
        except ClientError as error:  # DescribeExecution is eventually consistent.
            missing = error.response["Error"].get("Code") == "ExecutionDoesNotExist"
            if not missing or time.monotonic() > deadline_s:
                raise


@dataclass(slots=True)
class Watch:
    """Reads the workers' lines: which orders are settled, when and how. Lines about trouble are counted by event."""

    trouble: Counter[str] = field(default_factory=Counter)
    settled_at: dict[str, float] = field(default_factory=dict)
    _status: dict[str, OrderStatus] = field(default_factory=dict)
    _times: Counter[tuple[str, OrderStatus]] = field(default_factory=Counter)

    def see(self, line: LogLine) -> None:
        if line.fields.get("level") in _TROUBLE and line.event not in _SETTLED:
            self.trouble[line.event] += 1
        order_id, status = line.fields.get("order_id"), _SETTLED.get(line.event)
        if status is None or not isinstance(order_id, str):
            return
        self._times[order_id, status] += 1
        if order_id not in self._status:
            self._status[order_id] = status
            self.settled_at[order_id] = datetime.fromisoformat(line.fields["timestamp"]).timestamp()

    def missing(self, plan: Plan) -> set[str]:
        return plan.expected.keys() - self._status.keys()

    def ended(self, plan: Plan) -> Counter[OrderStatus]:
        return Counter(self._status[order_id] for order_id in plan.expected if order_id in self._status)

    def problems(self, plan: Plan) -> list[str]:
        late = sorted(self.missing(plan))
        shown = f"{len(late)} orders were not settled within {plan.wait_s:.0f} s: {', '.join(late[:10])}"
        twice = sorted(order_id for (order_id, status), times in self._times.items() if times > 1)
        return [
            *([shown] if late else []),
            *(f"{order_id}: a worker settled it more than once" for order_id in twice),
        ]


def wait(workers: Workers, watch: Watch, plan: Plan) -> None:
    """Read the workers' lines until every order is settled, for `plan.wait_s` at most."""
    deadline_s = time.monotonic() + plan.wait_s
    while watch.missing(plan) and time.monotonic() < deadline_s:
        try:
            line = workers.read(_READ_S)
        except TimeoutError:
            continue
        if line is None:
            last = "\n".join(line.text for line in list(workers.lines)[-10:])
            raise DeployError(f"The workers have ended:\n{last}")


def submit(
    account: Account, outputs: Mapping[str, str], plan: Plan, submitted_at: dict[str, float], note: Note
) -> None:
    """
    Submit the orders as `orders submit` does. `submitted_at` gets the time of each.

    Raises `DeployError` if AWS refuses some.
    """
    timed = _TimedStack({**os.environ, **variables(outputs), "AWS_REGION": account.region}, submitted_at)
    summary, ledger, orders = Summary(), Ledger(), records(plan.orders)
    for record in orders:
        ledger.add(record)
    submission = Submission(timed, ledger, lambda: orders, summary, number=_SUBMISSION, warn=note)
    asyncio.run(submission.run(concurrency=CONCURRENCY))
    if summary.failed.count:
        raise DeployError(f"Step Functions refused orders: {summary}; {summary.failed.shown[0].reason}")


class _TimedStack(Stack):
    """A stack that notes when each order's execution was asked for the last time, and so accepted."""

    def __init__(self, environ: Mapping[str, str], submitted_at: dict[str, float]) -> None:
        super().__init__(environ)
        self._submitted_at = submitted_at

    @property
    def stepfunctions(self) -> Any:
        return _Timed(super().stepfunctions.call, self._submitted_at)


@dataclass(frozen=True, slots=True)
class _Timed:
    _call: Callable[..., Any]
    _submitted_at: dict[str, float]

    async def call(self, operation: str, **request: Any) -> Any:
        if operation == "start_execution":
            self._submitted_at[json.loads(request["input"])["OrderId"]] = time.time()
        return await self._call(operation, **request)
