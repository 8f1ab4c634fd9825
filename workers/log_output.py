"""
Writes log lines so that a slow or stopped reader of the output stops nothing else.

The event loop writes the lines of each of its turns at once, as far as the output takes them without waiting. A thread,
which may wait, writes the rest and the lines of other threads. It does not write them all: each of its writes takes the
interpreter from the loop, which cost a third more CPU time for each order.

While the buffer is full, lines of DEBUG and INFO are dropped and counted, and the worker receives nothing. Other lines
are kept, and their message is acknowledged only after they were written.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable

from workers.log_writers import Line, Write, first_part, split

# Lines of about two seconds at full speed. Once the buffer was full, half of it must be free before it has room again.
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
LINGER_S = 0.002  # How long the thread waits for more lines before it writes.
FLUSH_S = 1.0  # For the last lines. With drain and deletes it fits into the 30 s that platforms allow.


def _nothing(*_: object) -> None:
    """Do nothing: nobody watches the output."""


class LogOutput:
    """
    The buffer of lines. *write* writes the beginning of what it gets and may wait; *write_at_once* must not wait.

    `is_full` is true from when *max_bytes* are buffered until half of that is written. `closed` says why nothing can be
    written any more; then every further line is dropped.
    """

    def __init__(
        self,
        write: Write,
        *,
        write_at_once: Write | None = None,
        max_bytes: int = MAX_BUFFERED_BYTES,
        linger_s: float = LINGER_S,
    ) -> None:
        self._write = write
        self._write_at_once = write_at_once
        self._max_bytes = max_bytes
        self._linger_s = linger_s
        self._on_closed: Callable[[], object] = _nothing
        self._on_dropped: Callable[[], object] = _nothing
        self._on_room: Callable[[int, float], object] = _nothing
        self._reset()

    def _reset(self) -> None:
        # Reentrant: a garbage collection may log a line while this thread holds the lock.
        self._lock = threading.RLock()
        self._lines = list[Line]()
        self._buffered_bytes = 0  # With those that are being written.
        self._awaited = dict[str, int]()  # Lines that are not written yet, by message.
        self._filled = threading.Event()
        self._waiting = list[tuple[Callable[[], bool], Callable[[], object]]]()
        self._thread: threading.Thread | None = None
        self._writing = threading.RLock()  # One thread writes at a time.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_thread = 0
        self._is_scheduled = False  # The loop will write what is in the buffer.
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
            elif message_id is not None:
                self._awaited[message_id] = self._awaited.get(message_id, 0) + 1
            if self.closed is not None or (self.is_full and not keep):
                self._dropped += 1
                self._on_dropped()
                return
            self._lines.append((line + b"\n", message_id))
            self._buffered_bytes += len(line) + 1
            if self._buffered_bytes >= self._max_bytes and not self.is_full:
                self.is_full, self._full_at_s = True, time.monotonic()
        if not self._is_scheduled:
            self._schedule()

    def write_from(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let *loop*, which runs in this thread, write the lines that this thread logs, as far as no write waits."""
        if self._write_at_once is not None:
            self._loop, self._loop_thread = loop, threading.get_ident()

    def _schedule(self) -> None:
        """Have the buffer written by the loop, or by the thread."""
        if self._loop is not None and threading.get_ident() == self._loop_thread:
            try:
                self._loop.call_soon(self._write_turn)
            except RuntimeError:  # The loop is closed.
                self._loop = None
            else:
                self._is_scheduled = True
                return
        self._wake_thread()

    def _wake_thread(self) -> None:
        if self._is_finished or not self._has_thread():
            self._write_now()
        elif not self._filled.is_set():
            self._filled.set()

    def _write_turn(self) -> None:
        self._is_scheduled = False
        self._write_ready()

    def _write_ready(self) -> None:
        """Write the lines of the loop's last turn at once; leave to the thread what the output does not take."""
        if self._write_at_once is not None and self._writing.acquire(blocking=False):
            try:
                if self._wrote_all(self._write_at_once):
                    return
            finally:
                self._writing.release()
        self._wake_thread()

    def _wrote_all(self, write_at_once: Write) -> bool:
        """Write lines without waiting. Return False if some are left."""
        with self._lock:
            lines, self._lines = self._lines, []
        while lines:
            part = first_part(lines)
            data = lines[0][0] if len(part) == 1 else b"".join([line for line, _ in part])
            try:
                written = write_at_once(memoryview(data))
            except (OSError, ValueError):  # It would wait, or it is closed: the thread finds out.
                written = 0
            if written < len(data):
                ended, left = split(part, written)
                self._end(ended, written)
                with self._lock:
                    self._lines[:0] = left + lines[len(part) :]
                return False
            self._end(part, written)
            del lines[: len(part)]
        return True

    def awaits(self, message_id: str) -> bool:
        """Return whether a kept line of the message is not written yet. It is written now if that needs no waiting."""
        if self._is_scheduled and message_id in self._awaited:
            self._write_ready()
        return message_id in self._awaited

    async def is_written(self, message_id: str) -> bool:
        """Wait until the kept lines of the message are written, and return True. False: they will never be."""
        if self.awaits(message_id):
            await self._wait(lambda: message_id not in self._awaited or self.closed is not None)
        return message_id not in self._awaited

    async def wait_for_room(self) -> None:
        """Wait until the buffer has room. If the output is closed, it never has."""
        await self._wait(lambda: not self.is_full)

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until every line is written. Return False if that takes longer than *timeout_s*, or is impossible."""
        written = threading.Event()
        self._loop, self._is_scheduled = None, False  # This may be the loop's thread, which waits now.
        if self._buffered_bytes:
            self._schedule()
        self._when(lambda: self._buffered_bytes == 0 or self.closed is not None, written.set)
        return written.wait(timeout_s) and self.closed is None

    def finish(self, timeout_s: float = FLUSH_S) -> bool:
        """Flush before the process ends. If that succeeds, later lines, of the interpreter's exit, need no thread."""
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

    def _has_thread(self) -> bool:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="log-output", daemon=True)
                with contextlib.suppress(RuntimeError):  # The system cannot start one, or the interpreter is ending.
                    thread.start()
                    self._thread = thread
            return self._thread is not None

    def _run(self) -> None:
        while self.closed is None:
            self._filled.wait()
            time.sleep(self._linger_s)
            self._filled.clear()
            self._write_now()

    def _write_now(self) -> None:
        """Write all lines, however long that takes."""
        with self._writing:
            while self.closed is None:
                with self._lock:
                    lines, self._lines = self._lines, []
                if not lines:
                    return
                while lines:
                    part = first_part(lines)
                    if not self._write_all(data := b"".join(line for line, _ in part)):
                        return
                    self._end(part, len(data))
                    del lines[: len(part)]

    def _write_all(self, data: bytes) -> bool:
        left = memoryview(data)
        try:
            while left:
                left = left[self._write(left) :]
        except (OSError, ValueError) as error:  # ValueError: a stream of Python that is closed.
            self._close(getattr(error, "strerror", None) or str(error))
            return False
        return True

    def _end(self, lines: list[Line], size_bytes: int) -> None:
        """Count *lines* as written, and wake those who have waited for that."""
        room: tuple[int, float] | None = None
        with self._lock:
            self._buffered_bytes -= size_bytes
            for _, message_id in lines:
                if message_id is not None and (left := self._awaited.pop(message_id) - 1):
                    self._awaited[message_id] = left
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
