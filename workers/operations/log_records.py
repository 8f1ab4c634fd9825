"""
Finds the workers' log lines in what log drivers and other programs put before, around and between them.

- A prefix needs no knowledge of the program that wrote it: an object with an event and a time or level is a log line,
  wherever in a line it stands. So the prefixes of `aws logs tail`, journald, docker, compose, kubectl and process
  managers make no difference here.
- Around it: JSON objects that have the log line as the text of a field, as docker's and journald's do (`_WRAPPERS`).
- In several lines: a long line split by CRI or docker, and JSON that was printed with indentation.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from workers.operations.lines import MAX_LINE_BYTES, Line

# The fields in which others keep a log line: docker and FireLens, journald, CloudWatch Logs, CloudWatch Logs Insights.
_WRAPPERS = ("log", "MESSAGE", "message", "@message")
_MAX_WRAPPERS = 3  # Around each other.
MAX_STARTS = 50  # How many braces of a line may be the start of a log line.
# Docker's last entry may have no line end. Longer parts of a line are not searched before it ends: that would take a
# time that grows with the square of the line's length.
MAX_UNENDED_BYTES = 256 * 1024
_DECODER = json.JSONDecoder()
_START = re.compile(r'\{\s*"')
_COLOR_CODES = re.compile(rb"\x1b\[[0-9;]*m")
# The log format of Kubernetes's container runtimes ("kubelet-cri-logging.md" of its design proposals): the time, the
# stream, and P for a part of a line or F for its end. `:` separates further tags.
_CRI = re.compile(rb"\d{4}-\d\d-\d\dT\S+ (?P<stream>stdout|stderr) (?P<tag>[PF])(?::\S*)? (?P<part>.*)", re.DOTALL)
# `aws logs tail --format json` prints the time and the stream, and the indented JSON below.
_HEADER = re.compile(rb"\d{4}-\d\d-\d\dT\S+ \S+ ")


@dataclass(frozen=True, slots=True)
class Record:
    """A log line of a worker, or, if `fields` is None, a line that is none: its text, and how much was cut off."""

    text: str
    fields: Mapping[str, Any] | None = None
    omitted_bytes: int = 0

    @property
    def is_damaged(self) -> bool:
        """Whether this was a worker's log line before something cut it."""
        return self.fields is None and '"event":' in self.text.replace("\\", "").replace(" ", "")


@dataclass(slots=True)
class Records:
    """
    Turns lines into records, as they come.

    A worker's line for whose bytes `may_match` is false is counted and left out unparsed, if nothing is around it: that
    saves nearly all of the time. `read` counts all records, `unread` those that are not log lines, `damaged` those of
    them that were.
    """

    may_match: Callable[[bytes], object] = lambda _: True
    read: int = 0
    unread: int = 0
    damaged: int = 0
    _indented: list[bytes] = field(default_factory=list)  # Lines of a JSON object that has not ended yet.
    _size_bytes: int = 0
    _parts: dict[str, bytearray] = field(default_factory=dict)  # By stream: the beginning of a line.

    def add(self, line: Line) -> Iterator[Record]:
        """Yield the records that are complete with *line*."""
        raw = line.raw.rstrip(b"\r")
        alone = not (self._indented or line.omitted_bytes) and raw.startswith(b'{"timestamp"') and raw.endswith(b"}")
        if alone and not self.may_match(raw):
            self.read += 1
        else:
            yield from map(self._counted, self._add(raw, line.omitted_bytes))

    def end(self) -> Iterator[Record]:
        """Yield what is left of lines that have not ended."""
        rest = [*self._pop_indented(), *map(bytes, self._parts.values())]
        self._parts.clear()
        yield from map(self._counted, (record for raw in rest for record in _records(_text(raw))))

    def _counted(self, record: Record) -> Record:
        if record.text.strip() or record.fields is not None:
            self.read += 1
            self.unread += record.fields is None
            self.damaged += record.is_damaged
        return record

    def _add(self, raw: bytes, omitted_bytes: int) -> Iterator[Record]:
        plain = _COLOR_CODES.sub(b"", raw) if b"\x1b" in raw else raw
        if omitted_bytes:
            yield from self._not_indented()
            yield Record(_text(raw), omitted_bytes=omitted_bytes)
        elif self._indented and self._continues(plain):
            self._indent(plain)
            if plain.startswith(b"}"):
                yield from self._object()
        else:
            yield from self._not_indented()
            if plain == b"{" or _HEADER.fullmatch(plain):
                self._indent(plain)
            elif (cri := _CRI.fullmatch(plain)) is not None:
                yield from self._cri(plain, cri)
            else:
                yield from self._line(raw, plain)

    def _continues(self, plain: bytes) -> bool:
        """Return whether *plain* belongs to the lines before it: a brace after a header, else what is indented."""
        if len(self._indented) == 1 and self._indented != [b"{"]:
            return plain == b"{"
        return plain[:1] in b" \t}" and self._size_bytes + len(plain) <= MAX_LINE_BYTES

    def _object(self) -> Iterator[Record]:
        """Yield what the object has that has just ended; its lines as they are, if that is no JSON."""
        lines = [line for line in self._indented if not _HEADER.fullmatch(line)]
        found = _found(_text(b"\n".join(lines)))
        if found:
            self._pop_indented()
            yield from found
        else:
            yield from self._not_indented()

    def _not_indented(self) -> Iterator[Record]:
        for raw in self._pop_indented():
            yield Record(_text(raw))

    def _indent(self, plain: bytes) -> None:
        self._indented.append(plain)
        self._size_bytes += len(plain)

    def _pop_indented(self) -> list[bytes]:
        lines, self._indented, self._size_bytes = self._indented, [], 0
        return lines

    def _cri(self, plain: bytes, cri: re.Match[bytes]) -> Iterator[Record]:
        joined = self._joined(cri["stream"].decode(), cri["part"])
        if cri["tag"] == b"F" or len(joined) >= MAX_LINE_BYTES:
            whole = self._pop_parts(cri["stream"].decode())
            yield from _found(whole) or [Record(_text(plain) if len(joined) == len(cri["part"]) else whole)]

    def _line(self, raw: bytes, plain: bytes) -> Iterator[Record]:
        text = _text(plain)
        docker = _docker(text)
        if docker is None:
            yield from _found(text) or [Record(_text(raw))]
            return
        stream, part = docker
        joined = self._joined(stream, part.encode(errors="replace"))
        if part.endswith("\n") or len(joined) >= MAX_LINE_BYTES:
            yield from _records(self._pop_parts(stream).rstrip("\r\n"))
        elif part.endswith("}") and len(joined) <= MAX_UNENDED_BYTES and (found := _found(_text(joined))):
            del self._parts[stream]
            yield from found

    def _joined(self, stream: str, part: bytes) -> bytearray:
        """Add *part* to what is there of a line; return that."""
        joined = self._parts.setdefault(stream, bytearray())
        joined += part
        return joined

    def _pop_parts(self, stream: str) -> str:
        return _text(self._parts.pop(stream))


def records(lines: Iterable[Line], may_match: Callable[[bytes], object]) -> Iterator[Mapping[str, Any]]:
    """Yield the log lines in *lines*, except those that `Records` leaves out."""
    found = Records(may_match)
    for line in lines:
        yield from (record.fields for record in found.add(line) if record.fields is not None)
    yield from (record.fields for record in found.end() if record.fields is not None)


def _text(raw: bytes | bytearray) -> str:
    return raw.decode(errors="replace")


def _records(text: str) -> list[Record]:
    return _found(text) or [Record(text)]


def _docker(text: str) -> tuple[str, str] | None:
    """Return the stream and the text of an entry of docker's json-file log; None if *text* is something else."""
    if not text.startswith('{"log":'):
        return None
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError):
        return None
    stream, part = entry.get("stream"), entry.get("log")
    return (stream, part) if isinstance(stream, str) and isinstance(part, str) and "time" in entry else None


def _found(text: str, depth: int = 0) -> list[Record]:
    """Return the log lines in *text*. A JSON object that is all of *text* counts as one, whatever it has."""
    found = _search(text, depth)
    if not found and '{""' in text:  # A field of CSV, as CloudWatch Logs Insights exports it.
        return _search(text.replace('""', '"'), depth)
    return found


def _search(text: str, depth: int) -> list[Record]:
    found = list[Record]()
    stripped = text.strip()
    for value, whole in _objects(stripped):
        if _is_log_line(value):
            found.append(Record(text, value))
        elif depth < _MAX_WRAPPERS and (inner := _inside(value, depth + 1)):
            found += inner
        elif whole and depth == 0:
            found.append(Record(text, value))
    return found


def _objects(text: str) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the JSON objects in *text* that are not in another one, and whether the object is all of it."""
    position = 0
    for _ in range(MAX_STARTS):
        start = _START.search(text, position)
        if start is None:
            return
        try:
            value, position = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            position = start.start() + 1
        else:
            yield value, (start.start(), position) == (0, len(text))


def _is_log_line(value: Any) -> bool:
    return isinstance(value.get("event"), str) and ("timestamp" in value or "level" in value)


def _inside(value: Mapping[str, Any], depth: int) -> list[Record]:
    """Return the log lines that an object of a log driver or of `aws logs filter-log-events` has in its fields."""
    events = value.get("events")
    if isinstance(events, list):
        return [record for event in events if isinstance(event, dict) for record in _wrapped(event, depth)]
    return _wrapped(value, depth)


def _wrapped(value: Mapping[str, Any], depth: int) -> list[Record]:
    for name in _WRAPPERS:
        inner = value.get(name)
        if isinstance(inner, dict) and _is_log_line(inner):
            return [Record("", inner)]
        if isinstance(inner, list):
            inner = _from_bytes(inner)
        if isinstance(inner, str) and (found := _found(inner, depth)):
            return found
    return []


def _from_bytes(codes: list[Any]) -> str | None:
    """Return the text of a field that journald gives as a list of bytes, because not all of it is printable."""
    with suppress(TypeError, ValueError):
        return _text(bytes(codes))
    return None
