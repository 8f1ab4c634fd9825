"""README.md stays short, and names every page and every room of the code."""

import re

import pytest

from deploy.local.aws import ROOT
from deploy.local.samples import EXPECTED, SAMPLES
from tests.docs.pages import DOCS, first_code, links, page, relative, rows, section
from workers.cli.app import orders

TEXT = page("README.md")
MAX_LINES = 160  # One reads it to the end.


def test_the_readme_is_short() -> None:
    assert len(TEXT.splitlines()) <= MAX_LINES


def test_every_page_is_in_the_table() -> None:
    listed = links(section(TEXT, "Documentation"))
    assert sorted(each for each in listed if each.startswith("docs/")) == sorted(map(relative, DOCS.glob("*.md")))
    assert {"deploy/README.md", "CHANGELOG.md"} <= set(listed)


@pytest.mark.parametrize("folder", ["workers", "deploy"])
def test_every_room_is_on_the_map(folder: str) -> None:
    rooms = {path.parent for path in (ROOT / folder).glob("*/__init__.py")}
    on_the_map = section(TEXT, "Map of the code")
    assert {room.name for room in rooms} <= set(re.findall(r"(\w+)/", on_the_map))


def test_what_the_map_names_in_a_room_is_in_it() -> None:
    for folder, what in list(rows(section(TEXT, "Map of the code")))[:2]:
        (room,) = links(folder)
        for name in first_code(what):
            assert (ROOT / room / name).exists(), name


def test_every_command_of_orders_has_its_line_on_the_page_about_operating() -> None:
    listed = {
        name.split()[1] for cells in rows(page("docs/operating.md")) for name in first_code(cells[0]) if " " in name
    }
    assert set(orders.list_commands(orders.make_context("orders", [], resilient_parsing=True))) <= listed


def test_the_samples_are_told_as_they_end() -> None:
    listed = {cells[0]: cells for cells in rows(section(page("docs/testing.md"), "The sample orders"))}
    assert set(listed) == set(EXPECTED) == {path.stem for path in SAMPLES.glob("*.json")}
    for order_id, expected in EXPECTED.items():
        *_, queue, ends = listed[order_id]
        assert (queue, first_code(ends)[0]) == (expected.queue, expected.item_status)
        assert ", ".join(first_code(ends)[1:]) == expected.worker.partition(" ")[2]
