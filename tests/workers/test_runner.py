"""Starting and stopping a worker's process: signals are real ones, sent to a process of its own."""

import asyncio
import contextlib
import gc
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
import structlog

from workers import runner
from workers.aws.sdk.clients import CONNECT_TIMEOUT_S, READ_TIMEOUT_S
from workers.consumer.output import OUTPUT_FULL
from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules
from workers.kinds import Worker
from workers.log_output import LogOutput
from workers.metrics import Metrics
from workers.runner import (
    Status,
    first_error,
    longest_stop_s,
    stop_on_signals,
    tune_garbage_collector,
    unless_stopped,
    watch_output,
)
from workers.settings import Settings
from workers.wiring import make_handler

# Runs on until it is killed or exits by itself; it ignores its cancellation, as a handler may.
STUBBORN = """
import asyncio, sys
from workers import logs
from workers.runner import stop_on_signals

async def run():
    output = logs.configure(level="INFO", as_json=True)
    stop_on_signals(asyncio.Event(), exit_after_s=float(sys.argv[1]), output=output)
    print("ready", flush=True)
    await asyncio.sleep(60)

asyncio.run(run())
"""


@contextlib.contextmanager
def stubborn_process(exit_after_s: float) -> Iterator["subprocess.Popen[bytes]"]:
    """Yield a process that does not stop, once it handles signals. It is killed at the end."""
    command = [sys.executable, "-c", STUBBORN, str(exit_after_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def read_line(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.process
def test_a_process_that_does_not_stop_exits_with_code_1(number: signal.Signals) -> None:
    with stubborn_process(exit_after_s=0.1) as process:
        process.send_signal(number)
        received, failed = read_line(process), read_line(process)
        assert process.wait(10) == 1
    assert (received["event"], received["signal"]) == ("signal.received", number.name)
    assert (failed["event"], failed["level"], failed["reason"]) == (
        *("worker.failed", "critical"),
        "a handler, or what it has opened, does not end although it was cancelled",
    )


@pytest.mark.process
def test_a_second_signal_ends_the_process_at_once() -> None:
    with stubborn_process(exit_after_s=60) as process:
        process.send_signal(signal.SIGINT)
        assert read_line(process)["event"] == "signal.received"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("with_output", [False, True])
async def test_a_process_that_does_not_end_writes_its_lines_and_exits(
    monkeypatch: pytest.MonkeyPatch, *, with_output: bool
) -> None:
    steps, exited = list[Any](), asyncio.Event()

    class Output:
        def flush(self) -> None:
            steps.append("flush")

    def leave(code: int) -> None:
        steps.append(code)
        exited.set()

    monkeypatch.setattr("os._exit", leave)
    stop_on_signals(asyncio.Event(), exit_after_s=0, output=cast("LogOutput", Output()) if with_output else None)
    with structlog.testing.capture_logs() as logs:
        signal.raise_signal(signal.SIGINT)
        await exited.wait()
    assert [line["event"] for line in logs] == ["signal.received", "worker.failed"]
    assert steps == [*(["flush"] if with_output else []), 1]


@pytest.mark.usefixtures("_signals")
async def test_the_first_signal_only_sets_the_event() -> None:
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logs:
        stop_on_signals(stop, exit_after_s=60)
        signal.raise_signal(signal.SIGTERM)
        assert await asyncio.wait_for(stop.wait(), 5)
    after = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert after == [signal.SIG_DFL, signal.SIG_DFL], "a second signal ends the process at once"
    assert logs == [{"event": "signal.received", "log_level": "info", "signal": "SIGTERM"}]


async def test_work_that_ends_before_the_stop_returns_its_result() -> None:
    async def work() -> str:
        return "done"

    assert await unless_stopped(asyncio.Event(), work()) == "done"


async def test_a_stop_cancels_the_work() -> None:
    stop, began, cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> str:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "done"

    waiting = asyncio.create_task(unless_stopped(stop, work()))
    await began.wait()
    stop.set()
    assert await waiting is None
    assert cancelled.is_set(), "it has had the time to close what it was opening"


async def test_an_error_of_the_work_is_raised() -> None:
    async def work() -> str:
        raise FatalError("no queue")

    with pytest.raises(FatalError, match=r"^no queue$"):
        await unless_stopped(asyncio.Event(), work())


def test_the_first_error_of_nested_groups_is_found() -> None:
    first, second = FatalError("first"), FatalError("second")
    nested = ExceptionGroup("stages", [ExceptionGroup("pollers", [ExceptionGroup("poller", [first])]), second])
    assert first_error(cast("ExceptionGroup[FatalError]", nested)) is first
    assert first_error(ExceptionGroup("stages", [second, first])) is second


def test_before_there_is_a_consumer_it_is_healthy_and_not_ready() -> None:
    status = Status()
    assert (status.health(), status.readiness()) == (None, "waiting for AWS")


@pytest.mark.parametrize(
    ("drain_s", "wait_s", "longest_s"),
    [("100", "20", 110.0), ("0", "20", 20 + CONNECT_TIMEOUT_S + READ_TIMEOUT_S + 10)],
)
def test_a_stop_takes_the_drain_time_or_the_last_poll_and_a_margin(drain_s: str, wait_s: str, longest_s: float) -> None:
    settings = Settings.read({"WORKER_DRAIN_S": drain_s, "WORKER_WAIT_S": wait_s})
    assert longest_stop_s(settings) == longest_s


def test_objects_of_the_start_are_never_collected_and_others_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    before, frozen = gc.get_threshold(), list[int]()
    monkeypatch.setattr(gc, "collect", lambda: frozen.append(gc.get_freeze_count()))  # It takes a while.
    gc.set_threshold(700, 11, 12)
    try:
        made: list[list[int]] = [[] for _ in range(10_000)]
        tune_garbage_collector()
        assert gc.get_threshold() == (10_000, 11, 12)
        assert [gc.get_freeze_count() - count >= len(made) for count in frozen] == [True]
    finally:
        gc.set_threshold(*before)  # `unfreeze` would also undo what conftest.py does.


class FakeConsumer:
    """Consumes until the stop, or fails with `error`."""

    handling_s = staticmethod(tuple)

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.begin: Callable[[], None] | None = None  # Instead of setting the stop.
        self.ended = False

    async def run(self, stop: asyncio.Event) -> None:
        if self.error is not None:
            raise self.error
        (self.begin or stop.set)()
        await stop.wait()
        self.ended = True

    def health_problem(self) -> str | None:
        return "sick"

    def readiness_problem(self) -> str | None:
        return "busy"


class World:
    """What `run` opens, in order. `at` is called with each name."""

    def __init__(self, consumer: FakeConsumer) -> None:
        self.consumer = consumer
        self.opened: list[str] = []
        self.stop_at: str | None = None
        self.stop: asyncio.Event | None = None

    def open(self, name: str) -> None:
        self.opened.append(name)
        if name == self.stop_at:
            assert self.stop is not None
            self.stop.set()

    async def fetch_credentials(self, _sdk: object) -> None:
        self.open("credentials")
        await asyncio.sleep(0)

    @contextlib.asynccontextmanager
    async def open_clients(self, *given: object, **_stop: object) -> AsyncIterator[str]:
        (self.metrics,) = (each for each in given if isinstance(each, Metrics))
        self.open("clients")
        try:
            yield "clients"
        finally:
            self.opened.append("clients closed")

    @contextlib.asynccontextmanager
    async def protecting(self, uri: object, _settings: object, handling_s: object, stop: object) -> AsyncIterator[None]:
        assert (uri, handling_s, stop) == (None, self.consumer.handling_s, self.stop)
        self.open("protection")
        yield

    @contextlib.contextmanager
    def loop_watch(self, _count: object) -> Iterator[None]:
        self.open("watch")
        yield

    async def assemble(self, *_given: object, make_handler: object, lines: object) -> FakeConsumer:
        self.lines = lines
        self.open("consumer")
        self.handler_maker = make_handler
        if self.stop_at == "consumer":
            await asyncio.sleep(60)
        return self.consumer

    def stop_on_signals(self, stop: asyncio.Event, *, exit_after_s: float, output: LogOutput | None) -> None:
        self.output = output
        assert exit_after_s == longest_stop_s(Settings.read({}))
        self.stop = stop


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(FakeConsumer())
    for name in ("fetch_credentials", "open_clients", "assemble", "stop_on_signals", "protecting", "loop_watch"):
        monkeypatch.setattr(runner, name, getattr(world, name))
    monkeypatch.setattr(runner, "tune_garbage_collector", lambda: world.open("collector"))
    return world


async def run_worker(worker: Worker = Worker.FULFILLMENT) -> list[str]:
    with structlog.testing.capture_logs() as logs, structlog.contextvars.bound_contextvars():
        await runner.run(worker, Settings.read({}))
    return [line["event"] for line in logs]


async def test_a_worker_starts_runs_until_the_stop_and_closes(world: World) -> None:
    assert await run_worker() == ["worker.starting", "worker.started", "worker.stopped"]
    assert world.opened == [
        *("credentials", "clients", "consumer"),
        *("collector", "protection", "watch", "clients closed"),
    ]
    assert world.consumer.ended
    assert world.handler_maker is make_handler
    labels = {"worker": "fulfillment", "queue": "OrderFulfillmentQueue", "release": ""}
    assert world.metrics.registry.get_sample_value("workers_info", labels) == 1
    assert world.metrics.registry.get_sample_value("workers_tasks") == len(asyncio.all_tasks())


@pytest.mark.usefixtures("world")
async def test_misspelled_settings_are_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_CONCURENCY", "5")
    monkeypatch.setenv("WORKER_SPEED", "fast")
    with structlog.testing.capture_logs() as logs, structlog.contextvars.bound_contextvars():
        await runner.run(Worker.FULFILLMENT, Settings.read({}))
    assert [line for line in logs if line["event"] == "setting.ignored"] == [
        {
            "event": "setting.ignored",
            "log_level": "warning",
            "variable": "WORKER_CONCURENCY",
            "meant": "WORKER_CONCURRENCY",
        },
        {"event": "setting.ignored", "log_level": "warning", "variable": "WORKER_SPEED"},
    ]


@pytest.mark.parametrize(
    ("stop_at", "opened"),
    [("credentials", ["credentials"]), ("consumer", ["credentials", "clients", "consumer", "clients closed"])],
)
async def test_a_worker_that_is_stopped_during_its_start_does_not_run(
    world: World, stop_at: str, opened: list[str]
) -> None:
    world.stop_at = stop_at
    assert await run_worker() == ["worker.starting", "worker.stopped"]
    assert world.opened == opened
    assert not world.consumer.ended


async def test_the_first_fatal_error_of_a_consumer_ends_the_worker(world: World) -> None:
    fatal = FatalError("the queue does not exist")
    world.consumer.error = ExceptionGroup("stages", [ValueError("bug"), ExceptionGroup("poller", [fatal])])
    with pytest.raises(FatalError, match=r"^the queue does not exist$"):
        await run_worker()
    assert world.opened[-1] == "clients closed"


async def test_other_errors_of_a_consumer_are_raised_as_they_are(world: World) -> None:
    world.consumer.error = ExceptionGroup("stages", [ValueError("bug")])
    with pytest.raises(ExceptionGroup, match="stages"):
        await run_worker()


async def test_only_the_escalation_worker_reads_the_rules(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    monkeypatch.setattr(EscalationRules, "read", lambda path, _environ: read.append(path))
    await run_worker(Worker.FULFILLMENT)
    assert read == []
    world.consumer = FakeConsumer()
    await run_worker(Worker.ESCALATION)
    assert read == [None]


async def test_log_lines_of_a_worker_name_it_and_its_queue(world: World) -> None:
    assert world.opened == []
    await runner.run(Worker.ESCALATION, Settings.read({"ESCALATION_QUEUE": "mine"}))
    bound = structlog.contextvars.get_contextvars()
    structlog.contextvars.clear_contextvars()
    assert (bound["worker"], bound["queue"]) == ("escalation", "mine")


async def test_a_worker_whose_output_is_closed_stops_and_fails(world: World) -> None:
    output = LogOutput(len)
    close = output._close
    world.consumer.begin = lambda: threading.Thread(target=close, args=["Broken pipe"]).start()
    with pytest.raises(FatalError, match=r"^standard output cannot be written \(Broken pipe\)$"):
        await runner.run(Worker.FULFILLMENT, Settings.read({}), output=output)
    structlog.contextvars.clear_contextvars()
    assert world.consumer.ended
    assert (world.lines, world.output, world.opened[-1]) == (output, output, "clients closed")


async def test_a_worker_whose_output_is_closed_and_that_does_not_stop_exits_with_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, codes, exited = asyncio.Event(), list[int](), asyncio.Event()

    def leave(code: int) -> None:
        codes.append(code)
        exited.set()

    monkeypatch.setattr("os._exit", leave)
    output = LogOutput(len)
    watch_output(output, Metrics(), stop, exit_after_s=0)
    output._close("Broken pipe")
    await exited.wait()
    assert (stop.is_set(), codes) == (True, [1])


async def test_lines_are_written_from_the_loop_that_watches_the_output() -> None:
    written = list[bytes]()

    def write(data: memoryview) -> int:
        written.append(bytes(data))
        return len(data)

    output = LogOutput(len, write_at_once=write)
    watch_output(output, Metrics(), asyncio.Event(), exit_after_s=60)
    output.put(b"line")
    await asyncio.sleep(0)
    assert written == [b"line\n"]


async def test_dropped_lines_are_counted_and_logged_once_there_is_room() -> None:
    output, metrics = LogOutput(len), Metrics()
    with structlog.testing.capture_logs() as logs, structlog.contextvars.bound_contextvars(worker="escalation"):
        watch_output(output, metrics, asyncio.Event(), exit_after_s=60)
        output._on_dropped()
        output._on_dropped()
        output._on_room(2, 1.5)
    assert logs == [
        {"event": "log_output.recovered", "log_level": "warning", "dropped": 2, "duration_ms": 1500},
    ]
    assert metrics.registry.get_sample_value("workers_log_lines_dropped_total") == 2


def test_a_full_output_is_named_beside_health() -> None:
    output = LogOutput(len)
    status = Status(output=output)
    assert (status.note(), Status().note()) == (None, None)
    output.is_full = True
    assert (status.health(), status.note()) == (None, OUTPUT_FULL)


def test_a_consumer_says_how_it_is() -> None:
    status = Status(cast("Any", FakeConsumer()))
    assert (status.health(), status.readiness()) == ("sick", "busy")


async def test_a_stop_is_not_waited_for_any_longer_once_the_work_has_ended() -> None:
    async def work() -> str:
        return "done"

    await unless_stopped(asyncio.Event(), work())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
