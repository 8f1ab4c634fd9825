"""Log lines of the workers, for people: found among whatever else a file holds, filtered, and shown on one line."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from workers.operations.text import clean

ROUTED = "escalation.routed"
MAX_VALUE_CHARS = 2_000  # A line of ten megabytes is a mistake: nobody reads it on a terminal.
MAX_TRACEBACK_LINES = 200

# `fulfillment.1 | {...}`, as honcho and foreman write it, with a time before and colours around it maybe.
_PREFIX = re.compile(r"(?:\x1b\[[0-9;]*m)*(?:[0-9:]{8} )?[A-Za-z0-9_.-]{1,64} *\| (?:\x1b\[[0-9;]*m)*(?=\{)", re.ASCII)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN = re.compile(r"[^\s\"=]+")
# Those of the line that have a place of their own, or are the same on every line.
_PLACED = {"timestamp", "level", "event", "worker", "queue", "exception"}
_IDS = ("order_id", "case_id")
_LONG_IDS = ("message_id", "execution_arn")  # Come last: they are for searching, not for reading.
_NOT_AMONG_OTHERS = {*_PLACED, *_IDS, *_LONG_IDS}
_STYLES: Mapping[str, Mapping[str, Any]] = {
    "debug": {"dim": True},
    "warning": {"fg": "yellow"},
    "error": {"fg": "red"},
    "critical": {"fg": "red", "bold": True},
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines are to be shown; all of them, unless it says otherwise."""

    order_id: str | None = None
    escalations: bool = False

    @property
    def everything(self) -> bool:
        return self.order_id is None and not self.escalations

    def may_be(self, raw: bytes) -> bool:
        """Tell whether the line *raw* might be wanted: a look that costs next to nothing, and mostly says no."""
        return (self.order_id is None or self.order_id.encode(errors="replace") in raw) and (
            not self.escalations or ROUTED.encode() in raw
        )

    def includes(self, fields: Mapping[str, Any]) -> bool:
        return (self.order_id is None or self.order_id in (fields.get("order_id"), fields.get("case_id"))) and (
            not self.escalations or fields.get("event") == ROUTED
        )


def parse(raw: bytes) -> Mapping[str, Any] | None:
    """Return the fields of a log line as they are in it; None where it is none."""
    text = raw.decode(errors="replace").strip()
    if not text.startswith("{"):
        match = _PREFIX.match(text)
        if match is None:
            return None
        text = _COLOURS.sub("", text[match.end() :])
    try:
        fields = json.loads(text)
        return fields if isinstance(fields, dict) else None
    except (ValueError, RecursionError):
        return None


def render(fields: Mapping[str, Any], *, color: bool) -> str:
    """Return a log line for people; what has several lines of its own, a traceback, comes indented below."""
    level = _word(fields.get("level"))
    time = _word(fields.get("timestamp")).replace("T", " ")[:23]
    head = f"{time:<23} {level:<7} {_word(fields.get('worker')):<11}"
    event = _word(fields.get("event"))
    others = [name for name in fields if name not in _NOT_AMONG_OTHERS]
    values = " ".join(
        f"{_word(name)}={_value(name, fields[name])}"
        for name in (*_IDS, *others, *_LONG_IDS)
        if fields.get(name) is not None
    )
    style = _STYLES.get(level)
    if color:
        head = click.style(head, **style) if style else head
        event = click.style(event, **(style or {"bold": True}))
    shown = f"{head} {event} {values}".rstrip()
    exception = fields.get("exception")
    if isinstance(exception, str):
        lines = exception.splitlines()
        left_out = len(lines) - MAX_TRACEBACK_LINES
        if left_out > 0:  # The end says what went wrong.
            lines = [f"({left_out} lines)", *lines[-MAX_TRACEBACK_LINES:]]
        shown = "\n".join([shown, *(f"    {_cut(clean(line))}" for line in lines)])
    return shown


def render_foreign(raw: bytes) -> str:
    """Return what is no log line of ours as it is, masked and harmless to a terminal."""
    return _cut(clean(_COLOURS.sub("", raw.decode(errors="replace").rstrip("\r\n"))))


def _word(value: object) -> str:
    return _cut(clean("" if value is None else value))


def _value(name: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ",".join(value)
    elif isinstance(value, list | dict | bool):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    if name == "execution_arn":  # Its name tells executions apart; the rest is the same for all of them.
        text = text.rpartition(":")[2]
    text = _cut(clean(text))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[:MAX_VALUE_CHARS]}... ({len(text)} characters)"
