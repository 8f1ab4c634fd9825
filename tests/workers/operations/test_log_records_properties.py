"""Log lines of any content are found behind any prefix, and no input is an error."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import json_texts, json_values, text
from tests.workers.operations.test_log_records import PREFIXES, TIME
from workers.operations.lines import Line
from workers.operations.log_records import Records

FIELDS: st.SearchStrategy[dict[str, Any]] = st.builds(
    lambda first, more: first | {name: value for name, value in more.items() if name not in first},
    st.fixed_dictionaries({"timestamp": st.just("2026-11-22T09:33:24Z"), "event": st.sampled_from(["a.b", "x"])}),
    st.dictionaries(st.sampled_from(["level", "order_id", "x"]) | text, json_values, max_size=4),
)
LINES = st.builds(lambda fields, ascii_only: json.dumps(fields, ensure_ascii=ascii_only), FIELDS, st.booleans())


def found(*lines: bytes) -> tuple[list[Any], Records]:
    counts = Records()
    shown = [record for line in lines for record in counts.add(Line(line))]
    return [record.fields for record in (*shown, *counts.end())], counts


@given(LINES, st.sampled_from(list(PREFIXES.values())), st.sampled_from(["", "\r", " \x1b[0m"]))
def test_a_log_line_is_found_behind_any_known_prefix(line: str, prefix: str, end: str) -> None:
    shown, counts = found(f"{prefix}{line}{end}".encode(errors="replace"))
    assert (shown, counts.read, counts.unread) == ([json.loads(line)], 1, 0)


@settings(max_examples=25)
@given(LINES, st.text(st.characters(exclude_characters='{"\n', exclude_categories=["Cs"])))
def test_a_log_line_is_found_behind_a_prefix_that_nobody_knows(line: str, prefix: str) -> None:
    assert found(f"{prefix}{line}".encode())[0] == [json.loads(line)]


@given(LINES, st.sampled_from(["log", "MESSAGE", "message", "@message"]), st.integers(1, 3), st.booleans())
def test_a_log_line_is_found_in_any_wrapper(line: str, name: str, depth: int, indented: bool) -> None:
    wrapped = line
    for _ in range(depth):
        wrapped = json.dumps({"a": 1, name: wrapped}, indent=4 if indented else None)
    assert found(*(part.encode() for part in wrapped.split("\n")))[0] == [json.loads(line)]


@given(LINES, st.lists(st.integers(1, 200)))
def test_a_log_line_is_joined_from_any_parts(line: str, sizes: list[int]) -> None:
    raw, parts = line.encode(), list[bytes]()
    for size in sizes:
        parts.append(b"%s stdout P %s" % (TIME.encode(), raw[:size]))
        raw = raw[size:]
    assert found(*parts, b"%s stdout F %s" % (TIME.encode(), raw))[0] == [json.loads(line)]


PIECES = st.sampled_from(
    [
        b"{",
        b"}",
        b"  ",
        b'"a": 1',
        b'{"log":"',
        b'\\n","stream":"stdout","time":"1"}',
        TIME.encode(),
        b" stdout P ",
        b" x ",
        b'{"events":[',
        b'""',
        b"\xff",
        b"\x1b[0m",
    ]
)


@given(
    st.lists(
        json_texts(FIELDS).map(lambda text: text.encode(errors="replace"))
        | st.binary()
        | st.lists(PIECES).map(b"".join)
    )
)
def test_no_line_is_an_error_and_every_line_is_counted(lines: list[bytes]) -> None:
    shown, counts = found(*lines)
    assert counts.unread <= counts.read
    assert counts.damaged <= counts.unread
    assert len([fields for fields in shown if fields is not None]) == counts.read - counts.unread
    assert len([line for line in lines if line.strip()]) >= counts.unread
