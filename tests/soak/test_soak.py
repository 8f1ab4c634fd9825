"""The soak runs to its end in half a minute, with all its proofs; only what grows needs longer. Ctrl-C ends it."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from deploy.local.aws import ROOT
from tests.bench.processes import environment

pytestmark = [pytest.mark.process, pytest.mark.timeout(900)]

ENDS_S = 800


@contextlib.contextmanager
def soaking(directory: Path, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", Path]]:
    """Run a soak, whose report goes to *directory*; yield the process and the file with its output."""
    output = directory / "output.txt"
    with (
        output.open("wb") as written,
        subprocess.Popen(
            [sys.executable, "-m", "tests.soak", "--output", str(directory / "soak.json"), *arguments],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process, output
        finally:
            process.kill()  # Its workers end with it.


def report(directory: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((directory / "soak.json").read_text(encoding="utf-8"))
    return document


def test_half_a_minute_of_a_busy_week_settles_every_order_once(tmp_path: Path) -> None:
    with soaking(tmp_path, "--minutes", "0.5", "--orders", "600") as (process, output):
        code = process.wait(ENDS_S)
    printed = output.read_text(encoding="utf-8")
    assert code == 0, printed
    document = report(tmp_path)
    assert document["passed"]
    assert {promise["problems"] for promise in document["promises"]} == {0}
    orders = document["orders"]
    assert orders["sent"] == orders["fulfilled"] + orders["escalated"] == 600
    assert orders["escalated"] >= 10
    assert orders["useless bodies"] >= 20
    assert (document["facts"]["deploys"], document["facts"]["processes killed"]) == (2, 2)
    assert document["facts"]["faults"]
    measured = [one for process in document["processes"] if process["stays"] for one in process["samples"]]
    assert all(one["memory_mb"] > 10 and one["descriptors"] > 5 for one in measured)
    assert any(one["tasks"] for one in measured)
    assert f"report: {tmp_path / 'soak.md'}" in printed
    page = (tmp_path / "soak.md").read_text(encoding="utf-8")
    assert "passed: 8 promises kept" in page
    assert "](soak.svg)" in page
    ET.fromstring((tmp_path / "soak.svg").read_text(encoding="utf-8"))


def test_ctrl_c_ends_a_soak_in_order_with_its_report(tmp_path: Path) -> None:
    with soaking(tmp_path, "--minutes", "4", "--orders", "4000") as (process, output):
        while process.poll() is None and "orders arrive" not in output.read_text(encoding="utf-8"):
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        code = process.wait(ENDS_S)
    printed = output.read_text(encoding="utf-8")
    assert code == 130, printed
    assert "interrupted: nothing is proven" in printed
    document = report(tmp_path)
    assert (document["interrupted"], document["passed"]) == (True, False)
    assert {promise["problems"] for promise in document["promises"]} == {0}
