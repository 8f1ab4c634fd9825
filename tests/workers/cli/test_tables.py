import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import matching
from workers.cli.output import print_line
from workers.cli.tables import print_fields, print_table

HEADINGS = ("case", "severity", "reasons", "age", "next")
CASES = [
    ("002", "critical", "INVALID_PRICE, INVALID_CARD_NUMBER", "2h", "Correct it with `orders escalations resolve 002`"),
    ("message-8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7", "warning", "UNDECODABLE_MESSAGE", "3d", None),
]
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


Shown = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Return what a terminal of some columns shows, colours included."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def show(columns: int, print_it: Callable[..., None], *arguments: Any, **options: Any) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        terminal = Terminal()
        with monkeypatch.context() as replaced:
            replaced.setattr(sys, "stdout", terminal)
            print_it(*arguments, **options)
        return terminal.getvalue()

    return show


def plain(text: str) -> list[str]:
    return _STYLE.sub("", text).splitlines()


def test_a_table_in_a_pipe_has_one_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("order", "n"), [("東京", 1), ("x" * 200, None)], right=("n",), text=("order",))
    first, second, third = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"{'ORDER':<200}  N", f"東京{' ' * 196}  1")
    assert third == f"{'x' * 200}  -"


def test_cells_are_aligned_left_unless_they_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a", "bb"), [(1, 22), (333, None)], right=("a",))
    assert capsys.readouterr().out.splitlines() == ["  A  BB", "  1  22", "333  -"]
    print_table(("a", "bb"), [])
    assert capsys.readouterr().out == "A  BB\n"


def test_a_row_with_too_few_cells_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        print_table(("a", "b"), [(1,)])


def test_a_table_that_fits_has_bold_headings_and_aligned_columns(shown: Shown) -> None:
    text = shown(80, print_table, ("order", "n"), [("1234567", 1), ("2", 100)], right=("n",))
    assert text.splitlines()[0].startswith("\x1b[1mORDER")
    assert plain(text) == ["ORDER      N", "1234567    1", "2        100"]


def test_a_wide_table_on_80_columns_shows_each_row_as_a_block(shown: Shown) -> None:
    text = shown(80, print_table, HEADINGS, CASES, right=("age",), text=("reasons", "next"))
    assert plain(text) == [
        "002",
        "  severity critical  reasons INVALID_PRICE, INVALID_CARD_NUMBER  age 2h",
        "  next Correct it with `orders escalations resolve 002`",
        "",
        "message-8c2aecf1-d80a-45a3-90a8-6c2b0bb860f7",
        "  severity warning  reasons UNDECODABLE_MESSAGE  age 3d",
    ]


def test_a_wide_table_on_100_columns_breaks_only_prose(shown: Shown) -> None:
    rows = [("002", "critical", CASES[0][2], "2h", "Correct it, or ask the customer who sent it by post, twice")]
    text = shown(100, print_table, HEADINGS, rows, right=("age",), text=("reasons", "next"))
    assert plain(text) == [
        "CASE  SEVERITY  REASONS                             AGE  NEXT",
        "002   critical  INVALID_PRICE, INVALID_CARD_NUMBER   2h  Correct it, or ask the customer who sent it",
        "                                                         by post, twice",
    ]
    assert plain(shown(80, print_table, HEADINGS, rows, text=("reasons", "next")))[0] == "002"


def test_a_table_stays_one_on_a_narrow_terminal_if_its_prose_has_room(shown: Shown) -> None:
    note = "it is sent by courier, because the provider does not ship there"
    rows = [("a-long-id", "b" * 25, note)]
    assert plain(shown(80, print_table, ("id", "x", "note"), rows, text=("note",))) == [
        f"ID         X{' ' * 26}NOTE",
        f"a-long-id  {'b' * 25}  it is sent by courier, because the",
        f"{' ' * 38}provider does not ship there",
    ]
    narrower = plain(shown(77, print_table, ("id", "x", "note"), rows, text=("note",)))
    assert narrower == ["a-long-id", f"  x {'b' * 25}", f"  note {note}"]


def test_a_block_begins_with_the_column_that_is_its_head(shown: Shown) -> None:
    row = ("x" * 60, "y" * 60, "z")
    assert plain(shown(80, print_table, ("a", "b", "c"), [row], head="b")) == ["y" * 60, f"  a {'x' * 60}  c z"]


def test_a_table_whose_ids_do_not_fit_is_shown_in_blocks_on_any_terminal(shown: Shown) -> None:
    lines = plain(shown(120, print_table, ("a", "b"), [("x" * 70, "y" * 70)], text=("b",)))
    assert lines == ["x" * 70, f"  b {'y' * 70}"]


def test_wide_prints_one_line_per_row_on_a_terminal_too(shown: Shown) -> None:
    lines = plain(shown(40, print_table, HEADINGS, CASES, text=("reasons", "next"), wide=True))
    assert len(lines) == 3
    assert lines[1].endswith(str(CASES[0][-1]))


def test_status_and_severity_have_colours_on_a_terminal(shown: Shown) -> None:
    text = shown(80, print_table, ("status", "severity", "note"), [("ESCALATED", "critical", "FULFILLED")])
    assert "\x1b[33mESCALATED" in text
    assert "\x1b[1;31mcritical" in text
    assert "  FULFILLED" in text.splitlines()[1].replace("\x1b[0m", ""), "only in columns about a status"


def test_no_color_is_respected(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in shown(80, print_table, ("status",), [("ESCALATED",)])


def test_hostile_text_changes_nothing_else(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[bold]a[/bold] \x1b[2J\n 4929 1234 1234 5678"
    for columns in (40, 120):
        text = shown(columns, print_table, ("order", "what"), [("001", hostile)], text=("what",))
        assert "\x1b[2J" not in text
        assert "4929" not in text
        assert "[bold]a[/bold]" in text
    print_fields([("Name", hostile)])
    assert "4929" not in capsys.readouterr().out


def test_fields_are_aligned_and_wrapped_below_their_beginning(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    fields: Sequence[tuple[str, object]] = [("Next", "one two three four"), ("Attempts", 3), ("Order", None)]
    print_fields(fields)
    assert capsys.readouterr().out == "  Next      one two three four\n  Attempts  3\n"
    assert plain(shown(24, print_fields, fields)) == [
        "  Next      one two",
        "            three four",
        "  Attempts  3",
    ]
    assert plain(shown(24, print_fields, [("Note", "  two  spaces")])) == ["  Note    two  spaces"]


def test_lines_are_wrapped_at_their_indent_on_a_terminal_only(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    print_line("  " + "word " * 10)
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert plain(shown(24, print_line, "  " + "word " * 6)) == ["  word word word word", "  word word"]
    assert plain(shown(24, print_line, "  Started     2026-11-26 and more")) == [
        "  Started     2026-11-26",
        "  and more",
    ]
    assert shown(24, print_line) == "\n"


def test_a_command_in_backquotes_can_be_copied(shown: Shown) -> None:
    lines = plain(shown(30, print_line, "Next: use `orders cancel 001 --actor you --note why`, then look"))
    assert lines == ["Next: use", "`orders cancel 001 --actor you --note why`,", "then look"]


WORDS = st.lists(matching(r"[A-Za-z0-9._-]{1,40}", fullmatch=True), min_size=1, max_size=8)


@given(rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=4), columns=st.integers(80, 130))
def test_no_word_of_a_cell_is_ever_broken(rows: list[tuple[list[str], ...]], columns: int) -> None:
    terminal = Terminal()
    with pytest.MonkeyPatch.context() as replaced:
        replaced.setenv("COLUMNS", str(columns))
        replaced.setattr(sys, "stdout", terminal)
        # Ids have no spaces; a first cell that is longer than the terminal keeps its line.
        print_table(
            ("id", "text", "more"),
            [(words[0], " ".join(text), " ".join(more)) for words, text, more in rows],
            text=("text", "more"),
        )
    lines = plain(terminal.getvalue())
    assert max(map(len, lines)) <= columns
    found = [word for line in lines for word in line.split()]
    for words, text, more in rows:
        assert {words[0], *text, *more} - {"-"} <= set(found)
