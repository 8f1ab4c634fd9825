"""When rectangles meet."""

import pytest

from workers.console.graph.labels import Rect

BOX = Rect(0.0, 0.0, 10.0, 20.0)


@pytest.mark.parametrize(
    "beside",
    [
        Rect(10.0, 5.0, 30.0, 6.0),
        Rect(-30.0, 5.0, 0.0, 6.0),
        Rect(5.0, 20.0, 6.0, 30.0),
        Rect(5.0, -30.0, 6.0, 0.0),
        Rect(10.0, 20.0, 30.0, 30.0),
    ],
)
def test_rectangles_meet_if_they_are_closer_than_a_margin(beside: Rect) -> None:
    for one, other in ((BOX, beside), (beside, BOX)):
        assert not one.meets(other)
        assert one.meets(other, 0.1)
        apart = Rect(other.left, other.top, other.right, other.bottom)
        assert not one.meets(apart, -1.0)
    assert BOX.meets(Rect(1.0, 1.0, 2.0, 2.0))
