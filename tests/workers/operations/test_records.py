"""How long a record may be, to the character."""

from itertools import repeat

import pytest

from workers.operations.order_text import MAX_RECORD_CHARS
from workers.operations.records import _RowLines, _TooLongError

LONGEST = ["x" * (MAX_RECORD_CHARS - 11) + "\n", "x" * 9 + "\n"]


def test_each_row_may_have_as_many_characters_as_a_record() -> None:
    lines = _RowLines(iter(LONGEST * 2))
    for _ in range(2):
        assert [next(lines) for _ in LONGEST] == LONGEST
        lines.end_row()
    assert lines.line == 5


@pytest.mark.parametrize("rows", [0, 1])
def test_a_row_with_one_more_is_too_long(rows: int) -> None:
    lines = _RowLines(iter([*LONGEST * rows, *LONGEST[:1], "x" * 10 + "\n", *repeat("x\n", 3)]))
    for _ in range(rows):
        for _ in LONGEST:
            next(lines)
        lines.end_row()
    next(lines)
    with pytest.raises(_TooLongError):
        next(lines)
    lines.skip_line()
    assert (next(lines), lines.line) == ("x" * 10 + "\n", 2 + 2 * rows)
