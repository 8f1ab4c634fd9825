import asyncio
import logging
import os
import sys

import pytest
import structlog

from workers import command, logs
from workers.command import run_command
from workers.errors import FatalError
from workers.kinds import OwnWorker, Worker
from workers.log_output import LogOutput
from workers.queue_address import QUEUE, QueueAddress
from workers.settings import Settings

ARN = "arn:aws:sqs:eu-west-1:123456789012:Returns"
OUTPUT = LogOutput(len)  # Nothing is written to it.


def test_help_names_the_workers_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: python -m workers [-h] WORKER ...\n")
    assert "  0  stopped by SIGTERM or Ctrl-C\n" in text
    assert "  1  cannot start, or failed while running; the last line of output says why. If" in text
    assert "  2  wrong command line\n" in text


@pytest.mark.parametrize("arguments", [[], ["shipping"], ["fulfillment", "--fast"], ["run", "returns:handle"]])
def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_command(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m workers ")


def test_a_wrong_setting_is_exit_code_1_and_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_WAIT_S", "21")
    assert run_command(["fulfillment"]) == 1
    assert capsys.readouterr() == ("", "python -m workers: WORKER_WAIT_S is '21', must be 0 to 20 seconds\n")


class Run:
    """Replaces the worker's run: records what it gets, and raises `error`, if any."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.given: tuple[object, ...] = ()

    async def __call__(self, worker: Worker, settings: Settings, *, make_handler: object, output: object) -> None:
        self.given = (worker, settings, make_handler, output)
        if self.error is not None:
            raise self.error


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    run = Run()
    monkeypatch.setattr(command, "run", run)
    return run


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The configurations of the log; none takes effect."""
    calls: list[dict[str, object]] = []

    def configure(**given: object) -> LogOutput:
        calls.append(given)
        return OUTPUT

    monkeypatch.setattr(logs, "configure", configure)
    return calls


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("worker", Worker)
def test_a_worker_that_stops_is_exit_code_0(run: Run, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_WAIT_S", "7")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "")
    handler = object()
    assert run_command([worker.value], make_handler=handler) == 0  # type: ignore[arg-type]
    assert run.given == (worker, Settings.read({"WORKER_WAIT_S": "7"}), handler, OUTPUT)
    assert "169.254.169.254" in os.environ.get("no_proxy", ""), "credentials are not fetched through the proxy"


OWN = ["run", "tests.workers.own.handlers:of_message", "--queue"]


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("arguments", "worker"),
    [
        (["Returns"], OwnWorker("Returns", QueueAddress.parse("Returns"))),
        (["Returns", "--name", "shop-1"], OwnWorker("shop-1", QueueAddress.parse("Returns"))),
        ([ARN], OwnWorker("Returns", QueueAddress.parse(ARN))),
    ],
)
def test_a_worker_of_your_own_is_called_like_its_queue_or_as_it_is_named(
    arguments: list[str], worker: OwnWorker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDER_TABLE", "not a name")  # It has no orders.
    monkeypatch.setenv("WORKER_WAIT_S", "7")
    assert run_command([*OWN, *arguments]) == 0
    assert run.given[:2] == (worker, Settings.read({"WORKER_WAIT_S": "7"}))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["Returns.fifo"], f"--queue is 'Returns.fifo', must be {QUEUE}"),
        (
            ["Returns", "--name", "a b"],
            "--name is 'a b', must be 1 to 80 letters, digits, dashes and underscores, and ",
        ),
        (["fulfillment"], "--name is 'fulfillment', must be 1 to 80 letters, digits, dashes and underscores, and not "),
    ],
)
def test_a_wrong_queue_or_name_is_exit_code_1_and_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*OWN, *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"python -m workers: {problem}")


@pytest.mark.usefixtures("configured", "run")
def test_a_handler_that_cannot_be_loaded_is_exit_code_1_and_one_log_line() -> None:
    with structlog.testing.capture_logs() as lines:
        assert run_command(["run", "nowhere:handle", "--queue", "Returns"]) == 1
    assert [(line["event"], line["worker"]) for line in lines] == [("worker.failed", "Returns")]


@pytest.mark.usefixtures("configured", "run")
def test_what_the_package_of_a_handler_logs_is_written_from_the_level_of_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    logger = logging.getLogger("tests")
    before = logger.level
    try:
        assert run_command([*OWN, "Returns"]) == 0
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


@pytest.mark.usefixtures("configured")
def test_a_fatal_error_is_exit_code_1_and_one_log_line(run: Run) -> None:
    run.error = FatalError("the queue does not exist")
    with structlog.testing.capture_logs() as lines:
        assert run_command(["escalation"]) == 1
    assert lines == [
        {
            "event": "worker.failed",
            "log_level": "critical",
            "worker": "escalation",
            "reason": "the queue does not exist",
        }
    ]


@pytest.mark.usefixtures("configured")
def test_a_bug_is_exit_code_1_and_one_log_line_with_its_traceback(run: Run) -> None:
    run.error = ZeroDivisionError("bug")
    with structlog.testing.capture_logs() as lines:
        assert run_command(["escalation"]) == 1
    assert lines == [{"event": "worker.failed", "log_level": "error", "worker": "escalation", "exc_info": True}]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("log_format", "terminal", "as_json"),
    [
        ("json", True, True),
        ("json", False, True),
        ("console", True, False),
        ("console", False, False),
        ("", True, False),
        ("", False, True),
    ],
)
def test_lines_are_json_unless_a_person_reads_them(
    configured: list[dict[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    log_format: str,
    terminal: bool,
    as_json: bool,
) -> None:
    monkeypatch.setenv("LOG_FORMAT", log_format)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    monkeypatch.setenv("WORKER_RELEASE", "v1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    run_command(["fulfillment"])
    assert configured == [{"level": "ERROR", "as_json": as_json, "release": "v1"}]


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(
    ("closed", "line"),
    [
        ("Broken pipe", "standard output cannot be written (Broken pipe); the last lines are lost"),
        (None, "standard output takes no more log lines; the last lines are lost"),
    ],
)
def test_lost_lines_are_one_line_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], closed: str | None, line: str
) -> None:
    output = LogOutput(len)
    output.closed = closed
    monkeypatch.setattr(output, "finish", lambda: False)
    monkeypatch.setattr(logs, "configure", lambda **_: output)
    run_command(["fulfillment"])
    assert capsys.readouterr() == ("", f"python -m workers: {line}\n")


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("error", "reason"),
    [(SystemExit(0), "a task raised system exit"), (KeyboardInterrupt(), "a task raised keyboard interrupt")],
)
def test_a_task_that_ends_the_event_loop_is_exit_code_1_and_one_log_line(
    run: Run, error: BaseException, reason: str
) -> None:
    run.error = error
    with structlog.testing.capture_logs() as lines:
        assert run_command(["escalation"]) == 1
    assert [(line["event"], line["log_level"], line["reason"]) for line in lines] == [
        ("worker.failed", "critical", reason)
    ]


@pytest.mark.usefixtures("configured")
def test_a_signal_before_the_worker_has_handlers_ends_the_process_with_0(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.error = SystemExit(0)
    monkeypatch.setattr("signal.getsignal", lambda _: sys.exit)
    with pytest.raises(SystemExit, match="0"):
        run_command(["escalation"])


def test_the_last_lines_are_written_however_the_worker_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    written = list[bytes]()
    output = LogOutput(lambda data: written.append(bytes(data)) or len(data), linger_s=0.05)  # type: ignore[func-returns-value]
    monkeypatch.setattr(logs, "configure", lambda **_: output)
    output.put(b"last")
    run.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        run_command(["fulfillment"])
    assert written == [b"last\n"]


def test_a_bug_while_settings_are_read_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_environ: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Settings, "read", fail)
    with pytest.raises(ZeroDivisionError):
        run_command(["escalation"])
