"""Finds the workers' log lines in files that may hold other lines too, selects them, and makes them readable."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.domain.cards import mask
from workers.operations.text import clean

ESCALATION_EVENT = "escalation.routed"
MAX_VALUE_CHARS = 2_000  # A value of ten megabytes is a mistake; its start is enough to recognize it.
MAX_TRACEBACK_LINES = 200

# `fulfillment.1 | {...}`, as honcho and foreman print it, perhaps with a time before it and color codes around it.
_PREFIX = re.compile(r"(?:\x1b\[[0-9;]*m)*(?:[0-9:]{8} )?[A-Za-z0-9_.-]{1,64} *\| (?:\x1b\[[0-9;]*m)*(?=\{)", re.ASCII)
_COLOR_CODES = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN = re.compile(r"[^\s\"=]+")
# Not shown among the values: these fields have columns of their own, or are the same on every line of a file.
_COLUMNS = {"timestamp", "level", "event", "worker", "queue", "release", "exception"}
_IDS = ("order_id", "case_id")
_LONG_IDS = ("message_id", "execution_arn")  # Shown last: they are for searching, not for reading.
_NOT_AMONG_OTHERS = {*_COLUMNS, *_IDS, *_LONG_IDS}


@dataclass(frozen=True, slots=True)
class Selection:
    """Selects log lines. The default is all of them."""

    order_id: str | None = None
    escalations: bool = False

    @property
    def everything(self) -> bool:
        return self.order_id is None and not self.escalations

    def may_match(self, raw: bytes) -> bool:
        """Return whether the unparsed line *raw* could match: a cheap test that rules out most lines."""
        return (self.order_id is None or self.order_id.encode(errors="replace") in raw) and (
            not self.escalations or ESCALATION_EVENT.encode() in raw
        )

    def matches(self, fields: Mapping[str, Any]) -> bool:
        return (self.order_id is None or self.order_id in (fields.get("order_id"), fields.get("case_id"))) and (
            not self.escalations or fields.get("event") == ESCALATION_EVENT
        )


@dataclass(frozen=True, slots=True)
class LogLine:
    """
    A log line for people, masked and safe for a terminal.

    `values` has the ids and the other values as `name=value`; a value that is not a plain word is quoted. `traceback`
    has the last `MAX_TRACEBACK_LINES` lines of the traceback, and is empty if there is none.
    """

    time: str
    level: str
    worker: str
    event: str
    values: str
    traceback: tuple[str, ...] = ()


def parse(raw: bytes) -> Mapping[str, Any] | None:
    """Return the fields of a log line, unchanged; None if *raw* is not a log line of a worker."""
    text = raw.decode(errors="replace").strip()
    if not text.startswith("{"):
        match = _PREFIX.match(text)
        if match is None:
            return None
        text = _COLOR_CODES.sub("", text[match.end() :])
    try:
        fields = json.loads(text)
        return fields if isinstance(fields, dict) else None
    except (ValueError, RecursionError):
        return None


def readable(fields: Mapping[str, Any]) -> LogLine:
    """
    Return a log line for people.

    Raises:
        RecursionError: A value is nested about a thousand levels deep. The workers write no such line.
    """
    others = [name for name in fields if name not in _NOT_AMONG_OTHERS]
    values = (
        f"{_word(name)}={_value(name, fields[name])}"
        for name in (*_IDS, *others, *_LONG_IDS)
        if fields.get(name) is not None
    )
    return LogLine(
        time=mask(_word(fields.get("timestamp")).replace("T", " ")[:23]),
        level=_word(fields.get("level")),
        worker=_word(fields.get("worker")),
        event=_word(fields.get("event")),
        values=mask(" ".join(values)),  # Once more: a name with digits may continue the value before it.
        traceback=_traceback(fields.get("exception")),
    )


def readable_foreign(raw: bytes) -> str:
    """Return a line that no worker logged, masked and safe for a terminal, but otherwise unchanged."""
    return _cut(clean(_COLOR_CODES.sub("", raw.decode(errors="replace").rstrip("\r\n"))))


def _traceback(exception: object) -> tuple[str, ...]:
    if not isinstance(exception, str):
        return ()
    lines = exception.splitlines()
    omitted = len(lines) - MAX_TRACEBACK_LINES
    if omitted > 0:  # The last lines say what went wrong.
        lines = [f"({omitted} lines)", *lines[-MAX_TRACEBACK_LINES:]]
    return tuple(_cut(clean(line)) for line in lines)


def _word(value: object) -> str:
    return _cut(clean("" if value is None else value))


def _value(name: str, value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    elif isinstance(value, list | dict | bool):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    if name == "execution_arn":  # The execution's name tells executions apart; the rest is the same for all.
        text = text.rpartition(":")[2]
    text = _cut(clean(text))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _cut(text: str) -> str:
    # What is cut may have been a UUID, which was not masked.
    return text if len(text) <= MAX_VALUE_CHARS else f"{mask(text[:MAX_VALUE_CHARS])}... ({len(text)} characters)"
