"""Cells of CSV files, written and read again. `tests/workers/cli/test_rows.py` has what is written."""

from hypothesis import given

from tests.strategies import text
from workers.domain.text import clean
from workers.operations.cells import cell_of, text_of


@given(text)
def test_a_cell_that_was_written_is_read_as_the_same_text_without_the_space_around_it(value: str) -> None:
    shown = clean(value).strip()
    assert text_of(cell_of(value)) in {shown, text_of(shown)}


def test_an_apostrophe_is_only_removed_before_what_looks_like_a_formula() -> None:
    cells = ["'=1", "' =1", "'\uff1d1", "'-x", "'t Hooft", "'-1", "'", "x'=1", "  '+1 "]
    assert [*map(text_of, cells)] == ["=1", "=1", "\uff1d1", "-x", "'t Hooft", "'-1", "'", "x'=1", "+1"]


def test_nothing_is_an_empty_cell_and_a_list_is_one_cell() -> None:
    assert [*map(cell_of, (None, "", ["a", 1], ("=b",), -1.5, "-1,5"))] == ["", "", "a; 1", "'=b", "-1.5", "'-1,5"]
