import io
import json
import re
import subprocess
import sys

import pytest

from workers.cli.output import print_json, print_table

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
