"""Where lines leave a state beside its strongest line."""

import pytest

from workers.console.graph.placing import _offsets


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
