"""What writes log lines: the loop, or a thread. A fake reader decides when each write of the thread ends and how."""

import asyncio
import contextlib
import errno
import os
import pty
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local.aws import ROOT
from workers.log_output import LogOutput
from workers.log_writers import FileWriter, first_part, write_at_once

PATIENCE_S = 30.0


class Reader:
    """What reads the lines: takes nothing while `stopped`, and after `close` ends every write with an error."""

    def __init__(self, most_bytes: int = 1_000_000) -> None:
        self.taken = b""
        self.offered: list[bytes] = []
        self.most_bytes = most_bytes
        self._going = threading.Event()
        self._going.set()
        self._writing = threading.Event()
        self._error: Exception | None = None

    def stop(self) -> None:
        self._going.clear()

    def go_on(self) -> None:
        self._going.set()

    def close(self, error: Exception) -> None:
        self._error = error
        self._going.set()

    def until_writing(self) -> None:
        assert self._writing.wait(PATIENCE_S)

    def __call__(self, data: memoryview) -> int:
        self._writing.set()
        assert self._going.wait(PATIENCE_S)
        if self._error is not None:
            raise self._error
        self.offered.append(bytes(data))
        part = bytes(data[: self.most_bytes])
        self.taken += part
        return len(part)

    @property
    def lines(self) -> list[str]:
        return self.taken.decode().splitlines()


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader()
    yield reader
    reader.close(OSError(errno.EPIPE, "Broken pipe"))  # Ends the thread.


def stopped(reader: Reader, max_bytes: int = 100) -> LogOutput:
    """Return an output whose thread waits for the reader with the first line, `first`, of 6 bytes."""
    reader.stop()
    output = LogOutput(reader, max_bytes=max_bytes, linger_s=0)
    output.put(b"first")
    reader.until_writing()
    return output


def test_lines_are_written_in_order_and_whole_however_little_the_reader_takes() -> None:
    reader = Reader(most_bytes=3)
    output = LogOutput(reader, linger_s=0)
    for number in range(100):
        output.put(f"line {number}".encode())
    assert output.flush(PATIENCE_S)
    assert reader.lines == [f"line {number}" for number in range(100)]


def test_the_thread_rests_while_there_are_no_lines(reader: Reader) -> None:
    output = LogOutput(reader, linger_s=0)
    output.put(b"line")
    assert output.flush(PATIENCE_S)
    until_s = time.monotonic() + PATIENCE_S
    while output._filled.is_set() and time.monotonic() < until_s:
        time.sleep(0.001)
    assert not output._filled.is_set()
    assert {thread.daemon for thread in threading.enumerate() if thread.name == "log-output"} == {True}


def test_lines_of_many_threads_are_each_written_once(reader: Reader) -> None:
    output = LogOutput(reader, linger_s=0)

    def put_all(name: int) -> None:
        for number in range(200):
            output.put(f"{name} {number}".encode())

    threads = [threading.Thread(target=put_all, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert output.flush(PATIENCE_S)
    assert sorted(reader.lines) == sorted(f"{name} {number}" for name in range(4) for number in range(200))


def test_a_stopped_reader_holds_up_no_caller_and_gets_everything_later(reader: Reader) -> None:
    output = stopped(reader)
    output.put(b"second", keep=False)
    assert (reader.taken, output.flush(0)) == (b"", False)
    reader.go_on()
    assert output.flush(PATIENCE_S)
    assert reader.lines == ["first", "second"]


def test_a_full_buffer_drops_and_counts_lines_that_need_not_be_kept(reader: Reader) -> None:
    output, dropped, room = stopped(reader), list[int](), list[int]()
    output.watch(on_dropped=lambda: dropped.append(1), on_room=lambda lines, _: room.append(lines))
    output.put(b"x" * 93, keep=False)
    assert output.is_full
    output.put(b"info", keep=False)
    output.put(b"info", keep=False, message_id="m")
    output.put(b"error", keep=True)
    assert (len(dropped), room, output.awaits("m")) == (2, [], False)
    reader.go_on()
    assert output.flush(PATIENCE_S)
    assert reader.lines == ["first", "x" * 93, "error"]
    assert (room, output.is_full) == ([2], False)
    output.put(b"after", keep=False)
    assert output.flush(PATIENCE_S)
    assert reader.lines[-1] == "after"


def test_what_is_written_at_once_are_whole_lines_that_a_pipe_takes_as_a_whole(reader: Reader) -> None:
    output = stopped(reader)
    lines = [b"x" * (number * 97 % 1_000) for number in range(100)] + [b"y" * 5_000, b"z"]
    for line in lines:
        output.put(line)
    reader.go_on()
    assert output.flush(PATIENCE_S)
    _, *writes = reader.offered
    assert b"".join(writes).split(b"\n") == [*lines, b""]
    assert all(data.endswith(b"\n") for data in writes)
    assert [data for data in writes if len(data) > select.PIPE_BUF] == [b"y" * 5_000 + b"\n"]
    assert len(writes) < 20, "together, not one by one"


def test_it_has_room_only_after_half_of_the_buffer_is_written(reader: Reader) -> None:
    output = stopped(reader, max_bytes=200_000)
    room = threading.Event()
    output.watch(on_room=lambda *_: room.set())
    for _ in range(20):
        output.put(b"x" * 10_000)
    assert output.is_full
    reader.go_on()
    assert room.wait(PATIENCE_S)
    assert output.flush(PATIENCE_S)
    assert not output.is_full


async def test_a_message_waits_for_its_kept_lines(reader: Reader) -> None:
    output = stopped(reader)
    output.put(b"warning", message_id="m")
    assert (output.awaits("m"), output.awaits("other")) == (True, False)
    waiting = asyncio.create_task(output.is_written("m"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    reader.go_on()
    assert await asyncio.wait_for(waiting, PATIENCE_S)
    assert not output.awaits("m")
    assert await output.is_written("m")


async def test_room_is_waited_for(reader: Reader) -> None:
    output = stopped(reader, max_bytes=10)
    output.put(b"second")
    waiting = asyncio.create_task(output.wait_for_room())
    await asyncio.sleep(0.01)
    assert (output.is_full, waiting.done()) == (True, False)
    reader.go_on()
    await asyncio.wait_for(waiting, PATIENCE_S)


@pytest.mark.parametrize("error", [OSError(errno.EPIPE, "Broken pipe"), ValueError("I/O operation on closed file")])
async def test_a_closed_output_says_so_once_and_never_has_room(reader: Reader, error: Exception) -> None:
    output, closed, told = stopped(reader), list[str | None](), threading.Event()
    output.watch(on_closed=lambda: (closed.append(output.closed), told.set()))  # type: ignore[func-returns-value]
    output.put(b"warning", message_id="before")
    reader.close(error)
    assert not await asyncio.wait_for(output.is_written("before"), PATIENCE_S)
    output.put(b"warning", message_id="after")
    output.put(b"more")
    assert not await asyncio.wait_for(output.is_written("after"), PATIENCE_S)
    assert (output.is_full, output.flush(PATIENCE_S), told.wait(PATIENCE_S)) == (True, False, True)
    assert closed == ["Broken pipe" if isinstance(error, OSError) else str(error)]
    late = list[str]()
    output.watch(on_closed=lambda: late.append("told"))
    assert late == ["told"], "it may be closed before anyone watches it"


def test_a_flush_ends_in_time(reader: Reader) -> None:
    assert not stopped(reader).flush(0.01)


def test_after_the_end_lines_are_written_at_once(reader: Reader) -> None:
    output = LogOutput(reader, linger_s=0)
    output.put(b"last")
    assert output.finish(PATIENCE_S)
    output.put(b"at exit")
    assert reader.lines == ["last", "at exit"]


def test_after_an_end_without_a_reader_no_caller_waits_for_it(reader: Reader) -> None:
    output = stopped(reader)
    assert not output.finish(0.01)
    output.put(b"at exit")
    assert reader.taken == b""


FORKING = """
import os
from workers.log_output import LogOutput
from workers.log_writers import FileWriter, write_at_once

output = LogOutput(FileWriter(1), linger_s=0.5)
output.reset_after_fork()
output.put(b"parent")
child = os.fork()
output.put(b"child" if child == 0 else b"parent again")
written = output.flush(30)
if child == 0:
    os._exit(0 if written else 1)
print(os.waitpid(child, 0)[1], written)
"""


@pytest.mark.process
def test_a_forked_process_writes_only_its_own_lines() -> None:
    command = [sys.executable, "-W", "ignore", "-c", FORKING]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert sorted(ran.stdout.splitlines()) == ["0 True", "child", "parent", "parent again"]


def test_without_a_thread_lines_are_written_at_once(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    output = LogOutput(reader)
    output.put(b"one")
    output.put(b"two")
    assert (reader.lines, output.flush(0)) == (["one", "two"], True)


def test_a_pipe_without_a_reader_and_a_full_device_are_closed_for_good() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for descriptor, number in ((writing, errno.EPIPE), (full, errno.ENOSPC), (99_999, errno.EBADF)):
            with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is compared.
                FileWriter(descriptor)(memoryview(b"x"))
            assert raised.value.errno == number
    finally:
        os.close(writing)
        os.close(full)


def test_a_full_disk_is_tried_again_and_named_once(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{tmp_path}/log"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    said = list[str]()
    write, outcomes = os.write, [OSError(errno.ENOSPC, "No space left on device")] * 2

    def write_or_fail(number: int, data: memoryview) -> int:
        if outcomes:
            raise outcomes.pop()
        return write(number, data)

    monkeypatch.setattr(os, "write", write_or_fail)
    writer = FileWriter(descriptor, retry_s=0, complain=said.append)
    output = LogOutput(writer, linger_s=0)
    output.put(b"line")
    assert output.flush(PATIENCE_S)
    os.close(descriptor)
    with open(path, "rb") as written:  # noqa: PTH123
        assert written.read() == b"line\n"
    assert said == ["standard output: No space left on device; log lines are kept until there is room"]


def test_each_time_that_a_disk_is_full_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    full = OSError(errno.ENOSPC, "No space left on device")
    outcomes, said, slept = [full, full, None, full], list[str](), list[float]()

    def write(_number: int, data: memoryview) -> int:
        if (outcome := outcomes.pop(0)) is not None:
            raise outcome
        return len(data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        patched.setattr("workers.log_writers.time", SimpleNamespace(sleep=slept.append))
        writer = FileWriter(descriptor, complain=said.append)
        assert [writer(memoryview(b"line")) for _ in range(4)] == [0, 0, 4, 0]
    os.close(descriptor)
    assert (len(said), slept) == (2, [0.5] * 3)


def test_a_pipe_without_room_is_waited_for_half_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    waited_ms = list[float]()

    class Poll:
        def register(self, descriptor: int, events: int) -> None:
            assert (descriptor, events) == (1, select.POLLOUT)

        def poll(self, timeout_ms: float) -> None:
            waited_ms.append(timeout_ms)

    def write(_number: int, _data: memoryview) -> int:
        raise BlockingIOError

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        patched.setattr("workers.log_writers.select", SimpleNamespace(poll=Poll, POLLOUT=select.POLLOUT))
        assert (FileWriter(1)(memoryview(b"line")), waited_ms) == (0, [500.0])


def test_a_pipe_takes_4096_bytes_as_a_whole() -> None:
    first, rest = (b"x" * 4095, None), (b"y", "m")
    assert first_part([first, rest]) == [first, rest]
    assert first_part([first, rest, rest]) == [first, rest]
    assert first_part([(b"x" * 9_000, None), rest]) == [(b"x" * 9_000, None)]


@pytest.mark.parametrize(("room", "is_full"), [(49, True), (50, False)])
async def test_a_buffer_is_full_until_half_of_it_is_written(reader: Reader, room: int, *, is_full: bool) -> None:
    output, full_s = LogOutput(reader, write_at_once=AtOnce(reader, room), max_bytes=100), list[float]()
    output.watch(on_room=lambda _dropped, seconds: full_s.append(seconds))
    output.write_from(asyncio.get_running_loop())
    reader.stop()
    for _ in range(10):
        output.put(b"nine char")
    assert output.is_full
    await asyncio.sleep(0)
    assert output.is_full is is_full
    assert all(0 <= seconds < PATIENCE_S for seconds in full_s)
    assert len(full_s) == (0 if is_full else 1)


def test_a_forked_process_begins_with_an_empty_buffer(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    after = list[Callable[[], None]]()
    monkeypatch.setattr(os, "register_at_fork", lambda *, after_in_child: after.append(after_in_child))
    output = stopped(reader)
    output.reset_after_fork()
    output.put(b"second", message_id="m")
    (reset,) = after
    reset()
    assert (output._lines, output._buffered_bytes, output.awaits("m"), output.is_full) == ([], 0, False, False)


def test_a_pipe_that_does_not_block_is_written_once_it_has_room() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # As another program may have done: the flag is shared.
    output = LogOutput(FileWriter(writing, retry_s=0.01), linger_s=0)
    sent = [b"%06d" % number * 100 for number in range(500)]  # More than a pipe holds.
    for line in sent:
        output.put(line)
    taken = b""
    while len(taken) < sum(len(line) + 1 for line in sent):
        taken += os.read(reading, 1 << 16)
    assert taken.split(b"\n") == [*sent, b""]
    os.close(reading)
    os.close(writing)


class AtOnce:
    """What the loop writes to: takes `room` bytes, then refuses, as a pipe without room does."""

    def __init__(self, reader: Reader, room: int = 1_000_000) -> None:
        self.reader, self.room = reader, room

    def __call__(self, data: memoryview) -> int:
        if not self.room:
            raise BlockingIOError
        part = bytes(data[: self.room])
        self.room -= len(part)
        self.reader.taken += part
        return len(part)


def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_thread: threading.Thread) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", fail)


async def test_the_loop_writes_the_lines_of_a_turn_at_once_and_needs_no_thread(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_thread(monkeypatch)
    output = LogOutput(reader, write_at_once=AtOnce(reader))
    output.write_from(asyncio.get_running_loop())
    output.put(b"one")
    output.put(b"two")
    assert reader.lines == []
    await asyncio.sleep(0)
    assert reader.lines == ["one", "two"]
    output.put(b"three")
    await asyncio.sleep(0)
    assert reader.lines == ["one", "two", "three"]


async def test_a_message_does_not_wait_for_lines_that_can_be_written_at_once(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_thread(monkeypatch)
    output = LogOutput(reader, write_at_once=AtOnce(reader))
    output.write_from(asyncio.get_running_loop())
    output.put(b"info", keep=False)
    output.put(b"warning", message_id="m")
    assert not output.awaits("other")
    assert reader.lines == [], "only what is waited for is hurried"
    assert not output.awaits("m")
    assert reader.lines == ["info", "warning"]
    output.put(b"another", message_id="m")
    assert await output.is_written("m")
    assert reader.lines[-1] == "another"


@pytest.mark.parametrize("room", range(0, 60, 7))
async def test_what_the_output_does_not_take_at_once_is_written_by_the_thread(reader: Reader, room: int) -> None:
    output = LogOutput(reader, write_at_once=AtOnce(reader, room), linger_s=0)
    output.write_from(asyncio.get_running_loop())
    reader.stop()
    numbers = range(20)
    for number in numbers:
        output.put(b"line %d" % number, message_id=str(number))
    await asyncio.sleep(0)
    reader.until_writing()
    assert len(reader.taken) == room
    assert [number for number in numbers if not output.awaits(str(number))] == list(range(reader.taken.count(b"\n")))
    output.put(b"later")
    reader.go_on()
    assert await asyncio.wait_for(output.is_written("19"), PATIENCE_S)
    assert output.flush(PATIENCE_S)
    assert reader.lines == [*(f"line {number}" for number in numbers), "later"]


async def test_lines_of_the_loop_and_of_threads_are_each_written_once(reader: Reader) -> None:
    output = LogOutput(reader, write_at_once=AtOnce(reader, 2_000), linger_s=0)
    output.write_from(asyncio.get_running_loop())

    def put_all(name: int) -> None:
        for number in range(100):
            output.put(f"{name} {number}".encode())

    threads = [asyncio.to_thread(put_all, name) for name in range(3)]
    working = asyncio.gather(*threads)
    for number in range(100):
        output.put(f"loop {number}".encode())
        await asyncio.sleep(0)
    await working
    assert output.flush(PATIENCE_S)
    assert sorted(reader.lines) == sorted(f"{name} {number}" for name in (0, 1, 2, "loop") for number in range(100))


def test_lines_that_the_loop_did_not_get_to_write_are_written_at_the_end(reader: Reader) -> None:
    output = LogOutput(reader, write_at_once=AtOnce(reader))
    loop = asyncio.new_event_loop()
    output.write_from(loop)
    output.put(b"scheduled")
    loop.close()
    output.put(b"after")
    assert output.finish(PATIENCE_S)
    output.put(b"at exit")
    assert reader.lines == ["scheduled", "after", "at exit"]


def test_a_closed_loop_leaves_its_lines_to_the_thread(reader: Reader) -> None:
    output = LogOutput(reader, write_at_once=AtOnce(reader), linger_s=0)
    loop = asyncio.new_event_loop()
    output.write_from(loop)
    loop.close()
    output.put(b"line")
    assert output.flush(PATIENCE_S)
    assert reader.lines == ["line"]


def filled(descriptor: int) -> int:
    """Write at once until nothing more is taken; return how many bytes that was."""
    write, total = write_at_once(descriptor), 0
    assert write is not None
    with contextlib.suppress(BlockingIOError):
        while True:
            total += write(memoryview(b"x" * 4_096))
    return total


def test_a_pipe_is_written_without_waiting_and_stays_as_it_is_for_others() -> None:
    reading, writing = os.pipe()
    try:
        assert filled(writing) > 0
        assert os.get_blocking(writing), "a process that shares it may rely on that"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # It stays open as long as the process.
def test_a_socket_is_written_without_waiting_and_stays_as_it_is_for_others() -> None:
    reading, writing = socket.socketpair()
    with reading, writing:
        assert filled(writing.fileno()) > 0
        assert writing.getblocking()


def test_a_terminal_is_written_without_waiting() -> None:
    reading, writing = pty.openpty()
    try:
        assert filled(writing) > 0
        assert os.get_blocking(writing)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_file_is_written_where_others_left_off(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"before ")
    write = write_at_once(descriptor)
    assert write is not None
    write(memoryview(b"between "))
    os.write(descriptor, b"after")
    os.close(descriptor)
    assert (tmp_path / "log").read_text() == "before between after"


def test_a_closed_pipe_and_what_cannot_be_opened_are_left_to_the_thread() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    write = write_at_once(writing)
    assert write is not None
    with pytest.raises(BrokenPipeError):
        write(memoryview(b"x"))
    os.close(writing)
    assert write_at_once(99_999) is None
