"""
Types of the fixtures in conftest.py: a deployed stack and worker processes.

    def test_a_bare_order_id_is_fulfilled(stack: DeployedStack, start_worker: StartWorker) -> None:
        worker = start_worker("fulfillment")
        stack.client("sqs").send_message(QueueUrl=stack.outputs["OrderFulfillmentQueueUrl"], MessageBody="001")
        worker.wait_for("message.acknowledged")
"""

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deploy.local.aws import ROOT, LocalAws
from tests import forked

POLL_S = 0.05
# For `free_port`. Another run at the same time begins elsewhere.
FIRST_PORT, PORTS_PER_PROCESS = 12_000, 500
STOP_TIMEOUT_S = 60.0
# For a worker's environment: it keeps its queue's visibility timeout even below 30 s. See `tests.short_visibility`.
SHORT_VISIBILITY = {"SHORT_VISIBILITY": "yes"}
# A bundle of one certificate. The local AWS uses no TLS, but each client of the SDK reads its bundle, and reading the
# SDK's own six times, with 150 certificates, is half of the CPU time of a worker's start.
CA_BUNDLE = {"AWS_CA_BUNDLE": str(ROOT / "tests" / "no_ca.pem")}
_ports = itertools.count(random.SystemRandom().randrange(PORTS_PER_PROCESS))


@dataclass(frozen=True, slots=True)
class DeployedStack:
    """The stack of deploy/pipeline.yaml on the local AWS. `outputs` are the template's outputs, by name."""

    local_aws: LocalAws
    name_prefix: str
    outputs: Mapping[str, str]

    @property
    def order_table(self) -> str:
        return self.outputs["OrderTableName"]

    @property
    def escalation_table(self) -> str:
        return self.outputs["EscalationTableName"]

    @property
    def order_fulfillment_queue_url(self) -> str:
        return self.outputs["OrderFulfillmentQueueUrl"]

    @property
    def escalation_queue_url(self) -> str:
        return self.outputs["EscalationQueueUrl"]

    @property
    def order_fulfillment_dlq_url(self) -> str:
        return self.outputs["OrderFulfillmentDLQUrl"]

    @property
    def escalation_dlq_url(self) -> str:
        return self.outputs["EscalationDLQUrl"]

    @property
    def state_machine_arn(self) -> str:
        return self.outputs["StateMachineArn"]

    def client(self, service: str) -> Any:
        """Build a boto3 client for the local AWS of this stack."""
        return self.local_aws.client(service)

    def worker_environment(self) -> dict[str, str]:
        """Return the variables that a worker needs for this stack: access to the local AWS, and resource names."""
        return (
            self.local_aws.environment
            | CA_BUNDLE
            | {
                "ORDER_TABLE": self.outputs["OrderTableName"],
                "ESCALATION_TABLE": self.outputs["EscalationTableName"],
                "ORDER_FULFILLMENT_QUEUE": self.outputs["OrderFulfillmentQueueName"],
                "ESCALATION_QUEUE": self.outputs["EscalationQueueName"],
            }
        )


@dataclass(frozen=True, slots=True)
class Worker:
    """A process `python -m workers <name>`. Its output, JSON lines, goes to `log_path`."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines so far, without lines that are not JSON objects (see `output` for all)."""
        parsed = []
        for line in self.output().splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                parsed.append(value)
        return parsed

    def output(self) -> str:
        """Return the output of the process so far, standard error included."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, event: str, *, timeout_s: float = 60.0, **fields: Any) -> dict[str, Any]:
        """
        Wait for the first log line with this *event* and these *fields*, and return it.

        Raises `AssertionError` with the end of the log after *timeout_s*, or if the process ends without such a line.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None  # Checked before reading: the process may end with its last line.
            for line in self.lines():
                if line.get("event") == event and all(line.get(name) == value for name, value in fields.items()):
                    return line
            if ended or time.monotonic() > deadline:
                state = f"ended with {self.process.returncode}" if ended else f"wrote none within {timeout_s} s"
                raise AssertionError(
                    f"No {event} {fields or ''}: the worker {state}. Its log:\n{self.output()[-4000:]}"
                )
            time.sleep(POLL_S)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the process ends by itself; return its exit code."""
        return self.process.wait(timeout_s)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Send SIGTERM and wait; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> int:
        """Send SIGKILL and wait; return the exit code (-9)."""
        self.process.kill()
        return self.process.wait(STOP_TIMEOUT_S)


class DeployStack(Protocol):
    """`deploy_stack("my-test-")`: a separate stack on the session's local AWS."""

    def __call__(self, name_prefix: str) -> DeployedStack: ...


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


def eventually(holds: Callable[[], bool], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Wait until *holds* returns true. Raises `AssertionError` after *timeout_s*."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not true within {timeout_s} s"
        time.sleep(POLL_S)


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
