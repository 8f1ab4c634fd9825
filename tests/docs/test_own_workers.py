"""docs/own-workers.md shows the example that the tests run, and lists the public names."""

import dataclasses
import subprocess
import sys

import pytest

import workers
from deploy.local.aws import ROOT
from tests.docs.pages import blocks, code, page, rows, section
from workers import Message
from workers.own import handler

PAGE = page("docs/own-workers.md")


def test_the_example_is_the_one_that_the_tests_run() -> None:
    (shown,) = blocks(PAGE, "python")
    example = (ROOT / "tests" / "examples" / "returns.py").read_text(encoding="utf-8")
    assert shown == example
    assert len([line for line in example.splitlines() if line]) < 25


def test_the_public_names_are_those_of_the_page() -> None:
    listed = [cells[0].strip("`") for cells in rows(section(PAGE, "Public names"))]
    assert listed == sorted(workers.__all__)
    assert all(getattr(workers, name).__doc__ for name in listed)
    described = next(rows(section(PAGE, "Public names")))[1]
    assert code(described) == [field.name for field in dataclasses.fields(Message)]


@pytest.mark.process
def test_importing_the_package_imports_none_of_them_yet() -> None:
    script = "import sys, workers; print('workers.errors' in sys.modules); from workers import *; print(Message)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.splitlines() == ["False", "<class 'workers.message.Message'>"]


def test_every_reason_of_a_dead_letter_is_explained() -> None:
    for reason in (handler.PERMANENT_ERROR, handler.ATTEMPTS_EXHAUSTED, handler.DELIVERED_TOO_OFTEN):
        assert f"`{reason}`" in PAGE


def test_types_are_part_of_the_package() -> None:
    assert (ROOT / "workers" / "py.typed").exists()
