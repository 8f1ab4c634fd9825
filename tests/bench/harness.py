"""Starts the stub and the consumers, and measures one of them at a time."""

import http.client
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from deploy.local import children, sdk
from deploy.local.aws import ROOT

if TYPE_CHECKING:
    from subprocess import Popen

    Process = Popen[bytes]

QUEUE = "OrderFulfillmentQueue"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1
IN_FLIGHT = 200  # Orders that may be fulfilled but not acknowledged yet: all slots, and some more.


class BenchError(Exception):
    """A useless measurement: the consumer ended, or did not do its work."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how many times to measure."""

    rounds: int
    settle_s: float
    window_s: float
    latency_window_s: float
    per_second: float
    idle_window_s: float
    idle_wait_s: int = 20


FULL = Plan(rounds=5, settle_s=0.7, window_s=3.0, latency_window_s=7.0, per_second=20, idle_window_s=40)
QUICK = Plan(rounds=2, settle_s=0.4, window_s=1.2, latency_window_s=3.0, per_second=20, idle_window_s=20)


@dataclass(frozen=True, slots=True)
class Subject:
    """A consumer to measure: a number of processes `python -m module arguments`, which consume `load`."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    processes: int = 1
    load: str = "messages"


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one measurement of one subject."""

    seconds: float
    deleted: int
    fulfilled: int
    requests: Mapping[str, int]
    client_cpu_s: float
    stub_cpu_s: float
    peak_memory_mb: float
    latencies_ms: Sequence[float] = ()

    @property
    def per_second(self) -> float:
        return self.deleted / self.seconds

    @property
    def cpu_s_per_1000(self) -> float:
        return 1000 * self.client_cpu_s / self.deleted

    @property
    def requests_per_message(self) -> float:
        return sum(self.requests.values()) / self.deleted

    @property
    def requests_per_minute(self) -> float:
        return 60 * sum(self.requests.values()) / self.seconds

    @property
    def stub_busy(self) -> float:
        return self.stub_cpu_s / self.seconds

    def latency_ms(self, percentile: int) -> float:
        return statistics.quantiles(self.latencies_ms, n=100, method="inclusive")[percentile - 1]


@dataclass(frozen=True, slots=True)
class Stub:
    """The running stub: its URL, and a temporary directory for logs."""

    endpoint: str
    directory: Path

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            directory = Path(name)
            output = directory / "stub.log"
            with _Command("tests.bench.stub", (), _environment(), output).running() as process:
                deadline = time.monotonic() + START_TIMEOUT_S
                while not (line := output.read_text(encoding="utf-8")).endswith("\n"):
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise BenchError(f"the stub does not start:\n{line}")
                    time.sleep(POLL_S)
                yield cls(line.strip(), directory)

    def command(self, command: str, **parameters: Any) -> Any:
        address = urlsplit(self.endpoint)
        assert address.hostname is not None
        connection = http.client.HTTPConnection(address.hostname, address.port, timeout=START_TIMEOUT_S)
        try:
            connection.request("POST", f"/_stub/{command}", json.dumps(parameters))
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise BenchError(f"the stub refuses {command}: {body}")
        return body


def measure(
    stub: Stub,
    subject: Subject,
    *,
    settle_s: float,
    seconds: float,
    wait_s: int = 20,
    per_second: float = 0,
    stop_s: float = 0,
) -> Reading:
    """
    Measure *subject* on *stub* for *seconds*, from *settle_s* after its first delete (idle: after its first receive).

    Raises:
        BenchError: The subject ended, did nothing, or acknowledged orders that it had not fulfilled.
    """
    stub.command("reset")
    latencies = stub.directory / "latencies.json"
    arguments = (*subject.arguments, "--latencies", str(latencies)) if subject.load == "trickle" else subject.arguments
    environment = _environment() | sdk.exports(stub.endpoint) | {"WORKER_WAIT_S": str(wait_s)}
    log = stub.directory / f"{subject.name}.log"
    for left in (log, latencies):
        left.unlink(missing_ok=True)
    if subject.load == "trickle":
        stop_s = STOP_TIMEOUT_S  # It writes its latencies. The others are killed, which is faster.
    command = _Command(subject.module, arguments, environment, log, stop_s)
    with ExitStack() as running:
        processes = [running.enter_context(command.running()) for _ in range(subject.processes)]
        pids = [process.pid for process in processes]
        idle = subject.load == "idle"
        stub.command("measure", seconds=seconds, settle_s=settle_s, opens_on_receive=idle, pids=pids)
        if subject.load == "trickle":
            stub.command("trickle", queue=QUEUE, per_second=per_second)
        elif not idle:
            stub.command("backlog", queue=QUEUE, of=subject.load)
        window = _await_window(stub, subject, processes, log, START_TIMEOUT_S + settle_s + seconds)
        peak_mb = max(_peak_memory_mb(pid) for pid in pids)
    if subject.load == "orders" and window["fulfilled"] < window["deleted"] - IN_FLIGHT:
        raise BenchError(f"{subject.name} acknowledged {window['deleted']} but fulfilled {window['fulfilled']}")
    if not idle and not window["deleted"]:
        raise BenchError(f"{subject.name} did nothing:\n{_tail(log)}")
    return Reading(
        seconds=window["seconds"],
        deleted=window["deleted"],
        fulfilled=window["fulfilled"],
        requests=window["requests"],
        client_cpu_s=window["client_cpu_s"],
        stub_cpu_s=window["stub_cpu_s"],
        peak_memory_mb=peak_mb,
        latencies_ms=_latencies_ms(latencies, window) if subject.load == "trickle" else (),
    )


def _environment() -> dict[str, str]:
    """Return the caller's environment without settings of AWS and of ours: the benchmark measures the defaults."""
    settings = ("AWS_", "WORKER_", "LOG_", "ORDER_", "ESCALATION_", "FULFILLMENT_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    return kept | {"PYTHONPATH": str(ROOT), "NO_PROXY": sdk.HOST, "no_proxy": sdk.HOST}


def _await_window(
    stub: Stub, subject: Subject, processes: Sequence["Process"], log: Path, timeout_s: float
) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while (window := stub.command("window")) is None:
        if any(process.poll() is not None for process in processes):
            raise BenchError(f"{subject.name} ended:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise BenchError(f"{subject.name} does not start to work:\n{_tail(log)}")
        time.sleep(POLL_S)
    assert isinstance(window, dict)
    return window


@dataclass(frozen=True, slots=True)
class _Command:
    """A process to start, and how long it may take to stop before it is killed."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_s: float = STOP_TIMEOUT_S

    @contextmanager
    def running(self) -> Iterator["Process"]:
        with self.log.open("ab") as output:
            process = children.start(
                Path(sys.executable),
                self.module,
                self.arguments,
                environment=self.environment,
                output=output,
                directory=self.log.parent,
                working_directory=ROOT,
            )
        try:
            yield process
        finally:
            children.stop(process, self.stop_s)


def _peak_memory_mb(pid: int) -> float:
    """Return the largest resident memory of a process so far, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"process {pid} ended")


def _latencies_ms(path: Path, window: Mapping[str, Any]) -> list[float]:
    """Return the time from sending to handling of the messages sent within the window."""
    opened_ns = window["opened_at_ns"]
    closed_ns = opened_ns + int(window["seconds"] * 1e9)
    pairs = json.loads(path.read_text(encoding="ascii"))
    return [(handled - sent) / 1e6 for sent, handled in pairs if opened_ns <= sent <= closed_ns]


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
