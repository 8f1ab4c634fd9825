"""How a log line is shown to people."""

import io
import traceback
from typing import Any

import pytest

from workers.log_text import (
    EVENT_WIDTH,
    MAX_TRACEBACK_LINES,
    MAX_VALUE_CHARS,
    LogLine,
    readable,
    render,
    render_foreign,
    wants_color,
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


@pytest.mark.parametrize(
    ("name", "shown"), [("trace_id", "12345678901234567890abcdef123456"), ("detail", "****abcdef123456")]
)
def test_the_id_of_a_trace_is_shown_whole_in_its_field_alone(name: str, shown: str) -> None:
    line = render({name: "12345678901234567890abcdef123456", "message_id": "1"}, color=False)
    assert line.split() == [f"{name}={shown}", "message_id=1"]


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
    shown = readable(FIELDS | {"detail": "x" * 1_000_000}).values
    assert f"{'x' * MAX_VALUE_CHARS}... (1000000 characters)" in shown
    assert len(shown) < MAX_VALUE_CHARS + 500


@pytest.mark.parametrize("form", FORMS)
def test_card_numbers_are_masked_in_every_field(form: str) -> None:
    fields: dict[str, Any] = dict.fromkeys(FIELDS, form) | {form: form, "list": [form], "deep": {form: [form]}}
    fields |= {"exception": form, "execution_arn": f"arn:aws:states:us-east-1:000000000000:execution:Orders:{CARD}"}
    for shown in ("\n".join(texts(readable(fields))), render_foreign(f"said {form}", color=False)):
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
    for shown in (*texts(readable(fields)), render_foreign(evil, color=False)):
        assert not [character for character in shown if not character.isprintable()]


@pytest.mark.parametrize(("length", "shown"), [(2000, "x" * 2000), (2001, f'"{"x" * 2000}... (2001 characters)"')])
def test_a_value_of_up_to_2000_characters_is_shown_whole(length: int, shown: str) -> None:
    assert readable({"outcome": "x" * length}).values == f"outcome={shown}"


@pytest.mark.parametrize(("lines", "first"), [(200, "0"), (201, "(1 lines)")])
def test_a_traceback_of_up_to_200_lines_is_shown_whole(lines: int, first: str) -> None:
    shown = readable({"exception": "\n".join(map(str, range(lines)))}).traceback
    assert (shown[0], shown[-200:]) == (first, tuple(map(str, range(lines - 200, lines))))


@pytest.mark.parametrize("exception", [None, 7, ["x"]])
def test_an_exception_that_is_not_text_has_no_traceback(exception: object) -> None:
    shown = readable({"exception": exception})
    assert (shown.traceback, shown.values) == ((), "")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(["a", 1], r'"[\"a\", 1]"'), ([], '""'), (["Zo\u00eb"], "Zo\u00eb"), ([1, "\u00eb"], '"[1, \\"\u00eb\\"]"')],
)
def test_a_list_of_words_is_shown_without_brackets(value: object, shown: str) -> None:
    assert readable({"outcome": value}).values == f"outcome={shown}"


@pytest.mark.parametrize("column", ["timestamp", "level", "event", "worker", "queue", "release"])
def test_a_column_is_not_repeated_among_the_values(column: str) -> None:
    assert readable({column: "x", "n": 1}).values == "n=1"


def test_a_foreign_line_keeps_its_spaces_and_loses_its_colors_and_line_end() -> None:
    assert render_foreign("  \x1b[31mred\x1b[0m  text \r\n", color=False) == "  red  text "
    assert render_foreign("x" * 2001, color=False) == f"{'x' * 2000}... (2001 characters)"
    assert render_foreign("\x1b[31mred\x1b[0m", color=True) == "\x1b[2mred\x1b[0m"


# What Python prints of an exception, with the paths of this project and of a library.
RAISED = """\
Traceback (most recent call last):
  File "/app/workers/consumer/consumer.py", line 200, in _handle
    return await self._gate.run(handle_now)
           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "/app/.venv/lib/python3.11/site-packages/lib/core.py", line 7, in load
    raise KeyError(name)
KeyError: 'x'"""
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/app/workers/runner.py", line 10, in run
  |     async with asyncio.TaskGroup() as group:
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/app/workers/start.py", line 20, in begin
    |     1 / 0
    |     ~~^~~
    | ZeroDivisionError: division by zero
    +------------------------------------"""


@pytest.mark.parametrize(
    ("exception", "shown"),
    [
        (RAISED, """exception="KeyError: 'x'" at="consumer/consumer.py:200 in _handle\""""),
        (GROUP, 'exception="ZeroDivisionError: division by zero" at="workers/start.py:20 in begin"'),
        (
            f"{RAISED}\nmore\n  of it",
            """exception="KeyError: 'x' more of it" at="consumer/consumer.py:200 in _handle\"""",
        ),
        (RAISED.replace("/app/workers", "<frozen x>"), 'at="lib/core.py:7 in load"'),
        ('  File "<string>", line 1\n    a b\nSyntaxError: no', 'exception="SyntaxError: no" at=<string>:1'),
        ("ValueError: no traceback", 'exception="ValueError: no traceback"'),
        ("", 'exception=""'),
    ],
)
def test_an_exception_is_one_value_with_the_place_it_comes_from(exception: str, shown: str) -> None:
    assert readable({"order_id": "1", "exception": exception, "message_id": "m"}).values.endswith(
        f"{shown} message_id=m"
    )


def test_an_exception_that_python_raised_is_one_value() -> None:
    try:
        readable({"event": Unprintable()})
    except ZeroDivisionError:
        shown = readable({"exception": traceback.format_exc()}).values
    assert shown.startswith('exception="ZeroDivisionError: ')
    assert f'at="workers/test_log_text.py:{Unprintable.__str__.__code__.co_firstlineno + 1} in __str__"' in shown


class Unprintable:
    def __str__(self) -> str:
        return str(1 / 0)


LINE = FIELDS | {"exception": RAISED, "detail": "two\nlines \x1b[2J"}
COLUMNS = "2026-11-22 09:33:24.325 warning  escalation  escalation.routed      order_id=004 "


def test_a_line_is_rendered_on_one_line_in_columns() -> None:
    shown = render(LINE, color=False)
    assert shown.startswith(COLUMNS)
    assert (shown.isprintable(), "exception=" in shown) == (True, True)
    short, long = (render({"event": "x" * length, "order_id": "1"}, color=False) for length in (2, EVENT_WIDTH + 1))
    assert short.index("order_id") == long.index("order_id") - 1
    assert render({"event": "worker.started"}, color=False).split() == ["worker.started"]
    assert render({"order_id": None, "level": None}, color=False) == ""


def test_a_traceback_is_shown_below_only_if_asked_for() -> None:
    first, *below = render(LINE, color=False, tracebacks=True).splitlines()
    assert (first, below) == (render(LINE, color=False), [f"    {line}" for line in RAISED.splitlines()])


@pytest.mark.parametrize(
    ("level", "head", "event"),
    [
        ("debug", "\x1b[2m", "\x1b[2m"),
        ("info", "", "\x1b[1m"),
        ("warning", "\x1b[33m", "\x1b[33m"),
        ("error", "\x1b[31m", "\x1b[31m"),
        ("critical", "\x1b[31;1m", "\x1b[31;1m"),
    ],
)
def test_each_level_has_its_color(level: str, head: str, event: str) -> None:
    columns = f"{'':<23} {level:<8} {'':<11}"
    end = "\x1b[0m" if head else ""
    shown = render({"level": level, "event": "x.done", "order_id": "1"}, color=True)
    assert shown == f"{head}{columns}{end} {event}x.done\x1b[0m{' ' * (EVENT_WIDTH - 6)} order_id=1"


@pytest.mark.parametrize("color", [True, False])
def test_card_numbers_and_control_characters_are_rendered_nowhere(color: bool) -> None:
    evil = f"\x1b]0;\x07\x9b2J\r\n\u202e\u2028 {CARD}"
    fields = dict.fromkeys(("timestamp", "level", "worker", "event", "order_id", "exception", evil), evil)
    shown = render(fields, color=color)
    assert CARD not in shown
    assert {character for character in shown if not character.isprintable()} == ({"\x1b"} if color else set())


@pytest.mark.parametrize("value", [{("a", 1): object()}, [object()], (1, "x"), {1, 2}, b"x", 10**30, float("nan")])
def test_a_value_of_any_type_is_shown(value: object) -> None:
    assert render({"event": "x", "value": value}, color=False).isprintable()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "color"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": ""}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
    ],
)
def test_a_terminal_gets_colors_unless_the_environment_decides_otherwise(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, environment: dict[str, str], color: bool
) -> None:
    for name, value in ({"NO_COLOR": "", "FORCE_COLOR": "", "TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    assert wants_color(stream) is color
