"""The parts of a layout before its lines are placed."""

import pytest

from workers.console.graph.definition import Line
from workers.console.graph.layers import Chain, Item, Size
from workers.console.graph.ordering import _crossings, _swap_neighbours

SIZE = Size(10.0, 10.0, 10.0)


@pytest.mark.parametrize(
    ("line", "upwards", "kind"),
    [
        (Line("a", "b", "next"), False, "plain"),
        (Line("a", "b", "catch"), False, "catch"),
        (Line("a", "b", "next"), True, "upwards"),
        (Line("a", "b", "catch"), True, "upwards"),
    ],
)
def test_lines_enter_a_state_by_their_kind(line: Line, upwards: bool, kind: str) -> None:
    assert Chain(line, (), upwards).kind == kind


def test_neighbours_that_cross_are_swapped_but_nothing_gets_left_of_the_main_way() -> None:
    spine, a, b = (Item(each, 0, SIZE, is_spine=each == "spine") for each in ("spine", "a", "b"))
    below = [Item(each, 1, SIZE, is_spine=True) for each in "xyz"]
    for upper, lower in zip((b, a, spine), below, strict=True):
        upper.below[lower] = lower.above[upper] = 1
    rows = [[spine, a, b], below]
    assert _crossings(rows) == 3
    _swap_neighbours(rows, spine_first=True)
    assert ([item.id for item in rows[0]], rows[1], _crossings(rows)) == (["spine", "b", "a"], below, 2)
    _swap_neighbours(rows, spine_first=False)
    assert _crossings(rows) == 0
