"""Whatever is logged, a call does not raise, and its line is JSON, masked, and at most 16 KiB long."""

import dataclasses
import json
import logging
import string
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import any_text, card_numbers, unicode_text
from tests.workers.test_logs import Captured
from workers import log_values, logs
from workers.domain.cards import mask
from workers.log_calls import logger_that_never_raises
from workers.log_values import KEPT_FIELDS, MAX_LINE_BYTES, cut, plain, text_of
from workers.logs import MaskingRenderer, render_json

CARD = "4929123412345678"
ROUTED = {
    "timestamp": "2026-11-26T18:15:44.000000Z",
    "level": "error",
    "event": "escalation.routed",
    "worker": "escalation",
    "queue": "EscalationQueue",
    "message_id": "b8c7d9de-df7a-4217-af78-91c0994606e0",
    "order_id": "004",
    "execution_arn": f"arn:aws:states:us-east-1:000000000000:execution:Orders:{'a' * 80}",
    "receive_count": 1,
    "case_id": "004",
    "episode": 1,
    "reasons": ["INVALID_CARD_NUMBER", "INVALID_PRICE"],
    "severity": "critical",
    "channels": [f"channel-{number}" for number in range(30)],
    "source": "workflow",
}


class Silent:
    """Raises whatever it is asked for its text."""

    def __init__(self, error: type[BaseException] = ValueError) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error("no text")

    __repr__ = __str__


class Endless(dict[str, Any]):
    """Has items that raise."""

    def items(self) -> Any:
        raise RuntimeError("no items")


@dataclasses.dataclass
class Node:
    next: Any = None


def recursive() -> list[Any]:
    values: list[Any] = [1]
    values += [values, {"again": values}, values]
    return values


def deep() -> list[Any]:
    values: list[Any] = []
    for _ in range(50_000):
        values = [values]
    return values


def ring() -> Node:
    node = Node()
    node.next = node
    return node


STRANGE: list[Callable[[], Any]] = [
    Silent,
    lambda: Silent(BaseException),
    lambda: Endless(a=1),
    lambda: {Silent(): Silent()},
    recursive,
    deep,
    ring,
    lambda: float("nan"),
    lambda: [float("inf"), -float("inf")],
    lambda: b"\xff",
    lambda: 10**5_000,
    lambda: {2**64, -(2**70)},
    lambda: "\ud83d",
    lambda: {"\udfff": "\ud800"},
    lambda: {1: 1, (2, 3): 2, None: 3, 1.5: 4},
    lambda: (number for number in range(3)),
    lambda: Exception(Silent()),
    lambda: type,
    lambda: frozenset({"a"}),
    object,
]


def line_of(method: str, *args: Any, **fields: Any) -> bytes:
    """Return the line that a call of a logger writes."""
    written = list[bytes]()
    render = MaskingRenderer(render_json)

    class Sink:
        debug = info = warning = error = critical = staticmethod(written.append)

    logger = logger_that_never_raises(logging.INFO)(
        Sink(), [logs.FieldsInOrder(None), structlog.processors.format_exc_info, render], {}
    )
    assert getattr(logger, method)(*args, **fields) is None
    (line,) = written
    return line


def read(line: bytes) -> dict[str, Any]:
    """Read a line with two readers. One is as strict as those of other languages."""
    assert len(line) < MAX_LINE_BYTES
    found: dict[str, Any] = orjson.loads(line)
    assert json.loads(line) == found
    return found


@pytest.mark.parametrize("value", STRANGE)
def test_any_value_can_be_logged(value: Callable[[], Any]) -> None:
    line = read(line_of("warning", "x.failed", value=value(), order_id="001"))
    assert (line["event"], line["level"], line["order_id"]) == ("x.failed", "warning", "001")
    assert "value" in line


@pytest.mark.parametrize("value", STRANGE)
def test_an_exception_about_any_value_can_be_logged(value: Callable[[], Any]) -> None:
    try:
        raise ValueError(value())  # noqa: TRY301 - the error under test.
    except ValueError as error:
        line = read(line_of("error", "x.failed", exc_info=error))
    assert line["exception"].startswith("Traceback (most recent call last):")


@pytest.mark.parametrize("value", STRANGE)
def test_any_value_can_be_logged_on_a_terminal(value: Callable[[], Any]) -> None:
    stream, before, handlers = Captured(), structlog.get_config(), logging.getLogger().handlers[:]
    try:
        stream.output = logs.configure(level="INFO", as_json=False, stream=stream)
        structlog.get_logger().info("x.done", value=value())
        assert "x.done" in stream.getvalue()
    finally:
        structlog.configure(**before)
        logging.getLogger().handlers = handlers


@pytest.mark.parametrize(
    ("args", "fields", "expected"),
    [
        (("%d orders", "x"), {}, {"event": "%d orders", "args": ["x"]}),
        (("%s", Silent()), {}, {"event": "%s"}),
        (("x.done",), {"event": 1, "self": 2, "method_name": 3}, {"event": "x.done", "event_": 1, "self_": 2}),
        (("x.done",), {"event": 1, "exc_info": Silent()}, {"event": "x.done", "event_": 1}),
        ((Silent(),), {}, {"event": "<Silent without a text>"}),
        ((), {}, {"event": ""}),
    ],
)
def test_a_call_with_wrong_arguments_is_logged(
    args: tuple[Any, ...], fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read(line_of("info", *args, **fields)).items() >= expected.items()


def test_a_level_may_be_given() -> None:
    assert read(line_of("log", logging.WARNING, "x.done", event=1))["level"] == "warning"


def test_at_the_end_of_the_stack_a_call_does_not_raise() -> None:
    def call_and_descend() -> None:
        structlog_logger.info("x.done", value=[1])
        call_and_descend()

    structlog_logger = logger_that_never_raises(logging.INFO)(
        None, [logs.FieldsInOrder(None), lambda *_: pytest.fail("never called")], {}
    )
    with pytest.raises(RecursionError) as raised:
        call_and_descend()
    assert raised.traceback[-1].name == "call_and_descend"


def test_calls_below_the_level_do_nothing_whatever_they_are_given() -> None:
    logger: Any = logger_that_never_raises(logging.WARNING)(None, [], {})
    logger.info("x.done", event=Silent())
    logger.debug()
    logger.log(logging.INFO, "%d", "x")


def test_an_interruption_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        line_of("info", "x.done", value=Silent(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        text_of(Silent(KeyboardInterrupt))


leaves = st.sampled_from(
    [
        None,
        True,
        1,
        -(2**70),
        2**64,
        4929123412345678,
        1.5,
        float("nan"),
        float("-inf"),
        b"\xff",
        "",
        "\ud83d",
        "a\nb\0",
    ]
)
texts = any_text | card_numbers
values = leaves | texts | st.integers() | st.floats()
# Nested by hand: `st.recursive` takes ten times as long, and a log line's values are hardly nested.
nested = st.lists(values, max_size=3) | st.dictionaries(texts | st.integers(), values, max_size=3)
deeper = st.tuples(values, nested) | st.dictionaries(texts, nested, max_size=2)


@given(fields=st.dictionaries(st.sampled_from(string.ascii_lowercase), values | nested | deeper, max_size=4))
def test_every_line_is_masked_json(fields: dict[str, Any]) -> None:
    line = read(line_of("info", "x.done", **fields))
    assert line["event"] == "x.done"
    assert_masked(line)


def assert_masked(value: Any) -> None:
    match value:
        case str():
            assert mask(value) == value
        case dict():
            for name, item in value.items():
                assert_masked(name)
                assert_masked(item)
        case list():
            for item in value:
                assert_masked(item)


@given(
    piece=unicode_text | card_numbers | st.uuids().map(str) | st.sampled_from(["\n", "\U0001f6b2", '"', "é"]),
    before=st.integers(0, 40),
    times=st.integers(500, 3_000),
    where=st.sampled_from(["detail", "exception", "execution_arn", "nested"]),
)
def test_a_long_line_is_cut_masked_and_keeps_what_filters_need(piece: str, before: int, times: int, where: str) -> None:
    long = "x" * before + piece * times + "x" * MAX_LINE_BYTES
    value = {"deep": [long, {long[:200]: long}]} if where == "nested" else long
    event = {**ROUTED, where: value}
    line = read(MaskingRenderer(render_json)(None, "error", event))
    assert_masked(line)
    assert "(cut, " in json.dumps(line)
    kept = ROUTED.keys() - {where}
    assert {name: line[name] for name in kept} == {name: ROUTED[name] for name in kept}
    assert list(line)[: len(ROUTED)] == list(ROUTED)


@pytest.mark.parametrize("count", [500, 5_000])
def test_of_too_many_fields_the_last_are_left_out_and_counted(count: int) -> None:
    event = {**{f"field_{number}": "x" * 20 for number in range(count)}, **ROUTED}
    line = read(MaskingRenderer(render_json)(None, "error", event))
    assert {name: line[name] for name in ROUTED} == ROUTED
    assert line["cut_fields"] == count + len(ROUTED) + 1 - len(line)
    assert line["field_0"] == "x" * 20


def test_the_longest_values_are_cut_and_say_how_long_they_were() -> None:
    event = ROUTED | {"detail": "d" * 123_456, "short": "s" * 1_000, "items": ["i"] * 7_000}
    line = read(MaskingRenderer(render_json)(None, "error", event))
    assert line["detail"].endswith("d...(cut, 123,456 characters)")
    assert line["short"] == event["short"]
    assert line["items"][-1] == "...(cut, 7,000 items)"


def test_a_traceback_keeps_its_end_too() -> None:
    exception = "Traceback (most recent call last):\n" + "  File\n" * 9_000 + "ValueError: broken"
    line = read(MaskingRenderer(render_json)(None, "error", {"event": "x.failed", "exception": exception}))
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("ValueError: broken")
    assert "...(cut, 63," in line["exception"]


def test_a_card_number_at_the_cut_is_masked_as_a_whole() -> None:
    for shift in range(0, 60, 3):
        detail = "x" * shift + f"{CARD} y " * 2_000
        line = MaskingRenderer(render_json)(None, "info", {"event": "x.done", "detail": detail})
        assert len(line) < MAX_LINE_BYTES
        assert b"4929" not in line
        assert b"5678" not in line


def test_a_card_number_is_masked_before_the_cut() -> None:
    for shift in range(0, 60, 3):
        line = cut({"event": "x.done", "detail": "x" * shift + f"{CARD} y " * 2_000}, render_json)
        assert not {b"4929", b"1234", b"5678"} & set(line.split())
        assert b"4929" not in line


def test_what_a_cut_leaves_of_an_id_is_masked_if_it_looks_like_a_card_number() -> None:
    for shift in range(0, 37, 2):
        detail = "x" * shift + "12345678-1234-1234-1234-123456789012 " * 1_000
        line = read(MaskingRenderer(render_json)(None, "info", {"event": "x.done", "detail": detail}))
        assert line["detail"].count("123456789012") > 100, "whole ids are not masked"
        assert_masked(line)


def test_fields_with_long_names_are_cut() -> None:
    line = read(MaskingRenderer(render_json)(None, "info", {"event": "x.done", "n" * 50_000: 1}))
    assert line == {"event": "x.done", f"{'n' * 99}...(cut, 50,000 characters)": 1}


def test_a_line_of_the_longest_allowed_length_is_not_cut() -> None:
    room = MAX_LINE_BYTES - 1 - len(render_json({"event": ""}))
    assert read(MaskingRenderer(render_json)(None, "info", {"event": "e" * room})) == {"event": "e" * room}
    assert len(MaskingRenderer(render_json)(None, "info", {"event": "e" * (room + 1)})) < MAX_LINE_BYTES


def test_a_cut_line_fits_whatever_its_renderer_adds() -> None:
    def coloured(event: dict[str, Any]) -> bytes:
        return " ".join(f"\x1b[36m{name}\x1b[0m={value!r}" for name, value in event.items()).encode()

    event = {f"field_{number}": "x" * 30 for number in range(3_000)}
    assert len(cut(event, coloured)) < MAX_LINE_BYTES


def test_a_line_is_cut_until_it_has_room_for_its_end() -> None:
    lengths = iter([MAX_LINE_BYTES, MAX_LINE_BYTES - 1])
    assert len(cut({"event": "x.done"}, lambda _: b"x" * next(lengths))) == MAX_LINE_BYTES - 1


def test_every_field_that_a_filter_of_the_template_reads_is_kept() -> None:
    from tests.deploy.cloudwatch import of_type  # noqa: PLC0415 - reads the template.

    read_fields = set[str]()
    for each in of_type("AWS::Logs::MetricFilter").values():
        properties = each["FilterPattern"], json.dumps(each["MetricTransformations"])
        for part in " ".join(properties).split("$.")[1:]:
            read_fields.add(part.split("[")[0].split('"')[0].split(" ")[0])
    assert {"event", "severity", "reasons"} <= read_fields <= KEPT_FIELDS


@pytest.mark.parametrize("wrap", [lambda value: {"a": value}, lambda value: [value]])
def test_twenty_levels_are_kept(wrap: Callable[[Any], Any]) -> None:
    def wrapped(levels: int, value: Any) -> Any:
        return wrapped(levels - 1, wrap(value)) if levels else value

    kept = {"field": wrapped(20, "x")}
    assert plain(kept) == kept
    assert plain({"field": wrapped(21, "x")}) == {"field": wrapped(20, "...(cut, nested too deeply)")}


def test_numbers_that_other_readers_cannot_hold_become_text() -> None:
    most = 2**63
    assert plain({"a": -most, "b": most - 1, "c": most, "d": -most - 1}) == {
        "a": -most,
        "b": most - 1,
        "c": str(most),
        "d": str(-most - 1),
    }


def test_a_field_has_a_thousand_values_at_most() -> None:
    names = [f"n{number}" for number in range(1_000)]
    assert plain({"a": names[:999], "b": dict.fromkeys(names[:999], 1)}) == {
        "a": names[:999],
        "b": dict.fromkeys(names[:999], 1),
    }
    mark = "...(cut, 1,000 items)"
    assert plain({"a": names, "b": dict.fromkeys(names, 1)}) == {
        "a": [*names[:999], mark],
        "b": dict.fromkeys(names[:999], 1) | {"...": mark},
    }


@pytest.mark.parametrize(
    ("value", "limit_bytes", "shown"),
    [
        ("x" * 8, 10, "x" * 8),
        ("x" * 8, 9, "...(cut, 8 characters)"),
        ("x" * 100, 60, f"{'x' * 34}...(cut, 100 characters)"),
        (["aaaa"] * 100, 94, ["aaaa", "aaaa", "aaaa", "...(cut, 100 items)"]),
        (["aaaa"] * 100, 93, ["aaaa", "aaaa", "...(cut, 100 items)"]),
        (
            {f"n{number}": "aa" for number in range(100)},
            84,
            {"n0": "aa", "n1": "aa", "...": "...(cut, 100 items)"},
        ),
        (["x" * 1_000], 400, [f"{'x' * 172}...(cut, 1,000 characters)", "...(cut, 1 item)"]),
        (10**90, 9, 10**90),
    ],
)
def test_a_value_is_cut_to_its_bytes(value: Any, limit_bytes: int, shown: Any) -> None:
    assert log_values._cut_value(value, limit_bytes, ends=False) == shown


def test_a_text_whose_end_matters_keeps_a_third_of_its_beginning() -> None:
    cut_text = log_values._cut_text("a" * 1_000 + "b" * 1_000, 130, ends=True)
    assert cut_text == f"{'a' * 34}...(cut, 2,000 characters)...{'b' * 65}"


@pytest.mark.parametrize(("room_bytes", "shown"), [(18, 2), (17, 1), (9, 1), (8, 0)])
def test_fields_are_left_out_if_there_is_no_room(room_bytes: int, shown: int) -> None:
    fields = {"a": "xx", "b": "yy"}
    left = dict(list(fields.items())[:shown])
    assert log_values._fewer(fields, room_bytes) == left | {"cut_fields": 2 - shown}


def test_a_long_line_is_cut_a_fifth_at_a_time_and_a_line_of_many_fields_to_half() -> None:
    line = read(MaskingRenderer(render_json)(None, "info", {"event": "x.done", "detail": "d" * 20_000}))
    assert len(json.dumps(line["detail"])) == 13_106
    many = MaskingRenderer(render_json)(None, "info", {f"field_{number}": "x" * 20 for number in range(5_000)})
    assert 8_100 < len(many) < 8_230


@pytest.mark.parametrize("length", [128, 129])
def test_a_name_has_128_characters_at_most(length: int) -> None:
    assert (log_values._short_name("n" * length) == "n" * length) is (length == 128)


def test_plain_values_stay_as_they_are() -> None:
    event = {"a": 1, "b": [True, None, 1.5, "x"], "c": {"d": {"e": ["f"]}}}
    assert plain(event) == event
