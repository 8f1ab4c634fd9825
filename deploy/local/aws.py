"""
The local AWS: ministack in its own virtual environment, on loopback, started, awaited and stopped by us.

    with local_aws() as aws:
        aws.client("sqs").list_queues()
        subprocess.run([...], env=aws.environment)

Nothing here can reach a real account: clients and child processes get the loopback endpoint and dummy credentials, and
none of the `AWS_*` variables, profiles and files of the person who runs it.
"""

import contextlib
import fcntl
import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.errors import DeployError
from deploy.local import children, sdk
from deploy.local.sdk import HOST, REGION

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-local-aws" / "bin" / "python"
# The port that people's scripts for local AWS emulators expect; taken where it is free.
DEFAULT_PORT = 4566

START_TIMEOUT_S = 60.0  # 0.6 s on an idle machine; a cold cache on a busy one takes many times that.
STOP_TIMEOUT_S = 15.0  # Open connections get 3 s, then the state is saved.
POLL_S = 0.05
LOCK_WAIT_S = 3.0  # A killed run's server still saves its state for a moment.
PORT_ATTEMPTS = 5
LOG_TAIL_LINES = 15


class PortTakenError(DeployError):
    """Something else listens where the local AWS was asked to."""


@dataclass(frozen=True, slots=True)
class LocalAws:
    """A running local AWS. `directory` holds its log and temporary files and goes with it."""

    endpoint: str
    directory: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log_path(self) -> Path:
        return self.directory / "local-aws.log"

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a child process that is to use this local AWS and nothing else."""
        return sdk.environment(self.endpoint)

    def client(self, service: str) -> Any:
        """Build a boto3 client for this local AWS, whatever `AWS_*` variables and profiles the caller has."""
        return sdk.client(service, self.endpoint)

    def wait(self) -> None:
        """Block until it ends by itself, which it should not: then raises `DeployError` with the end of its log."""
        self.process.wait()
        raise DeployError(f"The local AWS has ended (exit code {self.process.returncode}):\n{_tail(self.log_path)}")


@contextlib.contextmanager
def local_aws(
    *,
    state: Path | None = None,
    port: int | None = None,
    preferred_port: int | None = None,
    wait_scale: float | None = None,
) -> Iterator[LocalAws]:
    """
    Run a local AWS for the length of the block.

    `state` is a directory that keeps everything for the next time (without it nothing is kept); `port` is the one to
    listen on, or else `preferred_port` where it is free, or else any free one; `wait_scale` shortens the waits and
    retries of state machines (0.02: a second takes 20 ms).

    Raises `DeployError` with the end of its log where it does not come up, `PortTakenError` where `port` is not free.
    """
    if not PYTHON.exists():
        raise DeployError(f"The local AWS is not installed ({PYTHON} is missing). Run: make setup")
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(_locked(state)) if state else None
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="local-aws-", ignore_cleanup_errors=True))
        )
        server = _Server(directory=directory, state=state, lock=lock, wait_scale=wait_scale)
        aws = _start(server, port) if port else _start_on_a_free_port(server, preferred_port)
        try:
            yield aws
        finally:
            children.stop(aws.process, STOP_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class _Server:
    """What a server process is started with, whichever port it gets."""

    directory: Path
    state: Path | None
    lock: int | None
    wait_scale: float | None


def _start_on_a_free_port(server: _Server, preferred_port: int | None) -> LocalAws:
    taken: PortTakenError | None = None
    for attempt in range(PORT_ATTEMPTS):
        try:
            return _start(server, preferred_port if preferred_port and attempt == 0 else _free_port())
        except PortTakenError as error:  # Somebody was faster between our look and its bind.
            taken = error
    raise DeployError("No free port for the local AWS") from taken


def _start(server: _Server, port: int) -> LocalAws:
    if not _is_free(port):
        raise PortTakenError(f"Port {port} on {HOST} is taken. Stop what listens there, or choose another with --port")
    directory = server.directory
    token = secrets.token_hex(8)
    with (directory / "local-aws.log").open("wb") as log:
        process = children.start(
            PYTHON,
            "ministack",
            environment=_server_environment(server, port, token),
            output=log,
            directory=directory,
            working_directory=directory,
            # The lock on the state lasts as long as the server, even where we are killed.
            pass_fds=[] if server.lock is None else [server.lock],
        )
    aws = LocalAws(f"http://{HOST}:{port}", directory, process)
    try:
        _await_healthy(aws, token)
    except BaseException:
        children.stop(process, STOP_TIMEOUT_S)
        raise
    return aws


def _server_environment(server: _Server, port: int, token: str) -> dict[str, str]:
    """Built from nothing: the server reads dozens of variables, and hands its own environment on to every function."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    ours = {
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_HOST": HOST,
        "MINISTACK_REGION": REGION,
        "MINISTACK_EDITION": token,  # Its health page shows it: so we know that it is ours that answers.
        "IOT_MTLS_ENABLED": "0",  # Would listen on every interface.
        "SFTP_ENABLED": "0",  # The same.
        "DOCKER_HOST": f"unix://{server.directory}/no-docker",  # It would look for containers to clean up.
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


def _await_healthy(aws: LocalAws, token: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline:
        if aws.process.poll() is not None:
            tail = _tail(aws.log_path)
            if "already in use" in tail:
                raise PortTakenError(f"{aws.endpoint} was taken by something else")
            raise DeployError(
                f"The local AWS ended with exit code {aws.process.returncode} before it was ready:\n{tail}"
            )
        with contextlib.suppress(OSError, ValueError):  # Not there yet, or something else that answers there.
            health = opener.open(f"{aws.endpoint}/_ministack/health", timeout=5)
            with health:
                if json.load(health).get("edition") == token:
                    return
        time.sleep(POLL_S)
    raise DeployError(f"The local AWS was not ready within {START_TIMEOUT_S:.0f} s:\n{_tail(aws.log_path)}")


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[int]:
    """Hold `state` for ourselves; yields the lock's file descriptor. Raises `DeployError` where another run has it."""
    state.mkdir(parents=True, exist_ok=True)
    path = state / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    holder = path.read_text(encoding="ascii").strip() or "unknown"
                    raise DeployError(
                        f"Another run (process {holder}) is using the state in {state}. Stop it first (Ctrl-C there)."
                    ) from error
                time.sleep(POLL_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:]) or "  (its log is empty)"
