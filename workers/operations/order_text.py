"""Reads the text of an order file piece by piece, so that a file of any size takes the same memory."""

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from workers.operations.errors import OperationError

# The longest record, in characters, also a bad one. An order that can be submitted has at most 262,144 bytes of JSON.
MAX_RECORD_CHARS = 524_288

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_MARK = "\ufeff"  # A byte order mark.

_Read = Callable[[int], str]


class OrderText:
    """The decoded text of the file *name*, without the byte order marks at its start."""

    def __init__(self, name: str, text: io.TextIOWrapper) -> None:
        self.name = name
        self._text = text
        self._is_at_start = True

    def peek(self) -> str:
        """Return the text's first characters, from the first one that is not white space, and read nothing."""
        start = self._checked(self._text.read, MAX_RECORD_CHARS).lstrip(_MARK)
        self._text.seek(0)
        return start.lstrip()

    def chunk(self) -> str:
        """Return the next `MAX_RECORD_CHARS` characters; fewer at the end of the text, and then an empty string."""
        return self._next(self._text.read)

    def lines(self) -> Iterator[str]:
        """Yield the lines with their ends, as a CSV reader wants them; longer ones than `MAX_RECORD_CHARS` in parts."""
        while line := self._next(self._text.readline):
            yield line

    def _next(self, read: _Read) -> str:
        text = self._checked(read, MAX_RECORD_CHARS)
        if self._is_at_start:
            self._is_at_start = False
            # A chunk or line of marks only is not the end.
            text = text.lstrip(_MARK) or (self._next(read) if text else "")
        return text

    def _checked(self, read: _Read, chars: int) -> str:
        try:
            text = read(chars)
        except UnicodeDecodeError:
            raise OperationError(f"{self.name} is not valid UTF-16: save it as UTF-8") from None
        if "\0" in text:
            raise OperationError(f"{self.name} is not text: it has zero bytes")
        return text


def open_text(name: str, stream: BinaryIO) -> OrderText:
    """
    Return the text of *stream*, which must be seekable and at its start. Closing the text closes the stream.

    Bytes that are not UTF-8 make only their own record bad. PowerShell and Excel write UTF-16.
    """
    start = stream.read(len(_MARK.encode("utf-16-le")))
    stream.seek(0)
    encoding, errors = ("utf-16", "strict") if start in _UTF_16 else ("utf-8", "surrogateescape")
    # Without `newline`, a line end inside of a value would change.
    return OrderText(name, io.TextIOWrapper(stream, encoding, errors, newline=""))
