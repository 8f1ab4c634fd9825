"""`orders logs`: how a line is rendered; and as a process, with pipes, signals and files that are not logs."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.workers.cli.console import done
from workers.cli import logs as cli_logs
from workers.cli.logs import _follow, _Printer, command
from workers.cli.output import InterruptedCommandError, note
from workers.domain.cards import mask
from workers.operations.lines import Line
from workers.operations.log_lines import Selection
from workers.operations.log_records import Record
from workers.operations.stack import Stack

CARD = "4929123412345678"
LINES = [
    {"timestamp": "2026-11-22T09:33:24.3258Z", "level": "info", "event": "order.fulfilled", "order_id": "001"},
    {"timestamp": "2026-11-22T09:33:25.3258Z", "level": "warning", "event": "escalation.routed", "order_id": "002"},
]
# Ctrl-C is ignored if the tests run in the background.
_SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from workers.cli.__main__ import main
sys.exit(main())
"""


def start(*arguments: str | Path, **more: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _SCRIPT, "logs", *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes | more)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "workers.log"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in LINES) + "honcho: said something\n", encoding="utf-8")
    return path


class Output(io.StringIO):
    """A standard output that may be a terminal. `flushed`: what had been written at each flush."""

    def __init__(self, *, terminal: bool = False) -> None:
        super().__init__()
        self.terminal = terminal
        self.flushed: list[str] = []

    def isatty(self) -> bool:
        return self.terminal

    def flush(self) -> None:
        self.flushed.append(self.getvalue())


SHOWN = [
    "2026-11-22 09:33:24.325 info                 order.fulfilled        order_id=001",
    "2026-11-22 09:33:25.325 warning              escalation.routed      order_id=002",
]
NOT_READ = "lines that could not be read as log lines: 1 of 3"
AS_THEY_ARE, LEFT_OUT = f"{NOT_READ} (shown as they are)\n", f"{NOT_READ} (left out)\n"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], [*SHOWN, "honcho: said something"]),
        (["--order", "001"], SHOWN[:1]),
        (["--escalations"], SHOWN[1:]),
        (["--json"], [json.dumps(line) for line in LINES]),
    ],
)
@pytest.mark.parametrize("source", ["file", "-"])
def test_the_selected_lines_are_shown(log: Path, source: str, arguments: list[str], shown: list[str]) -> None:
    given = log.read_text(encoding="utf-8")
    ran = done(command, str(log) if source == "file" else "-", *arguments, given=given)
    assert (ran.stdout.splitlines(), ran.stderr) == (shown, LEFT_OUT if arguments else AS_THEY_ARE)


@pytest.mark.parametrize("arguments", [["--order", "003"], ["--order", "001", "--escalations"]])
def test_without_a_matching_line_only_a_note_is_shown(log: Path, arguments: list[str]) -> None:
    ran = done(command, str(log), *arguments)
    assert (ran.stdout, ran.stderr) == ("", f"{LEFT_OUT}no matching lines\n")
    log.write_text("", encoding="utf-8")
    assert done(command, str(log)).output == "", "an empty file has nothing to match"


@pytest.mark.parametrize(
    ("selection", "as_json", "shown"),
    [
        (Selection(), False, f"{json.dumps(LINES[0])} (7 more bytes)\n"),
        (Selection(), True, ""),
        (Selection("001"), False, ""),
    ],
)
def test_a_line_that_was_cut_is_no_json(
    monkeypatch: pytest.MonkeyPatch, selection: Selection, as_json: bool, shown: str
) -> None:
    output = Output()
    monkeypatch.setattr(sys, "stdout", output)
    printer = _Printer(selection, as_json=as_json, live=False)
    printer.print_line(Line(json.dumps(LINES[0]).encode(), omitted_bytes=7))
    assert (output.getvalue(), printer.printed) == (shown, bool(shown))


@pytest.mark.parametrize(("name", "options"), [("render", []), ("mask_all", ["--json"])])
def test_json_that_is_nested_too_deep_is_cut(
    monkeypatch: pytest.MonkeyPatch, log: Path, name: str, options: list[str]
) -> None:
    shown = getattr(cli_logs, name)

    def refuse(fields: dict[str, Any], **arguments: Any) -> Any:
        if json.dumps(fields).count("[") > 100:  # How deep is too deep depends on Python's version.
            raise RecursionError
        return shown(fields, **arguments)

    monkeypatch.setattr(cli_logs, name, refuse)
    line = {"event": "a", "v": json.loads("[" * 300 + "]" * 300), "w": "x"}
    log.write_text(f"{json.dumps(line)}\n", encoding="utf-8")
    output = done(command, str(log), *options).output
    assert "...(cut, nested too deeply)" in output
    assert json.loads(output)["w"] == "x" if options else output.rstrip().endswith("w=x")


def test_numbers_that_json_does_not_know_are_null(log: Path) -> None:
    log.write_text('{"event": "a", "v": [NaN, -Infinity, 1e999], "w": 1.5}\n', encoding="utf-8")
    assert done(command, str(log), "--json").output == '{"event": "a", "v": [null, null, null], "w": 1.5}\n'


def test_an_order_is_looked_for_in_lines_that_only_mention_it(log: Path) -> None:
    log.write_text('{"event": "x", "detail": "001"}\nhoncho: 001\n', encoding="utf-8")
    assert done(command, str(log), "--order", "001").stderr == (
        "lines that could not be read as log lines: 1 of 2 (left out)\nno matching lines\n"
    )


@pytest.mark.parametrize("live", [True, False])
def test_each_line_is_flushed_if_the_next_may_come_much_later(monkeypatch: pytest.MonkeyPatch, live: bool) -> None:
    output = Output()
    monkeypatch.setattr(sys, "stdout", output)
    printer = _Printer(Selection(None, escalations=False), as_json=False, live=live)
    printer.print_lines([Line(b"one"), Line(b"two")])
    assert output.flushed == (["one\n", "one\ntwo\n"] if live else [])
    printer.end()
    assert output.flushed[-1] == "one\ntwo\n", "before the line on standard error"
    assert (output.getvalue(), printer.printed) == ("one\ntwo\n", True)


def test_of_lines_that_come_together_each_is_selected_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    output = Output()
    monkeypatch.setattr(sys, "stdout", output)
    printer = _Printer(Selection("001"), as_json=False, live=False)
    printer._print([Record("", fields=line) for line in (LINES[1], LINES[0])])
    assert output.getvalue() == f"{SHOWN[0]}\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_only_a_terminal_gets_colors(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    output = Output(terminal=terminal)
    monkeypatch.setattr(sys, "stdout", output)
    for name, value in (("NO_COLOR", ""), ("FORCE_COLOR", ""), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    printer = _Printer(Selection(None, escalations=False), as_json=False, live=False)
    printer.print_lines([Line(json.dumps(LINES[1]).encode()), Line(b"other")])
    assert [("\x1b" in line) for line in output.getvalue().splitlines()] == [terminal, terminal]


@pytest.mark.parametrize("error", [KeyboardInterrupt, lambda: InterruptedCommandError("interrupted")])
def test_ctrl_c_ends_following_as_asked_and_interrupts_reading(
    monkeypatch: pytest.MonkeyPatch, log: Path, error: Callable[[], BaseException]
) -> None:
    def interrupted(*_: object) -> None:
        raise error()

    async def follow(*_: object) -> None:
        interrupted()

    def run_interrupted(_stack: Stack, work: Coroutine[object, object, None]) -> None:
        work.close()
        interrupted()

    monkeypatch.setattr("workers.cli.logs.run", run_interrupted)
    monkeypatch.setattr("workers.cli.logs._Printer.print_lines", interrupted)
    monkeypatch.setattr("workers.cli.logs._follow", follow)
    assert done(command, str(log), "--follow", "--order", "003").output == ""
    ran = CliRunner().invoke(command, [str(log)], obj=Stack({}), standalone_mode=False)
    assert ran.exception is not None


async def test_followed_lines_are_printed_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []

    async def lines(file: Path, warn: object) -> AsyncIterator[Line]:
        assert (file, warn) == (Path("log"), note)
        try:
            yield Line(b"one")
            yield Line(b"two")
        finally:
            closed.append(True)

    output = Output()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setattr("workers.cli.logs.follow_file", lines)
    await _follow(Path("log"), _Printer(Selection(None, escalations=False), as_json=False, live=True))
    assert (output.getvalue(), closed) == ("one\ntwo\n", [True])


def test_a_traceback_is_shown_only_if_asked_for(log: Path) -> None:
    assert not _Printer(Selection(), as_json=False, live=False)._tracebacks
    exception = 'Traceback (most recent call last):\n  File "/app/x.py", line 3, in f\n    1 / 0\nZeroDivisionError: no'
    log.write_text(json.dumps(LINES[1] | {"exception": exception}), encoding="utf-8")
    line = f'{SHOWN[1]} exception="ZeroDivisionError: no" at="app/x.py:3 in f"'
    assert done(command, str(log)).output == f"{line}\n"
    below = [f"    {each}" for each in exception.splitlines()]
    assert done(command, str(log), "--tracebacks").output.splitlines() == [line, *below]


@pytest.mark.parametrize(("arguments", "live"), [((), False), (("--follow",), True), (("-",), True)])
def test_what_may_come_much_later_is_flushed_line_by_line(
    monkeypatch: pytest.MonkeyPatch, log: Path, arguments: tuple[str, ...], *, live: bool
) -> None:
    made: list[bool] = []

    class Printer(_Printer):
        def __init__(self, selection: Selection, *, live: bool, **more: Any) -> None:
            made.append(live)
            super().__init__(selection, live=live, **more)

    async def lines(file: Path, warn: object) -> AsyncIterator[Line]:
        assert (file, warn) == (log, note)
        yield Line(b"followed")

    monkeypatch.setattr("workers.cli.logs.follow_file", lines)
    monkeypatch.setattr("workers.cli.logs._Printer", Printer)
    ran = done(command, *(arguments if "-" in arguments else (str(log), *arguments)), given="given")
    assert made == [live]
    assert ran.stdout.splitlines()[-1] == {(): "honcho: said something", ("-",): "given"}.get(arguments, "followed")


def test_lines_that_could_not_be_read_are_counted_and_masked(log: Path) -> None:
    first, second = map(json.dumps, LINES)
    lines = [first, f"paid with {CARD}", f"2026-11-26T12:00:00Z stdout F {second}", first[:-9], "", "{", "}"]
    log.write_text("\n".join(lines), encoding="utf-8")
    ran = done(command, str(log))
    shown = [SHOWN[0], "paid with ****", SHOWN[1], *lines[3:]]
    assert ran.stdout.splitlines() == [line.replace(" ****", " " + mask(CARD)) for line in shown]
    assert ran.stderr == "lines that could not be read as log lines: 4 of 6, 1 of them damaged (shown as they are)\n"


def test_the_forms_of_other_programs_are_followed_too() -> None:
    """Lines that belong together are shown once the last of them has come, or the input has ended."""
    first, second = map(json.dumps, LINES)
    docker = json.dumps({"log": f"{first}\n", "stream": "stdout", "time": "2026-11-26T12:00:00Z"})
    indented = json.dumps(LINES[1], indent=4)
    forms = f"escalation-1  | {second}\n{docker}\n2026-11-26T12:00:00+00:00 worker/1 \n{indented}\n"
    rest = f"2026-11-26T12:00:00Z stdout P {first[:40]}\n2026-11-26T12:00:00Z stdout P {first[40:]}\n"
    ran = done(command, "-", "--follow", given=forms + rest)
    assert (ran.stdout.splitlines(), ran.stderr) == ([SHOWN[1], SHOWN[0], SHOWN[1], SHOWN[0]], "")


@pytest.mark.process
def test_a_file_or_a_pipe_is_shown_line_by_line(log: Path) -> None:
    expected = "".join(f"{line}\n" for line in (*SHOWN, "honcho: said something"))
    for arguments, given in (([log], ""), (["-"], log.read_text(encoding="utf-8"))):
        with start(*arguments) as process:
            assert process.communicate(given) == (expected, AS_THEY_ARE)
            assert process.returncode == 0


@pytest.mark.process
def test_only_matching_lines_are_shown(log: Path) -> None:
    with start(log, "--order", "002", "--escalations", "--json") as process:
        out, _ = process.communicate()
    assert [json.loads(line) for line in out.splitlines()] == [LINES[1]]


@pytest.mark.parametrize("from_stdin", [True, False])
@pytest.mark.process
def test_following_ends_with_ctrl_c_and_exit_code_0(log: Path, from_stdin: bool) -> None:
    with start("-" if from_stdin else log, "--follow", "--escalations") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        more = json.dumps(LINES[1] | {"order_id": "003"}) + "\n"
        if from_stdin:
            process.stdin.write(log.read_text(encoding="utf-8"))
            process.stdin.flush()
        assert "order_id=002" in process.stdout.readline()
        if from_stdin:
            process.stdin.write(more)
            process.stdin.flush()
        else:
            with log.open("a", encoding="utf-8") as stream:
                stream.write(more)
        assert "order_id=003" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
        assert process.stderr is not None
        left_out = LEFT_OUT.replace("1 of 3", "1 of 4")
        assert (process.stdout.read(), process.stderr.read()) == ("", left_out)


@pytest.mark.process
def test_ctrl_c_while_reading_a_silent_pipe_ends_the_command(log: Path) -> None:
    with start("-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(log.read_text(encoding="utf-8"))
        process.stdin.flush()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
        assert process.stderr is not None
        assert process.stderr.read().strip() == "orders: interrupted; the command can be repeated"


@pytest.mark.process
def test_a_reader_that_closes_its_end_early_is_not_an_error(log: Path) -> None:
    log.write_text(log.read_text(encoding="utf-8") * 10_000, encoding="utf-8")
    with start(log) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.process
def test_reading_a_log_imports_nothing_of_the_sdk(log: Path) -> None:
    main = "from workers.cli.__main__ import main; sys.argv = sys.argv[1:]; main()"
    code = f"import sys; {main}; print('botocore' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "orders", "logs", str(log)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "False"


@pytest.mark.process
def test_no_matching_lines_are_reported_on_standard_error(log: Path) -> None:
    with start(log, "--order", "003", "--json") as process:
        assert process.communicate() == ("", f"{LEFT_OUT}no matching lines\n")
    assert process.returncode == 0
