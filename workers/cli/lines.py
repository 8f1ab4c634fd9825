"""Lines of a file that may be huge, no text at all, or still growing."""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE_BYTES = 32 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
LOOK_S = 0.25  # How often a file that is followed is looked at.


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end; `left_out` is how many bytes of a longer one are missing."""

    raw: bytes
    left_out: int = 0


class _Splitter:
    """Makes lines of chunks. Holds one line at most, and of that no more than `MAX_LINE_BYTES`."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._left_out = 0

    def add(self, chunk: bytes) -> Iterator[Line]:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._take(piece)
            yield self._line()
        self._take(rest)

    def end(self) -> Iterator[Line]:
        """Yield what has no end yet and will not get one."""
        if self._begun:
            yield self._line()

    def _take(self, piece: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._begun)
        self._begun += piece[:room]
        self._left_out += max(0, len(piece) - room)

    def _line(self) -> Line:
        line = Line(bytes(self._begun), self._left_out)
        self._begun, self._left_out = bytearray(), 0
        return line


def read(stream: BinaryIO) -> Iterator[Line]:
    """Yield the lines of *stream*, as soon as they are there."""
    splitter = _Splitter()
    while chunk := _some(stream):
        yield from splitter.add(chunk)
    yield from splitter.end()


def follow(path: Path, tell: Callable[[str], None]) -> Iterator[Line]:
    """
    Yield the lines of a file, and those that are added to it, for ever, as `tail -F` does.

    Goes on with the new file where it is replaced, and from its start where it is truncated; *tell* is told of both.
    """
    stream = path.open("rb")
    try:
        splitter = _Splitter()
        while True:
            while chunk := _some(stream):
                yield from splitter.add(chunk)
            if _shrunk(stream):
                tell(f"{path} was truncated: from its start again")
                stream.seek(0)
                yield from splitter.end()
            elif _replaced(stream, path):
                if chunk := _some(stream):  # Written between the last read and the replacement.
                    yield from splitter.add(chunk)
                    continue
                with contextlib.suppress(FileNotFoundError):  # Gone again: the next look will find the one after it.
                    replacement = path.open("rb")
                    stream.close()
                    stream = replacement
                    tell(f"{path} was replaced: going on with the new file")
                    yield from splitter.end()
            else:
                time.sleep(LOOK_S)
    finally:
        stream.close()


def _some(stream: BinaryIO) -> bytes:
    """Return what can be read without waiting for a whole chunk."""
    if isinstance(stream, io.BufferedReader):
        return stream.read1(CHUNK_BYTES)
    return stream.read(CHUNK_BYTES)


def _shrunk(stream: BinaryIO) -> bool:
    return os.fstat(stream.fileno()).st_size < stream.tell()


def _replaced(stream: BinaryIO, path: Path) -> bool:
    """Tell whether another file is there by now; none at all is the moment between the two."""
    try:
        now = path.stat()
    except OSError:
        return False
    before = os.fstat(stream.fileno())
    return (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino)
