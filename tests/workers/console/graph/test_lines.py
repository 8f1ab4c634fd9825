"""How lines are drawn: their curves, and where those to the same state join."""

import pytest

from workers.console.graph.definition import Line
from workers.console.graph.labels import Rect
from workers.console.graph.layout import Route
from workers.console.graph.lines import _before, _is_on, _rounded, draw_label, draw_line, until_joined
from workers.console.graph.routing import Point

DOWN = ((0.0, 0.0), (0.0, 100.0))
BENT = ((0.0, 0.0), (0.0, 50.0), (80.0, 50.0), (80.0, 100.0))


def route(*points: Point, target: str = "b", kind: str = "catch", label: str = "", full: str = "") -> Route:
    line = Line("a", target, kind, label, full)  # type: ignore[arg-type]
    return Route(line, points, Rect(0.0, 10.0, 40.0, 26.0) if label else None)


@pytest.mark.parametrize(
    ("point", "is_on"),
    [
        ((0.0, 0.0), True),
        ((0.0, -0.9), True),
        ((0.0, -1.0), False),
        ((0.0, 50.0), True),
        ((0.9, 25.0), True),
        ((-0.9, 25.0), True),
        ((1.0, 25.0), False),
        ((-1.0, 25.0), False),
        ((40.0, 50.9), True),
        ((40.0, 51.0), False),
        ((40.0, 49.0), False),
        ((80.0, 100.9), True),
        ((80.0, 101.0), False),
        ((80.9, 50.0), True),
        ((81.0, 50.0), False),
        ((0.0, 100.0), False),
        ((80.0, 0.0), False),
    ],
)
def test_a_point_is_on_a_line_if_it_is_less_than_one_away(point: Point, is_on: bool) -> None:
    assert _is_on(point, BENT) == is_on
    # The same with right and down exchanged.
    assert _is_on(point[::-1], [each[::-1] for each in BENT]) == is_on


@pytest.mark.parametrize(
    ("points", "other", "before"),
    [
        (((-50.0, 20.0), (0.0, 20.0), (0.0, 100.0)), DOWN, ((-50.0, 20.0), (0.0, 20.0), (0.0, 29.0))),
        (((-50.0, 95.0), (0.0, 95.0), (0.0, 100.0)), DOWN, ((-50.0, 95.0), (0.0, 95.0), (0.0, 100.0))),
        # It comes from above: it joins where the other line has its corner.
        (
            ((0.0, -40.0), (0.0, 100.0)),
            ((-50.0, 20.0), (0.0, 20.0), (0.0, 100.0)),
            ((0.0, -40.0), (0.0, 20.0), (0.0, 29.0)),
        ),
        (((50.0, 0.0), (50.0, 100.0)), DOWN, None),
        (((0.0, 0.0), (0.0, 50.0), (80.0, 50.0)), DOWN, None),
    ],
)
def test_a_line_ends_a_bit_after_it_has_joined_another(
    points: tuple[Point, ...], other: tuple[Point, ...], before: tuple[Point, ...] | None
) -> None:
    assert _before(points, other) == before


def test_a_line_joins_the_first_that_it_meets_of_those_to_the_same_state() -> None:
    line = route((-50.0, 0.0), (0.0, 0.0), (0.0, 100.0))
    late, early = route((50.0, 60.0), (0.0, 60.0), (0.0, 100.0)), route((50.0, 20.0), (0.0, 20.0), (0.0, 100.0))
    joined = until_joined(line, [late, early, late])
    assert (joined.points, joined.is_whole) == (((-50.0, 0.0), (0.0, 0.0), (0.0, 20.0), (0.0, 29.0)), False)
    for others in (
        [],
        [route(*early.points, target="c")],
        [route(*early.points, kind="next")],
        [route((90.0, 0.0), (90.0, 100.0))],
    ):
        assert until_joined(line, others) is line


def test_corners_are_round_and_numbers_short() -> None:
    assert _rounded(BENT) == "M0 0L0 41Q0 50 9 50L71 50Q80 50 80 59L80 100"
    assert _rounded([(0.0, 0.0), (0.0, 4.0), (80.0, 4.0)]) == "M0 0L0 2Q0 4 2 4L80 4"
    assert _rounded([(0.0, 0.0), (0.0, 50.0), (5.0, 50.0)]) == "M0 0L0 47.5Q0 50 2.5 50L5 50"


@pytest.mark.parametrize(
    ("level", "is_whole", "rest"),
    [
        (None, True, 'catch plain" d="M0 0L0 100" marker-end="url(#graph-arrow-plain)"'),
        (0, False, 'catch plain heat-0" d="M0 0L0 100"'),
    ],
)
def test_a_line_has_an_arrow_if_it_is_whole(level: int | None, is_whole: bool, rest: str) -> None:
    given = route(*DOWN)
    drawn = draw_line(Route(given.line, given.points, None, is_whole), "plain", level)
    assert drawn == f'<path class="graph-line {rest}></path>'


def test_a_label_that_was_cut_has_its_whole_text_as_a_title() -> None:
    box = '<rect x="0" y="10" width="40" height="16" rx="8"></rect><text x="20" y="21.8">'
    assert draw_label(route(*DOWN, label="a", full="ab\x1b"), "idle") == (
        f'<g class="graph-label catch idle"><title>ab\ufffd</title>{box}a</text></g>'
    )
    assert draw_label(route(*DOWN, label="a · 7", full="a"), "idle") == (
        f'<g class="graph-label catch idle">{box}a · 7</text></g>'
    )
    assert draw_label(route(*DOWN), "idle") == ""
