"""A forked program cannot tell that it was not started by a new interpreter, and never outlives the tests."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.aws import ROOT
from tests import forked
from tests.support import eventually, is_running

pytestmark = pytest.mark.process

SEEN = """
import asyncio, json, locale, os, signal, sys, threading
print(json.dumps({
    "arguments": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd(), "path": sys.path[0],
    "streams": [
        [getattr(stream, name) for name in ("name", "encoding", "errors", "line_buffering", "write_through")]
        + [stream.fileno(), stream.isatty()]
        for stream in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
    "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")),
    "threads": threading.active_count(), "main": __name__, "read": sys.stdin.read(),
}))
print("on standard error", file=sys.stderr)
"""
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture(params=["forked", "plain"])
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start a program as a fork, and as `PLAIN_PROCESSES` does."""
    if request.param == "plain":
        monkeypatch.setenv("PLAIN_PROCESSES", "yes")
    return started


def started(*arguments: str, **more: Any) -> "subprocess.Popen[bytes]":
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return forked.Popen(arguments, **{"cwd": ROOT, "env": dict(os.environ), **pipes, **more})


def ended(process: "subprocess.Popen[bytes]", given: bytes = b"") -> tuple[int, bytes, bytes]:
    with process:
        out, err = process.communicate(given, timeout=60)
    return process.returncode, out, err


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Listen to Ctrl-C as in a terminal: a shell's background jobs ignore it, and so do the programs they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_fork_sees_what_a_new_interpreter_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seen() -> Any:
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "NAME": "é"}
        code, out, err = ended(started("-c", SEEN, "é", "\udcff", cwd=tmp_path, env=environment), b"given")
        assert (code, err) == (0, b"on standard error\n"), err
        return json.loads(out)

    forks = seen()
    monkeypatch.setenv("PLAIN_PROCESSES", "yes")
    assert seen() == forks


def test_a_module_runs_as_main_in_its_directory(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import sys; print(__name__, sys.argv, __file__)", encoding="utf-8")
    code, out, err = ended(start("-m", "mine", "x", cwd=tmp_path))
    assert (code, out.decode(), err) == (0, f"__main__ ['{tmp_path}/mine.py', 'x'] {tmp_path}/mine.py\n", b"")


LAST_THREAD = """
import sys, threading, time
threading.Thread(target=lambda: (time.sleep(0.1), sys.stderr.write("last\\n"))).start()
"""


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; sys.exit(3)", 3, b""),
        ("import sys; sys.exit(-1)", 255, b""),
        ("import sys; sys.exit('no')", 1, b"no\n"),
        ("import sys; sys.stdout = open('/dev/full', 'w'); print('x')", 120, b"No space left on device\n"),
        (LAST_THREAD, 0, b"last\n"),
        ("1 / 0", 1, b"ZeroDivisionError: division by zero\n"),
        ("import atexit, sys; atexit.register(lambda: sys.stderr.write('last\\n'))", 0, b"last\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, b""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, b""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT, b"KeyboardInterrupt\n"),
    ],
)
@pytest.mark.usefixtures("ctrl_c")
def test_it_ends_as_a_new_interpreter_does(start: Start, program: str, code: int, said: bytes) -> None:
    ended_with, out, err = ended(start("-c", program))
    assert (ended_with, out) == (code, b"")
    assert err.endswith(said)
    assert bool(err) == bool(said)


def test_it_is_waited_for_and_signalled(start: Start) -> None:
    with start("-c", "import time; print('here', flush=True); time.sleep(600)") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.terminate()
        assert process.wait(60) == process.poll() == -signal.SIGTERM
        process.kill()  # Too late, and no error.
    assert not is_running(process.pid)


STARTER = """
import os, time
from tests import forked
process = forked.Popen(["-c", "import time; time.sleep(600)"], cwd=forked.ROOT, env=os.environ)
print(process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def starter() -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A process that has started another one, and that one's pid."""
    environment = {name: value for name, value in os.environ.items() if name != "PLAIN_PROCESSES"}
    with subprocess.Popen(
        [sys.executable, "-c", STARTER], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.usefixtures("ctrl_c")
def test_no_program_outlives_the_process_that_started_it(
    starter: tuple["subprocess.Popen[bytes]", int], number: signal.Signals
) -> None:
    process, pid = starter
    assert is_running(pid)
    process.send_signal(number)
    eventually(lambda: not is_running(pid))
