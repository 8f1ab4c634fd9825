"""The workers' output, line by line, while it is still written."""

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from deploy.errors import DeployError
from deploy.local import supervisor
from deploy.local import workers as workers_module
from deploy.local.aws import ROOT
from deploy.local.console import Console
from deploy.local.log_lines import LogLine
from deploy.local.workers import Workers, _follow, check_settings, local_workers, retention
from workers.settings import Settings
from workers.testing import children
from workers.testing.lifeline import ORPHAN_STOP_S

FLUSH_S = 3.0  # Of the acknowledger.


def lines_of(workers: Workers) -> list[str]:
    found = []
    while (line := workers.read(1)) is not None:
        found.append(line.text)
    return found


def test_lines_are_read_kept_and_passed_on() -> None:
    seen: list[str] = []
    workers = Workers(lambda line: seen.append(line.text))
    for text in ("a", "b"):
        workers.add(LogLine.parse(text))
    workers.add(None)
    assert lines_of(workers) == seen == [line.text for line in workers.lines] == ["a", "b"]
    assert workers.read(0) is None, "the end is read again and again"


def test_a_line_that_does_not_come_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        Workers(lambda _: None).read(0)


def test_the_last_ten_thousand_lines_are_kept() -> None:
    workers = Workers(lambda _: None)
    for n in range(10_001):
        workers.add(LogLine(str(n), {}))
        workers.read(0)
    assert (len(workers.lines), workers.lines[0].text) == (10_000, "1")


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ('"level":"info","event":"process.ended","exit_code":0', None),
        ('"level":"error","event":"process.ended","exit_code":1', "escalation ended with exit code 1"),
        ('"level":"error","event":"process.ended","exit_code":0', "escalation ended with exit code 0"),
        ('"level":"warning","event":"process.ended","signal":"SIGKILL"', "escalation ended with SIGKILL"),
        ('"level":"error","event":"worker.failed"', None),
    ],
)
def test_processes_that_ended_badly_are_failures(fields: str, failure: str | None) -> None:
    workers = workers_that_said("not JSON", f'{{"worker":"escalation",{fields}}}')
    assert workers.failures() == ([failure] if failure else [])


class Process:
    """A process that writes the next of `writes` at each look, and has ended after the last."""

    def __init__(self, path: Path, *writes: bytes) -> None:
        self.path = path
        self.writes = list(writes)

    def poll(self) -> int | None:
        if not self.writes:
            return 0
        with self.path.open("ab") as output:
            output.write(self.writes.pop(0))
        return None


def test_a_growing_file_is_followed_in_whole_lines_until_its_writer_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_FOLLOW_S", 0)
    path = tmp_path / "log"
    path.touch()
    process = Process(path, b"one\ntw", b"", b"o\n\xff\n", b"cut off")
    workers = Workers(lambda _: None)
    with path.open("rb") as written:
        _follow(written, cast("Any", process), workers)
    assert lines_of(workers) == ["one", "two", "\ufffd"]


def test_a_file_that_a_person_empties_is_followed_from_its_new_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"x" * 100 + b"\nhalf a li")
    process = Process(path, b"", b"new\n", b"er\n")
    sleeps = iter([lambda: os.truncate(path, 0)])
    monkeypatch.setattr("deploy.local.workers.time.sleep", lambda _: next(sleeps, lambda: None)())
    workers = Workers(lambda _: None)
    with path.open("rb") as written:
        _follow(written, cast("Any", process), workers)
    assert lines_of(workers) == ["x" * 100, "new", "er"]


def test_the_workers_stop_sooner_than_they_are_killed() -> None:
    settings = Settings.read(workers_module.TIMINGS)
    assert (settings.wait_s, settings.drain_s) == (1, 2)
    assert settings.wait_s + settings.drain_s + FLUSH_S < supervisor.STOP_S < workers_module.STOP_S < ORPHAN_STOP_S


class FakeSupervisor:
    """Stands for the supervisor's process: writes `output` when it starts, and `last` when it is asked to stop."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, output: bytes, last: bytes = b"", *, obeys: bool = True
    ) -> None:
        self.output, self.last, self.obeys = output, last, obeys
        self.ended = threading.Event()
        self.steps: list[Any] = []
        monkeypatch.setattr(children, "start", self.start)
        monkeypatch.setattr(children, "stop", self.stop)

    def start(
        self, python: Path, module: str, arguments: list[str], *, output: BinaryIO, **given: Any
    ) -> "FakeSupervisor":
        self.command = (python, module, arguments)
        self.given = given
        self.file = output
        self.write(self.output)
        return self

    def write(self, text: bytes) -> None:
        self.file.write(text)
        self.file.flush()

    def poll(self) -> int | None:
        return 0 if self.ended.is_set() else None

    def terminate(self) -> None:
        self.steps.append("terminate")
        self.write(self.last)
        if self.obeys:
            self.ended.set()

    def stop(self, process: object, timeout_s: float) -> None:
        assert process is self
        self.steps.append(("stop", timeout_s))
        self.ended.set()


def test_both_workers_run_during_the_block_and_their_output_is_read_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, seen, notes = tmp_path / "workers.log", list[str](), list[str]()
    log.write_bytes(b"of an earlier run\n")
    fake = FakeSupervisor(monkeypatch, b"first\n", b"last\n")

    def see(line: LogLine) -> None:
        seen.append(line.text)

    with local_workers({"AWS_REGION": "r", "PATH": "/bin"}, log, see, restart=True, note=notes.append) as workers:
        line = workers.read(10)
        assert line is not None
        assert line.text == "first"
        directory = fake.given.pop("directory")
        assert directory.is_dir()
        assert list(workers.health_urls) == ["fulfillment", "escalation"]
        ports = [int(url.removeprefix("http://127.0.0.1:")) for url in workers.health_urls.values()]
    assert seen == ["first", "last"]
    assert not directory.exists()
    assert log.read_bytes() == b"of an earlier run\nfirst\nlast\n"
    assert fake.steps == ["terminate", ("stop", 0)]
    assert notes == ["Stopping both workers, for at most 14 s; Ctrl-C ends them at once"]
    options = ["--procfile", str(ROOT / "Procfile")]
    options += ["--health-port", f"fulfillment={ports[0]}", "--health-port", f"escalation={ports[1]}", "--restart"]
    assert fake.command == (Path(sys.executable), "deploy.local.supervisor", options)
    assert fake.given == {
        "environment": {
            "AWS_REGION": "r",
            "PATH": f"{Path(sys.executable).parent}:/bin",
            "PYTHONPATH": str(ROOT),
            "WORKER_WAIT_S": "1",
            "WORKER_DRAIN_S": "2",
            "LOG_FORMAT": "json",
            "WORKER_HEALTH_HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        },
        "working_directory": ROOT,
    }


def test_without_restart_and_with_a_port_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSupervisor(monkeypatch, b"")
    given = {"WORKER_HEALTH_PORT": "9000", "PYTHONPATH": "/mine"}
    with local_workers(given, tmp_path / "workers.log") as workers:
        assert workers.health_urls["escalation"] == "http://127.0.0.1:9001"
    assert fake.command[2][2:] == ["--health-port", "fulfillment=9000", "--health-port", "escalation=9001"]
    assert fake.given["environment"]["PYTHONPATH"] == f"{ROOT}:/mine"
    for port, problem in (("65535", "must be at most 65534"), ("many", "WORKER_HEALTH_PORT is 'many', must be")):
        with pytest.raises(DeployError, match=problem), local_workers({"WORKER_HEALTH_PORT": port}, tmp_path / "log"):
            pass


def test_the_console_runs_beside_the_workers_and_knows_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeSupervisor(monkeypatch, b"")
    console = Console(8090, "secret", lambda _: None)
    given = {"WORKER_HEALTH_PORT": "9000"}
    with local_workers(given, tmp_path / "workers.log", console=console):
        pass
    workers = "--worker fulfillment=http://127.0.0.1:9000 --worker escalation=http://127.0.0.1:9001"
    *_, option, program = fake.command[2]
    command = f"python -m workers.console --port 8090 {workers} --log {tmp_path / 'workers.log'}"
    assert (option, program) == ("--optional", f"console=exec {command}")
    assert fake.given["environment"]["CONSOLE_TOKEN"] == "secret"
    assert "secret" not in str(fake.command)


def test_the_last_lines_are_read_once_their_reader_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSupervisor(monkeypatch, b"", obeys=False)
    monkeypatch.setattr(workers_module, "STOP_S", 0.0)
    monkeypatch.setattr(workers_module, "_FOLLOW_S", 0.001)

    def stop(process: object, timeout_s: float) -> None:
        fake.write(b"last\n")
        fake.stop(process, timeout_s)

    monkeypatch.setattr(children, "stop", stop)

    class Reader(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            super().join(timeout)
            fake.steps.append("the reader has ended")

    monkeypatch.setattr("deploy.local.workers.threading.Thread", Reader)
    with local_workers({}, tmp_path / "workers.log", lambda line: fake.steps.append(line.text)):
        pass
    assert fake.steps[1:] == [("stop", 0), "the reader has ended", "last"]


def test_workers_that_have_ended_are_not_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, notes = FakeSupervisor(monkeypatch, b""), list[str]()
    with local_workers({}, tmp_path / "workers.log", note=notes.append) as workers:
        fake.ended.set()
        assert workers.read(30) is None
    assert (fake.steps, notes) == ([("stop", 0)], [])


def test_workers_that_do_not_stop_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "STOP_S", 0.0)
    fake = FakeSupervisor(monkeypatch, b"", b"not yet\n", obeys=False)
    with local_workers({}, tmp_path / "workers.log") as workers:
        pass
    assert fake.steps == ["terminate", ("stop", 0)]
    assert [line.text for line in workers.lines] == ["not yet"]


def test_a_stop_that_has_taken_long_waits_no_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times, waits = iter([100.0, 104.0, 200.0]), list[float | None]()

    class Silent(Workers):
        def read(self, timeout_s: float | None = None) -> LogLine | None:
            waits.append(timeout_s)
            if len(waits) == 2:
                raise TimeoutError
            return LogLine("stopping", {})

    process = FakeSupervisor(monkeypatch, b"")
    monkeypatch.setattr(workers_module, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with (tmp_path / "log").open("wb") as process.file:
        workers_module._stop(cast("Any", process), Silent(lambda _: None), lambda _: None)
    assert waits == [10.0, 0]


def test_an_interrupt_during_the_stop_kills_the_workers_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeSupervisor(monkeypatch, b"", b"stopping\n", obeys=False)

    def interrupt(_: LogLine) -> None:
        if not fake.ended.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), local_workers({}, tmp_path / "workers.log", interrupt):
        pass
    assert fake.steps == ["terminate", ("stop", 0)]


@pytest.mark.parametrize(
    ("before", "after"), [(b"", b"first\n"), (b"whole\n", b"whole\nfirst\n"), (b'{"cut', b'{"cut\nfirst\n')]
)
def test_a_line_that_a_killed_run_has_cut_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bytes, after: bytes
) -> None:
    log = tmp_path / "workers.log"
    log.write_bytes(before)
    FakeSupervisor(monkeypatch, b"first\n")
    with local_workers({}, log) as workers:
        pass
    assert log.read_bytes() == after
    assert [line.text for line in workers.lines] == ["first"]


def test_the_workers_are_stopped_after_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSupervisor(monkeypatch, b"")

    def fail() -> None:
        with local_workers({}, tmp_path / "workers.log"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert fake.steps == ["terminate", ("stop", 0)]


def workers_that_said(*texts: str) -> Workers:
    workers = Workers(lambda _: None)
    for text in texts:
        workers.add(LogLine.parse(text))
        workers.read(0)
    return workers


def test_the_reason_why_workers_ended_is_their_own() -> None:
    failed = '{"event": "worker.failed", "worker": "fulfillment", "reason": "there is no queue"}'
    crashed = '{"event": "worker.failed", "worker": "escalation", "exception": "Traceback: no"}'
    stopped = '{"event": "worker.stopped", "worker": "escalation"}'
    workers = workers_that_said(failed, crashed, failed, stopped, "process.ended")
    assert workers.reason() == "fulfillment: there is no queue\nescalation: Traceback: no"


def test_workers_that_gave_no_reason_have_their_last_lines() -> None:
    assert workers_that_said('{"event": "process.printed", "detail": "no module"}').reason() == "no module"
    assert workers_that_said(*map(str, range(12))).reason() == "\n".join(map(str, range(2, 12)))


def test_the_stack_keeps_orders_for_as_long_as_the_workers() -> None:
    assert retention({"ORDER_RETENTION_DAYS": "90"}) == {"OrderRetentionDays": "90"}
    assert retention({"WORKER_CONCURRENCY": "wrong, but not asked about"}) == {"OrderRetentionDays": ""}
    with pytest.raises(DeployError, match="ORDER_RETENTION_DAYS"):
        retention({"ORDER_RETENTION_DAYS": "no"})


def test_a_wrong_setting_is_refused_before_anything_starts(tmp_path: Path) -> None:
    check_settings({"WORKER_WAIT_S": "set by run", "LOG_FORMAT": "too", "ORDER_TABLE": "of the stack, too"})
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rules]]\nchannels = 1\n", encoding="utf-8")
    for environment, problem in (
        ({"WORKER_CONCURRENCY": "many"}, "^WORKER_CONCURRENCY is 'many', must be"),
        ({"ESCALATION_RULES": str(rules)}, "rules.toml"),
        ({"WORKER_TASK_PROTECTION": "true"}, "WORKER_TASK_PROTECTION"),
    ):
        with pytest.raises(DeployError, match=problem):
            check_settings(environment)
