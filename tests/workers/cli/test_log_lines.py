import json
from typing import Any

import pytest

from workers.cli.log_lines import MAX_TRACEBACK_LINES, MAX_VALUE_CHARS, Wanted, parse, render, render_foreign

CARD = "4929123412345678"
FORMS = [CARD, "4929-1234-1234-5678", "4929 1234 1234 5678", "4929\n1234\n1234\n5678"]
LINE = {
    "timestamp": "2026-11-22T09:33:24.325884Z",
    "level": "warning",
    "event": "escalation.routed",
    "worker": "escalation",
    "queue": "EscalationQueue",
    "message_id": "b8c7d9de-df7a-4217-af78-91c0994606e0",
    "order_id": "004",
    "execution_arn": "arn:aws:states:us-east-1:000000000000:execution:Orders:sample-004",
    "receive_count": 1,
    "case_id": "004",
    "reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
    "detail": "The order's details are not proper.",
}


def rendered(color: bool = False, **changes: Any) -> str:
    return render(LINE | changes, color=color)


def test_a_line_says_when_how_bad_who_and_what_then_the_order_and_last_what_is_searched_for() -> None:
    assert rendered() == (
        "2026-11-22 09:33:24.325 warning escalation  escalation.routed order_id=004 case_id=004 receive_count=1"
        ' reasons=INVALID_CARD_NUMBER,INVALID_PRICE detail="The order\'s details are not proper."'
        " message_id=b8c7d9de-df7a-4217-af78-91c0994606e0 execution_arn=sample-004"
    )


def test_what_a_line_does_not_have_is_left_out() -> None:
    assert render({"event": "worker.started"}, color=False).split() == ["worker.started"]
    assert render({"order_id": None, "level": None}, color=False) == ""


def test_a_traceback_comes_below_the_line_and_no_more_of_it_than_its_end() -> None:
    shown = rendered(exception='Traceback:\n  File "x.py"\nKeyError: 1')
    assert shown.splitlines()[1:] == ["    Traceback:", '      File "x.py"', "    KeyError: 1"]
    long = rendered(exception="\n".join(map(str, range(1000)))).splitlines()
    assert (len(long), long[1], long[-1]) == (MAX_TRACEBACK_LINES + 2, "    (800 lines)", "    999")


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in rendered()
    assert rendered(color=True).count("\x1b[33m") == 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", '""'), ("a b", '"a b"'), ("a=b", '"a=b"'), (0, "0"), (True, "true"), ({"a": [1]}, r'"{\"a\": [1]}"')],
)
def test_a_value_that_is_no_plain_word_is_quoted(value: object, shown: str) -> None:
    assert rendered(outcome=value).split(" outcome=")[1].startswith(f"{shown} message_id=")


def test_no_value_is_longer_than_a_person_reads() -> None:
    shown = rendered(detail="x" * 10_000_000)
    assert f"{'x' * MAX_VALUE_CHARS}... (10000000 characters)" in shown
    assert len(shown) < MAX_VALUE_CHARS + 500


@pytest.mark.parametrize("form", FORMS)
def test_a_card_number_is_shown_nowhere(form: str) -> None:
    line = dict.fromkeys(LINE, form) | {form: form, "list": [form], "deep": {form: [form]}, "exception": form}
    line["execution_arn"] = f"arn:aws:states:us-east-1:000000000000:execution:Orders:{CARD}"
    for shown in (render(line, color=False), render(line, color=True), render_foreign(f"said {form}".encode())):
        assert CARD not in shown.replace("-", "").replace(" ", "")
    assert CARD not in render({"n": int(CARD)}, color=False)


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x1b]0;title\x07", "\x9b2J", "\r", "\u202e", "\u2028"])
def test_nothing_foreign_reaches_the_terminal_but_text(evil: str) -> None:
    line = {"event": evil, "detail": f"a{evil}b", evil: evil, "list": [evil], "exception": f"a\nb{evil}"}
    for shown in (render(line, color=False), render_foreign(evil.encode())):
        assert not [each for each in shown if each != "\n" and not each.isprintable()]


@pytest.mark.parametrize(
    "prefix",
    ["", "  ", "fulfillment.1 | ", "escalation.1  | ", "09:12:12 escalation.1 | ", "\x1b[36m09:12:12 web.1 | \x1b[0m"],
)
def test_a_line_is_understood_as_honcho_prints_it(prefix: str) -> None:
    assert parse(f"{prefix}{json.dumps(LINE)}\r".encode()) == LINE


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
def test_anything_else_is_no_line_of_ours(raw: bytes) -> None:
    assert parse(raw) is None


def test_what_is_wanted_is_found_by_order_case_and_event() -> None:
    raw = json.dumps(LINE).encode()
    for wanted in (Wanted(), Wanted("004"), Wanted(escalations=True), Wanted("004", escalations=True)):
        assert wanted.may_be(raw)
        assert wanted.includes(LINE)
    assert Wanted("c-1").includes(LINE | {"case_id": "c-1"})
    assert not Wanted("00").includes(LINE)
    assert not Wanted("5").may_be(b'{"order_id": "004"}')
    assert not Wanted(escalations=True).includes(LINE | {"event": "order.fulfilled"})
    assert [Wanted().everything, Wanted("1").everything, Wanted(escalations=True).everything] == [True, False, False]
