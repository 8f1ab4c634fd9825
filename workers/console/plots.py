"""Small plots of a value over time, as SVG that the style sheet colours."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from markupsafe import Markup

from workers.console.history import WINDOW_S, Series

WIDTH: Final = 260.0
HEIGHT: Final = 64.0
TOP: Final = 14.0  # Room for the label of the largest value.
BOTTOM: Final = 14.0  # Room for the labels of the times.
GAP_S: Final = 20.0  # Nobody watched in between: the line has a gap.
_MIN_TOP = 1.0


def plot(series: Series, now_s: float, what: str, unit: str = "", *, labels: bool = True) -> Markup:
    """
    Return the plot of the last fifteen minutes of *series*; *what* names it, such as `messages waiting`.

    Unknown values and times without a reading are gaps. The area begins at 0. Without *labels*, only screen readers get
    the largest value and the times: for a plot in a table.
    """
    known = [value for _, value in series if value is not None]
    largest = max(known, default=_MIN_TOP)
    top = max(largest, _MIN_TOP)
    runs = list(_runs(series))
    points = [[(_x(at_s, now_s), _y(value, top)) for at_s, value in run] for run in runs]
    areas = Markup().join(Markup('<path class="area" d="{}"/>').format(_area(run)) for run in points)
    lines = Markup().join(Markup('<path class="line" d="{}"/>').format(_line(run)) for run in points)
    ends = Markup('<circle class="now" cx="{:.1f}" cy="{:.1f}" r="2.6"/>').format(*points[-1][-1]) if points else ""
    return Markup(
        '<svg class="plot" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{text}">'
        '<path class="axis" d="M0 {base:.1f}H{width:.0f}"/>{areas}{lines}{ends}{labels}</svg>'
    ).format(
        width=WIDTH,
        height=HEIGHT,
        text=f"{what}: {_said(known, largest, unit)}",
        base=HEIGHT - BOTTOM,
        areas=areas,
        lines=lines,
        ends=ends,
        labels=_labels(f"{number(largest)}{unit}" if known else "no reading yet") if labels else "",
    )


def _labels(largest: str) -> Markup:
    return Markup(
        '<text class="top" x="0" y="9">{largest}</text><text class="from" x="0" y="{low:.1f}">15 min ago</text>'
        '<text class="to" x="{width:.0f}" y="{low:.1f}">now</text>'
    ).format(largest=largest, low=HEIGHT - 2, width=WIDTH)


def number(value: float) -> str:
    """Return a number as people write it: `12`, `1,200`, `3.5`."""
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.1f}"  # noqa: PLR2004


def _said(known: Sequence[float], largest: float, unit: str) -> str:
    if not known:
        return "nothing known yet"
    return f"{number(known[-1])}{unit} now, at most {number(largest)}{unit} in the last 15 minutes"


def _runs(series: Series) -> Iterator[list[tuple[float, float]]]:
    """Yield the parts of the line: between gaps."""
    run: list[tuple[float, float]] = []
    for at_s, value in series:
        if run and (value is None or at_s - run[-1][0] > GAP_S):
            yield run
            run = []
        if value is not None:
            run.append((at_s, value))
    if run:
        yield run


def _x(at_s: float, now_s: float) -> float:
    return min(WIDTH, max(0.0, WIDTH * (1 - (now_s - at_s) / WINDOW_S)))


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(0.0, value) / top


def _line(points: Sequence[tuple[float, float]]) -> str:
    first_x, first_y = points[0]
    if len(points) == 1:
        return f"M{first_x:.1f} {first_y:.1f}h.1"
    steps = "".join(f"L{x:.1f} {y:.1f}" for before, (x, y) in pairwise(points) if before != (x, y))
    return f"M{first_x:.1f} {first_y:.1f}{steps}"


def _area(points: Sequence[tuple[float, float]]) -> str:
    base = HEIGHT - BOTTOM
    return f"{_line(points)}L{points[-1][0]:.1f} {base:.1f}L{points[0][0]:.1f} {base:.1f}Z"
