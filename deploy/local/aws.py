"""
A local AWS: ministack in its own virtual environment, started on loopback and stopped again.

    with local_aws() as aws:
        aws.client("sqs").list_queues()
        subprocess.run([...], env=aws.environment)
"""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deploy.errors import DeployError
from deploy.local.state_lock import await_lock, is_running, take_lock
from deploy.progress import Progress
from workers.testing import children
from workers.testing.sdk import HOST, REGION, Endpoint

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-local-aws" / "bin" / "python"
EMULATOR = Path(__file__).with_name("emulator.py")
# The port that scripts for local AWS emulators expect. It is used if it is free.
DEFAULT_PORT = 4566

POLL_S = 0.05
PORT_ATTEMPTS = 5
LOG_TAIL_LINES = 15

Waiting = Callable[[str], contextlib.AbstractContextManager[None]]
QUIET = Progress(quiet=True)


class PortTakenError(DeployError):
    """Another process listens on the port that the local AWS should use."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long the local AWS may take, in seconds."""

    start_s: float = 60.0  # It takes 0.6 s on an idle machine, and many times that on a busy one with a cold cache.
    stop_s: float = 15.0  # The server gives open connections 3 s, then saves its state.
    lock_s: float = 3.0  # Another run may be stopping.
    orphan_s: float = 20.0  # After a run is killed, its server still holds the lock while it saves its state.


@dataclass(frozen=True, slots=True)
class LocalAws(Endpoint):
    """A running local AWS. `directory` has its log and temporary files, and is deleted when the server stops."""

    directory: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log_path(self) -> Path:
        return self.directory / "local-aws.log"

    def wait(self) -> None:
        """Block until the server ends unexpectedly, then raise `DeployError` with the end of its log."""
        self.process.wait()
        self.check()

    def check(self) -> None:
        """Raise `DeployError` with the end of the server's log if the server has ended."""
        if self.process.poll() is not None:
            raise DeployError(f"The local AWS has ended (exit code {self.process.returncode}):\n{_tail(self.log_path)}")


def port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


@contextlib.contextmanager
def local_aws(
    *,
    state: Path | None = None,
    port: int | None = None,
    preferred_port: int | None = None,
    wait_scale: float | None = None,
    python: Path = PYTHON,
    timeouts: Timeouts = Timeouts(),
    is_free: Callable[[int], bool] = port_is_free,
    starting: Callable[[], None] = lambda: None,
    waiting: Waiting = QUIET.waiting,
) -> Iterator[LocalAws]:
    """
    Run a local AWS for the length of the block.

    - `state`: a directory that keeps everything for the next run. Without it nothing is kept.
    - `port`: the port to listen on. Without it, `preferred_port` if that is free, else any free port.
    - `wait_scale`: shortens the waits and retries of state machines (with 0.02, a second takes 20 ms).
    - `python`: the interpreter that has ministack.
    - `starting`: called before the server is started, once the state is locked and `port` was found free.
    - `waiting`: reports what is waited for, if that takes long.

    Raises `DeployError` with the end of the server's log if it does not start, and `PortTakenError` if `port` is taken.
    """
    if not python.exists():
        raise DeployError(f"The local AWS is not installed ({python} is missing). Run: make setup")
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_locked(state, timeouts, waiting)) if state else None
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="local-aws-", ignore_cleanup_errors=True))
        )
        server = _Server(python, directory, state, lock, wait_scale, timeouts, is_free)
        if port:
            _check_free(server, port)
        starting()
        with waiting(f"Waiting for the local AWS to answer, at most {timeouts.start_s:.0f} s"):
            aws = _start(server, port) if port else _start_on_free_port(server, preferred_port)
        try:
            yield aws
        finally:
            with (
                # Killed, the server would lose what this run has done to the state.
                children.uninterrupted() if state else contextlib.nullcontext(),
                waiting(f"Waiting for the local AWS to save its state and end, at most {timeouts.stop_s:.0f} s"),
            ):
                children.stop(aws.process, timeouts.stop_s)


@dataclass(frozen=True, slots=True)
class _Server:
    """How a server process is started, apart from its port. `lock` is the descriptor of the lock on `state`."""

    python: Path
    directory: Path
    state: Path | None
    lock: int | None
    wait_scale: float | None
    timeouts: Timeouts
    is_free: Callable[[int], bool]


def _start_on_free_port(server: _Server, preferred_port: int | None) -> LocalAws:
    taken: PortTakenError | None = None
    for attempt in range(PORT_ATTEMPTS):
        try:
            return _start(server, preferred_port if preferred_port and attempt == 0 else _free_port())
        except PortTakenError as error:  # Another process took the port after we had checked it.
            taken = error
    raise DeployError("No free port for the local AWS") from taken


def _start(server: _Server, port: int) -> LocalAws:
    _check_free(server, port)
    directory = server.directory
    token = secrets.token_hex(8)
    with (directory / "local-aws.log").open("wb") as log:
        process = children.start(
            server.python,
            str(EMULATOR),
            environment=_server_environment(server, port, token),
            output=log,
            directory=directory,
            working_directory=directory,
            # The server holds the lock on the state as long as it runs, even if this process is killed.
            pass_fds=[] if server.lock is None else [server.lock],
        )
    aws = LocalAws(f"http://{HOST}:{port}", directory, process)
    try:
        _await_healthy(aws, token, server.timeouts.start_s)
    except BaseException:
        children.stop(process, server.timeouts.stop_s)
        raise
    return aws


def _check_free(server: _Server, port: int) -> None:
    if not server.is_free(port):
        raise PortTakenError(
            f"Port {port} on {HOST} is taken. Stop the process that listens there, or choose another port with --port"
        )


def _server_environment(server: _Server, port: int, token: str) -> dict[str, str]:
    """Keep few of our own variables: the server reads dozens of them and passes them to every Lambda function."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    ours = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "MINISTACK_REGION": REGION,
        "MINISTACK_EDITION": token,  # The health page shows it, which proves that our own server answers.
        "IOT_MTLS_ENABLED": "0",  # Else the server would listen on every interface.
        "SFTP_ENABLED": "0",  # Else it would do that too.
        "DOCKER_HOST": f"unix://{server.directory}/no-docker",  # Else it looks for containers to clean up.
        "TMPDIR": str(server.directory),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LOG_LEVEL": "WARNING",
    }
    if server.state:
        ours |= {
            "PERSIST_STATE": "1",
            "STATE_DIR": str(server.state / "services"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(server.state / "s3"),
        }
    if server.wait_scale is not None:
        ours["SFN_WAIT_SCALE"] = str(server.wait_scale)
    return kept | ours


def _await_healthy(aws: LocalAws, token: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if aws.process.poll() is not None:
            tail = _tail(aws.log_path)
            if "already in use" in tail:
                raise PortTakenError(f"{aws.endpoint} was taken by another process")
            raise DeployError(
                f"The local AWS ended with exit code {aws.process.returncode} before it was ready:\n{tail}"
            )
        with contextlib.suppress(OSError, ValueError):  # It does not listen yet, or another server answers.
            health = opener.open(f"{aws.endpoint}/_ministack/health", timeout=5)
            with health:
                if json.load(health).get("edition") == token:
                    return
        time.sleep(POLL_S)
    raise DeployError(f"The local AWS was not ready within {timeout_s:.0f} s:\n{_tail(aws.log_path)}")


@contextlib.contextmanager
def _locked(state: Path, timeouts: Timeouts, waiting: Waiting) -> Iterator[int]:
    """Lock `state`; yields the lock's file descriptor. Raises `DeployError` if another run holds the lock."""
    state.mkdir(parents=True, exist_ok=True)
    path = state / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not take_lock(descriptor):
            holder = path.read_text(encoding="ascii").strip() or "unknown"
            whose, limit_s = f"another run (process {holder})", timeouts.lock_s
            if not is_running(holder):
                whose, limit_s = f"the local AWS of a killed run (process {holder})", timeouts.orphan_s
            with waiting(f"Waiting for {whose} to end, at most {limit_s:.0f} s"):
                await_lock(descriptor, limit_s, whose, state)
        text = f"{os.getpid()}\n".encode()
        os.pwrite(descriptor, text, 0)
        os.ftruncate(descriptor, len(text))
        yield descriptor
    finally:
        os.close(descriptor)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:]) or "  (its log is empty)"
