"""
Writes log lines from a thread, so that a slow or stopped reader of the output stops nothing else.

While the buffer is full, lines of DEBUG and INFO are dropped and counted, and the worker receives nothing. Other lines
are kept, and their message is acknowledged only after they were written.
"""

import asyncio
import contextlib
import errno
import os
import select
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from workers.streams import complain

# Lines of about two seconds at full speed. Once the buffer was full, half of it must be free before it has room again.
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
# How long the thread waits for more lines before it writes. So it takes the interpreter from the event loop at most 500
# times a second, and not for every line.
LINGER_S = 0.002
RETRY_S = 0.5  # Between attempts to write to a full disk.
FLUSH_S = 1.0  # For the last lines. With the drain and the last deletes it fits into the 30 s that platforms allow.
# A pipe takes this much as a whole, so lines of processes that share a pipe are not mixed. Only longer lines may be.
_WRITE_BYTES = select.PIPE_BUF
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

Write = Callable[[memoryview], int]
_Line = tuple[bytes, str | None]  # A line with its line break, and the message that waits for it.


def _nothing(*_: object) -> None:
    """Do nothing: nobody watches the output."""


@dataclass(slots=True)
class FileWriter:
    """
    Writes to a file descriptor, without Python's own buffer: what a failed write leaves there would fail again at exit.

    A full disk may have room again later, and another program may have made the descriptor non-blocking: both are tried
    again. Every other error is final, also that of a full device that is no disk (`/dev/full`).
    """

    descriptor: int
    retry_s: float = RETRY_S
    complain: Callable[[str], None] = complain
    _complained: bool = field(default=False, init=False)

    def __call__(self, data: memoryview) -> int:
        """
        Write the beginning of *data*; return how many bytes. That is 0 if nothing can be written for now.

        Raises:
            OSError: The output is closed for good.
        """
        try:
            written = os.write(self.descriptor, data)
        except BlockingIOError:
            poll = select.poll()
            poll.register(self.descriptor, select.POLLOUT)
            poll.poll(self.retry_s * 1000)
            return 0
        except OSError as error:
            if error.errno not in _NO_SPACE or not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
                raise
            if not self._complained:
                self._complained = True
                self.complain(f"standard output: {error.strerror}; log lines are kept until there is room")
            time.sleep(self.retry_s)
            return 0
        self._complained = False
        return written


class LogOutput:
    """
    The buffer of lines, and the thread that writes them.

    `is_full` is true from when *max_bytes* are buffered until half of that is written. `closed` says why nothing can be
    written any more; then every further line is dropped.
    """

    def __init__(
        self,
        write: Write,
        *,
        max_bytes: int = MAX_BUFFERED_BYTES,
        linger_s: float = LINGER_S,
    ) -> None:
        self._write = write
        self._max_bytes = max_bytes
        self._linger_s = linger_s
        self._on_closed: Callable[[], object] = _nothing
        self._on_dropped: Callable[[], object] = _nothing
        self._on_room: Callable[[int, float], object] = _nothing
        self._reset()

    def _reset(self) -> None:
        # Reentrant: a garbage collection may log a line while this thread holds the lock.
        self._lock = threading.RLock()
        self._lines = list[_Line]()
        self._buffered_bytes = 0  # With those that are being written.
        self._awaited = Counter[str]()  # Lines that are not written yet, by message.
        self._filled = threading.Event()
        self._waiting = list[tuple[Callable[[], bool], Callable[[], object]]]()
        self._thread: threading.Thread | None = None
        self._dropped = 0  # Since the buffer was full.
        self._full_at_s = 0.0
        self._is_finished = False
        self.is_full = False
        self.closed: str | None = None

    def reset_after_fork(self) -> None:
        """Let a forked process begin with an empty buffer: its parent writes the lines that are in it."""
        os.register_at_fork(after_in_child=self._reset)

    def watch(
        self,
        *,
        on_closed: Callable[[], object] = _nothing,
        on_dropped: Callable[[], object] = _nothing,
        on_room: Callable[[int, float], object] = _nothing,
    ) -> None:
        """
        Set what is called when the output closes, for each dropped line, and when a full buffer has room again.

        *on_room* gets how many lines were dropped, and for how many seconds it was full. Any thread may call them.
        """
        self._on_dropped, self._on_room = on_dropped, on_room
        with self._lock:
            self._on_closed = on_closed
            closed = self.closed is not None
        if closed:
            on_closed()

    def put(self, line: bytes, keep: bool = True, message_id: str | None = None) -> None:
        """
        Add a line. Never waits. While the buffer is full, only lines to *keep* are added.

        `is_written` waits for a kept line with a *message_id*.
        """
        with self._lock:
            if not keep:
                message_id = None
            if message_id is not None:
                self._awaited[message_id] += 1
            if self.closed is not None or (self.is_full and not keep):
                self._dropped += 1
                self._on_dropped()
                return
            self._lines.append((line + b"\n", message_id))
            self._buffered_bytes += len(line) + 1
            if self._buffered_bytes >= self._max_bytes and not self.is_full:
                self.is_full, self._full_at_s = True, time.monotonic()
            if self._is_finished or (self._thread is None and not self._start()):
                self._write_lines()
        if not self._filled.is_set():
            self._filled.set()

    def awaits(self, message_id: str) -> bool:
        """Return whether a kept line of the message is not written yet."""
        return message_id in self._awaited

    async def is_written(self, message_id: str) -> bool:
        """Wait until the kept lines of the message are written, and return True. False: they will never be."""
        await self._wait(lambda: message_id not in self._awaited or self.closed is not None)
        return message_id not in self._awaited

    async def wait_for_room(self) -> None:
        """Wait until the buffer has room. If the output is closed, it never has."""
        await self._wait(lambda: not self.is_full)

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until every line is written. Return False if that takes longer than *timeout_s*, or is impossible."""
        written = threading.Event()
        self._when(lambda: self._buffered_bytes == 0 or self.closed is not None, written.set)
        return written.wait(timeout_s) and self.closed is None

    def finish(self, timeout_s: float = FLUSH_S) -> bool:
        """
        Flush before the process ends. If that succeeds, later lines are written at once, without the thread.

        The interpreter still logs at its exit, such as sessions that were not closed, but then no thread runs any more.
        """
        self._is_finished = self.flush(timeout_s)
        return self._is_finished

    async def _wait(self, condition: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        met = asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # The loop is closed.
                loop.call_soon_threadsafe(met.set)

        self._when(condition, wake)
        await met.wait()

    def _when(self, condition: Callable[[], bool], wake: Callable[[], object]) -> None:
        """Call *wake* once *condition* holds: now, or after a write."""
        with self._lock:
            if not condition():
                self._waiting.append((condition, wake))
                return
        wake()

    def _start(self) -> bool:
        self._thread = threading.Thread(target=self._run, name="log-output", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # The system cannot start another thread, or the interpreter is about to end.
            self._thread = None
        return self._thread is not None

    def _run(self) -> None:
        while self.closed is None:
            self._filled.wait()
            time.sleep(self._linger_s)
            self._filled.clear()
            self._write_lines()

    def _write_lines(self) -> None:
        while self.closed is None:
            with self._lock:
                lines, self._lines = self._lines, []
            if not lines:
                return
            for part in _parts(lines):
                data = b"".join(line for line, _ in part)
                if not self._write_all(data):
                    return
                self._end(part, len(data))

    def _write_all(self, data: bytes) -> bool:
        left = memoryview(data)
        try:
            while left:
                left = left[self._write(left) :]
        except (OSError, ValueError) as error:  # ValueError: a stream of Python that is closed.
            self._close(getattr(error, "strerror", None) or str(error))
            return False
        return True

    def _end(self, lines: list[_Line], size_bytes: int) -> None:
        """Count *lines* as written, and wake those who have waited for that."""
        room: tuple[int, float] | None = None
        with self._lock:
            self._buffered_bytes -= size_bytes
            for _, message_id in lines:
                if message_id is not None:
                    self._awaited[message_id] -= 1
                    if self._awaited[message_id] <= 0:
                        del self._awaited[message_id]
            if self.is_full and self._buffered_bytes <= self._max_bytes // 2:
                room = self._dropped, time.monotonic() - self._full_at_s
                self.is_full, self._dropped = False, 0
        if room is not None:
            self._on_room(*room)
        self._wake()

    def _close(self, reason: str) -> None:
        with self._lock:
            self.closed, self.is_full = reason, True
            self._lines.clear()
            on_closed = self._on_closed
        on_closed()  # First, so that the messages that are now released do not come back to this process.
        self._wake()

    def _wake(self) -> None:
        if not self._waiting:
            return
        with self._lock:
            conditions = [condition() for condition, _ in self._waiting]
            met = [wake for is_met, (_, wake) in zip(conditions, self._waiting, strict=True) if is_met]
            self._waiting = [each for is_met, each in zip(conditions, self._waiting, strict=True) if not is_met]
        for wake in met:
            wake()


def _parts(lines: list[_Line]) -> Iterator[list[_Line]]:
    """Yield *lines* in parts that are written at once."""
    part, size_bytes = list[_Line](), 0
    for line in lines:
        size_bytes += len(line[0])
        if part and size_bytes > _WRITE_BYTES:
            yield part
            part, size_bytes = [], len(line[0])
        part.append(line)
    yield part
