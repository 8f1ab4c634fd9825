"""Draws lines, with rounded corners, and their labels."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from markupsafe import Markup

from workers.console.graph.layout import Route
from workers.console.graph.markup import element
from workers.console.graph.routing import Point
from workers.domain.text import clean

_RADIUS = 9.0
_BASELINE = 3.8
_CLASSES = ("plain", "counted", "idle", "taken", "caught")


def markers() -> Markup:
    """Return the arrow heads that lines end with."""
    return element(
        "defs",
        *(
            element(
                "marker",
                element("path", d="M0 .6 7.4 4 0 7.4z", class_=f"graph-arrow {name}"),
                id=f"graph-arrow-{name}",
                viewBox="0 0 8 8",
                refX=7,
                refY=4,
                markerWidth=8,
                markerHeight=8,
                markerUnits="userSpaceOnUse",
                orient="auto",
            )
            for name in _CLASSES
        ),
    )


def until_joined(route: Route, drawn: Iterable[Route]) -> Route:
    """Return the part of a line before it lies on a line with the same target that was drawn."""
    others = (
        other.points for other in drawn if other.line.target == route.line.target and other.line.kind == route.line.kind
    )
    parts = [part for other in others if (part := _before(route.points, other))]
    if not parts:
        return route
    return replace(route, points=min(parts, key=_length), is_whole=False)


def _before(points: Sequence[Point], other: Sequence[Point]) -> tuple[Point, ...] | None:
    """Return the points up to where all the rest lies on another line, and a bit further; None if none of it does."""
    refined = list(points[:1])
    for start, end in pairwise(points):
        corners = [corner for corner in other if _is_on(corner, (start, end)) and corner not in {start, end}]
        refined += [*sorted(corners, key=partial(_distance, start)), end]
    for number in range(1, len(refined) - 1):
        rest = refined[number:]
        if all(_is_on(point, other) for point in rest):
            joined = _towards(rest[0], rest[1], min(_RADIUS, _distance(rest[0], rest[1])))
            return (*refined[: number + 1], joined)
    return None


def draw_line(route: Route, state: str, level: int | None) -> Markup:
    heat = "" if level is None else f" heat-{level}"
    return element(
        "path",
        class_=f"graph-line {route.line.kind} {state}{heat}",
        d=_rounded(route.points),
        marker_end=f"url(#graph-arrow-{state})" if route.is_whole else None,
    )


def draw_halo(route: Route) -> Markup:
    """Draw what is around a line that was taken: it parts the line from those below it."""
    return element("path", class_="graph-halo", d=_rounded(route.points))


def draw_label(route: Route, state: str) -> Markup:
    rect, line = route.label, route.line
    if rect is None:
        return Markup()
    return element(
        "g",
        element("title", clean(line.full_label)) if line.full_label and line.full_label not in line.label else "",
        element(
            "rect",
            x=rect.left,
            y=rect.top,
            width=rect.right - rect.left,
            height=rect.bottom - rect.top,
            rx=(rect.bottom - rect.top) / 2,
        ),
        element("text", clean(line.label), x=(rect.left + rect.right) / 2, y=(rect.top + rect.bottom) / 2 + _BASELINE),
        class_=f"graph-label {line.kind} {state}",
    )


def _rounded(points: Sequence[Point]) -> str:
    """Return a path along orthogonal lines, with a curve at each corner."""
    parts = [f"M{_number(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(_RADIUS, _distance(before, corner) / 2, _distance(corner, after) / 2)
        start, end = _towards(corner, before, radius), _towards(corner, after, radius)
        parts.append(f"L{_number(start)}Q{_number(corner)} {_number(end)}")
    return "".join([*parts, f"L{_number(points[-1])}"])


def _length(points: Sequence[Point]) -> float:
    return sum(_distance(start, end) for start, end in pairwise(points))


def _is_on(point: Point, line: Sequence[Point]) -> bool:
    return any(
        min(a[axis], b[axis]) - 1 < point[axis] < max(a[axis], b[axis]) + 1
        and max(abs(end[1 - axis] - point[1 - axis]) for end in (a, b)) < 1
        for a, b in pairwise(line)
        for axis in (0, 1)
    )


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def _towards(corner: Point, other: Point, by: float) -> Point:
    part = by / (_distance(corner, other) or 1.0)
    return corner[0] + (other[0] - corner[0]) * part, corner[1] + (other[1] - corner[1]) * part


def _number(point: Point) -> str:
    return " ".join(f"{value:.1f}".removesuffix(".0") for value in point)
