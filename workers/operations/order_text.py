"""Reads the text of an order file piece by piece, so that a file of any size takes the same memory."""

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

from workers.operations.errors import OperationError
from workers.operations.files.encodings import Encoding, encoding_of, without_marks

# The longest record, in characters, also a bad one. An order that can be submitted has at most 262,144 bytes of JSON.
MAX_RECORD_CHARS = 524_288

_Read = Callable[[int], str]


class OrderText:
    """The decoded text of the file *name*, without the byte order marks at its start."""

    def __init__(self, name: str, text: io.TextIOWrapper, encoding: Encoding) -> None:
        self.name = name
        self.encoding = encoding
        self._text = text
        self._is_at_start = True

    def peek(self) -> str:
        """Return the text's first characters, from the first one that is not white space, and read nothing."""
        start = without_marks(self._checked(self._text.read, MAX_RECORD_CHARS))
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
            text = without_marks(text) or (self._next(read) if text else "")
        return text

    def _checked(self, read: _Read, chars: int) -> str:
        try:
            text = read(chars)
        except UnicodeError:
            raise OperationError(f"{self.name} is not valid {self.encoding.name.upper()}: save it as UTF-8") from None
        if "\0" in text:
            raise OperationError(f"{self.name} is not text: it has zero bytes")
        return text


def open_text(name: str, stream: BinaryIO, encoding: Encoding | None = None) -> OrderText:
    """
    Return the text of *stream*, which must be seekable and at its start. Closing the text closes the stream.

    Without an *encoding*, find it out.

    Raises:
        OperationError: It is not a text.
    """
    found = encoding or encoding_of(name, stream)
    # Without `newline`, a line end inside of a value would change.
    return OrderText(name, io.TextIOWrapper(stream, found.name, found.errors, newline=""), found)
