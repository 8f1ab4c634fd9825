"""How log lines are written to a file descriptor: by a thread that may wait, or at once without waiting."""

import os
import select
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from errno import EDQUOT, ENOSPC

from workers.streams import complain

RETRY_S = 0.5  # Between attempts to write to a full disk.
# A pipe takes this much as a whole, so lines of processes that share a pipe are not mixed. Only longer lines may be.
WRITE_BYTES = select.PIPE_BUF
_NO_SPACE = (ENOSPC, EDQUOT)

Write = Callable[[memoryview], int]
Line = tuple[bytes, str | None]  # A line with its line break, and the message that waits for it.


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


def write_at_once(descriptor: int) -> Write | None:
    """
    Return a function that writes what *descriptor* takes without waiting, and returns how many bytes, or raises.

    A pipe or a terminal is opened again for that: a flag on *descriptor* itself would change it for the processes that
    share it, too. None if that is impossible: Linux alone can do it, and only for files of the same user. A regular
    file takes everything at once, or raises: its disk is full.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISREG(mode):
            return lambda data: os.write(descriptor, data)
        if stat.S_ISSOCK(mode):
            connection = socket.socket(fileno=os.dup(descriptor))
            return lambda data: connection.send(data, socket.MSG_DONTWAIT)
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    return lambda data: os.write(own, data)


def first_part(lines: list[Line]) -> list[Line]:
    """Return the first of *lines*, as many as are written at once."""
    if len(lines) == 1:
        return lines
    size_bytes = 0
    for number, (line, _) in enumerate(lines):
        size_bytes += len(line)
        if number and size_bytes > WRITE_BYTES:
            return lines[:number]
    return lines


def split(lines: list[Line], written_bytes: int) -> tuple[list[Line], list[Line]]:
    """Return which of *lines* are written, and what is left after the first *written_bytes*."""
    for number, (line, message_id) in enumerate(lines):
        if written_bytes < len(line):
            return lines[:number], [(line[written_bytes:], message_id), *lines[number + 1 :]]
        written_bytes -= len(line)
    return lines, []
