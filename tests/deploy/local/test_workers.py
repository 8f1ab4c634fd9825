"""The workers' output, line by line, while it is still written."""

import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from deploy.errors import DeployError
from deploy.local import children
from deploy.local import workers as workers_module
from deploy.local.aws import ROOT
from deploy.local.log_lines import LogLine
from deploy.local.workers import Workers, _follow, check_settings, local_workers


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
    ("text", "failed"),
    [
        ("fulfillment.1 stopped (rc=0)", False),
        ("fulfillment.1 stopped (rc=1)", True),
        ("fulfillment.1 stopped (rc=-9)", True),
        ("fulfillment.1 started (pid=1)", False),
    ],
)
def test_processes_that_ended_badly_are_failures(text: str, failed: bool) -> None:
    workers = Workers(lambda _: None)
    workers.add(LogLine(text, {}))
    workers.read(0)
    assert workers.failures() == ([text] if failed else [])


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


def test_the_workers_stop_sooner_than_honcho_kills_them() -> None:
    assert workers_module.TIMINGS == {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "2"}


class Honcho:
    """Stands for the process: writes `output` when it starts, and `last` when it is stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, output: bytes, last: bytes) -> None:
        self.output = output
        self.last = last
        self.ended = threading.Event()
        self.stopped: list[float] = []
        monkeypatch.setattr(children, "start", self.start)
        monkeypatch.setattr(children, "stop", self.stop)

    def start(self, python: Path, module: str, arguments: list[str], *, output: BinaryIO, **given: Any) -> "Honcho":
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

    def stop(self, process: object, timeout_s: float) -> None:
        assert process is self
        self.stopped.append(timeout_s)
        self.write(self.last)
        self.ended.set()


def test_both_workers_run_during_the_block_and_their_output_is_read_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, seen = tmp_path / "workers.log", list[str]()
    log.write_bytes(b"of an earlier run\n")
    honcho = Honcho(monkeypatch, b"first\n", b"last\n")
    with local_workers({"AWS_REGION": "r", "PATH": "/bin"}, log, lambda line: seen.append(line.text)) as workers:
        line = workers.read(10)
        assert line is not None
        assert line.text == "first"
        directory = honcho.given.pop("directory")
        assert directory.is_dir()
    assert seen == ["first", "last"]
    assert not directory.exists()
    assert log.read_bytes() == b"of an earlier run\nfirst\nlast\n"
    assert honcho.stopped == [10.0]
    options = ["--procfile", str(ROOT / "Procfile"), "--env", "/dev/null", "--no-prefix", "--no-colour"]
    assert honcho.command == (Path(sys.executable), "honcho", ["start", *options])
    assert honcho.given == {
        "environment": {
            "AWS_REGION": "r",
            "PATH": f"{Path(sys.executable).parent}:/bin",
            "WORKER_WAIT_S": "1",
            "WORKER_DRAIN_S": "2",
            "LOG_FORMAT": "json",
            "PYTHONUNBUFFERED": "1",
        },
        "working_directory": ROOT,
    }


def test_the_workers_are_stopped_after_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honcho = Honcho(monkeypatch, b"", b"")

    def fail() -> None:
        with local_workers({}, tmp_path / "workers.log"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert honcho.stopped == [10.0]


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
    workers = workers_that_said(failed, crashed, failed, stopped, "fulfillment.1 stopped (rc=1)")
    assert workers.reason() == "fulfillment: there is no queue\nescalation: Traceback: no"


def test_workers_that_gave_no_reason_have_their_last_lines() -> None:
    assert workers_that_said(*map(str, range(12))).reason() == "\n".join(map(str, range(2, 12)))


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
