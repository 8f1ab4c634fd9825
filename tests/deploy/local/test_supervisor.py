"""When processes are started again, what is logged, and how they are stopped. The processes are fakes, time virtual."""

import asyncio
import errno
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from deploy.local import supervisor
from deploy.local.supervisor import Process, Program, Supervisor, lines, programs

READY = b'{"event":"worker.started"}\n'
FAILED = b'{"event":"worker.failed","reason":"the queue is gone"}\n'
FULFILLMENT = Program("fulfillment", "exec f", 8081)
ESCALATION = Program("escalation", "exec e", 8082)
CONSOLE = Program("console", "exec c")


class FakeProcess:
    """Prints `output` at once. Ends with `code` after `for_s`, or `stop_s` after it was asked to stop."""

    def __init__(self, pid: int, code: int, for_s: float, output: bytes, stop_s: float) -> None:
        self.pid = pid
        self.code, self.for_s, self.stop_s, self.stop_code = code, for_s, stop_s, 0
        self.signals: list[int] = []
        self.pipe_stays_open = False
        self.reader = asyncio.StreamReader()
        self.reader.feed_data(output)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(for_s, self.end, code)

    def end(self, code: int) -> None:
        if not self.ended.done():
            if not self.pipe_stays_open:
                self.reader.feed_eof()
            self.ended.set_result(code)

    async def wait(self) -> int:
        return await asyncio.shield(self.ended)

    def send_signal(self, signal: int) -> None:
        if self.ended.done():
            raise ProcessLookupError
        self.signals.append(signal)
        if signal == 9:
            self.end(-9)
        else:
            asyncio.get_running_loop().call_later(self.stop_s, self.end, self.stop_code)


@dataclass
class World:
    """Processes to be: for each start of a program the next of its `runs`; after the last, one that runs for ever."""

    runs: dict[str, list[tuple[int, float, bytes]]]
    stop_s: float = 0.5
    stop_code: int = 0
    pipes_stay_open: bool = False  # As if a child of the process had it, too.
    started: list[tuple[str, float]] = field(default_factory=list)
    processes: list[FakeProcess] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    began_s: float = 0.0

    async def start(self, program: Program) -> tuple[Process, asyncio.StreamReader]:
        self.started.append((program.name, round(asyncio.get_running_loop().time() - self.began_s, 1)))
        runs = self.runs.get(program.name, [])
        code, for_s, output = runs.pop(0) if runs else (0, 1e9, READY)
        process = FakeProcess(100 + len(self.started), code, for_s, output, self.stop_s)
        process.stop_code = self.stop_code
        process.pipe_stays_open = self.pipes_stay_open
        self.processes.append(process)
        return process, process.reader


@dataclass
class Result:
    code: int = -1
    took_s: float = 0.0
    logs: Sequence[Mapping[str, Any]] = field(default_factory=list)

    def of(self, event: str) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in line.items() if name != "event" and value is not None}
            for line in self.logs
            if line["event"] == event
        ]


async def supervised(
    world: World,
    *more: Program,
    for_s: float,
    restart: bool = True,
    then: Callable[[Supervisor], None] = Supervisor.stop,
) -> Result:
    """Supervise both programs, and *more*; after `for_s`, do `then`."""
    loop, result = asyncio.get_running_loop(), Result()
    world.began_s = loop.time()
    made = Supervisor([FULFILLMENT, ESCALATION, *more], world.start, restart, world.written.append)
    stopping = loop.call_later(for_s, then, made)
    with structlog.testing.capture_logs() as logs:
        result.code = await made.run()
    stopping.cancel()
    result.logs, result.took_s = logs, loop.time() - world.began_s
    return result


def ended(worker: str, level: str, **more: Any) -> dict[str, Any]:
    return {"worker": worker, "log_level": level, **more}


async def test_a_process_that_is_killed_is_started_again_and_the_other_goes_on() -> None:
    world = World({"fulfillment": [(-9, 20.0, READY)]})
    result = await supervised(world, for_s=30)
    assert world.started == [("fulfillment", 0), ("escalation", 0), ("fulfillment", 21.0)]
    assert result.of("process.ended")[0] == ended("fulfillment", "warning", signal="SIGKILL", ran_s=20.0, restart_s=1.0)
    assert [line["pid"] for line in result.of("process.started")] == [101, 102, 103]
    assert {line["health_url"] for line in result.of("process.started")} == {
        "http://127.0.0.1:8081",
        "http://127.0.0.1:8082",
    }
    assert result.code == 0


async def test_a_process_that_ends_again_and_again_waits_longer_each_time_and_says_why() -> None:
    world = World({"fulfillment": [(1, 1.0, READY + FAILED)] * 8})
    result = await supervised(world, for_s=200)
    lines = result.of("process.ended")[:8]
    assert [line["restart_s"] for line in lines] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert all(line["exit_code"] == 1 and line["reason"] == "the queue is gone" for line in lines)


async def test_the_wait_is_short_again_after_a_long_run() -> None:
    world = World({"fulfillment": [(1, 1.0, READY), (1, 1.0, b""), (1, 60.0, b""), (1, 1.0, b"")]})
    result = await supervised(world, for_s=100)
    assert [line["restart_s"] for line in result.of("process.ended")[:4]] == [1, 2, 1, 2]


async def test_a_process_that_stops_by_itself_is_started_again_too() -> None:
    world = World({"escalation": [(0, 5.0, READY)]})
    result = await supervised(world, for_s=10)
    assert world.started[-1] == ("escalation", 6.0)
    assert result.of("process.ended")[0] == ended("escalation", "warning", exit_code=0, ran_s=5.0, restart_s=1.0)


async def test_a_process_that_cannot_start_ends_all_with_its_reason() -> None:
    world = World({"fulfillment": [(1, 1.24, FAILED)]}, stop_s=0.26)
    result = await supervised(world, for_s=1000)
    assert len(world.started) == 2
    assert result.code == 1
    assert result.of("process.ended") == [
        ended("fulfillment", "error", exit_code=1, ran_s=1.2, reason="the queue is gone"),
        ended("escalation", "info", exit_code=0, ran_s=1.5),
    ]


@pytest.mark.parametrize(
    "first",
    [
        pytest.param((-9, 1.0, b""), id="killed while it starts"),
        pytest.param((0, 1.0, b""), id="has nothing to do"),
        pytest.param((1, 60.0, b""), id="ran for long, although its log level hides that it got ready"),
    ],
)
async def test_other_first_runs_are_no_failed_start(first: tuple[int, float, bytes]) -> None:
    world = World({"fulfillment": [first]})
    assert (await supervised(world, for_s=100)).code == 0
    assert len(world.started) == 3


@pytest.mark.parametrize("restart", [True, False])
@pytest.mark.parametrize("code", [0, 1, 2, -9])
async def test_however_an_optional_program_ends_the_others_go_on_and_it_is_started_again(
    code: int, *, restart: bool
) -> None:
    world = World({"console": [(code, 0.5, b"cannot listen\n")] * 5})
    result = await supervised(world, CONSOLE, for_s=100, restart=restart)
    assert [name for name, _ in world.started] == ["fulfillment", "escalation", *["console"] * 6]
    ends = result.of("process.ended")
    assert [(line["worker"], line.get("restart_s")) for line in ends[:5]] == [
        ("console", wait_s) for wait_s in (1, 2, 4, 8, 16)
    ]
    assert {line["log_level"] for line in ends[:5]} == {"warning"}
    assert result.of("process.printed")[0]["detail"] == "cannot listen"
    assert result.code == 0


async def test_an_optional_program_that_cannot_be_started_ends_nothing() -> None:
    world = World({})

    async def start(program: Program) -> tuple[Process, asyncio.StreamReader]:
        if program is CONSOLE:
            raise OSError(errno.ENOMEM, "no memory")
        return await world.start(program)

    made = Supervisor([FULFILLMENT, CONSOLE], start, restart=True, write=world.written.append)
    asyncio.get_running_loop().call_later(100, made.stop)
    assert await made.run() == 0
    assert [name for name, _ in world.started] == ["fulfillment"]


async def test_an_optional_program_stops_with_the_others() -> None:
    world = World({"fulfillment": [(1, 1.0, FAILED)]}, stop_s=2)
    result = await supervised(world, CONSOLE, for_s=1000)
    assert (result.code, len(world.started), round(result.took_s)) == (1, 3, 3)
    assert [process.signals for process in world.processes] == [[], [signal.SIGTERM], [signal.SIGTERM]]


def test_only_an_optional_program_gets_the_consoles_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSOLE_TOKEN", "secret")
    monkeypatch.delenv("WORKER_HEALTH_PORT", raising=False)
    ours, theirs = supervisor._environment(CONSOLE), supervisor._environment(FULFILLMENT)
    assert (ours["CONSOLE_TOKEN"], "CONSOLE_TOKEN" in theirs) == ("secret", False)
    assert ("WORKER_HEALTH_PORT" in ours, theirs["WORKER_HEALTH_PORT"]) == (False, "8081")


@pytest.mark.parametrize("code", [0, 1, -9])
async def test_without_restart_all_end_with_the_first(code: int) -> None:
    world = World({"escalation": [(code, 5.0, READY)]})
    result = await supervised(world, for_s=1000, restart=False)
    assert (len(world.started), result.code) == (2, 1)
    assert [(line["worker"], line["log_level"]) for line in result.of("process.ended")] == [
        ("escalation", "error"),
        ("fulfillment", "info"),
    ]


@pytest.mark.parametrize("stop_code", [0, -signal.SIGTERM])
async def test_a_stop_asks_all_and_waits_for_them(stop_code: int) -> None:
    world = World({}, stop_s=7.0, stop_code=stop_code)
    result = await supervised(world, for_s=10)
    assert [process.signals for process in world.processes] == [[signal.SIGTERM]] * 2
    assert result.of("processes.stopping") == [
        {"log_level": "info", "processes": ["fulfillment", "escalation"], "at_most_s": 12.0}
    ]
    assert (result.code, round(result.took_s)) == (0, 17)
    assert [line["log_level"] for line in result.of("process.ended")] == ["info"] * 2


async def test_a_process_that_does_not_stop_is_killed_and_that_is_an_error() -> None:
    world = World({}, stop_s=1e6)
    result = await supervised(world, for_s=10)
    assert round(result.took_s) == 22
    assert [line["worker"] for line in result.of("process.killed")] == ["fulfillment", "escalation"]
    assert [(line["signal"], line["log_level"]) for line in result.of("process.ended")] == [("SIGKILL", "error")] * 2


async def test_a_second_stop_kills_at_once() -> None:
    def twice(made: Supervisor) -> None:
        made.stop()
        made.stop()

    world = World({}, stop_s=1e6)
    result = await supervised(world, for_s=10, then=twice)
    assert round(result.took_s, 1) == 10.0
    assert (len(result.of("processes.stopping")), len(result.of("process.killed"))) == (1, 2)


async def test_a_stop_during_the_wait_starts_nothing() -> None:
    world = World({"fulfillment": [(-9, 1.0, READY)] * 9})
    result = await supervised(world, for_s=12)  # In the wait of eight seconds, which ends after the 19th.
    assert result.took_s < 13
    assert [line["processes"] for line in result.of("processes.stopping")] == [["escalation"]]
    assert [name for name, _ in world.started].count("fulfillment") == 4


async def test_a_process_that_starts_during_the_stop_is_stopped_too() -> None:
    world = World({})

    async def slowly(program: Program) -> tuple[Process, asyncio.StreamReader]:
        await asyncio.sleep(5)
        return await world.start(program)

    made = Supervisor([FULFILLMENT], slowly, restart=True, write=world.written.append)
    asyncio.get_running_loop().call_later(1, made.stop)
    assert await made.run() == 0
    assert world.processes[0].signals == [signal.SIGTERM]


async def test_a_machine_that_can_start_no_more_processes_is_tried_again() -> None:
    world, full = World({"fulfillment": [(-9, 1.0, READY)]}), [True, True]

    async def start(program: Program) -> tuple[Process, asyncio.StreamReader]:
        if world.processes and full:
            full.pop()
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await world.start(program)

    made = Supervisor([FULFILLMENT], start, restart=True, write=world.written.append)
    asyncio.get_running_loop().call_later(30, made.stop)
    with structlog.testing.capture_logs() as logs:
        assert await made.run() == 0
    ends = [(line.get("reason"), line.get("restart_s")) for line in logs if line["event"] == "process.ended"]
    cannot = "it cannot be started: Resource temporarily unavailable"
    assert ends == [(None, 1), (cannot, 2), (cannot, 4), (None, None)]


async def test_lines_are_passed_on_and_what_is_not_json_becomes_a_line() -> None:
    output = b'{"event":"a","n":1}\n42\nTraceback: no\n\n{"cut":\n  \xff 1234 5678 1234 5678\n[1]\n'
    world = World({"fulfillment": [(-9, 1.0, output)]})
    result = await supervised(world, for_s=1.5)
    assert world.written[0] == b'{"event":"a","n":1}\n'
    assert [line["detail"] for line in result.of("process.printed")] == [
        *("42", "Traceback: no", '{"cut":', "  \ufffd 1234 5678 1234 5678", "[1]"),
    ]
    assert all(json.loads(line) for line in world.written)


async def test_an_endless_text_that_a_process_prints_is_cut() -> None:
    world = World({"fulfillment": [(-9, 1.0, b"x" * 100_000 + b"\n")]})
    (line,) = (await supervised(world, for_s=1.5)).of("process.printed")
    assert line["detail"] == "x" * 4_000


async def test_the_end_of_a_process_does_not_wait_for_a_pipe_that_stays_open() -> None:
    world = World({"fulfillment": [(-9, 5.0, READY)]}, pipes_stay_open=True)
    await supervised(world, for_s=20)
    assert ("fulfillment", 8.0) in world.started, "after two seconds for the last lines, and one to wait"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nothing reads the pipe any more"


@given(st.lists(st.binary(max_size=30)), st.integers(1, 7))
def test_lines_are_the_same_however_they_arrive(pieces: list[bytes], limit: int) -> None:
    async def split() -> list[bytes]:
        reader = asyncio.StreamReader()
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        return [line async for line in lines(reader, read_bytes=limit)]

    whole = b"".join(pieces)
    expected = whole.split(b"\n")
    assert asyncio.run(split()) == (expected[:-1] if not expected[-1] else expected)


async def test_a_line_of_a_million_bytes_is_whole() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"x" * 1_000_000 + b"\n")
    reader.feed_eof()
    assert [len(line) async for line in lines(reader, read_bytes=1_000_000)] == [1_000_000]


async def test_an_endless_line_comes_in_pieces() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"x" * 2_500_000 + b"\nend\n")
    reader.feed_eof()
    found = [line async for line in lines(reader)]
    assert found[-1] == b"end"
    assert sum(map(len, found)) == 2_500_003
    assert max(map(len, found)) <= supervisor.MAX_LINE_BYTES + supervisor.READ_BYTES


def test_the_programs_are_those_of_the_procfile(tmp_path: Path) -> None:
    procfile = tmp_path / "Procfile"
    procfile.write_text("# both\nfulfillment: exec f\nescalation:   exec e\n", encoding="utf-8")
    assert programs(procfile, {"fulfillment": 8081, "escalation": 8082}) == [FULFILLMENT, ESCALATION]


def test_processes_may_stop_for_as_long_as_a_worker_needs_and_before_the_lifeline_kills() -> None:
    from workers.testing import lifeline  # noqa: PLC0415

    assert supervisor.STOP_S + supervisor.LAST_LINES_S < lifeline.ORPHAN_STOP_S


def test_it_runs_the_procfile_with_the_ports_and_logs_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    procfile = tmp_path / "Procfile"
    procfile.write_text("fulfillment: exec f\nescalation: exec e\n", encoding="utf-8")
    steps: list[Any] = []

    class Output:
        def flush(self) -> None:
            steps.append("flush")

    def configure(*, level: str, as_json: bool) -> Output:
        steps.append((level, as_json))
        return Output()

    async def supervise(found: Sequence[Program], *, restart: bool) -> int:
        steps.append((found, restart))
        return 3

    monkeypatch.setattr("deploy.local.supervisor.logs.configure", configure)
    monkeypatch.setattr(supervisor, "_supervise", supervise)
    ports = ["--health-port", "fulfillment=8081", "--health-port", "escalation=8082"]
    assert supervisor.main(["--procfile", str(procfile), *ports]) == 3
    assert supervisor.main(["--procfile", str(procfile), *ports, "--restart"]) == 3
    logged, both = ("INFO", True), [FULFILLMENT, ESCALATION]
    assert steps == [logged, (both, False), "flush", logged, (both, True), "flush"]


def test_it_needs_a_procfile(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        supervisor.main([])
    assert "the following arguments are required: --procfile\n" in capsys.readouterr().err


async def test_a_shell_gets_a_pipe_that_only_it_writes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    process = SimpleNamespace(pid=7)

    async def shell(command: str, *, stdin: int, stdout: int, stderr: int, env: Mapping[str, str]) -> Any:
        assert (command, stdin, stderr) == ("exec f", asyncio.subprocess.DEVNULL, asyncio.subprocess.STDOUT)
        assert env["WORKER_HEALTH_PORT"] == "8081"
        os.write(stdout, b"said\n")
        return process

    monkeypatch.setattr("asyncio.create_subprocess_shell", shell)
    started, reader = await supervisor.start_shell(FULFILLMENT)
    assert started is process
    assert await reader.read() == b"said\n", "and then its end, for no other end is open"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_stops_all_processes(number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World({}, stop_s=0)
    monkeypatch.setattr(supervisor, "start_shell", world.start)
    running = asyncio.create_task(supervisor._supervise([FULFILLMENT, ESCALATION], restart=True))
    for _ in range(10):
        await asyncio.sleep(0)
    signal.raise_signal(number)
    assert await running == 0
    assert [process.signals for process in world.processes] == [[signal.SIGTERM]] * 2


def test_lines_are_written_at_once_and_a_full_disk_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []

    class Stream:
        def write(self, line: bytes) -> None:
            if line == b"full\n":
                raise OSError(errno.ENOSPC, "full")
            written.append(line)

        def flush(self) -> None:
            written.append(b"flushed")

    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=Stream()))
    for line in (b"a\n", b"full\n", b"b\n"):
        supervisor._write(line)
    assert written == [b"a\n", b"flushed", b"b\n", b"flushed"]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        (0, {"exit_code": 0}),
        (-1, {"signal": "SIGHUP"}),
        (3, {"exit_code": 3}),
        (-9, {"signal": "SIGKILL"}),
        (-40, {"signal": "40"}),
    ],
)
def test_a_process_ended_with_an_exit_code_or_a_signal_that_may_have_no_name(code: int, how: dict[str, Any]) -> None:
    assert supervisor._how(code) == how
