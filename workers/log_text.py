"""
Shows a log line to people: on one line, in columns, masked, and safe for a terminal.

A worker on a terminal, `make run` and `orders logs` show log lines with this code.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from workers.domain.cards import is_trace_id, mask
from workers.domain.text import clean

MAX_VALUE_CHARS = 2_000  # A value of ten megabytes is a mistake; its start is enough to recognize it.
MAX_TRACEBACK_LINES = 200
EVENT_WIDTH = 22  # Most events are shorter.

COLOR_CODES = re.compile(r"\x1b\[[0-9;]*m")
_PLAIN = re.compile(r"[^\s\"=]+")
# Not shown among the values: these fields have columns of their own, or are the same on every line of a file.
_COLUMNS = {"timestamp", "level", "event", "worker", "queue", "release", "exception"}
_IDS = ("order_id", "case_id")
_LONG_IDS = ("message_id", "execution_arn")  # Shown last: they are for searching, not for reading.
_NOT_AMONG_OTHERS = {*_COLUMNS, *_IDS, *_LONG_IDS}
# Of a traceback. The lines of an exception group begin with a drawing of its tree.
_TREE = re.compile(r" *[|+] ?(?:-*\+?-{4,}.*)?")
_FRAME = re.compile(r' +File "(?P<path>.*)", line (?P<line>\d+)(?:, in (?P<function>.*))?')
_LIBRARIES = ("site-packages", "dist-packages", "/lib/python", "<frozen ")
_DIM, _BOLD = "2", "1"
_LEVEL_STYLES = {"debug": _DIM, "warning": "33", "error": "31", "critical": "31;1"}


@dataclass(frozen=True, slots=True)
class LogLine:
    """
    A log line for people, masked and safe for a terminal.

    `values` has the ids and the other values as `name=value`; a value that is not a plain word is quoted. An exception
    is one of the values. `traceback` has the last `MAX_TRACEBACK_LINES` lines of its traceback; empty if there is none.
    """

    time: str
    level: str
    worker: str
    event: str
    values: str
    traceback: tuple[str, ...] = ()


def wants_color(stream: TextIO) -> bool:
    """Return whether to color what is written to *stream*: on a terminal, unless the environment decides otherwise."""
    if os.environ.get("NO_COLOR"):  # https://no-color.org
        return False
    if os.environ.get("FORCE_COLOR"):  # https://force-color.org
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def render(fields: Mapping[str, Any], *, color: bool, tracebacks: bool = False) -> str:
    """
    Return a log line in columns: time, level, worker, event, values. *tracebacks* adds the traceback, indented, below.

    Raises:
        RecursionError: A value is nested about a thousand levels deep. The workers write no such line.
    """
    line = readable(fields)
    head, event = f"{line.time:<23} {line.level:<8} {line.worker:<11}", line.event
    if color:
        style = _LEVEL_STYLES.get(line.level)
        head = _styled(head, style) if style else head
        event = _styled(event, style or _BOLD)
    padding = " " * (EVENT_WIDTH - len(line.event))
    shown = f"{head} {event}{padding} {line.values}".rstrip()
    return "\n".join([shown, *(f"    {below}" for below in line.traceback)]) if tracebacks else shown


def render_foreign(text: str, *, color: bool) -> str:
    """Return a line that no worker logged, masked and safe for a terminal, but otherwise unchanged."""
    shown = _cut(clean(COLOR_CODES.sub("", text.rstrip("\r\n"))))
    return _styled(shown, _DIM) if color else shown


def readable(fields: Mapping[str, Any]) -> LogLine:
    """
    Return a log line for people.

    Raises:
        RecursionError: As `render`.
    """
    return LogLine(
        time=mask(_word(fields.get("timestamp")).replace("T", " ")[:23]),
        level=_word(fields.get("level")),
        worker=_word(fields.get("worker")),
        event=_word(fields.get("event")),
        values=mask(" ".join(_values(fields))),  # Once more: a name with digits may continue the value before it.
        traceback=_traceback(fields.get("exception")),
    )


def _values(fields: Mapping[str, Any]) -> Iterator[str]:
    others = [name for name in fields if name not in _NOT_AMONG_OTHERS]
    shown = {name: fields[name] for name in (*_IDS, *others) if fields.get(name) is not None}
    if isinstance(exception := fields.get("exception"), str):
        error, place = _error(exception)
        shown |= {"exception": error} | ({"at": place} if place else {})
    shown |= {name: fields[name] for name in _LONG_IDS if fields.get(name) is not None}
    for name, value in shown.items():
        yield f"{_word(name)}={_value(name, value)}"


def _error(traceback: str) -> tuple[str, str]:
    """
    Return the error at the end of a *traceback*, and the place it comes from; empty if there is none.

    The place is the innermost one outside of libraries: it says more than where a library raises its errors.
    """
    lines = [_TREE.sub("", line, count=1) for line in traceback.splitlines()]
    frames = [(number, frame) for number, line in enumerate(lines) if (frame := _FRAME.match(line))]
    after = frames[-1][0] + 1 if frames else 0
    error = [line for line in lines[after:] if line.strip()]
    while frames and error and error[0].startswith(" "):  # The source of the last frame.
        del error[0]
    ours = [frame for _, frame in frames if not any(part in frame["path"] for part in _LIBRARIES)]
    place = (ours or [frame for _, frame in frames])[-1:]
    return " ".join(line.strip() for line in error), "".join(_place(frame) for frame in place)


def _place(frame: re.Match[str]) -> str:
    path = "/".join(frame["path"].split("/")[-2:])
    return f"{path}:{frame['line']}" + (f" in {frame['function']}" if frame["function"] else "")


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
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    elif isinstance(value, list | dict | bool):
        value = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    text = str(value)
    if is_trace_id(name, text):
        return text
    if name == "execution_arn":  # The execution's name tells executions apart; the rest is the same for all.
        text = text.rpartition(":")[2]
    text = _cut(clean(text))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m"


def _cut(text: str) -> str:
    # What is cut may have been a UUID, which was not masked.
    return text if len(text) <= MAX_VALUE_CHARS else f"{mask(text[:MAX_VALUE_CHARS])}... ({len(text)} characters)"
