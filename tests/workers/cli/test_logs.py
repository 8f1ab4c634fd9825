"""`orders logs` as a process: what it does with pipes, signals and files that are none."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

LINES = [
    {"timestamp": "2026-11-22T09:33:24.3258Z", "level": "info", "event": "order.fulfilled", "order_id": "001"},
    {"timestamp": "2026-11-22T09:33:25.3258Z", "level": "warning", "event": "escalation.routed", "order_id": "002"},
]
# Ctrl-C is ignored where the tests run in the background.
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
    path.write_text("".join(f"{json.dumps(each)}\n" for each in LINES) + "honcho: said something\n", encoding="utf-8")
    return path


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


def test_only_what_is_asked_for_is_shown(log: Path) -> None:
    with start(log, "--order", "002", "--escalations", "--json") as process:
        out, _ = process.communicate()
    assert [json.loads(line) for line in out.splitlines()] == [LINES[1]]


def test_a_file_is_followed_until_ctrl_c_which_is_no_failure(log: Path) -> None:
    with start(log, "--follow", "--escalations") as process:
        assert process.stdout is not None
        assert "order_id=002" in process.stdout.readline()
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(LINES[1] | {"order_id": "003"}) + "\n")
        assert "order_id=003" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("", "")
        assert process.returncode == 0


def test_a_reader_that_has_seen_enough_is_no_reason_to_complain(log: Path) -> None:
    log.write_text(log.read_text(encoding="utf-8") * 10_000, encoding="utf-8")
    with start(log) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_nothing_of_the_sdk_is_imported_to_read_a_log(log: Path) -> None:
    main = "from workers.cli.__main__ import main; sys.argv = sys.argv[1:]; main()"
    code = f"import sys; {main}; print('botocore' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "orders", "logs", str(log)], capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines()[-1] == "False"


def test_that_nothing_was_found_is_said_beside_the_output(log: Path) -> None:
    with start(log, "--order", "003", "--json") as process:
        assert process.communicate() == ("", "no such line\n")
    assert process.returncode == 0
