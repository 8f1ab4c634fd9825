"""Reads the records in a JSON text: objects in an array, or objects one after the other."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from workers.operations.files.header import FIELDS
from workers.operations.order_text import MAX_RECORD_CHARS, OrderText
from workers.operations.records import TOO_LONG, RawRecord

_SPACE = re.compile(r"[\s\ufeff]*")  # U+FEFF: a byte order mark, inside if files were joined.
# A line that starts like this continues an object of an earlier line.
_CONTINUED = re.compile(r'[ \t\r]*["}\],]|[ \t]+[^ \t\r\n]')
_NOT_READ = "the rest of the file was not read"


class DuplicateFields:
    """A JSON object that has a field twice, so that it is unclear which value counts."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | DuplicateFields:
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    return DuplicateFields([field for field in FIELDS if names.count(field) > 1] or ["a field"])


def _constant(_name: str) -> None:
    raise json.JSONDecodeError("not a number in JSON", "", 0)


# It only matters that a value is a number, not which number. Reading a number of a million digits takes minutes, and
# counting its digits no time.
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_int=len, parse_float=len, parse_constant=_constant)


def value_of(text: str) -> Any:
    """Return the value of a JSON text that was read before."""
    return _decoder.decode(text)


@dataclass(slots=True)
class _Reader:
    """
    Reads JSON values from a text, one after the other. `line` is the line number of `position` in `window`.

    The window is the part of the text that is in memory. The first `skip_space` fills it: from then on it has, beyond
    `position`, as many characters as a record may have, or the rest of the text.
    """

    text: OrderText
    window: str = ""
    position: int = 0
    line: int = 1
    is_last: bool = False

    def go_to(self, position: int) -> None:
        self.line += self.window.count("\n", self.position, position)
        self.position = position
        self._fill()

    def _fill(self) -> None:
        while not self.is_last and len(self.window) - self.position < MAX_RECORD_CHARS:
            chunk = self.text.chunk()
            self.is_last = not chunk
            self.window, self.position = self.window[self.position :] + chunk, 0

    def step(self) -> None:
        self.go_to(self.position + 1)

    def skip_space(self) -> str:
        """Go to the next character that is not a space, and return it; an empty string at the end."""
        while match := _SPACE.match(self.window, self.position):
            at_end = match.end() == len(self.window)
            self.go_to(match.end())
            if not at_end or self.position == len(self.window):
                break
        return self.window[self.position : self.position + 1]

    def skip_line(self) -> str:
        """Go to the start of the next line, and return the skipped text, which is cut if it is too long."""
        skipped = ""
        while self.position < len(self.window):
            start, end = self.position, self.window.find("\n", self.position) + 1
            skipped = skipped or self.window[start : end or None]
            self.go_to(end or len(self.window))
            if end:
                break
        return skipped

    def take(self) -> RawRecord:
        """Read the value at `position` and go to its end. A bad value is not skipped."""
        try:
            value, end = _decoder.raw_decode(self.window, self.position)
        except json.JSONDecodeError as error:
            return RawRecord(self.line, problem=self._problem(error))
        except RecursionError:
            return RawRecord(self.line, problem="is nested too deep")
        record = RawRecord(self.line, value, self.window[self.position : end])
        self.go_to(end)
        return record

    def _problem(self, error: json.JSONDecodeError) -> str:
        # Errors at the end of a window that is not the end of the text. A string without an end names its start.
        if not self.is_last and (
            error.pos >= len(self.window) - len(r"\uffff") or error.msg.startswith("Unterminated")
        ):
            return TOO_LONG
        line = self.line + self.window.count("\n", self.position, error.pos)
        where = f" in line {line}" if line > self.line else ""
        return (
            f"is not JSON: {error.msg.removesuffix(' at').removesuffix(' starting')}{where}"  # A column would follow.
        )


def from_array(text: OrderText) -> Iterator[RawRecord]:
    """Yield the elements of an array, up to the first error: after it, the start of the next element is unknown."""
    reader = _Reader(text)
    reader.skip_space()
    reader.step()
    following = reader.skip_space()
    element = 0
    while following != "]":
        element += 1
        record = reader.take()
        if record.problem:
            yield replace(record, problem=f"element {element}: {record.problem}; {_NOT_READ}", text=reader.skip_line())
            return
        yield replace(record, element=element)
        following = reader.skip_space()
        if following not in {",", "]"}:
            problem = f"after element {element}: expected a comma or the array's end; {_NOT_READ}"
            yield RawRecord(reader.line, problem=problem, text=reader.skip_line())
            return
        reader.step()
        reader.skip_space()
    if element == 0:
        reader.step()
    if reader.skip_space():
        yield RawRecord(reader.line, problem=f"follows the array's end; {_NOT_READ}", text=reader.skip_line())


def from_stream(text: OrderText) -> Iterator[RawRecord]:
    """Yield the objects of a text, each on one line or several. After a bad object, continue with the next one."""
    reader = _Reader(text)
    while reader.skip_space():
        record = reader.take()
        if record.problem is None:
            yield record
            continue
        bad = reader.skip_line()
        while _CONTINUED.match(reader.window, reader.position):
            bad = (bad + reader.skip_line())[:MAX_RECORD_CHARS]
        yield replace(record, text=bad)
