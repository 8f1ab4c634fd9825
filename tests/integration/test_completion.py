"""A shell completes `orders`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.aws import ROOT
from tests.integration.command_line import TIMEOUT_S

pytestmark = pytest.mark.process

SCRIPT = """
eval "$(orders completion bash)"
COMP_WORDS=(orders list --status esc) COMP_CWORD=3
_orders_completion orders
echo "${COMPREPLY[@]}"
"""


def test_bash_completes_with_the_script_that_is_printed(tmp_path: Path) -> None:
    program = tmp_path / "orders"
    program.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m workers.cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    ended = subprocess.run(
        ["bash", "-c", SCRIPT],
        env={"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ESCALATED\n", "")
