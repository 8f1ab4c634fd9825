import asyncio
import contextlib
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from tests.virtual_time import VirtualTimeLoop
from workers.operations import lines
from workers.operations.lines import MAX_LINE_BYTES, POLL_S, Line, follow_file, read


class Drip(io.BytesIO):
    """Returns at most three bytes at a time, as a pipe may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 1, 3))


@pytest.mark.parametrize("stream", [io.BytesIO, Drip])
def test_lines_are_whole_however_the_bytes_arrive(stream: type[BinaryIO]) -> None:
    content = b"first\n\n\xff\xfe\0\nlast one\r\nwithout an end"
    read_lines = list(read(stream(content)))  # type: ignore[call-arg]
    assert read_lines == [Line(b"first"), Line(b""), Line(b"\xff\xfe\0"), Line(b"last one\r"), Line(b"without an end")]


def test_an_overlong_line_is_cut_and_the_cut_bytes_counted() -> None:
    found = read(io.BytesIO(b"x" * 25 + b"\nnext\n"), max_line_bytes=10)
    assert list(found) == [Line(b"x" * 10, 15), Line(b"next")]


class Follower:
    """Follows a file; `next` waits for its next line."""

    def __init__(self, path: Path) -> None:
        self.warnings: list[str] = []
        self._lines = follow_file(path, self.warnings.append, poll_s=0.01)

    async def next(self, *, after: Callable[[], object] | None = None) -> bytes:
        """Return the next line; *after* is called while the follower waits for it."""
        if after is not None:
            asyncio.get_running_loop().call_later(0.05, after)
        return (await anext(self._lines)).raw

    async def aclose(self) -> None:
        await self._lines.aclose()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "workers.log"
    path.write_bytes(b"one\ntw")
    return path


@pytest.fixture
async def follower(log: Path) -> AsyncIterator[Follower]:
    async with contextlib.aclosing(Follower(log)) as follower:
        yield follower


def append(path: Path, text: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(text)


def remove(path: Path) -> None:
    path.unlink()


async def test_a_growing_file_is_followed_without_splitting_lines(log: Path, follower: Follower) -> None:
    assert await follower.next() == b"one"
    assert await follower.next(after=lambda: append(log, b"o\nthree\n")) == b"two"
    assert await follower.next() == b"three"
    assert follower.warnings == []


def test_a_file_is_read_without_a_pause_and_looked_at_again_after_one(log: Path) -> None:
    async def follow() -> float:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with contextlib.aclosing(follow_file(log, pytest.fail, poll_s=7)) as found:
            assert (await anext(found)).raw == b"one"
            append(log, b"o\n")
            assert (await anext(found)).raw == b"two"
            assert loop.time() == pytest.approx(began_s, abs=0.01)
            loop.call_later(1, append, log, b"three\n")
            assert (await anext(found)).raw == b"three"
        return loop.time() - began_s

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        assert runner.run(follow()) == pytest.approx(7)


async def test_a_truncated_file_is_read_again_from_its_start(log: Path, follower: Follower) -> None:
    assert await follower.next() == b"one"
    assert await follower.next(after=lambda: log.write_bytes(b"x\n")) == b"tw"
    assert await follower.next() == b"x"
    assert follower.warnings == [f"{log} was truncated: reading it again from its start"]


async def test_a_rotated_file_is_read_to_its_end_then_the_new_one(log: Path, follower: Follower) -> None:
    assert await follower.next() == b"one"

    def rotate() -> None:
        append(log, b"o\n")
        log.rename(log.with_suffix(".1"))
        log.write_bytes(b"new\n")

    assert await follower.next(after=rotate) == b"two"
    assert await follower.next() == b"new"
    assert follower.warnings == [f"{log} was replaced: continuing with the new file"]


async def test_a_missing_file_is_waited_for(log: Path, follower: Follower) -> None:
    assert await follower.next() == b"one"
    remove(log)
    assert await follower.next(after=lambda: log.write_bytes(b"new\n")) == b"tw"
    assert await follower.next() == b"new"


async def test_following_a_huge_file_can_be_cancelled_before_its_end(log: Path) -> None:
    append(log, b"line\n" * 500_000)
    read_lines = 0

    async def follow() -> None:
        nonlocal read_lines
        async for _ in follow_file(log, pytest.fail):
            read_lines += 1

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 < read_lines < 500_000


def test_an_overlong_line_in_several_pieces_is_cut_once() -> None:
    assert list(read(Drip(b"x" * 25 + b"\n" + b"y" * 10 + b"\n" + b"z" * 11), max_line_bytes=10)) == [
        Line(b"x" * 10, 15),
        Line(b"y" * 10),
        Line(b"z" * 10, 1),
    ]


def test_a_pipe_is_read_as_its_lines_arrive() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as pipe:
        found = read(stream)
        pipe.write(b"one\ntw")
        assert next(found) == Line(b"one")
        pipe.write(b"o\n")
        assert next(found) == Line(b"two")


def test_a_file_is_read_in_chunks_of_bounded_size() -> None:
    sizes = list[int]()

    class Recording(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            sizes.append(size or 0)
            return super().read(size)

    assert list(read(Recording(b"one\n"))) == [Line(b"one")]
    assert sizes == [256 * 1024] * 2


async def test_a_file_that_is_followed_no_longer_is_closed(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[BinaryIO]()
    real_open = Path.open

    def recording_open(path: Path, mode: str = "r") -> BinaryIO:
        opened.append(cast("BinaryIO", real_open(path, mode)))
        return opened[-1]

    monkeypatch.setattr(Path, "open", recording_open)
    follower = Follower(log)
    await follower.next()
    remove(log)
    monkeypatch.setattr(Path, "open", recording_open)
    await follower.next(after=lambda: log.write_bytes(b"new\n"))
    await follower.next()
    await follower.aclose()
    assert [stream.closed for stream in opened if stream.mode == "rb"] == [True, True]


def test_lines_of_up_to_32_mebibytes_are_whole_and_files_are_checked_four_times_a_second() -> None:
    assert (MAX_LINE_BYTES, POLL_S) == (33_554_432, 0.25)


async def test_what_is_written_between_the_last_read_and_the_replacement_is_read(
    log: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_replaced, rotations = lines._was_replaced, [b"o\n", b"th", b"ree\n"]

    def rotate_then_look(stream: BinaryIO, path: Path) -> bool:
        if rotations:
            append(log.with_suffix(".1") if log.with_suffix(".1").exists() else log, rotations.pop(0))
            if not log.with_suffix(".1").exists():
                log.rename(log.with_suffix(".1"))
                log.write_bytes(b"new\n")
        return was_replaced(stream, path)

    monkeypatch.setattr(lines, "_was_replaced", rotate_then_look)
    assert [await follower.next() for _ in range(4)] == [b"one", b"two", b"three", b"new"]


async def test_a_replacement_that_is_gone_again_is_waited_for(
    log: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_replaced, looks = lines._was_replaced, 0

    def vanish_then_look(stream: BinaryIO, path: Path) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            remove(log)
            return True
        if looks == 3:
            log.write_bytes(b"new\n")
        return was_replaced(stream, path)

    monkeypatch.setattr(lines, "_was_replaced", vanish_then_look)
    assert [await follower.next() for _ in range(3)] == [b"one", b"tw", b"new"]
    assert follower.warnings == [f"{log} was replaced: continuing with the new file"]
