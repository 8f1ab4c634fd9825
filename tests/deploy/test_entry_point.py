"""`python -m deploy` before its own code has been imported."""

import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from deploy.__main__ import main
from deploy.local.aws import ROOT


def test_an_interrupt_during_the_import_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Slow(ModuleType):
        def __getattr__(self, name: str) -> Any:
            if name == "main":
                raise KeyboardInterrupt
            raise AttributeError(name)

    monkeypatch.setitem(sys.modules, "deploy.command", Slow("deploy.command"))
    assert main() == 130
    assert capsys.readouterr() == ("", "Interrupted\n")


def test_the_exit_code_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.command.main", lambda: 3)
    assert main() == 3


@pytest.mark.process
def test_the_entry_point_imports_nothing_that_takes_long() -> None:
    script = "import sys; before = set(sys.modules); import deploy.__main__; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"deploy", "deploy.__main__"}
