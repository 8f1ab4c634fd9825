"""`orders logs`: how a line is rendered; and as a process, with pipes, signals and files that are not logs."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workers.cli.logs import render

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


def test_a_line_is_rendered_in_columns_with_its_traceback_below() -> None:
    fields = LINES[1] | {"worker": "escalation", "exception": 'Traceback:\n  File "x.py"\nKeyError: 1'}
    assert render(fields, color=False).splitlines() == [
        "2026-11-22 09:33:25.325 warning escalation  escalation.routed order_id=002",
        "    Traceback:",
        '      File "x.py"',
        "    KeyError: 1",
    ]
    assert render({"event": "worker.started"}, color=False).split() == ["worker.started"]
    assert render({"order_id": None, "level": None}, color=False) == ""


def test_only_a_terminal_gets_colors() -> None:
    assert "\x1b" not in render(LINES[1], color=False)
    assert render(LINES[1], color=True).count("\x1b[33m") == 2


@pytest.mark.parametrize("color", [True, False])
def test_card_numbers_and_control_characters_are_rendered_nowhere(color: bool) -> None:
    evil = f"\x1b]0;\x07\x9b2J\r\u202e\u2028 {CARD}"
    fields = dict.fromkeys(("timestamp", "level", "worker", "event", "order_id", "exception", evil), evil)
    shown = render(fields, color=color)
    assert CARD not in shown
    escapes = {"\x1b"} if color else set()
    assert {character for character in shown if not character.isprintable()} - {"\n"} == escapes


@pytest.mark.process
def test_a_file_or_a_pipe_is_shown_line_by_line(log: Path) -> None:
    expected = (
        "2026-11-22 09:33:24.325 info                order.fulfilled order_id=001\n"
        "2026-11-22 09:33:25.325 warning             escalation.routed order_id=002\n"
        "honcho: said something\n"
    )
    for arguments, given in (([log], ""), (["-"], log.read_text(encoding="utf-8"))):
        with start(*arguments) as process:
            assert process.communicate(given) == (expected, "")
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
        assert (process.stdout.read(), process.stderr.read() if process.stderr else "") == ("", "")


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
        assert process.communicate() == ("", "no matching lines\n")
    assert process.returncode == 0
