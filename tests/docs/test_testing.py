"""The test that docs/testing.md shows passes, and the page names every suite."""

import re
from typing import Any

from deploy.local.aws import ROOT
from tests.docs.pages import blocks, links, page, section
from tests.support import DeployedStack, StartWorker


def test_the_test_on_the_page_passes(stack: DeployedStack, start_worker: StartWorker) -> None:
    (example,) = blocks(section(page("docs/testing.md"), "Tests in this project"), "python")
    namespace: dict[str, Any] = {}
    exec(compile(example, "docs/testing.md", "exec"), namespace)
    (name,) = re.findall(r"def (test_\w+)", example)
    namespace[name](stack, start_worker)


def test_every_suite_is_named() -> None:
    folders = {each.name for each in (ROOT / "tests").iterdir() if each.is_dir() and each.name != "__pycache__"}
    linked = {target.removeprefix("../tests/") for target in links(page("docs/testing.md"))}
    assert folders <= linked
