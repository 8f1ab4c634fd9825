"""How child processes are started and stopped, with a process that only records it."""

import signal
import subprocess
import threading
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import pytest

from workers.testing import children


class FakeProcess:
    """Ends after SIGTERM within *takes_s*; a group that is *gone* cannot be killed."""

    pid = 77

    def __init__(self, *, ended: int | None = None, takes_s: float = 0.0, gone: Exception | None = None) -> None:
        self.returncode = ended
        self.stdin: Any = BytesIO()
        self.takes_s = takes_s
        self.gone = gone
        self.steps: list[Any] = []

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.steps.append("terminate")

    def wait(self, timeout_s: float | None = None) -> int:
        self.steps.append(("wait", timeout_s))
        if timeout_s is not None and timeout_s < self.takes_s:
            raise subprocess.TimeoutExpired("it", timeout_s)
        if self.returncode is None:
            self.returncode = 0
        return self.returncode

    def killpg(self, group: int, number: int) -> None:
        self.steps.append(("killpg", group, number))
        if self.gone is not None:
            raise self.gone
        if self.returncode is None:
            self.returncode = -9


KILLED = ("killpg", 77, signal.SIGKILL)


@pytest.mark.parametrize(
    ("process", "steps", "code"),
    [
        (FakeProcess(), ["terminate", ("wait", 5.0), KILLED, ("wait", None)], 0),
        (FakeProcess(takes_s=5.1), ["terminate", ("wait", 5.0), KILLED, ("wait", None)], -9),
        (FakeProcess(ended=3), [KILLED, ("wait", None)], 3),
        (FakeProcess(ended=3, gone=ProcessLookupError()), [KILLED, ("wait", None)], 3),
        (FakeProcess(ended=3, gone=PermissionError()), [KILLED, ("wait", None)], 3),
    ],
)
def test_a_child_is_asked_to_stop_and_then_killed_with_its_group(
    monkeypatch: pytest.MonkeyPatch, process: FakeProcess, steps: list[Any], code: int
) -> None:
    monkeypatch.setattr("os.killpg", process.killpg)
    assert children.stop(cast("Any", process), 5.0) == code
    assert process.steps == steps
    assert process.stdin.closed, "its lifeline"


def test_a_child_without_a_pipe_is_stopped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FakeProcess(ended=0)
    process.stdin = None
    monkeypatch.setattr("os.killpg", process.killpg)
    assert children.stop(cast("Any", process), 5.0) == 0


def test_an_interrupted_stop_kills_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    process = FakeProcess()

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "terminate", interrupt)
    monkeypatch.setattr("os.killpg", process.killpg)
    with pytest.raises(KeyboardInterrupt):
        children.stop(cast("Any", process), 5.0)
    assert (process.steps, process.returncode) == ([KILLED, ("wait", None)], -9)


def test_a_child_runs_under_the_lifeline_in_a_session_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("subprocess.Popen", lambda command, **more: started.append((command, more)))
    output = BytesIO()
    children.start(
        Path("python"),
        "honcho",
        ["start", "-x"],
        environment={"A": "1"},
        output=output,
        directory=tmp_path,
        working_directory=Path("work"),
        pass_fds=[9],
    )
    lifeline = Path(children.__file__).with_name("lifeline.py")
    assert lifeline.is_file()
    assert started == [
        (
            ["python", str(lifeline), str(tmp_path), "honcho", "start", "-x"],
            {
                "env": {"A": "1"},
                "cwd": Path("work"),
                "stdin": subprocess.PIPE,
                "stdout": output,
                "stderr": subprocess.STDOUT,
                "start_new_session": True,
                "pass_fds": [9],
            },
        )
    ]


def test_only_the_main_thread_ignores_interruptions() -> None:
    done: list[bool] = []

    def work() -> None:
        with children.uninterrupted():
            done.append(True)
        done.append(False)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True, False]


def test_a_child_without_a_directory_is_given_none(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("subprocess.Popen", lambda command, **_: commands.append(command))
    children.start(
        Path("python"), "honcho", environment={}, output=BytesIO(), directory=None, working_directory=Path("work")
    )
    assert commands[0][2:] == ["", "honcho"]
