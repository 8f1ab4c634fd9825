"""What a row of the table is, and its result."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tests.bench.harness import Reading, Subject
from tests.bench.network import Mode
from tests.bench.subjects import NAMES

Readings = Mapping[Subject, Sequence[Reading]]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a run's rounds, with the lowest and the highest."""

    median: float
    lowest: float
    highest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """
    One line of the table.

    `must` and `goal` are limits for our median or, if `by_ratio`, for its ratio to the other's. They are upper limits,
    or lower ones if `more_is_better`. Figures are compared as they are printed, with `digits` decimals.
    """

    what: str
    group: str
    ours: Subject
    other: Subject | None
    figure: Callable[[Reading], float]
    digits: int
    must: float | None = None
    goal: float | None = None
    by_ratio: bool = False
    more_is_better: bool = False

    @property
    def title(self) -> str:
        mode = self.ours.mode
        return self.what if mode is Mode.LOOPBACK else f"{mode}: {self.what}"

    @property
    def against(self) -> str:
        """The name of the other consumer, empty if there is none."""
        if self.other is None:
            return ""
        name = NAMES[self.other.name]
        return name if self.other.mode is self.ours.mode else f"{name}, {self.other.mode}"


@dataclass(frozen=True, slots=True)
class Result:
    """A row with its figures. The ratios compare ours with the other's of the same round."""

    row: Row
    rounds_ours: Sequence[float]
    rounds_other: Sequence[float]

    @classmethod
    def of(cls, row: Row, readings: Readings) -> Self:
        others = [] if row.other is None else readings[row.other]
        return cls(row, [*map(row.figure, readings[row.ours])], [*map(row.figure, others)])

    @property
    def ours(self) -> Spread:
        return Spread.of(self.rounds_ours)

    @property
    def other(self) -> Spread | None:
        return Spread.of(self.rounds_other) if self.rounds_other else None

    @property
    def ratio(self) -> Spread | None:
        if not self.rounds_other:
            return None
        # A window can be too short to see any CPU time.
        rounds = zip(self.rounds_ours, self.rounds_other, strict=True)
        return Spread.of([ours / other if other else math.inf for ours, other in rounds])

    def reaches(self, bound: float | None) -> bool | None:
        """Return whether the median is within *bound*; None without a bound."""
        if bound is None:
            return None
        figure = round(self.ours.median, self.row.digits)
        if self.row.by_ratio:
            assert self.ratio is not None
            figure = round(self.ratio.median, 2)
        return figure >= bound if self.row.more_is_better else figure <= bound

    def document(self) -> dict[str, Any]:
        row, other, ratio = self.row, self.other, self.ratio
        return {
            "row": row.title,
            "against": row.against,
            "ours": {"rounds": self.rounds_ours, "median": self.ours.median},
            "other": other and {"rounds": self.rounds_other, "median": other.median},
            "ratio": ratio and {"lowest": ratio.lowest, "median": ratio.median, "highest": ratio.highest},
            "bound_on": "ratio" if row.by_ratio else "ours",
            "must": row.must,
            "goal": row.goal,
            "reaches_must": self.reaches(row.must),
            "reaches_goal": self.reaches(row.goal),
        }
