"""Measures one consumer at a time on the stub."""

import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from tests.bench.loads import ARRIVALS_PER_S, Load
from tests.bench.network import Mode, Network, networks
from tests.bench.processes import STOP_TIMEOUT_S, BenchError, Command, environment, peak_memory_mb, tail
from tests.bench.stub import PROVIDER, TRACES
from tests.bench.window import Event
from workers.testing import sdk

if TYPE_CHECKING:
    from tests.bench.processes import Process

START_TIMEOUT_S = 60.0
TIMEOUT_S = 180.0  # For one measurement. All of them take much less, unless something is wrong.
POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how many times to measure, and how far away AWS is in each mode."""

    rounds: int
    settle_s: float
    window_s: float
    latency_window_s: float
    idle_window_s: float
    # Deletes before a consumer of an endless backlog settles: twice the hundred messages that most handle at a time.
    warm_up: int = 200
    per_second: float = 20  # Messages of the load `TRICKLE`.
    idle_wait_s: int = 20
    drained: int = 10_000  # Orders of the load `DRAIN`.
    quiet_s: float = 10.0  # How long requests are counted after it.
    arrivals_s: float = 20.0  # How long orders of the load `ARRIVALS` arrive.
    at_once: int = 1  # Measurements at a time. More than one makes the figures meaningless.
    networks: Mapping[Mode, Network] = field(default_factory=networks)


FULL = Plan(rounds=3, settle_s=0.8, window_s=2.0, latency_window_s=15.0, idle_window_s=40)
QUICK = Plan(rounds=1, settle_s=0.5, window_s=1.2, latency_window_s=3.0, idle_window_s=20, drained=3000, arrivals_s=6)


@dataclass(frozen=True, slots=True)
class Subject:
    """
    A consumer to measure: processes `python -m <command>`, which consume *load* as near to AWS as *mode* says.

    *traced* is the share of the messages that it traces; None if tracing is off.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    load: Load
    mode: Mode = Mode.LOOPBACK
    traced: float | None = None

    @property
    def full_name(self) -> str:
        return self.name if self.mode is Mode.LOOPBACK else f"{self.name} {self.mode}"


@dataclass(frozen=True, slots=True)
class Reading:
    """The result of one measurement of one subject."""

    seconds: float
    deleted: int
    requests: Mapping[str, int]
    client_cpu_s: float
    stub_cpu_s: float
    peak_memory_mb: float
    acknowledged_p99_ms: float  # From the answer of a receive to the delete.
    quiet_requests: int
    arrivals_s: float
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
    def arrivals_ratio(self) -> float:
        """The time in which arriving orders were settled, as a multiple of the time in which they arrived."""
        return self.seconds / self.arrivals_s

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
            with Command("tests.bench.stub", (), environment(), output).running() as process:
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


def measure(stub: Stub, subject: Subject, plan: Plan, *, stop_s: float = 0) -> Reading:
    """
    Measure *subject* on *stub*. It has *stop_s* to stop; 0, the fastest, kills it.

    Raises:
        BenchError: The subject ended, did nothing, or acknowledged orders that it had not settled.
    """
    stub.command("reset", network=asdict(plan.networks[subject.mode]))
    log = stub.directory / f"{subject.full_name}.log"
    latencies = stub.directory / "latencies.json"
    for left in (log, latencies):
        left.unlink(missing_ok=True)
    wait_s = str(plan.idle_wait_s if subject.load is Load.IDLE else 20)
    variables = environment() | sdk.exports(stub.endpoint) | {"WORKER_WAIT_S": wait_s}
    if subject.load is Load.SHIPMENTS:
        variables |= {"FULFILLMENT_PROVIDER": "http", "FULFILLMENT_URL": f"{stub.endpoint}{PROVIDER}"}
    if subject.traced is not None:
        variables |= {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"{stub.endpoint}{TRACES}",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(subject.traced),
        }
    more: tuple[str, ...] = ()
    if subject.load is Load.TRICKLE:
        more = ("--latencies", str(latencies))
        stop_s = STOP_TIMEOUT_S  # It writes its latencies when it stops.
    with ExitStack() as running:
        processes = [
            running.enter_context(Command(module, (*arguments, *more), variables, log, stop_s).running())
            for module, *arguments in subject.commands
        ]
        pids = [process.pid for process in processes]
        _begin(stub, subject, plan, pids)
        window = _await_window(stub, subject, processes, log)
        peak_mb = max(peak_memory_mb(pid) for pid in pids)
    if window["unsettled"]:
        raise BenchError(
            f"{subject.full_name} acknowledged {window['unsettled']} of {window['deleted']} orders before it had "
            "settled them"
        )
    if subject.load is not Load.IDLE and not window["deleted"]:
        raise BenchError(f"{subject.full_name} did nothing:\n{tail(log)}")
    return Reading(
        seconds=window["seconds"],
        deleted=window["deleted"],
        requests=window["requests"],
        client_cpu_s=window["client_cpu_s"],
        stub_cpu_s=window["stub_cpu_s"],
        peak_memory_mb=peak_mb,
        acknowledged_p99_ms=window["acknowledged_p99_ms"],
        quiet_requests=sum(window["quiet_requests"].values()),
        arrivals_s=plan.arrivals_s,
        latencies_ms=_latencies_ms(latencies, window) if subject.load is Load.TRICKLE else (),
    )


def _begin(stub: Stub, subject: Subject, plan: Plan, pids: Sequence[int]) -> None:
    """Prepare the window, then the load."""
    match subject.load:
        case Load.IDLE:
            stub.command("measure", opens_on=Event.RECEIVE, pids=pids, seconds=plan.idle_window_s)
        case Load.TRICKLE:
            seconds = plan.latency_window_s
            stub.command("measure", opens_on=Event.DELETE, pids=pids, seconds=seconds, settle_s=plan.settle_s)
            stub.command("trickle", per_second=plan.per_second)
        case Load.DRAIN:
            quiet_s = plan.quiet_s
            stub.command("measure", opens_on=Event.DELETE, pids=pids, expected=plan.drained, quiet_s=quiet_s)
            stub.command("fill", number=plan.drained)
        case Load.ARRIVALS:
            number = round(plan.arrivals_s * ARRIVALS_PER_S)
            stub.command("measure", opens_on=Event.SEND, pids=pids, expected=number)
            stub.command("arrive", number=number)
        case _:
            stub.command(
                "measure",
                opens_on=Event.DELETE,
                opens_after=plan.warm_up,
                pids=pids,
                seconds=plan.window_s,
                settle_s=plan.settle_s,
            )
            stub.command("backlog", load=subject.load)


def _await_window(stub: Stub, subject: Subject, processes: Sequence["Process"], log: Path) -> dict[str, Any]:
    started_s = time.monotonic()
    while (window := stub.command("window")) is None:
        if any(process.poll() is not None for process in processes):
            raise BenchError(f"{subject.full_name} ended:\n{tail(log)}")
        if time.monotonic() - started_s > TIMEOUT_S:
            raise BenchError(f"{subject.full_name} does not start, or does not finish:\n{tail(log)}")
        time.sleep(POLL_S)
    assert isinstance(window, dict)
    return window


def _latencies_ms(path: Path, window: Mapping[str, Any]) -> list[float]:
    """Return the time from sending to handling of the messages sent within the window."""
    opened_ns = window["opened_at_ns"]
    closed_ns = opened_ns + int(window["seconds"] * 1e9)
    pairs = json.loads(path.read_text(encoding="ascii"))
    return [(handled - sent) / 1e6 for sent, handled in pairs if opened_ns <= sent <= closed_ns]
