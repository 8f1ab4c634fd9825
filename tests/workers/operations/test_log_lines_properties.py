"""Log lines of any content: found, and shown masked on one line."""

import io
import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import card_numbers, digit_text, json_texts, json_values, order_ids, text
from workers.domain.cards import looks_like_card
from workers.operations.lines import Line, read
from workers.operations.log_lines import (
    ESCALATION_EVENT,
    MAX_TRACEBACK_LINES,
    MAX_VALUE_CHARS,
    Selection,
    parse,
    readable,
    readable_foreign,
)

NAMES = st.sampled_from(
    ["timestamp", "level", "event", "worker", "order_id", "case_id", "message_id", "execution_arn", "exception", "x"]
)
CONTROLS = st.text("\x1b[]0;m\x07\x9b\r\n\t\u202e\u2028\u200b\ud800 ab")
FIELDS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    NAMES | text | CONTROLS, json_values | CONTROLS | card_numbers | order_ids, max_size=6
)
PREFIXES = st.sampled_from(
    [b"", b"  ", b"fulfillment.1 | ", b"12:00:00 escalation.2  | ", b"\x1b[36m12:00:00 a.1 | \x1b[0m"]
)


@given(FIELDS, PREFIXES, st.booleans(), st.sampled_from([b"", b"\n", b"\r\n", b"\x1b[0m\n"]))
def test_a_log_line_is_found_behind_any_prefix(
    fields: dict[str, Any], prefix: bytes, ascii_only: bool, end: bytes
) -> None:
    line = json.dumps(fields, ensure_ascii=ascii_only).encode(errors="replace")
    if b"\x1b" in end and not prefix.strip():
        end = b""  # Only a process manager adds color codes, and it also adds a prefix.
    assert parse(prefix + line + end) == json.loads(line)


@given(json_texts(FIELDS).map(lambda text: text.encode(errors="replace")) | st.binary())
def test_any_other_line_is_none_and_raises_nothing(raw: bytes) -> None:
    fields = parse(raw)
    assert fields is None or isinstance(fields, dict)
    assert_safe(readable_foreign(raw))
    if fields is not None:
        assert_safe(*(shown for line in [readable(fields)] for shown in (line.time, line.values, *line.traceback)))


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
    assert found == fields


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


SELECTIONS = st.builds(Selection, order_id=st.none() | order_ids, escalations=st.booleans())


@given(SELECTIONS, st.sampled_from([None, "order_id", "case_id", "other"]), st.booleans(), st.booleans(), order_ids)
def test_a_line_that_matches_is_never_ruled_out_unparsed(
    selection: Selection, place: str | None, escalation: bool, same: bool, other: str
) -> None:
    order_id = selection.order_id if same and selection.order_id else other
    fields = {"event": ESCALATION_EVENT if escalation else "order.fulfilled"}
    if place is not None:
        fields[place] = order_id
    expected = (
        selection.order_id is None or (place in {"order_id", "case_id"} and order_id == selection.order_id)
    ) and (escalation or not selection.escalations)
    assert selection.matches(fields) is expected
    if expected:
        assert selection.may_match(json.dumps(fields).encode())
    assert selection.everything == (selection == Selection())


class Drip(io.BytesIO):
    """Returns chunks of the given sizes, as a pipe may."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        super().__init__(content)
        self._sizes = sizes

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(self._sizes.pop() if self._sizes else -1)


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(1, 9)), st.integers(1, 10))
def test_lines_are_whole_or_counted_however_the_bytes_arrive(pieces: list[bytes], sizes: list[int], most: int) -> None:
    content = b"\n".join(pieces)
    lines = content.split(b"\n")
    expected = [Line(line[:most], max(0, len(line) - most)) for line in (lines if lines[-1] else lines[:-1])]
    assert list(read(Drip(content, sizes), max_line_bytes=most)) == expected


@given(digit_text)
def test_a_foreign_line_without_controls_and_cards_is_not_changed(text: str) -> None:
    line = text.replace("\n", "")
    if not looks_like_card(line):
        assert readable_foreign(f"{line}\r\n".encode()) == line
