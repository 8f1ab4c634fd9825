"""
Types of the fixtures in conftest.py: a deployed stack and worker processes.

    def test_a_bare_order_id_is_fulfilled(stack: DeployedStack, start_worker: StartWorker) -> None:
        worker = start_worker("fulfillment")
        stack.client("sqs").send_message(QueueUrl=stack.outputs["OrderFulfillmentQueueUrl"], MessageBody="001")
        worker.wait_for("message.acknowledged")
"""

import contextlib
import itertools
import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from deploy.local.aws import ROOT
from tests import forked
from workers.testing.stack import CA_BUNDLE
from workers.testing.stack import Stack as DeployedStack
from workers.testing.worker import Worker

__all__ = ["CA_BUNDLE", "DeployedStack", "Worker"]

MIN_POLL_S, MAX_POLL_S = 0.02, 0.25
# For `free_port`. Another run at the same time begins elsewhere.
FIRST_PORT, PORTS_PER_PROCESS = 12_000, 500
STOP_TIMEOUT_S = 60.0
# For a worker's environment: it keeps its queue's visibility timeout even below 30 s. See `tests.short_visibility`.
SHORT_VISIBILITY = {"SHORT_VISIBILITY": "yes"}
_ports = itertools.count(random.SystemRandom().randrange(PORTS_PER_PROCESS))


class DeployStack(Protocol):
    """`deploy_stack("my-test-", StuckAfterMinutes="30")`: a separate stack on the session's local AWS."""

    def __call__(self, name_prefix: str, **parameters: str) -> DeployedStack: ...


class StartWorker(Protocol):
    """
    `start_worker("fulfillment", env={"LOG_LEVEL": "DEBUG"})`: a worker on the session's stack or on `stack`.

    For a worker of your own, it is the whole command: `start_worker("run returns:handle --queue Returns")`.
    """

    def __call__(
        self, name: str, *, stack: DeployedStack | None = None, env: Mapping[str, str] | None = None
    ) -> Worker: ...


def run_worker(name: str, environment: Mapping[str, str], log_path: Path) -> Worker:
    """Start a worker process with exactly this environment. The caller must end it."""
    module = "tests.short_visibility" if SHORT_VISIBILITY.items() <= environment.items() else "workers"
    with log_path.open("ab") as log:
        process = forked.Popen(
            ["-m", module, *name.split()],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return Worker(process, log_path)


def polls(timeout_s: float) -> Iterator[None]:
    """
    Yield until *timeout_s* have passed, at first often: the pauses are a tenth of the time since the begin.

    So what comes soon is soon seen, and what takes seconds is not asked for all the time, on a machine that is busy.
    """
    began_s = time.monotonic()
    while (elapsed_s := time.monotonic() - began_s) < timeout_s:
        yield
        time.sleep(min(MAX_POLL_S, max(MIN_POLL_S, elapsed_s / 10)))


def eventually(holds: Callable[[], bool], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Wait until *holds* returns true. Raises `AssertionError` after *timeout_s*."""
    assert any(holds() for _ in polls(timeout_s)), f"not true within {timeout_s} s"


def is_running(pid: int) -> bool:
    """Return whether a process with this id exists and is not a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return (
        not status.exists() or status.read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0] != "Z"
    )


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that these have started, and so on."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{each}/task/{each}/children").read_text(encoding="ascii")
            found.extend(map(int, children.split()))
    return found[1:]


def free_port() -> int:
    """
    Return a loopback port that is free now, and will be when a test listens on it.

    It is below the ports that the system gives to connections, and no other process of the same test run gets it.
    """
    while True:
        port = FIRST_PORT + PORTS_PER_PROCESS * _process_number() + next(_ports) % PORTS_PER_PROCESS
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port


def _process_number() -> int:
    """Return which of the processes of `pytest -n` this is."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
