"""A module under the lifeline: it runs as `python -m` would run it, and ends when its starter does."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import pytest

from workers.testing import lifeline

WAIT_S = 30.0  # At most. Nothing waits that long if it works.


class Starter:
    """Holds the other end of standard input. `signals` and `kills` are what the lifeline has sent."""

    def __init__(self, write_end: int) -> None:
        self._write_end: int | None = write_end
        self.terminated, self.killed = threading.Event(), threading.Event()
        self.signals: list[tuple[int, int]] = []
        self.kills: list[tuple[int, int]] = []
        self.slept_s: list[float] = []

    def write(self, text: bytes) -> None:
        assert self._write_end is not None
        os.write(self._write_end, text)

    def die(self) -> None:
        if self._write_end is not None:
            os.close(self._write_end)
            self._write_end = None

    def kill(self, pid: int, number: int) -> None:
        self.signals.append((pid, number))
        self.terminated.set()

    def killpg(self, group: int, number: int) -> None:
        self.kills.append((group, number))
        self.killed.set()


@pytest.fixture
def starter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Starter]:
    read_end, write_end = os.pipe()
    made = Starter(write_end)
    stdin: TextIO = os.fdopen(read_end)
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "argv", ["lifeline.py"])
    monkeypatch.setattr(sys, "path", ["the folder of lifeline.py", *sys.path])
    names = ("dup", "dup2", "open", "devnull", "O_RDONLY", "read", "getpid")
    ours = {name: getattr(os, name) for name in names} | {"kill": made.kill, "killpg": made.killpg}
    monkeypatch.setattr(lifeline, "os", SimpleNamespace(**ours))
    monkeypatch.setattr(lifeline, "time", SimpleNamespace(sleep=made.slept_s.append))
    yield made
    made.die()
    assert made.killed.wait(WAIT_S), "the thread has ended"
    stdin.close()


def running(monkeypatch: pytest.MonkeyPatch, run: Callable[[], None]) -> list[tuple[str, str]]:
    """Let *run* stand for the module. Returns with which arguments it is run."""
    runs: list[tuple[str, str]] = []

    def run_module(module: str, *, run_name: str) -> Any:
        runs.append((module, run_name))
        run()

    monkeypatch.setattr(lifeline, "runpy", SimpleNamespace(run_module=run_module))
    return runs


def run_main(*arguments: str) -> None:
    sys.argv = ["lifeline.py", *arguments]  # The fixture restores it.
    lifeline.main()


def test_a_module_runs_as_main_with_its_arguments(
    monkeypatch: pytest.MonkeyPatch, starter: Starter, tmp_path: Path
) -> None:
    seen: list[Any] = []

    def run() -> None:
        seen.extend([list(sys.argv), sys.path[0], sys.stdin.read()])
        (waiting,) = (thread for thread in threading.enumerate() if thread.name == "lifeline")
        assert waiting.daemon, "the module's end is the end"

    runs = running(monkeypatch, run)
    starter.write(b"a byte does not end it")
    following = sys.path[1]
    run_main(str(tmp_path), "honcho", "start", "-x")
    assert runs == [("honcho", "__main__")]
    assert seen == [["honcho", "start", "-x"], following, ""]
    assert (tmp_path.exists(), starter.signals) == (True, [])


def test_without_a_directory_nothing_is_deleted(
    monkeypatch: pytest.MonkeyPatch, starter: Starter, tmp_path: Path
) -> None:
    def run() -> None:
        starter.die()
        assert starter.terminated.wait(WAIT_S)

    (tmp_path / "mine").touch()
    monkeypatch.chdir(tmp_path)
    running(monkeypatch, run)
    run_main("", "honcho")
    assert (tmp_path / "mine").exists()


@pytest.mark.usefixtures("starter")
def test_a_file_runs_as_main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs: list[tuple[str, str]] = []
    run_path = SimpleNamespace(run_path=lambda path, *, run_name: runs.append((path, run_name)))
    monkeypatch.setattr(lifeline, "runpy", run_path)
    run_main(str(tmp_path), "/somewhere/emulator.py")
    assert runs == [("/somewhere/emulator.py", "__main__")]


def test_a_module_is_stopped_and_its_directory_deleted_if_its_starter_dies(
    monkeypatch: pytest.MonkeyPatch, starter: Starter, tmp_path: Path
) -> None:
    def run() -> None:
        starter.die()
        assert starter.terminated.wait(WAIT_S)
        raise SystemExit(3)

    running(monkeypatch, run)
    with pytest.raises(SystemExit, match="3"):
        run_main(str(tmp_path), "honcho")
    assert starter.signals == [(os.getpid(), signal.SIGTERM)]
    assert not tmp_path.exists()
    assert starter.killed.wait(WAIT_S)
    assert (starter.slept_s, starter.kills) == ([15.0], [(0, signal.SIGKILL)])


def test_a_directory_that_is_gone_already_is_no_error(
    monkeypatch: pytest.MonkeyPatch, starter: Starter, tmp_path: Path
) -> None:
    def run() -> None:
        starter.die()
        starter.terminated.wait(WAIT_S)

    running(monkeypatch, run)
    run_main(str(tmp_path / "gone"), "honcho")
    assert starter.terminated.is_set()
