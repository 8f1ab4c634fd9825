import io
import json
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import click
import pytest

from workers.cli.ages import Age
from workers.cli.output import print_json, print_table
from workers.cli.parallel import in_parallel
from workers.operations.ages import format_age as written
from workers.operations.ages import seconds_since as since
from workers.operations.text import clean

HOSTILE = "A\x1b]0;owned\x07d\ta\n\x9b2J\u202e\u2028 4929 1234 1234 5678"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_foreign_does_more_to_a_terminal_than_to_show_itself() -> None:
    assert clean(HOSTILE) == "A\ufffd]0;owned\ufffdd a \ufffd2J\ufffd\ufffd ****"
    assert clean("Zoë 🚲 東京") == "Zoë 🚲 東京"


def test_json_is_masked_and_all_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([HOSTILE, {"n": 4929123412345678}])
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == [HOSTILE.replace("4929 1234 1234 5678", "****"), {"n": "****"}]


def test_a_table_in_a_pipe_is_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("order", "n"), [("東京", 1), ("x" * 200, None)], right=("n",))
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"{'ORDER':<200}  N", f"東京{' ' * 196}  1")
    assert third == f"{'x' * 200}  -"


def test_a_table_on_a_narrow_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm")
    print_table(("order", "what"), [("001", "one two three four five six seven [bold]eight"), ("002", "\x1b[2J")])
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())  # The headings are bold.
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 30
    assert "one two three four five six seven [bold]eight" in " ".join(each[7:].strip() for each in lines)
    assert "\x1b" not in shown


def test_work_is_done_in_parallel_and_yielded_in_order() -> None:
    first, second = threading.Event(), threading.Event()

    def work(n: int) -> int:
        if n == 0:
            assert second.wait(10)
            first.set()
        elif n == 1:
            second.set()
            assert first.wait(10)
        return n

    assert list(in_parallel(work, range(50), at_most=2)) == list(range(50))


def test_after_an_error_nothing_more_is_begun() -> None:
    begun, stop = list[int](), threading.Event()

    def work(n: int) -> None:
        begun.append(n)
        if n == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        list(in_parallel(work, range(1000), at_most=2, stop=stop))
    assert stop.is_set()
    assert len(begun) < 20


@pytest.mark.parametrize(("text", "age"), [("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259200)])
def test_ages_are_read_and_written(text: str, age: int) -> None:
    assert Age().convert(text, None, None) == timedelta(seconds=age)
    assert written(age) == text


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1.5h", "10 m", "1w", "999999d", "\u0661m"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s, 10m, 2h or 3d"):
        Age().convert(text, None, None)


def test_ages_of_times_that_are_none_are_unknown() -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert since("2026-11-22T09:59:00.000Z", now) == 60
    assert [since(each, now) for each in (None, "", "yesterday")] == [None, None, None]
    assert [written(each) for each in (None, -5, 0.5, 119, 120)] == [None, "0s", "0s", "119s", "2m"]


def test_help_waits_for_no_import_of_the_sdk() -> None:
    script = (
        "import sys; from workers.cli.__main__ import main; sys.argv[1:] = ['--help']; "
        "assert main() == 0; assert 'boto3' not in sys.modules and 'rich' not in sys.modules"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "orders submit orders.csv" in shown
