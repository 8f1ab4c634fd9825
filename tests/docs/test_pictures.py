"""
The pictures of the pages show what the commands print today; `python -m tests.docs.pictures` makes them again.

Those of the web console are made by `make pictures`; a person compares them.
"""

import html
import re
from collections import defaultdict
from xml.etree import ElementTree as ET

import pytest

from tests.browser.pictures import PICTURES as PAGES_OF_THE_CONSOLE
from tests.browser.png import SIGNATURE
from tests.docs.console import lines
from tests.docs.pages import PAGES, links, page
from tests.docs.pictures import IMAGES, PICTURES, picture

MAX_PICTURE_BYTES = 150_000
_TEXT = re.compile(r'<text class="[^"]*" x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*)</text>')


def text_of(svg: str) -> str:
    """Return what stands in a picture, line by line."""
    found = defaultdict(list)
    for x, y, text in _TEXT.findall(svg):
        found[float(y)].append((float(x), html.unescape(text).replace("\N{NO-BREAK SPACE}", " ")))
    return "\n".join("".join(text for _, text in sorted(parts)) for _, parts in sorted(found.items()))


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.process
def test_a_picture_shows_what_its_command_prints_today(name: str) -> None:
    command, make = PICTURES[name]
    today = picture(name, command, make())
    shown = [line for line in lines(text_of(today)) if not line.startswith("Waiting for ")]  # On a slow machine.
    assert lines(text_of((IMAGES / name).read_text(encoding="utf-8"))) == shown


def test_every_picture_is_well_formed_is_on_a_page_and_has_a_command() -> None:
    shown = {target.rpartition("/")[2] for name in PAGES for target in links(page(name)) if target.endswith(".svg")}
    assert shown == set(PICTURES) == {path.name for path in IMAGES.glob("*.svg")}
    for path in IMAGES.glob("*.svg"):
        ET.fromstring(path.read_text(encoding="utf-8"))
        assert "http" not in re.sub(r'xmlns="[^"]*"|<!--.*?-->', "", path.read_text(encoding="utf-8")), path


def test_the_pictures_of_the_web_console_are_small_are_on_a_page_and_have_a_script() -> None:
    shown = {target.rpartition("/")[2] for name in PAGES for target in links(page(name)) if target.endswith(".png")}
    assert shown == set(PAGES_OF_THE_CONSOLE) == {path.name for path in IMAGES.glob("*.png")}
    for path in IMAGES.glob("*.png"):
        assert path.read_bytes().startswith(SIGNATURE)
        assert path.stat().st_size < MAX_PICTURE_BYTES, path
