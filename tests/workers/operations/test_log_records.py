"""A worker's log line is found in what others put before, around and between the lines."""

import json
import random
from collections.abc import Sequence

import pytest

from workers.operations import log_records
from workers.operations.lines import Line
from workers.operations.log_records import Record, Records, records

FIELDS = {
    "timestamp": "2026-11-22T09:33:24.325884Z",
    "level": "warning",
    "event": "escalation.routed",
    "order_id": "004",
    "reasons": ["INVALID_PRICE"],
    "detail": 'Zo\u00eb said "{no}" \\ \u202e',
}
LINE = json.dumps(FIELDS, ensure_ascii=False)
OTHER = FIELDS | {"order_id": "005"}
TIME = "2026-11-26T12:00:00.123456789Z"
AWS_TIME, STREAM = "2026-11-26T12:00:00.123000+00:00", "escalation/worker/0f3a9c"


def read(*lines: str | bytes) -> tuple[list[Record], Records]:
    """Return the records of *lines*, and what was counted."""
    found = Records()
    shown = [
        record
        for raw in lines
        for record in found.add(Line(raw.encode(errors="surrogateescape") if isinstance(raw, str) else raw))
    ]
    return [*shown, *found.end()], found


def fields(*lines: str | bytes) -> list[object]:
    return [record.fields for record in read(*lines)[0]]


PREFIXES = {
    "nothing": "",
    "spaces": "  ",
    "honcho": "09:12:12 escalation.1  | ",
    "honcho in color": "\x1b[36m09:12:12 web.1 | \x1b[0m",
    "aws logs tail": f"{AWS_TIME} {STREAM} ",
    "aws logs tail in color": f"\x1b[32m{AWS_TIME}\x1b[0m \x1b[36m{STREAM}\x1b[0m ",
    "aws logs tail --format short": "2026-11-26T12:00:00 ",
    "aws logs filter-log-events --output text": "EVENTS\t3788\t1764158400123\t",
    "journalctl": "Nov 26 12:00:00 host-1 orders[4711]: ",
    "journalctl -o short-iso": "2026-11-26T12:00:00+0000 host-1 orders[4711]: ",
    "journalctl -o with-unit": "Thu 2026-11-26 12:00:00 UTC host-1 orders.service[4711]: ",
    "journalctl -o export": "MESSAGE=",
    "docker logs --timestamps": f"{TIME} ",
    "docker compose": "escalation-1  | ",
    "docker compose in color": "\x1b[36mescalation-1  | \x1b[0m",
    "docker compose --timestamps": f"escalation-1  | {TIME} ",
    "docker service logs": "orders_escalation.1.x8f2@node-1    | ",
    "CRI": f"{TIME} stderr F ",
    "CRI with tags": f"{TIME} stdout F:more ",
    "kubectl logs --prefix": "[pod/escalation-5d9c/worker] ",
    "kubectl logs --prefix --timestamps": f"[pod/escalation-5d9c/worker] {TIME} ",
    "stern": "escalation-5d9c worker ",
    "syslog": "<30>1 2026-11-26T12:00:00Z host-1 orders 4711 - - ",
    "heroku": "2026-11-26T12:00:00.000000+00:00 app[worker.1]: ",
    "grep -n": "workers.log:12:",
    "a line that was cut": LINE[:60],
    "braces": '{"a": [{"b": {"event": 1}} {} { ',
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
@pytest.mark.parametrize("end", ["", "\r", " \x1b[0m", "\tescalation/1\t1764158400"])
def test_a_log_line_is_found_behind_every_prefix(prefix: str, end: str) -> None:
    found, counts = read(f"{prefix}{LINE}{end}")
    assert [record.fields for record in found] == [FIELDS]
    assert (counts.read, counts.unread, counts.damaged) == (1, 0, 0)


def wrapped(**entry: object) -> str:
    return json.dumps(entry)


WRAPPERS = {
    "docker's json-file": wrapped(log=f"{LINE}\n", stream="stdout", time=TIME),
    "docker's json-file with attributes": wrapped(log=f"{LINE}\n", stream="stdout", attrs={"tag": "x"}, time=TIME),
    "FireLens": wrapped(container_id="0f3a", source="stdout", log=LINE),
    "fluentd, parsed": wrapped(kubernetes={"pod": "x"}, log=FIELDS),
    "journalctl -o json": wrapped(__CURSOR="s=1", PRIORITY="6", MESSAGE=LINE, _PID="4711"),
    "journalctl -o json, not printable": wrapped(MESSAGE=list(LINE.encode()), _PID="4711"),
    "journalctl -o json-sse": f"data: {wrapped(MESSAGE=LINE)}",
    "aws logs tail --format none": wrapped(logStreamName=STREAM, timestamp=TIME, message=LINE, eventId="1"),
    "aws logs filter-log-events": wrapped(events=[{"message": LINE}], searchedLogStreams=[]),
    "Logs Insights, as JSON": json.dumps([{"@timestamp": TIME, "@message": LINE}]),
    "Logs Insights, as CSV": f'2026-11-26 12:00:00.123,"{LINE.replace(chr(34), 2 * chr(34))}",1',
    "docker in CloudWatch Logs": wrapped(message=wrapped(log=LINE, stream="stdout", time=TIME)),
}


@pytest.mark.parametrize("line", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("prefix", ["", f"{AWS_TIME} {STREAM} "])
def test_a_log_line_is_found_in_every_wrapper(prefix: str, line: str) -> None:
    assert fields(prefix + line) == [FIELDS]


def test_all_log_lines_on_a_line_are_found() -> None:
    events = wrapped(events=[{"message": LINE}, {"message": "START"}, {"message": json.dumps(OTHER)}])
    assert fields(f"{LINE}{json.dumps(OTHER)}") == fields(events) == [FIELDS, OTHER]


INDENTED = json.dumps(FIELDS, indent=4).splitlines()
JOURNAL = ["{", '\t"__CURSOR" : "s=1",', f'\t"MESSAGE" : {json.dumps(LINE)},', '\t"_PID" : "4711"', "}"]


@pytest.mark.parametrize(
    "lines",
    [
        INDENTED,
        [f"{AWS_TIME} {STREAM} ", *INDENTED],  # aws logs tail --format json
        [f"\x1b[32m{AWS_TIME}\x1b[0m \x1b[36m{STREAM}\x1b[0m ", *INDENTED],
        JOURNAL,  # journalctl -o json-pretty
        json.dumps({"events": [{"message": LINE}]}, indent=4).splitlines(),  # aws logs filter-log-events
    ],
)
def test_json_that_was_indented_is_one_log_line(lines: Sequence[str]) -> None:
    found, counts = read(LINE, *lines, json.dumps(OTHER))
    assert [record.fields for record in found] == [FIELDS, FIELDS, OTHER]
    assert (counts.read, counts.unread) == (3, 0)


@pytest.mark.parametrize(
    "lines",
    [
        ["{", "  cut", "plain"],
        ["{", "  no json", "}"],
        [f"{AWS_TIME} {STREAM} ", "plain"],
        [f"{AWS_TIME} {STREAM} ", f"{AWS_TIME} {STREAM} ", "{", "{"],
        ["{", '  "event": "x",'],
    ],
)
def test_other_lines_between_them_are_kept_as_they_are(lines: Sequence[str]) -> None:
    found, counts = read(*lines, LINE)
    *others, last = [(record.text, record.fields) for record in found]
    if lines[-1].startswith(" "):
        assert others == [("{", None), (lines[-1], None)]
    else:
        assert others == [(line, None) for line in lines]
    assert (last[1], counts.read, counts.unread) == (FIELDS, len(lines) + 1, len(lines))


def test_the_end_of_the_input_ends_an_indented_object() -> None:
    found, counts = read(*INDENTED[:2])
    assert [record.text for record in found] == INDENTED[:2]
    assert counts.unread == 2


def split(line: bytes, size: int = 100) -> list[bytes]:
    """Split a line as log drivers do: not at the boundaries of characters."""
    return [line[start : start + size] for start in range(0, len(line), size)]


def test_the_parts_of_a_line_that_cri_has_split_are_joined() -> None:
    first, second = LINE.encode(), json.dumps(OTHER).encode()
    parts = {
        stream: [
            b"%s %s %s %s" % (TIME.encode(), stream, b"P" if part is not pieces[-1] else b"F", part) for part in pieces
        ]
        for stream, pieces in ((b"stdout", split(first, 30)), (b"stderr", split(second, 60)))
    }
    mixed = [part for pair in zip(parts[b"stdout"], parts[b"stderr"], strict=False) for part in pair]
    rest = parts[b"stdout"][len(parts[b"stderr"]) :]
    found, counts = read(*mixed, *rest)
    assert sorted((record.fields or {})["order_id"] for record in found) == ["004", "005"]
    assert (counts.read, counts.unread) == (2, 0)


def test_the_parts_of_a_line_that_docker_has_split_are_joined() -> None:
    parts = [wrapped(log=part, stream="stdout", time=TIME) for part in (LINE[:50], LINE[50:90], f"{LINE[90:]}\n")]
    between = wrapped(log=f"{json.dumps(OTHER)}\n", stream="stderr", time=TIME)
    assert fields(parts[0], between, *parts[1:]) == [OTHER, FIELDS]


def test_the_parts_of_a_line_that_never_ends_are_shown() -> None:
    found, counts = read(f"{TIME} stdout P {LINE[:50]}", wrapped(log="so far", stream="stderr", time=TIME))
    assert [record.text for record in found] == [LINE[:50], "so far"]
    assert (counts.unread, counts.damaged) == (2, 1 if '"event"' in LINE[:50] else 0)


@pytest.mark.parametrize("ends", ["}", "x"])
def test_a_line_without_an_end_is_not_searched_again_with_every_part(
    monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    searched = list[int]()

    def record(text: str, depth: int = 0) -> list[Record]:
        searched.append(len(text))
        return found(text, depth)

    found = log_records._found
    monkeypatch.setattr(log_records, "_found", record)
    part = wrapped(log=f"{'x' * 16_383}{ends}", stream="stdout", time=TIME)
    assert len(read(*[part] * 200)[0]) == 1
    assert sum(searched) < 3 * 200 * 16_384


def test_events_in_events_are_not_looked_for() -> None:
    event = {"events": [{"message": LINE}]}
    assert fields(json.dumps(event), json.dumps({"events": [event]})) == [FIELDS, {"events": [event]}]


def test_what_others_log_through_docker_or_cri_is_shown_as_they_wrote_it() -> None:
    docker = wrapped(log="GET /healthz\n", stream="stdout", time=TIME)
    cri = f"{TIME} stdout F GET /healthz"
    assert [record.text for record in read(docker, cri)[0]] == ["GET /healthz", cri]


@pytest.mark.parametrize(
    "raw",
    [
        b"plain text",
        b"[1]",
        b'"x"',
        b"{}",
        b"fulfillment.1 | started with pid 1",
        b'GET /x {"a": 1}',
        b"\xff\xfe{}",
        b"\0" * 100,
        b'{"a": ' * 100_000,
        b'{"n": ' + b"1" * 5000 + b"}",
        b'{"log": {"log": ' * 1000,
        b'{"log":[1],"stream":"stdout"}x',
        b'{"log":1,',
        b'x {"MESSAGE": ["x"]}',
        b'x {"MESSAGE": [1, 300, "x"], "events": [1, {"message": 7}]}',
    ],
)
def test_anything_else_is_not_a_log_line(raw: bytes) -> None:
    found, counts = read(raw)
    assert [record.fields for record in found] == [None]
    assert found[0].text == raw.decode(errors="replace")
    assert (counts.read, counts.unread, counts.damaged) == (1, 1, 0)


@pytest.mark.parametrize("raw", [b"", b"  ", b"\r"])
def test_an_empty_line_is_kept_and_not_counted(raw: bytes) -> None:
    found, counts = read(raw)
    assert (len(found), counts.read, counts.unread) == (1, 0, 0)


@pytest.mark.parametrize("cut", [LINE[:-1], wrapped(log=LINE, stream=1)[:-30], LINE[1:], f"honcho | {LINE[:100]}"])
def test_a_log_line_that_was_cut_is_counted_as_damaged(cut: str) -> None:
    found, counts = read(cut)
    assert ([record.is_damaged for record in found], counts.damaged) == ([True], 1)


def test_any_json_object_that_has_a_line_for_itself_is_a_log_line() -> None:
    assert fields('{"message": "hello", "level": "info"}', '{"n": 1} ') == [
        {"message": "hello", "level": "info"},
        {"n": 1},
    ]
    others: list[dict[str, object]] = [
        {"log": [1], "stream": "stdout", "time": TIME},
        {"log": "x", "stream": 1, "time": TIME},
        {"log": "x\n", "stream": "stdout"},
        {"log": {"a": 1}, "x": 1},
    ]
    assert fields(*(json.dumps(other, separators=(",", ":")) for other in others)) == others


@pytest.mark.parametrize("name", ["timestamp", "level"])
def test_a_log_line_has_an_event_and_a_time_or_a_level(name: str) -> None:
    assert fields(f'worker.1 | {{"event": "x", "{name}": "y"}}', f'worker.1 | {{"{name}": "y"}}') == [
        {"event": "x", name: "y"},
        None,
    ]


def test_a_line_that_was_too_long_to_read_is_not_a_log_line() -> None:
    found = Records()
    (record,) = found.add(Line(LINE.encode(), omitted_bytes=7))
    assert (record, found.unread) == (Record(LINE, omitted_bytes=7), 1)


def test_what_has_not_ended_is_held_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_records, "MAX_LINE_BYTES", 1_000)
    half = b" " * 501
    found = Records()
    assert [len(list(found.add(Line(raw)))) for raw in (b"{", half, half)] == [0, 0, 3]
    part = b"%s stdout P %s" % (TIME.encode(), half)
    assert [len(list(found.add(Line(raw)))) for raw in (part, part)] == [0, 1]


def test_a_line_without_end_of_braces_is_given_up() -> None:
    assert fields('{"' * 49 + LINE) == [FIELDS]
    assert fields('{"' * 50 + LINE) == [None]


def test_the_parts_of_a_line_are_given_up_at_the_longest_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_records, "MAX_LINE_BYTES", 10)
    for line in (f"{TIME} stdout P 0123456789", wrapped(log="0123456789", stream="stdout", time=TIME)):
        found = Records()
        assert [len(list(found.add(Line(line.encode())))), len(list(found.end()))] == [1, 0]


def test_the_last_line_of_docker_may_have_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_records, "MAX_UNENDED_BYTES", len(LINE.encode()))
    for text, at_once in ((LINE, 1), (f"{LINE} x", 0), (f" {LINE}", 0)):
        found = Records()
        line = wrapped(log=text, stream="stdout", time=TIME).encode()
        assert [len(list(found.add(Line(line)))), len(list(found.end()))] == [at_once, 1 - at_once]


def test_a_line_that_is_cut_or_follows_an_open_brace_is_not_left_out() -> None:
    found = Records(lambda _: False)
    (record,) = found.add(Line(LINE.encode(), omitted_bytes=7))
    assert record == Record(LINE, omitted_bytes=7)
    lines = [[record.text for record in found.add(Line(raw))] for raw in (b"{", LINE.encode(), LINE.encode())]
    assert lines == [[], ["{", LINE], []]


def test_lines_that_cannot_match_are_left_out_unparsed_but_counted() -> None:
    found = Records(lambda raw: b"005" in raw)
    lines = [LINE, json.dumps(OTHER), f"honcho | {LINE}", f"{LINE[:-1]}", "005"]
    assert [record.fields for line in lines for record in found.add(Line(line.encode()))] == [OTHER, FIELDS, None, None]
    assert (found.read, found.unread) == (5, 2)


def test_records_of_lines_are_their_log_lines() -> None:
    lines = [LINE, "plain", f"{TIME} stdout P {LINE}"]
    assert list(records([Line(line.encode()) for line in lines], lambda _: True)) == [FIELDS, FIELDS]


def test_lines_of_all_kinds_do_not_disturb_each_other() -> None:
    lines = [*(f"{prefix}{LINE}" for prefix in PREFIXES.values()), *WRAPPERS.values()]
    random.Random(7).shuffle(lines)
    assert fields(*lines) == [FIELDS] * len(lines)


def test_what_is_left_at_the_end_is_returned_once() -> None:
    found = Records()
    assert list(found.add(Line(f"{TIME} stdout P {LINE}".encode()))) == []
    assert [[record.fields for record in found.end()] for _ in range(2)] == [[FIELDS], []]


def test_a_line_is_found_in_three_wrappers_around_each_other() -> None:
    wrapped = LINE
    for _ in range(3):
        wrapped = json.dumps({"message": wrapped})
    assert fields(wrapped) == [FIELDS]
    beyond = json.dumps({"message": wrapped})
    assert fields(beyond) == [json.loads(beyond)]


def test_an_object_of_many_lines_may_be_as_long_as_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_records, "MAX_LINE_BYTES", 1_000)
    for more, count in ((0, 0), (1, 3)):
        found = Records()
        lines = (b"{", b" " * 998, b" " * (1 + more))
        assert [len(list(found.add(Line(raw)))) for raw in lines] == [0, 0, count]


def test_a_whole_line_has_nothing_cut_off() -> None:
    assert [record.omitted_bytes for record in read(LINE, "plain")[0]] == [0, 0]
