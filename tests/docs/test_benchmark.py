"""docs/benchmark.md shows the rows that `make bench` measures."""

import pytest

from tests.bench.rows import ROWS
from tests.bench.subjects import NAMES
from tests.docs.pages import page, rows, section

RESULTS = list(rows(section(page("docs/benchmark.md"), "Results")))


def test_the_page_has_the_rows_of_the_benchmark() -> None:
    assert [(cells[0], cells[4]) for cells in RESULTS] == [(row.title, row.against) for row in ROWS]


@pytest.mark.parametrize("cells", [cells for cells in RESULTS if cells[3]], ids=lambda cells: cells[0])
def test_a_ratio_is_about_that_of_the_medians(cells: list[str]) -> None:
    ours, other, ratio = (float(each.replace(",", "")) for each in cells[1:4])
    assert ratio == pytest.approx(ours / other, rel=0.2)  # It is the median of the rounds' ratios.


def test_every_consumer_it_is_compared_with_is_explained() -> None:
    explained = {cells[0] for cells in rows(page("docs/benchmark.md")) if len(cells) == 2}
    assert set(NAMES.values()) - {"ours, 1 process"} == explained
