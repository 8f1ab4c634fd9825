"""The pages that people read, and what tests need of them: blocks of code, tables, headings, links."""

import re
import string
from collections.abc import Iterator
from pathlib import Path

from deploy.local.aws import ROOT

DOCS = ROOT / "docs"
README = ROOT / "README.md"
# Every page with its path from the root, as tests are named.
PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in (README, *sorted(DOCS.glob("*.md")), ROOT / "deploy" / "README.md", ROOT / "tests" / "README.md")
}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_KEPT = string.ascii_lowercase + string.digits + "-_ "


def page(name: str) -> str:
    """Return the text of a page, given its path from the root."""
    return PAGES[name].read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language, without their fences."""
    return [body for found, body in _FENCE.findall(text) if found == language]


def prose(text: str) -> str:
    """Return *text* without its fenced blocks."""
    return _FENCE.sub("", text)


def headings(text: str) -> list[str]:
    return [heading for _, heading in _HEADING.findall(prose(text))]


def anchors(text: str) -> set[str]:
    """Return what links can point to, as GitHub makes it of headings."""
    return {
        "".join(each for each in re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() if each in _KEPT).replace(
            " ", "-"
        )
        for heading in headings(text)
    }


def links(text: str) -> list[str]:
    """Return the targets of all links and pictures."""
    return _LINK.findall(prose(text))


def code(text: str) -> list[str]:
    """Return what is marked as code in sentences and tables."""
    return _CODE.findall(prose(text))


def section(text: str, heading: str) -> str:
    """Return what stands under *heading*, its subsections included."""
    found = next(each for each in _HEADING.finditer(text) if each[2] == heading)
    rest = text[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", prose(rest), re.MULTILINE)
    if following is None:
        return rest
    return rest[: rest.index(f"\n{prose(rest)[following.start() :].splitlines()[0]}\n")]


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of every row of every table, without the head."""
    for table in re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE):
        for line in table.splitlines()[2:]:
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def first_code(cell: str) -> list[str]:
    """Return everything marked as code in a cell."""
    return _CODE.findall(cell)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
