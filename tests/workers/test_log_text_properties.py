"""Log lines of any content: shown masked on one line, and safe for a terminal."""

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import card_numbers, digit_text, order_ids, text
from workers.domain.cards import looks_like_card
from workers.log_text import MAX_TRACEBACK_LINES, MAX_VALUE_CHARS, readable, render, render_foreign

NAMES = st.sampled_from(
    ["timestamp", "level", "event", "worker", "order_id", "case_id", "message_id", "execution_arn", "exception", "x"]
)
CONTROLS = st.text("\x1b[]0;m\x07\x9b\r\n\t\u202e\u2028\u200b\ud800 ab")
VALUES = text | CONTROLS | card_numbers | order_ids | st.integers() | st.floats()
# Nested by hand: `json_values` takes five times as long.
NESTED = st.lists(VALUES, max_size=3) | st.dictionaries(text | CONTROLS, VALUES, max_size=3)
FIELDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(NAMES | text | CONTROLS, VALUES | NESTED, max_size=5)


def assert_safe(*shown: str) -> None:
    for line in shown:
        assert all(char.isprintable() or char.isspace() for char in line), line
        assert len(line.splitlines()) <= 1
        assert not looks_like_card(line), line


@given(FIELDS)
def test_a_readable_line_is_masked_and_safe_for_a_terminal(fields: Mapping[str, Any]) -> None:
    line = readable(fields)
    for shown in (line.time, line.level, line.worker, line.event, line.values, *line.traceback):
        assert_safe(shown)
    assert_safe(render(fields, color=False))
    assert len(line.traceback) <= MAX_TRACEBACK_LINES + 1


@given(st.dictionaries(st.text("abc_", min_size=1), st.text("abc-/'\\ =\"", max_size=8)))
def test_a_value_can_be_read_back(fields: dict[str, str]) -> None:
    shown, decoder, found = readable(fields).values, json.JSONDecoder(), {}
    while shown:
        name, _, shown = shown.partition("=")
        if shown.startswith('"'):
            found[name], end = decoder.raw_decode(shown)
            shown = shown[end:]
        else:
            found[name], _, rest = shown.partition(" ")
            shown = f" {rest}" if rest else ""
        shown = shown.removeprefix(" ")
    assert found == {name: value for name, value in fields.items() if name != "exception"}


@given(st.integers(0, 3), st.sampled_from([0, 1, 199, 200, 201]) | st.integers(0, 300))
def test_a_long_value_keeps_its_start_and_a_long_traceback_its_end(more: int, lines: int) -> None:
    value = "x" * (MAX_VALUE_CHARS + more)
    cut = f"{value[:MAX_VALUE_CHARS]}... ({len(value)} characters)" if more else value
    assert readable({"event": value}).event == cut
    traceback = readable({"exception": "\n".join(f"line {number}" for number in range(lines))}).traceback
    assert (
        list(traceback[-MAX_TRACEBACK_LINES:]) == [f"line {number}" for number in range(lines)][-MAX_TRACEBACK_LINES:]
    )
    assert traceback[:-MAX_TRACEBACK_LINES] == ((f"({lines - 200} lines)",) if lines > 200 else ())


@given(text | CONTROLS)
def test_a_foreign_line_is_masked_and_safe_for_a_terminal(text: str) -> None:
    assert_safe(render_foreign(text, color=False))


@given(digit_text)
def test_a_foreign_line_without_controls_and_cards_is_not_changed(text: str) -> None:
    line = text.replace("\n", "")
    if not looks_like_card(line):
        assert render_foreign(f"{line}\r\n", color=False) == line
