"""The horizontal parts of lines: which is above which, and which points of a line are corners."""

import pytest

from workers.console.graph.layers import Item, Size
from workers.console.graph.routing import Hop, Point, _cost, _set_tracks, _simplified

SIZE = Size(0.0, 0.0, 0.0)
ABOVE, BELOW, OTHER = (Item(each, 0, SIZE) for each in ("above", "below", "other"))


def hop(start: float, end: float, lower: Item = BELOW) -> Hop:
    return Hop(ABOVE, lower, start, end, "plain")


@pytest.mark.parametrize(
    ("upper", "lower", "cost"),
    [
        (hop(100, 0), hop(50, 300, OTHER), 1),  # It comes down through the upper one.
        (hop(0, 100), hop(0, -50, OTHER), 0),
        (hop(100, 0), hop(100, 300, OTHER), 0),
        (hop(300, 50), hop(0, 100, OTHER), 1),  # The upper one goes down through it.
        (hop(300, 100), hop(0, 100, OTHER), 0),
        (hop(300, 0), hop(100, 0, OTHER), 1),
        (hop(-50, 50), hop(20, 100, OTHER), 2),
        (hop(0, 50), hop(54.9, 100, OTHER), 6),  # They lie on each other.
        (hop(0, 50), hop(45.1, 20, OTHER), 7),
        (hop(0, 50), hop(55, 100, OTHER), 0),
        (hop(0, 50), hop(52, 50), 0),  # They join.
        (hop(0, 50), hop(52, 51), 6),
        (hop(0, 50), hop(52, 50, OTHER), 6),
    ],
)
def test_what_is_bad_about_a_track_above_another(upper: Hop, lower: Hop, cost: int) -> None:
    assert _cost(upper, lower) == cost


def test_tracks_are_as_few_as_possible_and_cross_little() -> None:
    inner, outer, apart, close = hop(20, 40, OTHER), hop(0, 100), hop(200, 300), hop(304.9, 400)
    assert _set_tracks([inner, outer, apart]) == 2
    assert (inner.track, outer.track, apart.track) == (0, 1, 0)
    assert _set_tracks([apart, close]) == 2
    assert _set_tracks([apart, hop(305, 400)]) == 1
    assert (_set_tracks([]), _set_tracks([apart])) == (0, 1)


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([(0, 0), (0, 10), (0, 20)], [(0, 0), (0, 20)]),
        ([(0, 0), (0, 10), (9, 10), (9, 20)], [(0, 0), (0, 10), (9, 10), (9, 20)]),
        ([(0, 0), (0.5, 10), (0.5, 20)], [(0, 0), (0, 20)]),  # As good as straight.
        ([(0, 0), (0.6, 10)], [(0, 0), (0.6, 10)]),
        ([(0, 0), (0, 0), (0, 10)], [(0, 0), (0, 10)]),
        ([(0, 10), (5, 10), (9, 10)], [(0, 10), (9, 10)]),
        ([(0, 0)], [(0, 0)]),
    ],
)
def test_only_corners_are_kept(points: list[Point], kept: list[Point]) -> None:
    assert _simplified(points) == kept
