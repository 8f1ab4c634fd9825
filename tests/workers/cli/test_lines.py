import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from workers.cli import lines
from workers.cli.lines import Line, follow, read


class Drip(io.BytesIO):
    """Gives a few bytes at a time, as a pipe may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 1, 3))


@pytest.mark.parametrize("stream", [io.BytesIO, Drip])
def test_lines_are_whole_however_they_come(stream: type[BinaryIO]) -> None:
    content = b"first\n\n\xff\xfe\0\nlast one\r\nwithout an end"
    read_lines = list(read(stream(content)))  # type: ignore[call-arg]
    assert read_lines == [Line(b"first"), Line(b""), Line(b"\xff\xfe\0"), Line(b"last one\r"), Line(b"without an end")]


def test_of_a_line_without_end_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 10)
    assert list(read(io.BytesIO(b"x" * 25 + b"\nnext\n"))) == [Line(b"x" * 10, 15), Line(b"next")]


class Follower:
    """Follows a file in a thread; what it says is awaited, line by line."""

    def __init__(self, path: Path) -> None:
        self.told: list[str] = []
        self._lines: Iterator[Line] = follow(path, self.told.append)

    def next(self, *, after: "threading.Timer | None" = None) -> bytes:
        if after is not None:
            after.start()
        line = next(self._lines)
        if after is not None:
            after.join()
        return line.raw

    def close(self) -> None:
        cast("io.IOBase", self._lines).close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "workers.log"
    path.write_bytes(b"one\ntw")
    return path


@pytest.fixture
def follower(log: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Follower]:
    monkeypatch.setattr(lines, "LOOK_S", 0.01)
    each = Follower(log)
    yield each
    each.close()


def add(path: Path, text: bytes) -> threading.Timer:
    """Add to the file in a moment, while its follower waits."""

    def write() -> None:
        with path.open("ab") as stream:
            stream.write(text)

    return threading.Timer(0.05, write)


def test_a_growing_file_is_followed_and_no_line_shown_in_halves(log: Path, follower: Follower) -> None:
    assert follower.next() == b"one"
    assert follower.next(after=add(log, b"o\nthree\n")) == b"two"
    assert follower.next() == b"three"
    assert follower.told == []


def test_a_file_that_is_truncated_is_read_from_its_start(log: Path, follower: Follower) -> None:
    assert follower.next() == b"one"
    assert follower.next(after=threading.Timer(0.05, lambda: log.write_bytes(b"x\n"))) == b"tw"
    assert follower.next() == b"x"
    assert follower.told == [f"{log} was truncated: from its start again"]


def test_a_file_that_is_rotated_is_read_to_its_end_then_the_new_one(log: Path, follower: Follower) -> None:
    assert follower.next() == b"one"

    def rotate() -> None:
        with log.open("ab") as stream:
            stream.write(b"o\n")
        log.rename(log.with_suffix(".1"))
        log.write_bytes(b"new\n")

    assert follower.next(after=threading.Timer(0.05, rotate)) == b"two"
    assert follower.next() == b"new"
    assert follower.told == [f"{log} was replaced: going on with the new file"]


def test_a_file_that_is_gone_for_a_moment_is_waited_for(log: Path, follower: Follower) -> None:
    assert follower.next() == b"one"
    log.unlink()
    assert follower.next(after=threading.Timer(0.05, lambda: log.write_bytes(b"new\n"))) == b"tw"
    assert follower.next() == b"new"
