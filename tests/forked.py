"""
Starts Python programs fast: as forks of a process that has already imported our packages.

    process = forked.Popen(["-m", "workers", "fulfillment"], cwd=ROOT, env=environment, stdout=subprocess.PIPE)

It is a process of its own, as if `python -m workers fulfillment` had been started with this environment: pid, signals,
streams and exit code are real. Only the imports and the models of the SDK, most of the CPU time of a start, were read
before, and at its end nothing is freed. With the variable `PLAIN_PROCESSES`, every program gets a new interpreter
instead.

The process that forks (`python -m tests.forked`) ends with the test process, however that ends, and kills the programs
that still run.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.sdk_models import share_sdk_models
from workers.testing import sdk

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("workers", "deploy")
# What the packages import only when they need it.
SERVICES = ("cloudformation", "dynamodb", "secretsmanager", "sns", "sqs", "stepfunctions", "sts")
MODULES = ("boto3", "aioboto3", "aiohttp.web", "botocore.httpsession", "rich.table")
RUN_TIMEOUT_S = 120.0
MAX_REQUEST = 1_000_000
STREAMS = 3  # Standard input, output and error.
_NUMBER = struct.Struct("=q")


class Popen(subprocess.Popen[bytes]):
    """A Python program. The arguments are those of the interpreter: `-m MODULE` or `-c PROGRAM`, and the program's."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], **streams: Any) -> None:
        self._status: int | None = None
        self._reading = threading.Lock()
        super().__init__([sys.executable, *arguments], cwd=cwd, env=env, **streams)

    def _execute_child(self, *given: Any) -> None:
        """Fork instead of executing a file. The only private method of `subprocess.Popen` that is replaced here."""
        if "PLAIN_PROCESSES" in os.environ:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        words, cwd, env, pipes = given[0], given[5], given[6], given[10:16]
        sys.audit("subprocess.Popen", words[0], words, cwd, env)
        own = (pipes[0], pipes[3], pipes[5])  # Of these six, the other three are our ends.
        streams = [number if given == -1 else given for number, given in enumerate(own)]
        self._status, theirs = os.pipe()
        weakref.finalize(self, os.close, self._status)
        try:
            request = json.dumps({"arguments": words[1:], "cwd": str(cwd), "env": dict(env)}).encode()
            socket.send_fds(_forker(), [request], [*streams, theirs])
        finally:
            os.close(theirs)
            self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        pid = _read(self._status)
        if pid is None:
            raise ChildProcessError("the process that forks has ended")
        self.pid = pid
        self._child_created = True

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self._status is None:
            return super().wait(timeout)
        if self.returncode is None and not select.select([self._status], [], [], timeout)[0]:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        with self._reading:
            if self.returncode is None:  # Another thread may have been faster.
                status = _read(self._status)
                self.returncode = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
        return self.returncode


def run(
    arguments: Sequence[str], *, cwd: Path = ROOT, env: Mapping[str, str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end with *text* on its standard input, as `subprocess.run` does."""
    pipe = subprocess.PIPE
    with Popen(arguments, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            out, err = process.communicate(text.encode(), timeout=RUN_TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out.decode(), err.decode())


def _read(pipe: int) -> int | None:
    """Return the next number from a pipe, or None at its end."""
    data = os.read(pipe, _NUMBER.size)
    return _NUMBER.unpack(data)[0] if data else None


@functools.cache
def _forker() -> socket.socket:
    """Return the connection to the process that forks, which is started first. Both end with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked", str(theirs.fileno())],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C in the terminal is for the tests.
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class _Forker:
    """The process that forks. `run` returns in each fork, with its request."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._pipes: dict[int, int] = {}  # By pid: where the exit status goes.
        self._wakeup, wakeup = os.pipe()
        os.set_blocking(wakeup, False)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def run(self) -> dict[str, Any]:
        while True:
            ready, _, _ = select.select([self._connection.fileno(), self._wakeup], [], [])
            if self._wakeup in ready:
                os.read(self._wakeup, 4096)
                self._reap()
            if self._connection.fileno() in ready:
                text, descriptors, _, _ = socket.recv_fds(self._connection, MAX_REQUEST, STREAMS + 1)
                if not text:
                    os.killpg(0, signal.SIGKILL)  # The tests are over, for all programs and for this process.
                *streams, pipe = descriptors
                pid = os.fork()
                if pid == 0:
                    self._become(streams)
                    request: dict[str, Any] = json.loads(text)
                    return request
                for descriptor in streams:
                    os.close(descriptor)
                self._pipes[pid] = pipe
                os.write(pipe, _NUMBER.pack(pid))

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                pipe = self._pipes.pop(pid)
                with contextlib.suppress(BrokenPipeError):
                    os.write(pipe, _NUMBER.pack(status))
                os.close(pipe)

    def _become(self, streams: Sequence[int]) -> None:
        """In a fork: leave nothing of the process that forks but its imports."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
        self._connection.detach()
        os.closerange(STREAMS, 1024)


def _standard_streams() -> None:
    """Open the standard streams as the interpreter does."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = _stream(0, "<stdin>", "r", sys.stdin.errors)
    sys.stdout = _stream(1, "<stdout>", "w", sys.stdout.errors)
    sys.stderr = _stream(2, "<stderr>", "w", "backslashreplace")
    sys.stdout.reconfigure(line_buffering=os.isatty(1), write_through=unbuffered)
    sys.stderr.reconfigure(line_buffering=True, write_through=unbuffered)


def _stream(number: int, name: str, mode: str, errors: str | None) -> io.TextIOWrapper:
    binary: Any = open(number, f"{mode}b", closefd=False)  # noqa: SIM115 - stays open until exit.
    binary.raw.name = name
    return io.TextIOWrapper(binary, sys.stdin.encoding, errors)


def _import_everything() -> None:
    for package in PACKAGES:
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not found.name.endswith(("__main__", "lifeline")):
                importlib.import_module(found.name)
    for module in MODULES:
        importlib.import_module(module)
    share_sdk_models()
    for service in SERVICES:  # Reads their models.
        sdk.client(service, "http://127.0.0.1:1")
    gc.collect()
    gc.freeze()  # Else the first collection in each fork would copy all of it.


def _run(arguments: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    os.chdir(cwd)
    _standard_streams()
    option, program, *others = arguments
    sys.argv = [option, *others]
    if option == "-m":
        sys.path[0] = cwd
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    assert option == "-c", option
    sys.path[0] = ""
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(program, "<string>", "exec"), main.__dict__)


def _end(code: object) -> int:
    """
    End as the interpreter does after `SystemExit(code)`, but leave all objects to the system.

    To free each of them, the interpreter would copy the memory that the forks share: for a short program, most of its
    CPU time. If the output cannot be written, the exit code is returned, and the interpreter says so.
    """
    if not isinstance(code, int | None):
        print(code, file=sys.stderr)  # noqa: T201
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (AttributeError, OSError, ValueError):  # Set to None, or closed.
        return code or 0
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    _import_everything()
    exit_code: object = None
    try:
        _run(**_Forker(socket.socket(fileno=int(sys.argv[1]))).run())
    except SystemExit as ended:
        exit_code = ended.code
    sys.exit(_end(exit_code))
