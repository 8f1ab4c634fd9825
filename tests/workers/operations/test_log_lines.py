import json
from typing import Any

import pytest

from workers.operations.log_lines import (
    MAX_TRACEBACK_LINES,
    MAX_VALUE_CHARS,
    LogLine,
    Selection,
    parse,
    readable,
    readable_foreign,
)

CARD = "4929123412345678"
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678", "4929\n1234\n1234\n5678"]
FIELDS = {
    "timestamp": "2026-11-22T09:33:24.325884Z",
    "level": "warning",
    "event": "escalation.routed",
    "worker": "escalation",
    "queue": "EscalationQueue",
    "release": "3f9a",
    "message_id": "b8c7d9de-df7a-4217-af78-91c0994606e0",
    "order_id": "004",
    "execution_arn": "arn:aws:states:us-east-1:000000000000:execution:Orders:sample-004",
    "receive_count": 1,
    "case_id": "004",
    "reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
    "detail": "The order's details are not proper.",
}


def texts(line: LogLine) -> list[str]:
    return [line.time, line.level, line.worker, line.event, line.values, *line.traceback]


def test_a_line_has_the_order_first_and_the_long_ids_last() -> None:
    assert readable(FIELDS) == LogLine(
        time="2026-11-22 09:33:24.325",
        level="warning",
        worker="escalation",
        event="escalation.routed",
        values="order_id=004 case_id=004 receive_count=1 reasons=INVALID_CARD_NUMBER,INVALID_PRICE"
        ' detail="The order\'s details are not proper."'
        " message_id=b8c7d9de-df7a-4217-af78-91c0994606e0 execution_arn=sample-004",
    )


def test_missing_fields_are_empty() -> None:
    assert readable({"event": "worker.started"}) == LogLine("", "", "", "worker.started", "")
    assert readable({"order_id": None, "level": None}) == LogLine("", "", "", "", "")


def test_a_long_traceback_keeps_its_end() -> None:
    short = readable({"exception": 'Traceback:\n  File "x.py"\nKeyError: 1'}).traceback
    assert short == ("Traceback:", '  File "x.py"', "KeyError: 1")
    long = readable({"exception": "\n".join(map(str, range(1000)))}).traceback
    assert (len(long), long[0], long[-1]) == (MAX_TRACEBACK_LINES + 1, "(800 lines)", "999")


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", '""'), ("a b", '"a b"'), ("a=b", '"a=b"'), (0, "0"), (True, "true"), ({"a": [1]}, r'"{\"a\": [1]}"')],
)
def test_a_value_that_is_not_a_plain_word_is_quoted(value: object, shown: str) -> None:
    assert readable({"outcome": value}).values == f"outcome={shown}"


def test_a_long_value_is_cut() -> None:
    shown = readable(FIELDS | {"detail": "x" * 10_000_000}).values
    assert f"{'x' * MAX_VALUE_CHARS}... (10000000 characters)" in shown
    assert len(shown) < MAX_VALUE_CHARS + 500


@pytest.mark.parametrize("form", FORMS)
def test_card_numbers_are_masked_in_every_field(form: str) -> None:
    fields: dict[str, Any] = dict.fromkeys(FIELDS, form) | {form: form, "list": [form], "deep": {form: [form]}}
    fields |= {"exception": form, "execution_arn": f"arn:aws:states:us-east-1:000000000000:execution:Orders:{CARD}"}
    for shown in ("\n".join(texts(readable(fields))), readable_foreign(f"said {form}".encode())):
        assert CARD not in shown.replace("-", "").replace(" ", "")
    assert CARD not in readable({"n": int(CARD)}).values


def test_no_card_number_appears_where_texts_are_cut_or_joined() -> None:
    uuid = "12345678-1234-1234-1234-123456789012"
    line = readable({"timestamp": uuid, "order_id": "4929", "123412345678": "", "event": "x" * 1980 + uuid})
    assert (line.time, line.values) == ("****", 'order_id=****=""')
    assert line.event == f"{'x' * 1980}****... (2016 characters)"
    assert readable(FIELDS).values.endswith("message_id=b8c7d9de-df7a-4217-af78-91c0994606e0 execution_arn=sample-004")


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "\r", "\u202e", "\u2028"])
def test_control_characters_are_replaced_everywhere(evil: str) -> None:
    fields = {"event": evil, "detail": f"a{evil}b", evil: evil, "list": [evil], "exception": f"a\nb{evil}"}
    for shown in (*texts(readable(fields)), readable_foreign(evil.encode())):
        assert not [character for character in shown if not character.isprintable()]


@pytest.mark.parametrize(
    "prefix",
    ["", "  ", "fulfillment.1 | ", "escalation.1  | ", "09:12:12 escalation.1 | ", "\x1b[36m09:12:12 web.1 | \x1b[0m"],
)
def test_a_line_is_parsed_behind_the_prefix_of_honcho(prefix: str) -> None:
    assert parse(f"{prefix}{json.dumps(FIELDS)}\r".encode()) == FIELDS


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"plain text",
        b"[1]",
        b'"x"',
        b'{"event": "cut off',
        b"fulfillment.1 | started with pid 1",
        b"\xff\xfe{}",
        b"\0" * 100,
        b'{"a": ' * 100_000,
        b'{"n": ' + b"1" * 5000 + b"}",
    ],
)
def test_anything_else_is_not_a_log_line(raw: bytes) -> None:
    assert parse(raw) is None


def test_lines_are_selected_by_order_case_and_event() -> None:
    raw = json.dumps(FIELDS).encode()
    for selection in (Selection(), Selection("004"), Selection(escalations=True), Selection("004", escalations=True)):
        assert selection.may_match(raw)
        assert selection.matches(FIELDS)
    assert Selection("c-1").matches(FIELDS | {"case_id": "c-1"})
    assert not Selection("00").matches(FIELDS)
    assert not Selection("5").may_match(b'{"order_id": "004"}')
    assert not Selection(escalations=True).matches(FIELDS | {"event": "order.fulfilled"})
    everything = [Selection().everything, Selection("1").everything, Selection(escalations=True).everything]
    assert everything == [True, False, False]


@pytest.mark.parametrize(("length", "shown"), [(2000, "x" * 2000), (2001, f'"{"x" * 2000}... (2001 characters)"')])
def test_a_value_of_up_to_2000_characters_is_shown_whole(length: int, shown: str) -> None:
    assert readable({"outcome": "x" * length}).values == f"outcome={shown}"


@pytest.mark.parametrize(("lines", "first"), [(200, "0"), (201, "(1 lines)")])
def test_a_traceback_of_up_to_200_lines_is_shown_whole(lines: int, first: str) -> None:
    shown = readable({"exception": "\n".join(map(str, range(lines)))}).traceback
    assert (shown[0], shown[-200:]) == (first, tuple(map(str, range(lines - 200, lines))))


@pytest.mark.parametrize("exception", [None, 7, ["x"]])
def test_an_exception_that_is_not_text_has_no_traceback(exception: object) -> None:
    assert readable({"exception": exception}).traceback == ()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(["a", 1], r'"[\"a\", 1]"'), ([], '""'), (["Zo\u00eb"], "Zo\u00eb"), ([1, "\u00eb"], '"[1, \\"\u00eb\\"]"')],
)
def test_a_list_of_words_is_shown_without_brackets(value: object, shown: str) -> None:
    assert readable({"outcome": value}).values == f"outcome={shown}"


@pytest.mark.parametrize("column", ["timestamp", "level", "event", "worker", "queue", "release", "exception"])
def test_a_column_is_not_repeated_among_the_values(column: str) -> None:
    assert readable({column: "x", "n": 1}).values == "n=1"


def test_a_foreign_line_keeps_its_spaces_and_loses_its_colors_and_line_end() -> None:
    assert readable_foreign(b"  \x1b[31mred\x1b[0m  text \r\n") == "  red  text "
    assert readable_foreign(b"\xff") == "\ufffd"
    assert readable_foreign(b"x" * 2001) == f"{'x' * 2000}... (2001 characters)"


@pytest.mark.parametrize(
    ("selection", "raw", "may_match"),
    [
        (Selection("004"), b'{"order_id": "004"}', True),
        (Selection("\udcff"), b'{"order_id": "004"}', False),
        (Selection(escalations=True), b'{"event": "order.fulfilled"}', False),
        (Selection("5", escalations=True), b'{"event": "escalation.routed", "order_id": "004"}', False),
        (Selection("004", escalations=True), b'{"event": "order.fulfilled", "order_id": "004"}', False),
    ],
)
def test_a_raw_line_that_lacks_a_criterion_cannot_match(selection: Selection, raw: bytes, may_match: bool) -> None:
    assert selection.may_match(raw) is may_match


def test_a_line_is_selected_by_its_order_alone_or_its_case_alone() -> None:
    assert Selection("004").matches({"order_id": "004", "event": "order.fulfilled"})
    assert Selection("004").matches({"case_id": "004"})
    assert Selection().matches({"event": "order.fulfilled"})


def test_a_line_must_match_every_criterion() -> None:
    both = Selection("004", escalations=True)
    assert not both.matches({"order_id": "004", "event": "order.fulfilled"})
    assert not both.matches({"order_id": "005", "event": "escalation.routed"})
