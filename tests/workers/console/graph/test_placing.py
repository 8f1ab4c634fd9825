"""Where lines leave a state beside its strongest line."""

import pytest

from workers.console.graph.layers import Item, Size
from workers.console.graph.placing import _median, _offsets, _settle, _spread


@pytest.mark.parametrize(
    ("count", "room", "label", "offsets"),
    [
        (0, 100.0, 0.0, []),
        (1, 100.0, 0.0, [30.0]),
        (1, 100.0, 60.0, [36.0]),  # Beside the label.
        (3, 100.0, 0.0, [30.0, 60.0, 90.0]),
        (3, 80.0, 0.0, [30.0, 55.0, 80.0]),
        (2, 42.0, 0.0, [30.0, 42.0]),  # No closer than this.
        (2, 41.0, 0.0, [20.5, 41.0]),
    ],
)
def test_lines_have_all_the_room_that_there_is(count: int, room: float, label: float, offsets: list[float]) -> None:
    assert _offsets(count, room, label) == offsets


@pytest.mark.parametrize(
    ("pulls", "middle"),
    [
        ([(5.0, 3)], 5.0),
        ([(9.0, 1), (1.0, 1)], 5.0),
        ([(9.0, 2), (1.0, 1)], 9.0),
        ([(9.0, 1), (1.0, 2)], 1.0),
        ([(1.0, 1), (2.0, 1), (9.0, 1)], 2.0),
        ([(1.0, 1), (2.0, 2), (8.0, 1), (9.0, 2)], 5.0),
    ],
)
def test_the_middle_is_where_half_of_the_pulls_are_on_each_side(pulls: list[tuple[float, int]], middle: float) -> None:
    assert _median(pulls) == middle


def test_items_stay_in_their_order_and_beside_each_other() -> None:
    size = Size(10.0, 10.0, 10.0)
    spine, right, left, free = (
        Item(each, 0, size, is_spine=each == "spine") for each in ("spine", "right", "left", "free")
    )
    free.x = 500.0
    pull = Item("pull", 1, size)
    # `left` wants to be left of `right`, which is left of it: both give way, the stronger one less.
    moved = _settle([spine, right, left, free], {right: [(pull, 300.0, 3)], left: [(pull, 100.0, 1)]}, {})
    assert [item.x for item in (spine, right, left, free)] == [0.0, 236.0, 292.0, 500.0]
    assert moved == 292.0


@pytest.mark.parametrize(
    ("pulls", "label", "offsets"),
    [
        ([1], 0.0, [0.0]),
        ([1, 3, 2], 0.0, [-30.0, 0.0, 30.0]),
        ([1, 1, 1, 5], 60.0, [-84.0, -60.0, -36.0, 0.0]),
        ([5, 1, 1], 60.0, [0.0, 36.0, 66.0]),
    ],
)
def test_the_strongest_line_leaves_a_state_in_its_middle(pulls: list[int], label: float, offsets: list[float]) -> None:
    assert _spread(Item("a", 0, Size(100.0, 100.0, 60.0)), pulls, label) == offsets
