"""The rows of the table: what they measure, what they compare with, and the targets."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller
from typing import Any

from tests.bench.harness import Reading, Subject

OURS_ORDERS = Subject("ours-orders", "workers", ("fulfillment",), load="orders")
OURS_ORDERS_TWICE = Subject("ours-orders-twice", "workers", ("fulfillment",), processes=2, load="orders")
PLAIN_ORDERS = Subject("plain-orders", "tests.bench.peers", ("orders",), load="orders")
OURS_NOOP = Subject("ours-noop", "tests.bench.ours")
BARE_NOOP = Subject("bare-noop", "tests.bench.peers", ("bare",))
OURS_SLOW = Subject("ours-slow", "tests.bench.ours", ("--sleep", "0.05"))
BARE_SLOW = Subject("bare-slow", "tests.bench.peers", ("bare", "--sleep", "0.05"))
OURS_LATENCY = Subject("ours-latency", "tests.bench.ours", load="trickle")
BOTO3_LATENCY = Subject("boto3-latency", "tests.bench.peers", ("boto3",), load="trickle")
OURS_IDLE = Subject("ours-idle", "workers", ("fulfillment",), load="idle")
BARE_IDLE = Subject("bare-idle", "tests.bench.peers", ("bare",), load="idle")

# Subjects that are measured one after the other in each round.
GROUPS: Mapping[str, tuple[Subject, ...]] = {
    "orders": (OURS_ORDERS, PLAIN_ORDERS),
    "noop": (OURS_NOOP, BARE_NOOP),
    "slow": (OURS_SLOW, BARE_SLOW),
    "latency": (OURS_LATENCY, BOTO3_LATENCY),
    "growth": (OURS_ORDERS, OURS_ORDERS_TWICE),
    "idle": (OURS_IDLE, BARE_IDLE),
}
NAMES = {
    OURS_ORDERS: "ours, 1 process",
    PLAIN_ORDERS: "aioboto3 order worker",
    BARE_NOOP: "bare aioboto3",
    BARE_SLOW: "bare aioboto3",
    BARE_IDLE: "bare aioboto3",
    BOTO3_LATENCY: "plain boto3",
}

Readings = Mapping[str, Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a run's rounds, with the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the table.

    `must` and `goal` are limits for our median or, if `by_ratio`, for its ratio to the other's. They are upper limits,
    or lower ones if `more_is_better`. Figures are compared as they are printed, with `digits` decimals.
    """

    title: str
    group: str
    ours: Subject
    other: Subject
    figure: Callable[[Reading], float]
    digits: int
    must: float | None = None
    goal: float | None = None
    by_ratio: bool = False
    more_is_better: bool = False


ROWS = (
    Row(
        "orders fulfilled/s",
        "orders",
        OURS_ORDERS,
        PLAIN_ORDERS,
        attrgetter("per_second"),
        0,
        must=4,
        goal=8,
        by_ratio=True,
        more_is_better=True,
    ),
    Row(
        "requests per order, under backlog",
        "orders",
        OURS_ORDERS,
        PLAIN_ORDERS,
        attrgetter("requests_per_message"),
        2,
        must=1.25,
        goal=0.3,
    ),
    Row("CPU s per 1,000 orders", "orders", OURS_ORDERS, PLAIN_ORDERS, attrgetter("cpu_s_per_1000"), 3),
    Row(
        "no-op messages/s",
        "noop",
        OURS_NOOP,
        BARE_NOOP,
        attrgetter("per_second"),
        0,
        must=1.0,
        goal=1.3,
        by_ratio=True,
        more_is_better=True,
    ),
    Row(
        "CPU s per 1,000 messages",
        "noop",
        OURS_NOOP,
        BARE_NOOP,
        attrgetter("cpu_s_per_1000"),
        3,
        must=1.0,
        goal=0.75,
        by_ratio=True,
    ),
    Row(
        "requests per message, under backlog",
        "noop",
        OURS_NOOP,
        BARE_NOOP,
        attrgetter("requests_per_message"),
        2,
        must=0.21,
        goal=0.20,
    ),
    Row(
        "50 ms handlers, 100 at a time, messages/s",
        "slow",
        OURS_SLOW,
        BARE_SLOW,
        attrgetter("per_second"),
        0,
        must=1800,
        goal=1900,
        more_is_better=True,
    ),
    Row(
        "sent to handled at 20/s, p50 ms",
        "latency",
        OURS_LATENCY,
        BOTO3_LATENCY,
        methodcaller("latency_ms", 50),
        2,
        must=1.5,
        goal=1.0,
        by_ratio=True,
    ),
    Row(
        "sent to handled at 20/s, p99 ms",
        "latency",
        OURS_LATENCY,
        BOTO3_LATENCY,
        methodcaller("latency_ms", 99),
        2,
        must=2.0,
        goal=1.0,
        by_ratio=True,
    ),
    Row(
        "idle requests a minute, per queue",
        "idle",
        OURS_IDLE,
        BARE_IDLE,
        attrgetter("requests_per_minute"),
        0,
        must=3,
        goal=3,
    ),
    Row(
        "peak resident memory, MB, orders",
        "orders",
        OURS_ORDERS,
        PLAIN_ORDERS,
        attrgetter("peak_memory_mb"),
        0,
        must=100,
        goal=80,
    ),
    Row("orders fulfilled/s, 2 processes", "growth", OURS_ORDERS_TWICE, OURS_ORDERS, attrgetter("per_second"), 0),
)


@dataclass(frozen=True, slots=True)
class Result:
    """A row with its figures. The ratios compare ours with the other's of the same round."""

    row: Row
    ours: Spread
    other: Spread
    ratio: Spread
    rounds_ours: Sequence[float]
    rounds_other: Sequence[float]

    @classmethod
    def of(cls, row: Row, readings: Readings) -> "Result":
        ours = [row.figure(reading) for reading in readings[row.ours.name]]
        other = [row.figure(reading) for reading in readings[row.other.name]]
        ratios = [mine / theirs for mine, theirs in zip(ours, other, strict=True)]
        return cls(row, Spread.of(ours), Spread.of(other), Spread.of(ratios), ours, other)

    def reaches(self, bound: float | None) -> bool | None:
        """Return whether the median is within *bound*; None without a bound."""
        if bound is None:
            return None
        row = self.row
        figure = round(self.ratio.median, 2) if row.by_ratio else round(self.ours.median, row.digits)
        return figure >= bound if row.more_is_better else figure <= bound

    def document(self) -> dict[str, Any]:
        row = self.row
        return {
            "row": row.title,
            "against": NAMES[row.other],
            "ours": {"rounds": self.rounds_ours, "median": self.ours.median},
            "other": {"rounds": self.rounds_other, "median": self.other.median},
            "ratio": {"lowest": self.ratio.lowest, "median": self.ratio.median, "highest": self.ratio.highest},
            "bound_on": "ratio" if row.by_ratio else "ours",
            "must": row.must,
            "goal": row.goal,
            "reaches_must": self.reaches(row.must),
            "reaches_goal": self.reaches(row.goal),
        }
