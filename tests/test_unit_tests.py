"""`make test-unit` runs the tests that need neither the local AWS nor another process, and no others."""

import asyncio
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "--version"], check=True),
        lambda: asyncio.run(asyncio.create_subprocess_exec(sys.executable, "--version")),
        os.fork,
        lambda: os.system("true"),
    ],
)
def test_a_unit_test_that_starts_a_process_fails(request: pytest.FixtureRequest, start: object) -> None:
    assert request.node.get_closest_marker("unit")
    assert callable(start)
    with pytest.raises(RuntimeError, match="give it the mark `process`"):
        start()


@pytest.mark.process
def test_a_test_with_the_mark_may_start_one(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("unit") is None
    subprocess.run([sys.executable, "--version"], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.usefixtures("stack")
def test_a_test_on_the_local_aws_is_no_unit_test(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("unit") is None
