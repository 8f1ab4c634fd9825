import io
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TextIO

import pytest

from workers.cli.output import (
    CliError,
    InterruptedCommandError,
    ProgressLines,
    note,
    print_json,
    print_line,
    progress,
    results,
)

HOSTILE = "A\x1b]0;owned\x07d\ta\n\x9b2J\u202e\u2028 4929 1234 1234 5678"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_is_masked_and_all_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([HOSTILE, {"n": 4929123412345678}])
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == [HOSTILE.replace("4929 1234 1234 5678", "****"), {"n": "****"}]


@pytest.mark.process
def test_help_does_not_wait_for_the_import_of_the_sdk() -> None:
    script = (
        "import sys; from workers.cli.__main__ import main; sys.argv[1:] = ['--help']; "
        "assert main() == 0; assert not {'boto3', 'rich', 'asyncio'} & sys.modules.keys()"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "orders submit orders.csv" in shown


def test_lines_and_notes_are_clean_and_go_to_their_own_stream(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(HOSTILE)
    print_line()
    note("4929123412345678")
    out, err = capsys.readouterr()
    assert (out.splitlines()[1:], err) == ([""], "****\n")
    assert out.splitlines()[0].isprintable()
    assert "4929" not in out


def full_device() -> TextIO:
    return open("/dev/full", "w", encoding="utf-8")  # noqa: PTH123 - the caller closes it.


def test_results_that_standard_output_does_not_take_are_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def report() -> None:
        with results():
            note("2 of 3")
            print_line("Order 001: CANCELLED")
            print_json({"order_id": "001"})

    with full_device() as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        with pytest.raises(CliError, match=r"^standard output: No space left on device$"):
            report()
    out, err = capsys.readouterr()
    assert (out, err) == ("", 'Order 001: CANCELLED\n{\n  "order_id": "001"\n}\n2 of 3\n')


def test_what_was_done_before_a_failure_is_printed_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        with results():
            note("2 selected")
            print_line("1 done")
            raise CliError("1 of 2 failed")

    with pytest.raises(CliError, match=r"^1 of 2 failed$"):
        fail()
    assert capsys.readouterr() == ("1 done\n", "2 selected\n")
    with full_device() as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", full)
        with pytest.raises(CliError, match=r"^1 of 2 failed$"):
            fail()
    assert capsys.readouterr() == ("", "1 done\n2 selected\n")


def test_results_look_as_on_the_stream_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    with results():
        print_line(f"terminal: {sys.stdout.isatty()}, RECEIVED")
    assert terminal.getvalue() == "terminal: True, RECEIVED\n", "in colour only if asked to"


def test_a_note_that_nobody_can_read_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_device() as full, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", full)
        note("one")
        note("two")


@dataclass
class Sum:
    n: int
    parts: tuple["Sum", ...] = ()


def test_json_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'
    print_json(Sum(1, (Sum(2),)))
    assert json.loads(capsys.readouterr().out) == {"n": 1, "parts": [{"n": 2, "parts": []}]}


def test_without_a_terminal_there_is_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 3) as advance:
        advance(3)
        assert getattr(advance, "__self__", None) is None, "nor a line"
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_a_line_every_ten_seconds_says_how_far_long_work_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    lines = ProgressLines("reading", 1_000, lambda: now)
    for seconds in range(1, 25):
        now = float(seconds)
        lines.add(25)
    assert capsys.readouterr() == ("", "reading: 25 %\nreading: 50 %\n")
    few = ProgressLines("few", 200, lambda: now)
    for done in (199, 200):
        now += 10
        few.add(done)
    assert capsys.readouterr() == ("", "few: 99 %\nfew: 100 %\n"), "there are more than were counted at first"


def test_the_size_of_what_was_read_is_shown_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with progress("reading", 4_000_000, in_bytes=True) as advance:
        advance(1_000_000)
    assert "1.0/4.0 MB" in terminal.getvalue()
    with progress("sending", 4_000_000) as advance:
        advance(1_000_000)
    assert "1000000/4000000" in terminal.getvalue()


def test_a_terminal_shows_what_is_done_and_how_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with progress("submitting a[/b].csv", 7) as advance:
        advance(3)
        advance(2)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"submitting a\[/b\]\.csv .* 5/7 ", shown)
    assert shown.endswith("\r") or terminal.getvalue().endswith("\x1b[2K"), "the bar is removed at the end"


def test_errors_have_exit_codes() -> None:
    assert (CliError.exit_code, InterruptedCommandError.exit_code) == (1, 130)
