"""Links of all pages lead somewhere: to files, folders and headings that exist. So do paths that sentences name."""

import re

import pytest

from deploy.local.aws import ROOT
from tests.docs.pages import PAGES, anchors, code, links, page

LINKS = [(name, target) for name in PAGES for target in links(page(name))]
# A file by its path from the root, or by its name within a room; not what a system writes at run time.
_PATH = re.compile(r"(?:[A-Za-z_.][\w.-]*/)+[\w.-]*\w|[\w-]+\.(?:py|yaml|md|toml|csv|svg|json)")
_WRITTEN = {".local-aws/workers.log", "build/bench.json", "build/soak.json", "build/soak.md"}
# Names that only examples use, and what looks like a path.
_EXAMPLES = {
    "http/protobuf",
    "packaged.yaml",
    "rules.toml",
    "warehouse.py",
    "test_shop.py",
    "orders.csv",
    "corrected.json",
    "tests/test_mine.py",
}


@pytest.mark.parametrize(("name", "target"), [link for link in LINKS if ":" not in link[1]])
def test_a_link_leads_to_something_that_exists(name: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = (PAGES[name].parent / path).resolve() if path else PAGES[name]
    assert linked.exists()
    assert linked.is_relative_to(ROOT)
    if anchor:
        assert anchor in anchors(linked.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "target"), [link for link in LINKS if ":" in link[1]])
def test_a_link_to_elsewhere_is_safe(name: str, target: str) -> None:
    assert target.startswith("https://"), name


@pytest.mark.parametrize("name", PAGES)
def test_a_path_that_a_page_names_exists(name: str) -> None:
    files = {path.name for folder in ("workers", "deploy", "tests", "docs") for path in (ROOT / folder).rglob("*.*")}
    for named in code(page(name)):
        if not _PATH.fullmatch(named) or named in _WRITTEN | _EXAMPLES:
            continue
        places = (ROOT, PAGES[name].parent, ROOT / "workers")
        exists = any((place / named).exists() for place in places) or ("/" not in named and named in files)
        assert exists, named


def test_pages_have_links() -> None:
    assert len(LINKS) > 60
