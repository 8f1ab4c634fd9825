"""Reads lines of a file that may be huge, binary or still growing."""

import asyncio
import contextlib
import io
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_LINE_BYTES = 32 * 1024 * 1024
CHUNK_BYTES = 256 * 1024
POLL_S = 0.25  # How often a followed file is checked for new lines.


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its line end. If it was longer than `MAX_LINE_BYTES`, `omitted_bytes` were cut off."""

    raw: bytes
    omitted_bytes: int = 0


class _Splitter:
    """Splits chunks into lines. Holds at most one unfinished line, of at most *max_line_bytes*."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._unfinished = bytearray()
        self._omitted_bytes = 0

    def add(self, chunk: bytes) -> Iterator[Line]:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._append(piece)
            yield self._take_line()
        self._append(rest)

    def end(self) -> Iterator[Line]:
        """Yield the last line, if it has no line end."""
        if self._unfinished:
            yield self._take_line()

    def _append(self, piece: bytes) -> None:
        room = self._max_line_bytes - len(self._unfinished)
        self._unfinished += piece[:room]
        self._omitted_bytes += max(0, len(piece) - room)

    def _take_line(self) -> Line:
        line = Line(bytes(self._unfinished), self._omitted_bytes)
        self._unfinished, self._omitted_bytes = bytearray(), 0
        return line


def read(stream: BinaryIO, *, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """
    Yield the lines of *stream* as they arrive, in constant memory.

    Not async: a read from a pipe blocks, and Ctrl-C must interrupt it. An event loop calls this from a thread.
    """
    splitter = _Splitter(max_line_bytes)
    while chunk := _read_available(stream):
        yield from splitter.add(chunk)
    yield from splitter.end()


async def follow_file(path: Path, warn: Callable[[str], None], *, poll_s: float = POLL_S) -> AsyncGenerator[Line, None]:
    """
    Yield the lines of a file and then those that are added to it, without end, like `tail -F`.

    A truncated file is read again from its start. If the file is replaced, the old one is read to its end, then the
    new one. *warn* is called in both cases. Close the generator when done, or it keeps the file open.
    """
    stream = path.open("rb")
    try:
        splitter = _Splitter()
        while True:
            while chunk := _read_available(stream):
                for line in splitter.add(chunk):
                    yield line
                await asyncio.sleep(0)  # Reads never wait: without this, reading a huge file could not be cancelled.
            if _was_truncated(stream):
                warn(f"{path} was truncated: reading it again from its start")
                stream.seek(0)
                for line in splitter.end():
                    yield line
            elif _was_replaced(stream, path):
                if chunk := _read_available(stream):  # Written between the last read and the replacement.
                    for line in splitter.add(chunk):
                        yield line
                    continue
                with contextlib.suppress(FileNotFoundError):  # Gone again: the next check finds its successor.
                    replacement = path.open("rb")
                    stream.close()
                    stream = replacement
                    warn(f"{path} was replaced: continuing with the new file")
                    for line in splitter.end():
                        yield line
            else:
                await asyncio.sleep(poll_s)
    finally:
        stream.close()


def _read_available(stream: BinaryIO) -> bytes:
    """Return what can be read without waiting for a full chunk."""
    if isinstance(stream, io.BufferedReader):
        return stream.read1(CHUNK_BYTES)
    return stream.read(CHUNK_BYTES)


def _was_truncated(stream: BinaryIO) -> bool:
    return os.fstat(stream.fileno()).st_size < stream.tell()


def _was_replaced(stream: BinaryIO, path: Path) -> bool:
    """Return whether *path* is another file by now. A missing file does not count: its replacement is still to come."""
    try:
        now = path.stat()
    except OSError:
        return False
    before = os.fstat(stream.fileno())
    return (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino)
