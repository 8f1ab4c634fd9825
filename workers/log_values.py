"""
What makes a log line of any event: values that JSON does not know become text, and a long event is cut.

Nothing here raises, whatever the values are.
"""

import math
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import orjson

from workers.domain.cards import mask_all
from workers.domain.characters import sendable

# The length of a line in bytes, with its line break. Docker and containerd split longer lines at 16 KiB, and then no
# part is JSON, so no filter finds it.
MAX_LINE_BYTES = 16_384
# Filters, alarms and `orders logs` select by these fields, so they are left out last, and cut only if they are longer
# than any value of ours: a message may name an execution of any length.
KEPT_FIELDS = frozenset(
    (
        *("timestamp", "level", "event", "worker", "queue", "message_id", "order_id", "execution_arn"),
        *("receive_count", "release", "outcome", "duration_ms", "case_id", "episode", "reasons", "severity"),
        *("channels", "source", "channel", "stage", "shipment_id", "trace_id"),
    )
)
_END_MATTERS = frozenset({"exception", "stack"})  # A traceback ends with the error.
_MARK = "..."
_CUT_FIELDS = "cut_fields"  # How many fields are missing.
_MAX_DEPTH = 20
_MAX_VALUES = 1_000  # In one field. A line has no room for more.
_MAX_KEPT_BYTES = 640  # Of a kept field. An ARN is shorter; there are fewer than 30 such fields.
_MAX_NAME_CHARS = 128
_MIN_VALUE_BYTES = 64  # Rather than cut values to less, fields are left out.
_INT_64_BITS = 2**63

Event = Mapping[str, Any]


def plain(event: Event) -> dict[str, Any]:
    """
    Return *event* with values that are surely JSON. Slow: for events that `orjson` refuses.

    Whatever has no text is named by its type. What is nested too deeply, or contains itself, is cut.
    """
    return {text_of(name): _Plain().value(value, 0) for name, value in event.items()}


class _Plain:
    """One conversion: counts its values, so that a structure that contains itself many times ends, too."""

    def __init__(self) -> None:
        self._left = _MAX_VALUES

    def value(self, value: Any, depth: int) -> Any:
        self._left -= 1
        try:
            return self._value(value, depth)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - a class may do anything when it is asked for its items.
            return _nameless(value)

    def _value(self, value: Any, depth: int) -> Any:
        found: Any = value
        match value:
            case None | bool():
                pass
            case int() if -_INT_64_BITS <= value < _INT_64_BITS:
                found = int(value)
            case float():
                found = float(value) if math.isfinite(value) else None  # JSON has no NaN and no infinity.
            case Mapping() | list() | tuple() | AbstractSet() if depth >= _MAX_DEPTH:
                found = f"{_MARK}(cut, nested too deeply)"
            case Mapping():
                found = self._mapping(value, depth)
            case list() | tuple() | AbstractSet():
                found = self._items(value, depth)
            case _:
                found = text_of(value)
        return found

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        found = dict[str, Any]()
        for name, item in value.items():
            if self._left <= 0:
                return found | {_MARK: _cut_mark(len(value), "item")}
            found[text_of(name)] = self.value(item, depth + 1)
        return found

    def _items(self, value: Collection[Any], depth: int) -> list[Any]:
        found = list[Any]()
        for item in value:
            if self._left <= 0:
                return [*found, _cut_mark(len(value), "item")]
            found.append(self.value(item, depth + 1))
        return found


def text_of(value: object) -> str:
    """Return the text of *value*; if it has none, the name of its type."""
    try:
        return sendable(str.__str__(str(value)))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # noqa: BLE001 - `__str__` may raise anything.
        return _nameless(value)


def _nameless(value: object) -> str:
    """Return a text for a value that has none: an int of 5,000 digits, or a class that fails."""
    return sendable(f"<{type.__dict__['__name__'].__get__(type(value))} without a text>")


def cut(event: Event, render: Callable[[dict[str, Any]], bytes], max_bytes: int = MAX_LINE_BYTES - 1) -> bytes:
    """
    Return the line of *event*, which is too long, cut to *max_bytes* and masked.

    The longest values are cut, each with a mark that says how long it was. If there are too many fields, the last ones
    are left out, and `cut_fields` counts them. Values are masked before they are cut, so that no cut divides a card
    number, and after: a cut may leave a part of an id that looks like one.
    """
    fields = mask_all(plain(event))
    limit_bytes = max_bytes if len(fields) <= _MAX_VALUES else _MIN_VALUE_BYTES
    while True:
        limit_bytes = limit_bytes * 4 // 5
        shorter = {_short_name(name): _short_value(name, value, limit_bytes) for name, value in fields.items()}
        if limit_bytes < _MIN_VALUE_BYTES:
            shorter = _fewer(shorter, max_bytes // 2)  # A renderer may add as much again.
        line = render(mask_all(shorter))
        if len(line) <= max_bytes or limit_bytes < _MIN_VALUE_BYTES:
            return line


def _short_name(name: str) -> str:
    return name if len(name) <= _MAX_NAME_CHARS else _cut_text(name, _MAX_NAME_CHARS, ends=False)


def _short_value(name: str, value: Any, limit_bytes: int) -> Any:
    if name in KEPT_FIELDS:
        limit_bytes = max(limit_bytes, _MAX_KEPT_BYTES)
    return _cut_value(value, limit_bytes, ends=name in _END_MATTERS)


def _fewer(fields: Event, room_bytes: int) -> dict[str, Any]:
    """Return as many of *fields* as fit, those of `KEPT_FIELDS` first, and how many are missing."""
    shown = set[str]()
    for name in sorted(fields, key=lambda name: name not in KEPT_FIELDS):
        room_bytes -= _size(fields[name]) + _size(name) + 2
        if room_bytes < 0:
            break
        shown.add(name)
    return {name: value for name, value in fields.items() if name in shown} | {_CUT_FIELDS: len(fields) - len(shown)}


def _size(value: Any) -> int:
    return len(orjson.dumps(value))


def _cut_value(value: Any, limit_bytes: int, *, ends: bool) -> Any:
    if not isinstance(value, (str, list, dict)) or _size(value) <= limit_bytes:
        return value
    if isinstance(value, str):
        return _cut_text(value, limit_bytes, ends=ends)
    shown, left_bytes = list[tuple[str, Any]](), limit_bytes - _MIN_VALUE_BYTES
    items = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
    for name, item in items:
        short = _cut_value(item, limit_bytes // 2, ends=False)
        left_bytes -= _size(short) + _size(name) + 2
        if left_bytes < 0:
            break
        shown.append((name, short))
    mark = _cut_mark(len(items), "item")
    return dict(shown) | {_MARK: mark} if isinstance(value, dict) else [*(item for _, item in shown), mark]


def _cut_text(text: str, limit_bytes: int, *, ends: bool) -> str:
    """Return the beginning of *text*, and with *ends* its end too, with a mark for the rest."""
    mark = _cut_mark(len(text), "character")
    room_bytes = limit_bytes - len(mark) - 2
    if not ends:
        return f"{_fitting(text, room_bytes)}{mark}"
    head = _fitting(text, room_bytes // 3)
    tail = _fitting(text[::-1], room_bytes - room_bytes // 3 - 3)[::-1]
    return f"{head}{mark}{_MARK}{tail}"


def _cut_mark(length: int, what: str) -> str:
    """Return the mark of a cut value: how long it was. With commas, no length looks like a card number."""
    return f"{_MARK}(cut, {length:,} {what}{'' if length == 1 else 's'})"


def _fitting(text: str, room_bytes: int) -> str:
    """Return the longest beginning of *text* that takes up at most *room_bytes* in JSON."""
    text = text[:room_bytes]
    shortest, longest = 0, len(text)
    while shortest < longest:
        middle = (shortest + longest + 1) // 2
        if _size(text[:middle]) - 2 <= room_bytes:
            shortest = middle
        else:
            longest = middle - 1
    return text[:shortest]
