"""The benchmark runs to its end, with windows too short for meaningful figures."""

import contextlib
import json
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import IO, Any

import pytest
from rich.console import Console

from tests import forked
from tests.bench import __main__ as bench
from tests.bench.harness import Plan
from tests.bench.processes import Command, environment, tail
from tests.bench.rows import GROUPS, ROWS
from tests.integration.pipeline import wait_until

# Nothing is the best result, and in so short a time the likely one.
QUIET = "as AWS: requests in the 10 s after a drained backlog"

pytestmark = pytest.mark.process

TINY = Plan(
    rounds=1,
    settle_s=0.0,
    window_s=0.2,
    latency_window_s=0.3,
    per_second=100,
    idle_window_s=1.0,
    idle_wait_s=1,
    warm_up=1,
    drained=100,
    quiet_s=0.2,
    arrivals_s=0.2,
    at_once=4,
)


def fork(
    _python: Path,
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: IO[bytes],
    working_directory: Path,
    **_: object,
) -> forked.Popen:
    """Start a process as `children.start` does, but as a fork: here nobody looks at its figures."""
    return forked.Popen(
        ["-m", module, *arguments],
        cwd=working_directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def end(process: forked.Popen, timeout_s: float) -> None:
    """End a process as `children.stop` does. A fork leads no process group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout_s)
    process.kill()
    process.wait()


def test_a_process_runs_to_the_end_of_its_block(tmp_path: Path) -> None:
    server = Command(
        "http.server", ["0", "--bind", "127.0.0.1"], environment() | {"PYTHONUNBUFFERED": "1"}, tmp_path / "log"
    )
    with server.running() as process:
        wait_until(lambda: "Serving HTTP" in tail(server.log))
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM


def test_every_row_is_measured_printed_and_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.processes.children.start", fork)
    monkeypatch.setattr("tests.bench.processes.children.stop", end)
    printed = StringIO()
    output = tmp_path / "build" / "bench.json"
    results = bench.run(TINY, GROUPS, Console(file=printed, width=250), output)

    titles = [row.title for row in ROWS]
    assert [result.row.title for result in results] == titles
    assert all(title in printed.getvalue() for title in titles)
    table = output.with_suffix(".md").read_text(encoding="utf-8")
    assert all(f"\n| {row.title} | " in table for row in ROWS)
    document = json.loads(output.read_text(encoding="utf-8"))
    assert [row["row"] for row in document["rows"]] == titles
    empty = zero(document)
    if empty:  # A busy machine may get nothing done in so short a window.
        bench.run(replace(TINY, window_s=3.0), GROUPS, Console(file=printed, width=250), output)
        empty &= zero(json.loads(output.read_text(encoding="utf-8")))
    assert empty == set()


def zero(document: Mapping[str, Any]) -> set[str]:
    """Return the rows of which nothing was measured."""
    rows = {row["row"] for row in document["rows"] if not row["ours"]["median"] > 0}
    # CPU time is counted in steps of 10 ms.
    return {row for row in rows if "CPU s" not in row and row != QUIET}
