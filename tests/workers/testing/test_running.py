"""Starting a worker: what is passed on, and what is refused before a process starts."""

import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import pytest

from tests.workers.testing.fakes import ENDPOINT, OUTPUTS, STACK
from workers.testing import running
from workers.testing.sdk import Endpoint
from workers.testing.stack import variables
from workers.testing.tree import python_path
from workers.testing.worker import Worker


def test_settings_may_be_numbers_and_switches() -> None:
    env: running.Environment = {"A": 3, "B": 0.5, "C": "text", "D": Path("/x"), "E": True}
    assert running._settings("escalation", env) == {"A": "3", "B": "0.5", "C": "text", "D": "/x", "E": "true"}


@pytest.mark.parametrize("value", [None, ["a"], b"a", Decimal(1)])
def test_another_value_is_refused_with_its_name(value: object) -> None:
    line = f"start_worker('escalation'): env WORKER_CONCURRENCY is {value!r}, must be a text or a number"
    with pytest.raises(TypeError, match=re.escape(line)):
        running._settings("escalation", {"WORKER_CONCURRENCY": value})


class Process:
    """A worker that ends as soon as it is asked to, unless it hangs. Its steps are recorded."""

    pid = 7

    def __init__(self, steps: list[Any], *, hangs: bool = False) -> None:
        self.returncode: int | None = None
        self._steps, self._hangs = steps, hangs

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self._steps.append("terminate")

    def wait(self, timeout_s: float) -> int:
        self._steps.append(("wait", timeout_s))
        if self._hangs:
            raise subprocess.TimeoutExpired("worker", timeout_s)
        self.returncode = 0
        return 0


@dataclass
class Bench:
    """Workers of a test that start no process. `steps` has what was done with their processes."""

    directory: Path
    output: str = ""
    hangs: bool = False
    steps: list[Any] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    queues: dict[str, str] = field(default_factory=lambda: {"Returns": "t-Returns-1"})

    def __post_init__(self) -> None:
        self.running = running.Running(STACK, cast("Any", Names(self.queues)), lambda: self.directory, self.workers)

    def start(self, python: Path, module: str, arguments: list[str], *, output: IO[bytes], **options: Any) -> Process:
        self.steps.append((python, module, arguments, options))
        output.write(self.output.encode())
        return Process(self.steps, hangs=self.hangs)

    def stop(self, process: Process, timeout_s: float) -> None:
        self.steps.append(("stop", timeout_s))
        process.returncode = -9


@dataclass
class Names:
    names: dict[str, str]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def name(self, name: str) -> str:
        return self.names[name]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(tmp_path, output='{"event": "worker.started"}\n')
    monkeypatch.setattr(running, "start", bench.start)
    monkeypatch.setattr(running, "stop", bench.stop)
    monkeypatch.setattr("workers.testing.worker.time.sleep", lambda _: None)
    return bench


def test_a_worker_is_started_on_the_stack_and_without_a_developers_settings(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WORKER_CONCURRENCY", "FULFILLMENT_PROVIDER", "OTEL_TRACES_EXPORTER", "LOG_LEVEL", "SHOP_URL"):
        monkeypatch.setenv(name, "developer's")
    worker = bench.running.start("fulfillment", env={"WORKER_RATE": 5})
    assert bench.workers == [worker]
    assert worker.name == "fulfillment"
    assert worker.log_path == bench.directory / "worker-1.log"
    ((python, module, arguments, options),) = bench.steps
    assert (python, module, arguments) == (Path(sys.executable), "workers", ["fulfillment"])
    environment = options.pop("environment")
    assert options == {"directory": None, "working_directory": Path.cwd()}
    expected = variables(OUTPUTS) | running.DEFAULTS | {"WORKER_RATE": "5", "PYTHONPATH": python_path()}
    expected |= {"SHOP_URL": "developer's", "AWS_ENDPOINT_URL": ENDPOINT}
    assert {name: environment.get(name) for name in expected} == expected
    assert environment.keys().isdisjoint({"WORKER_CONCURRENCY", "FULFILLMENT_PROVIDER", "OTEL_TRACES_EXPORTER"})
    assert (environment["LOG_LEVEL"], environment["WORKER_WAIT_S"]) == ("INFO", "1")


def test_a_worker_reads_a_small_bundle_of_certificates_unless_it_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "a developer's")
    bundle = Path(STACK.worker_environment()["AWS_CA_BUNDLE"])
    assert bundle.read_text(encoding="ascii").count("BEGIN CERTIFICATE") == 1
    assert "AWS_CA_BUNDLE" not in replace(STACK, local_aws=Endpoint("https://aws.test")).worker_environment()


def test_a_worker_of_ones_own_gets_the_full_name_of_its_queue(bench: Bench) -> None:
    bench.running.start("shop.returns:handle", "Returns")
    assert bench.running.start("shop.returns:handle", "Returns").log_path.name == "worker-2.log"
    assert [step[2] for step in bench.steps] == [["run", "shop.returns:handle", "--queue", "t-Returns-1"]] * 2


@pytest.mark.parametrize(
    ("worker", "queue", "problem"),
    [
        ("shop:handle", None, "name its queue, queue=..."),
        ("orders", None, "must be 'fulfillment' or 'escalation', or 'module:handler'"),
        ("escalation", "Returns", "it consumes the queue of the stack, leave queue out"),
    ],
)
def test_a_worker_that_cannot_run_is_refused(bench: Bench, worker: str, queue: str | None, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'start_worker({worker!r}): {problem}')}$"):
        bench.running.start(worker, queue)
    assert bench.steps == bench.workers == []


def test_a_worker_that_does_not_get_ready_fails_and_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(worker: Worker) -> None:
        raise AssertionError(worker.name)

    monkeypatch.setattr(running, "wait_until_ready", refuse)
    with pytest.raises(AssertionError, match=r"^escalation$"):
        bench.running.start("escalation")
    assert bench.workers == []
    assert bench.steps[1:] == [("stop", 0)]


@pytest.mark.parametrize(("level", "ready"), [("INFO", False), ("WARNING", True), ("ERROR", True)])
def test_a_worker_that_says_nothing_is_not_waited_for(bench: Bench, level: str, *, ready: bool) -> None:
    bench.output = ""
    worker = bench.running.start("escalation", env={"LOG_LEVEL": level}, ready=ready)
    assert bench.workers == [worker]


def test_a_line_is_waited_for_by_the_short_name_of_its_queue(bench: Bench) -> None:
    bench.output += '{"event": "message.acknowledged", "queue": "t-Returns-1"}\n{"event": "x.done", "queue": "other"}\n'
    bench.running.start("fulfillment")
    assert bench.running.wait_for("message.acknowledged", queue="Returns")["queue"] == "t-Returns-1"
    assert bench.running.wait_for("x.done", queue="other")["event"] == "x.done"
    with pytest.raises(AssertionError, match=r"^No log line message.acknowledged queue='other' within 0 s"):
        bench.running.wait_for("message.acknowledged", queue="other", timeout_s=0)


def test_what_is_looked_for_is_returned_once_it_is_there(bench: Bench) -> None:
    found = iter([None, None, "", "too late"])
    assert bench.running.wait_until(lambda: next(found), lambda: "", 60) == ""
    with pytest.raises(AssertionError, match=r"^it is not there within 0 s$"):
        bench.running.wait_until(lambda: None, lambda: "it is not there", 0)


@pytest.mark.parametrize("hangs", [False, True])
def test_all_workers_are_stopped_at_once_and_what_is_left_is_killed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    bench.hangs = hangs
    for name in running.OURS:
        bench.running.start(name)
    bench.steps.clear()
    times = iter([100.0, 101.0, 120.0])
    monkeypatch.setattr(running, "time", SimpleNamespace(monotonic=lambda: next(times)))
    bench.running.stop()
    assert bench.steps == ["terminate", "terminate", ("wait", 14.0), ("stop", 0), ("wait", 0.0), ("stop", 0)]


def test_a_stack_names_its_resources() -> None:
    names = (STACK.order_table, STACK.escalation_table, STACK.state_machine_arn)
    assert names == (OUTPUTS["OrderTableName"], OUTPUTS["EscalationTableName"], OUTPUTS["StateMachineArn"])
    urls = [f"{queue}{kind}Url" for queue in ("OrderFulfillment", "Escalation") for kind in ("Queue", "DLQ")]
    assert [OUTPUTS[url] for url in urls] == [
        *(STACK.order_fulfillment_queue_url, STACK.order_fulfillment_dlq_url),
        *(STACK.escalation_queue_url, STACK.escalation_dlq_url),
    ]


def test_a_worker_can_be_stopped_and_killed(tmp_path: Path) -> None:
    steps: list[Any] = []

    def wait(timeout_s: float) -> int:
        steps.append(timeout_s)
        return 3

    process: Any = SimpleNamespace(
        pid=7,
        send_signal=steps.append,
        kill=lambda: steps.append("kill"),
        wait=wait,
    )
    for end, expected in ((lambda worker: worker.stop(5), [signal.SIGTERM, 5]), (Worker.kill, ["kill", 90.0])):
        steps.clear()
        worker = Worker(process, tmp_path / "log", "escalation")
        assert (worker.pid, worker.was_stopped) == (7, False)
        assert end(worker) == 3
        assert steps == expected
        assert worker.was_stopped
