"""The report of a run, in Markdown: for whoever decides whether the system may run on this account."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.acceptance import costs
from tests.acceptance.account import Account
from tests.acceptance.findings import Findings, Orders
from tests.acceptance.measuring import RECEIVERS
from tests.acceptance.plan import Plan
from tests.aws_facts.fact import Result
from tests.aws_facts.known import LOCAL_AWS, problem, problems
from workers.domain.cards import mask
from workers.domain.orders import OrderStatus

# Kept by AWS itself, without names or costs of ours; nothing can remove them sooner.
KEPT_BY_AWS = (
    "metrics: 15 months; traces of X-Ray: 30 days; CloudFormation's record of deleted stacks: 90 days",
    "API calls in CloudTrail, if the account has it",
    "the resource policy `AWSLogDeliveryWrite20150319` of CloudWatch Logs, which a region's state machines share",
)


@dataclass(frozen=True, slots=True)
class Run:
    """What the report is about."""

    account: Account
    plan: Plan
    findings: Findings
    versions: Mapping[str, str]
    log_path: str


def is_known(account: Account, result: Result) -> bool:
    """Return whether this is how the local AWS is known to differ from AWS."""
    return account.is_local and not result.holds and problem(result, LOCAL_AWS) is None


def fact_problems(account: Account, facts: Sequence[Result]) -> list[str]:
    """Return a text for each fact that does not hold here, or that the local AWS does otherwise than is known."""
    known = {result.id: LOCAL_AWS[result.id] for result in facts if account.is_local and result.id in LOCAL_AWS}
    return problems(facts, known)


def render(run: Run) -> str:
    """Return the report. It holds no card numbers, whatever AWS has answered."""
    parts = [
        [f"# Acceptance of order fulfillment on AWS: {verdict(run.findings)}"],
        _about(run),
        _problems(run.findings),
        _steps(run.findings),
        _facts(run),
        _pipeline(run),
        _figures(run),
        _costs(run),
        _left_behind(run),
    ]
    return mask("\n\n".join("\n".join(part) for part in parts if part) + "\n")


def verdict(findings: Findings) -> str:
    if findings.removed is None:
        return "not finished"
    if any(step.ended == "interrupted" for step in findings.steps):
        return "interrupted"
    return "passed" if findings.passed else "failed"


def _about(run: Run) -> list[str]:
    account, findings = run.account, run.findings
    began = datetime.fromtimestamp(findings.began_at, UTC)
    lasted_s = (findings.ended_at or findings.began_at) - findings.began_at
    kind = ". A local AWS, not an account of AWS: smaller, and with known deviations" if account.is_local else ""
    rows = [
        ("date", f"{began:%Y-%m-%d %H:%M:%S} UTC, for {lasted_s:.0f} s"),
        ("account", account.account_id),
        ("caller", f"`{account.caller_arn}`"),
        ("region", account.region),
        ("endpoint", f"{account.endpoint}{kind}"),
        ("prefix of all names", f"`{run.plan.prefix}`"),
        *run.versions.items(),
        ("log of the workers", f"`{run.log_path}`"),
    ]
    return _table(("", ""), rows)


def _problems(findings: Findings) -> list[str]:
    failed = [f"{step.name}: {step.ended}" for step in findings.steps if step.ended not in {"done", "running"}]
    found = [*failed, *findings.problems, *(f"left behind: {left}" for left in findings.left)]
    return ["## What is wrong", "", *(f"- {_line(text)}" for text in found)] if found else []


def _steps(findings: Findings) -> list[str]:
    rows = [(step.name, step.ended, f"{step.seconds:.1f}") for step in findings.steps]
    return ["## Steps", "", *_table(("step", "ended", "seconds"), rows)]


def _facts(run: Run) -> list[str]:
    facts, wanted = run.findings.facts, len(run.plan.facts)
    differing = [result for result in facts if not result.holds]
    known = [result for result in differing if is_known(run.account, result)]
    lines = [
        "## Facts about AWS",
        "",
        f"{len(facts)} of {wanted} were checked: {len(facts) - len(differing)} hold, {len(differing)} do not"
        + (f"; {len(known)} of these are known deviations of the local AWS." if run.account.is_local else "."),
    ]
    for result in differing:
        lines += ["", *_differing(result, known=result in known)]
    rows = [
        (
            "holds" if result.holds else "differs",
            f"`{result.id}`",
            result.fact.statement,
            _files(result),
            _source(result),
        )
        for result in facts
    ]
    if not facts:
        return lines
    return [*lines, "", "### All facts", "", *_table(("", "fact", "statement", "relied on by", "source"), rows)]


def _differing(result: Result, *, known: bool) -> list[str]:
    fact = result.fact
    return [
        f"### {fact.id}: {'a known deviation of the local AWS' if known else 'does not hold'}",
        "",
        fact.statement,
        "",
        f"- expected: `{_line(repr(fact.expected))}`",
        f"- observed: `{_line(repr(result.observed))}`",
        f"- relied on by: {_files(result)}",
        f"- source: {_source(result)}",
    ]


def _files(result: Result) -> str:
    return ", ".join(f"`{place}`" for place in result.fact.relied_on_by)


def _source(result: Result) -> str:
    return result.fact.source


def _pipeline(run: Run) -> list[str]:
    findings = run.findings
    if not findings.outputs:
        return ["## The pipeline", "", "It was not deployed."]
    lines = [
        "## The pipeline",
        "",
        "Deployed by `python -m deploy up --pipeline-only --parameter TableProtection=false`.",
        "",
    ]
    lines += _table(("output", "value"), [(name, f"`{value}`") for name, value in sorted(findings.outputs.items())])
    counted = ", ".join(f"{count} {kind}" for kind, count in findings.resources.items())
    named = ", ".join(f"{name}={value!r}" for name, value in sorted(findings.parameters.items()))
    lines += ["", f"- parameters: {named}", f"- resources: {counted}"]
    if findings.samples:
        rows = [
            (o.order_id, o.execution_status, " -> ".join(o.states), o.item_status, o.queue, o.worker)
            for o in findings.samples
        ]
        heads = ("sample", "execution", "states entered", "item", "queue", "worker")
        lines += ["", *_table(heads, rows)]
    if findings.contents:
        lines += ["", "At the end:", "", *(f"- {line}" for line in findings.contents)]
    return lines


def _figures(run: Run) -> list[str]:
    findings = run.findings
    rows = list(_order_rows(run.plan, findings.orders)) if findings.orders else []
    if findings.orders:
        rows.append(("workers' log lines at warning or error, except escalations", _counted(findings.trouble)))
    rows += [(f"trace header on messages of the {queue}", traced) for queue, traced in findings.traced.items()]
    if not rows and not findings.calls_ms:
        return ["## Figures", "", "None was measured."]
    lines = ["## Figures", "", "Measured by this machine's clock, with its way to AWS.", "", *_table(("", ""), rows)]
    if findings.calls_ms:
        calls = [
            (name, str(len(ms)), *(f"{value:.1f}" for value in (quantile(ms, 0.5), quantile(ms, 0.99), max(ms))))
            for name, ms in findings.calls_ms.items()
            if ms
        ]
        lines += ["", "Single calls, in milliseconds:", "", *_table(("call", "calls", "p50", "p99", "highest"), calls)]
    if findings.receives:
        lines += ["", *_receives(run)]
    if findings.calls_ms and findings.receives:
        lines += ["", "`make bench` with these figures:", "", "```sh", bench_command(findings), "```"]
    return lines


def _order_rows(plan: Plan, orders: Orders) -> Iterator[tuple[str, str]]:
    yield (
        "orders",
        f"{len(orders.submitted_at)} submitted, {orders.fulfilled} fulfilled, {orders.escalated} escalated",
    )
    settled = {order_id: at for order_id, at in orders.settled_at.items() if order_id in orders.submitted_at}
    if not settled:
        return
    for status in (OrderStatus.FULFILLED, OrderStatus.ESCALATED):
        seconds = [
            settled[order_id] - orders.submitted_at[order_id]
            for order_id, expected in plan.expected.items()
            if expected.status is status and order_id in settled
        ]
        if seconds:
            yield (
                f"submitted to {status}, seconds",
                f"p50 {quantile(seconds, 0.5):.2f}, p99 {quantile(seconds, 0.99):.2f}, longest {max(seconds):.2f}",
            )
    first, last = min(orders.submitted_at.values()), max(orders.submitted_at.values())
    yield "orders submitted a second", _rate(len(orders.submitted_at), last - first)
    rate = _rate(len(settled), max(settled.values()) - first)
    yield "orders settled a second", f"{rate}, from the first submission to the last settled order"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:.1f}" if seconds > 0 else "-"


def _counted(events: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {event}" for event, count in sorted(events.items())) or "none"


def _receives(run: Run) -> list[str]:
    sizes, total = run.findings.receives, sum(run.findings.receives.values())
    rows = [(str(size), str(count), f"{count / total:.0%}") for size, count in sorted(sizes.items())]
    received = sum(size * count for size, count in sizes.items())
    text = (
        f"Receives of at most 10, {RECEIVERS} at a time, from a queue of {run.plan.backlog} messages until each "
        f"brought nothing. They brought {received} messages:"
    )
    return [text, "", *_table(("messages", "receives", "share"), rows)]


def bench_command(findings: Findings) -> str:
    """Return the command that benchmarks the workers with the measured latencies and sizes of receives."""
    medians = {name: quantile(ms, 0.5) for name, ms in findings.calls_ms.items() if ms}
    batch = next(ms for name, ms in medians.items() if name.startswith("BatchExecuteStatement"))
    sizes = [size for size in findings.receives if size]
    options = {
        "receive-ms": medians.get("ReceiveMessage under backlog", 0.0),
        "sqs-ms": medians["SendMessage"],
        "dynamodb-ms": medians["UpdateItem"],
        "batch-ms": batch,
        "transaction-ms": medians["TransactWriteItems of 2"],
    }
    given = " ".join(f"--{name} {value:.1f}" for name, value in options.items())
    brought = f" --receive-sizes {min(sizes)},{max(sizes)}" if sizes else ""
    return f".venv/bin/python -m tests.bench {given}{brought}"


def _costs(run: Run) -> list[str]:
    items = costs.estimate(run.plan)
    rows = [
        (item.what, f"{item.quantity:,.0f}" if item.quantity >= 1 else f"{item.quantity:.4f}", f"{item.cost:.4f}")
        for item in items
    ]
    total = sum(item.cost for item in items)
    free = " A local AWS costs nothing." if run.account.is_local else ""
    return [
        "## Cost",
        "",
        (
            f"At most about ${costs.at_most(items):.2f}, estimated before anything was made. Quantities at most, times "
            f"the prices of {costs.SOURCE}. Doubled, for the dearest regions; without free tiers and taxes.{free}"
        ),
        "",
        *_table(("item", "at most", "$ in us-east-1"), [*rows, ("**total**", "", f"**{total:.4f}**")]),
    ]


def _left_behind(run: Run) -> list[str]:
    findings = run.findings
    lines = ["## Left behind", ""]
    if findings.removed is None:
        lines += ["Nothing has been removed yet. If this is still so when the command has ended:", ""]
        return [*lines, "```sh", f"make acceptance CLEAN={run.plan.prefix}", "```"]
    if findings.left:
        lines += [*(f"- {_line(left)}" for left in findings.left), ""]
        lines += ["To try again:", "", "```sh", f"make acceptance CLEAN={run.plan.prefix}", "```"]
    else:
        lines += [f"Nothing with the prefix `{run.plan.prefix}`. Removed, with everything in the stacks:", ""]
        lines += [f"- {what}" for what in findings.removed] or ["- nothing: nothing was made"]
    if not run.account.is_local:
        lines += ["", "AWS itself keeps, for all accounts:", "", *(f"- {what}" for what in KEPT_BY_AWS)]
    return lines


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return statistics.median(ordered) if share == 0.5 else ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(_line(str(cell)).replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _line(text: str) -> str:
    return " ".join(text.split())
