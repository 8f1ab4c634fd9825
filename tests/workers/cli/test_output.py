import io
import json
import re
import subprocess
import sys

import pytest

from workers.cli.output import CliError, InterruptedCommandError, note, print_json, print_line, print_table, progress

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


def test_a_table_in_a_pipe_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("order", "n"), [("東京", 1), ("x" * 200, None)], right=("n",))
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"{'ORDER':<200}  N", f"東京{' ' * 196}  1")
    assert third == f"{'x' * 200}  -"


def test_a_table_on_a_narrow_terminal_is_folded_and_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    print_table(("order", "what"), [("001", "one two three four five six seven [bold]eight"), ("002", "\x1b[2J")])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # The headings are bold.
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 30
    assert "one two three four five six seven [bold]eight" in " ".join(line[7:].strip() for line in lines)
    assert "\x1b" not in shown


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


def test_json_is_indented(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [1]})
    assert capsys.readouterr().out == '{\n  "a": [\n    1\n  ]\n}\n'


def test_cells_are_aligned_left_unless_they_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "bb"), [(1, 22), (333, None)], right=("a",))
    assert capsys.readouterr().out.splitlines() == ["  A  BB", "  1  22", "333  -"]
    print_table(("a", "bb"), [])
    assert capsys.readouterr().out == "A  BB\n"


def test_a_table_on_a_terminal_has_bold_headings_and_aligned_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_table(("order", "n"), [("1234567", 1), ("2", 100)], right=("n",))
    lines = terminal.getvalue().splitlines()
    assert "\x1b[1m" in lines[0]
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]
    assert plain == ["ORDER      N", "1234567    1", "2        100"]


def test_without_a_terminal_there_is_no_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("reading", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_what_is_done_and_how_much_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with progress("submitting", 7) as advance:
        advance(3)
        advance(2)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    assert re.search(r"submitting .* 5/7 ", shown)
    assert shown.endswith("\r") or terminal.getvalue().endswith("\x1b[2K"), "the bar is removed at the end"


def test_errors_have_exit_codes() -> None:
    assert (CliError.exit_code, InterruptedCommandError.exit_code) == (1, 130)
