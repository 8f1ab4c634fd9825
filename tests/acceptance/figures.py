"""The part of the report about latencies, rates and sizes of receives."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from tests.acceptance.findings import Findings, Orders
from tests.acceptance.markdown import table
from tests.acceptance.measuring import RECEIVERS
from tests.acceptance.plan import Plan
from workers.domain.orders import OrderStatus


def figures(plan: Plan, findings: Findings) -> list[str]:
    rows = list(_order_rows(plan, findings.orders)) if findings.orders else []
    if findings.orders:
        rows.append(("workers' log lines at warning or error, except escalations", _counted(findings.trouble)))
    rows += [(f"trace header on messages of the {queue}", traced) for queue, traced in findings.traced.items()]
    if not rows and not findings.calls_ms:
        return ["## Figures", "", "None was measured."]
    lines = ["## Figures", "", "Measured by this machine's clock, with its way to AWS.", "", *table(("", ""), rows)]
    if findings.calls_ms:
        calls = [
            (name, str(len(ms)), *(f"{value:.1f}" for value in (quantile(ms, 0.5), quantile(ms, 0.99), max(ms))))
            for name, ms in findings.calls_ms.items()
            if ms
        ]
        lines += ["", "Single calls, in milliseconds:", "", *table(("call", "calls", "p50", "p99", "highest"), calls)]
    if findings.receives:
        lines += ["", *_receives(plan, findings)]
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


def _receives(plan: Plan, findings: Findings) -> list[str]:
    sizes, total = findings.receives, sum(findings.receives.values())
    rows = [(str(size), str(count), f"{count / total:.0%}") for size, count in sorted(sizes.items())]
    received = sum(size * count for size, count in sizes.items())
    text = (
        f"Receives of at most 10, {RECEIVERS} at a time, from a queue of {plan.backlog} messages until each "
        f"brought nothing. They brought {received} messages:"
    )
    return [text, "", *table(("messages", "receives", "share"), rows)]


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


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return statistics.median(ordered) if share == 0.5 else ordered[max(0, math.ceil(share * len(ordered)) - 1)]
