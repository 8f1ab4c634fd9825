"""A worker process and its log lines."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workers.log_text import render, render_foreign

if TYPE_CHECKING:
    import subprocess

POLL_S = 0.05
TIMEOUT_S = 90.0  # Longer than a message of a killed worker stays invisible.
SHOWN_LINES = 15
SHOWN_CHARACTERS = 2_000  # Of one line.
SHOWN_BYTES = 512 * 1024  # Of the whole output, which may have any length.
NOT_FIELDS = ("timestamp", "level", "event")

Line = Mapping[str, Any]


class Worker:
    """A process `python -m workers <name>`. Its output, JSON lines, goes to `log_path`."""

    def __init__(self, process: "subprocess.Popen[bytes]", log_path: Path, name: str = "worker") -> None:
        self.process = process
        self.log_path = log_path
        self.name = name
        self.was_stopped = False
        self._read_bytes = 0
        self._lines: list[dict[str, Any]] = []

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Return the log lines so far, without lines that are not JSON objects (see `output` for all)."""
        with self.log_path.open("rb") as log:
            log.seek(self._read_bytes)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        self._lines += filter(None, map(_fields, whole.splitlines()))
        return list(self._lines)

    def output(self) -> str:
        """Return the output of the process so far, standard error included."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def last_lines(self) -> list[str]:
        """Return the end of the output, without the begin of a line, in which a card number could be cut in two."""
        with self.log_path.open("rb") as log:
            skipped = max(0, log.seek(0, os.SEEK_END) - SHOWN_BYTES)
            log.seek(skipped)
            output = log.read()
        if skipped:
            output = output.partition(b"\n")[2] or b"(a line that is too long to show)"
        return output.decode(errors="replace").splitlines()

    def is_ready(self) -> bool:
        """Return whether the worker consumes its queue, whatever the format of its lines."""
        return "worker.started" in self.output()

    def find(self, event: str, fields: Line) -> dict[str, Any] | None:
        """Return the first log line with this *event* and these *fields*."""
        for line in self.lines():
            if line.get("event") == event and all(line.get(name) == value for name, value in fields.items()):
                return line
        return None

    def wait_for(self, event: str, *, timeout_s: float = TIMEOUT_S, **fields: Any) -> dict[str, Any]:
        """
        Wait for the first log line with this *event* and these *fields*, and return it.

        Raises `AssertionError` with the last lines after *timeout_s*, or if the process ends without such a line.
        """
        __tracebackhide__ = True
        return wait_for_line([self], event, fields, timeout_s=timeout_s)

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Wait until the process ends by itself; return its exit code."""
        code = self.process.wait(timeout_s)
        self.was_stopped = True  # The test knows.
        return code

    def stop(self, timeout_s: float = TIMEOUT_S) -> int:
        """Send SIGTERM and wait; return the exit code."""
        self.was_stopped = True
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self) -> int:
        """Send SIGKILL and wait; return the exit code (-9)."""
        self.was_stopped = True
        self.process.kill()
        return self.process.wait(TIMEOUT_S)

    def has_failed(self) -> bool:
        """Return whether the process has ended by itself."""
        return not self.was_stopped and self.process.poll() is not None

    def described(self) -> str:
        """Return the state of the process and its last lines, masked, as `orders logs` shows them."""
        state = "runs" if self.process.poll() is None else f"has ended with exit code {self.process.returncode}"
        shown = [
            render_foreign(text, color=False) if fields is None else render(fields, color=False, tracebacks=True)
            for text in self.last_lines()
            for fields in [_fields(text)]
            if fields is None or fields.get("event") != "worker.starting"  # It has all the settings.
        ][-SHOWN_LINES:]
        lines = "\n".join(f"  {shortened(line)}" for text in shown for line in text.splitlines())
        return f"{self.name} {state}. Its last lines:\n{lines or '  (none)'}"


def shortened(line: str) -> str:
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]} ..."


def wait_until_ready(worker: Worker, *, timeout_s: float = TIMEOUT_S) -> None:
    """Wait until *worker* consumes its queue. Raises `AssertionError` as `waiting`."""
    __tracebackhide__ = True
    for _ in waiting([worker], lambda: f"{worker.name} was not ready", timeout_s=timeout_s):
        if worker.is_ready():
            return


def wait_for_line(
    workers: Sequence[Worker], event: str, fields: Line, *, timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """
    Wait until one of *workers* has logged *event* with *fields*; return the line.

    Raises `AssertionError` as `waiting`.
    """
    __tracebackhide__ = True
    wanted = " ".join([event, *(f"{name}={value!r}" for name, value in fields.items())])

    def missing() -> str:
        return f"No log line {wanted}{_other_fields(workers, event, fields)}"

    for _ in waiting(workers, missing, timeout_s=timeout_s, needs_worker=True):
        for worker in workers:
            if (line := worker.find(event, fields)) is not None:
                return line
    raise AssertionError  # `waiting` never ends by itself.


def waiting(
    workers: Sequence[Worker], missing: Callable[[], str], *, timeout_s: float, needs_worker: bool = False
) -> Iterator[None]:
    """
    Yield again and again, until the caller has what it waits for.

    Raises `AssertionError` after *timeout_s* seconds, and at once if a worker has ended by itself; with *needs_worker*
    also if no worker runs any more. The text is what *missing* returns, why, and the last lines of each worker.
    """
    __tracebackhide__ = True
    deadline_s = time.monotonic() + timeout_s
    while True:
        # Looked at before the caller looks: a process may end with the line that is waited for.
        why = _why_no_longer(workers, needs_worker=needs_worker)
        if why is None and time.monotonic() > deadline_s:
            why = f"within {timeout_s:g} s"
        yield
        if why is not None:
            raise AssertionError("\n".join([f"{missing()} {why}", *(worker.described() for worker in workers)]))
        time.sleep(POLL_S)


def _other_fields(workers: Sequence[Worker], event: str, fields: Line) -> str:
    """Return which fields the lines of *event* have, if none of them has all that are waited for."""
    lines = [line for worker in workers for line in worker.lines() if line.get("event") == event]
    names = dict.fromkeys(name for line in lines for name in line if name not in NOT_FIELDS)
    unknown = [name for name in fields if name not in names and name not in NOT_FIELDS]
    if not lines or not unknown:
        return ""
    return f" (none of the {len(lines)} of this event has {', '.join(unknown)}; they have {', '.join(names)})"


def _why_no_longer(workers: Sequence[Worker], *, needs_worker: bool) -> str | None:
    if failed := [worker for worker in workers if worker.has_failed()]:
        return f"before {failed[0].name} ended with exit code {failed[0].process.returncode}"
    if needs_worker and all(worker.process.poll() is not None for worker in workers):
        return "before the last worker ended" if workers else "because no worker was started: start_worker(...)"
    return None


def _fields(text: str | bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
