"""The rows of the table: what they measure, what they compare with, and the targets."""

from collections.abc import Mapping, Sequence
from operator import attrgetter, methodcaller

from tests.bench.harness import Subject
from tests.bench.network import Mode
from tests.bench.results import Row
from tests.bench.subjects import (
    BARE_IDLE,
    BARE_NOOP,
    BARE_SLOW,
    BOTO3_LATENCY,
    OURS_ARRIVALS,
    OURS_DRAIN,
    OURS_ESCALATIONS,
    OURS_IDLE,
    OURS_LATENCY,
    OURS_NOOP,
    OURS_ORDERS,
    OURS_ORDERS_SAMPLED,
    OURS_ORDERS_TRACED,
    OURS_ORDERS_TWICE,
    OURS_SHIPMENTS,
    OURS_SLOW,
    PLAIN_ESCALATIONS,
    PLAIN_ORDERS,
    PLAIN_SHIPMENTS,
    in_mode,
)

PER_SECOND = attrgetter("per_second")
CPU = attrgetter("cpu_s_per_1000")
REQUESTS = attrgetter("requests_per_message")
MEMORY = attrgetter("peak_memory_mb")

Bounds = tuple[float | None, float | None]  # Must and goal.
NO_BOUNDS: Bounds = (None, None)


def _orders(
    group: str, mode: Mode, rate: Bounds, cpu: Bounds = NO_BOUNDS, requests: Bounds = NO_BOUNDS
) -> Sequence[Row]:
    ours, plain = in_mode(mode, OURS_ORDERS), in_mode(mode, PLAIN_ORDERS)
    return (
        Row("orders fulfilled/s", group, ours, plain, PER_SECOND, 0, *rate, by_ratio=True, more_is_better=True),
        Row("CPU s per 1,000 orders", group, ours, plain, CPU, 3, *cpu),
        Row("requests per order, under backlog", group, ours, plain, REQUESTS, 2, *requests),
    )


def _own_loopback(group: str) -> Row:
    """Compare with our own figure on loopback: how much of it the latencies cost."""
    ours = in_mode(Mode.AWS, OURS_ORDERS)
    return Row(
        "orders fulfilled/s", group, ours, OURS_ORDERS, PER_SECOND, 0, goal=0.8, by_ratio=True, more_is_better=True
    )


def _escalations(group: str, mode: Mode, rate: Bounds, requests: Bounds) -> Sequence[Row]:
    ours, plain = in_mode(mode, OURS_ESCALATIONS), in_mode(mode, PLAIN_ESCALATIONS)
    return (
        Row("escalations/s", group, ours, plain, PER_SECOND, 0, *rate, by_ratio=True, more_is_better=True),
        Row("CPU s per 1,000 escalations", group, ours, plain, CPU, 3),
        Row("requests per escalation, under backlog", group, ours, plain, REQUESTS, 2, *requests),
    )


def _shipments(group: str, mode: Mode, rate: Bounds) -> Sequence[Row]:
    ours, plain = in_mode(mode, OURS_SHIPMENTS), in_mode(mode, PLAIN_SHIPMENTS)
    what = "orders/s through a provider that takes 20 ms"
    return (
        Row(what, group, ours, plain, PER_SECOND, 0, *rate, by_ratio=True, more_is_better=True),
        Row("CPU s per 1,000 orders with a provider", group, ours, plain, CPU, 3),
    )


def _noop(group: str, mode: Mode, rate: Bounds, cpu: Bounds = NO_BOUNDS, requests: Bounds = NO_BOUNDS) -> Sequence[Row]:
    ours, bare = in_mode(mode, OURS_NOOP), in_mode(mode, BARE_NOOP)
    return (
        Row("no-op messages/s", group, ours, bare, PER_SECOND, 0, *rate, by_ratio=True, more_is_better=True),
        Row("CPU s per 1,000 messages", group, ours, bare, CPU, 3, *cpu, by_ratio=True),
        Row("requests per message, under backlog", group, ours, bare, REQUESTS, 2, *requests),
    )


def _slow(group: str, mode: Mode, rate: Bounds) -> Row:
    what = "50 ms handlers, 100 at a time, messages/s"
    ours, bare = in_mode(mode, OURS_SLOW), in_mode(mode, BARE_SLOW)
    return Row(what, group, ours, bare, PER_SECOND, 0, *rate, more_is_better=True)


def _latency(percentile: int, bounds: Bounds) -> Row:
    what, figure = f"sent to handled at 20/s, p{percentile} ms", methodcaller("latency_ms", percentile)
    return Row(what, "latency", OURS_LATENCY, BOTO3_LATENCY, figure, 2, *bounds, by_ratio=True)


def _traced(which: str, subject: Subject) -> Sequence[Row]:
    """Compare with our own figures without tracing: what it costs."""
    return (
        Row(f"orders fulfilled/s, {which} traced", "tracing", subject, OURS_ORDERS, PER_SECOND, 0),
        Row(f"CPU s per 1,000 orders, {which} traced", "tracing", subject, OURS_ORDERS, CPU, 3),
        Row(f"peak resident memory, MB, {which} traced", "tracing", subject, OURS_ORDERS, MEMORY, 0),
    )


ROWS: Sequence[Row] = (
    *_orders("aws-orders", Mode.AWS, rate=(6, 9), requests=(0.40, 0.35)),
    _own_loopback("aws-orders"),
    *_orders("aws-full", Mode.FULL_RECEIVES, rate=(8, 10)),
    *_noop("aws-noop", Mode.AWS, rate=(3, 5)),
    *_orders("aws-30ms", Mode.FAR, rate=(6, 8)),
    *_escalations("escalations", Mode.LOOPBACK, rate=(3, 6), requests=(1.5, 0.5)),
    *_escalations("aws-escalations", Mode.AWS, rate=NO_BOUNDS, requests=NO_BOUNDS),
    *_shipments("provider", Mode.LOOPBACK, rate=(3, 5)),
    *_shipments("aws-provider", Mode.AWS, rate=(3, 5)),
    *_orders("orders", Mode.LOOPBACK, rate=(10, 15), cpu=(0.24, 0.15), requests=(0.26, 0.26)),
    *_noop("noop", Mode.LOOPBACK, rate=(1.5, 2), cpu=(0.65, 0.5), requests=(0.20, 0.20)),
    _slow("slow", Mode.LOOPBACK, rate=(1900, 1900)),
    _slow("aws-slow", Mode.AWS, rate=(None, 1900)),
    _latency(50, (1.1, 1)),
    _latency(99, (1.1, 0.8)),
    Row(
        "received to acknowledged while a backlog is drained, p99 ms",
        "drain",
        OURS_DRAIN,
        None,
        attrgetter("acknowledged_p99_ms"),
        0,
        must=500,
        goal=250,
    ),
    Row("requests in the 10 s after a drained backlog", "drain", OURS_DRAIN, None, attrgetter("quiet_requests"), 0),
    Row(
        "idle requests a minute, per queue",
        "idle",
        OURS_IDLE,
        BARE_IDLE,
        attrgetter("requests_per_minute"),
        0,
        must=4,  # Three receives, and a look at the queue's tags: is it paused?
        goal=4,
    ),
    Row("peak resident memory, MB, orders", "orders", OURS_ORDERS, PLAIN_ORDERS, MEMORY, 0, must=90, goal=75),
    Row(
        "peak resident memory, MB, escalations",
        "escalations",
        OURS_ESCALATIONS,
        PLAIN_ESCALATIONS,
        MEMORY,
        0,
        must=90,
        goal=75,
    ),
    Row(
        "orders arriving at 500/s, 5 % to escalate: time to settle them / time of arrival",
        "arrivals",
        OURS_ARRIVALS,
        None,
        attrgetter("arrivals_ratio"),
        2,
        must=1.5,
        goal=1.1,
    ),
    Row("orders fulfilled/s, 2 processes", "growth", OURS_ORDERS_TWICE, OURS_ORDERS, PER_SECOND, 0),
    *_traced("every order", OURS_ORDERS_TRACED),
    *_traced("1 order in 100", OURS_ORDERS_SAMPLED),
)

GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))


def subjects(groups: Sequence[str]) -> Mapping[Subject, None]:
    """Return the subjects of the rows of *groups*, each once, in the table's order."""
    return dict.fromkeys(
        subject for row in ROWS if row.group in groups for subject in (row.ours, row.other) if subject is not None
    )
