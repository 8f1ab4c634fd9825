"""
Watches the event loop, and logs the code that blocks it.

While code blocks the loop, no other message is handled, visibility timeouts are not extended (so messages may be
handled twice), and health checks get no answer. No other log line shows that, or names the code.
"""

import asyncio
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import PurePath
from types import FrameType

import structlog

log = structlog.get_logger(__name__)

# Enough to see who called a library that blocks: an HTTP client has about eight functions on the stack.
MAX_CALLERS = 12
LATE = "visibility extensions, polls and health checks"
_STANDARD_LIBRARY = tuple(PurePath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_INSTALLED = {"site-packages", "dist-packages"}  # Folders that may be inside the standard library's.


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchTimings:
    """The times of the watch, in seconds. A block longer than the first three together is always noticed."""

    interval_s: float = 0.5  # Between two calls to the loop. Two short calls a second cost nothing.
    blocked_after_s: float = 1.0
    # After the process was stopped or got no CPU time, its loop gets this long to answer before it counts as blocked.
    grace_s: float = 0.2
    # If the loop is still blocked after this time, that is logged at once: the block may never end.
    report_after_s: float = 10.0
    log_every_s: float = 60.0


DEFAULT_WATCH_TIMINGS = WatchTimings()


@dataclass(frozen=True, slots=True)
class CodePlace:
    """A line of code on a stack. Its text is `function (file:line)`."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.file}:{self.line})"


@contextmanager
def loop_watch(
    count_blocked_s: Callable[[float], object], timings: WatchTimings = DEFAULT_WATCH_TIMINGS
) -> Iterator[None]:
    """
    Watch the running event loop during the `with` block.

    Logs `event_loop.blocked`, at most once per `log_every_s`. Each time the loop is free again, calls *count_blocked_s*
    from another thread with the seconds for which the loop was blocked.
    """
    watch = _Watch(asyncio.get_running_loop(), threading.get_ident(), count_blocked_s, timings)
    # In the caller's context, so that the log lines name worker and queue.
    thread = threading.Thread(target=copy_context().run, args=(watch.run,), name="loop-watch", daemon=True)
    with suppress(RuntimeError):  # The system cannot start another thread: run without the watch.
        thread.start()
    try:
        yield
    finally:
        watch.stop()


class _Watch:
    """Calls the loop from a thread, and looks at the loop's stack if there is no answer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread_id: int,
        count_blocked_s: Callable[[float], object],
        timings: WatchTimings,
    ) -> None:
        self._loop = loop
        self._thread_id = thread_id
        self._count_blocked_s = count_blocked_s
        self._timings = timings
        self._stopped = threading.Event()
        self._logged_at_s: float | None = None
        self._times = 0  # How often the loop was blocked since the last log line.

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        try:
            while not self._stopped.wait(self._timings.interval_s):
                self._check()
        except Exception:
            if not self._stopped.is_set():  # After a stop, the loop is closed: not a failure.
                with suppress(Exception):
                    log.exception("event_loop.watch_failed")

    def _check(self) -> None:
        """Call the loop once, and report it if it is blocked. Returns when it is free again."""
        called_s = time.monotonic()
        answered = threading.Event()
        self._loop.call_soon_threadsafe(answered.set)
        if answered.wait(self._timings.blocked_after_s) or answered.wait(self._timings.grace_s):
            return
        task = asyncio.current_task(self._loop)
        code = running_code(sys._current_frames().get(self._thread_id))  # noqa: SLF001 - the documented way.
        if not code or self._stopped.is_set():
            return
        free = answered.wait(self._timings.report_after_s)
        self._report(code, task.get_name() if task else None, time.monotonic() - called_s, free=free)
        while not free and not self._stopped.is_set():
            free = answered.wait(self._timings.interval_s)
        self._count_blocked_s(time.monotonic() - called_s)

    def _report(self, code: list[CodePlace], task: str | None, blocked_s: float, *, free: bool) -> None:
        self._times += 1
        now_s = time.monotonic()
        if self._logged_at_s is not None and now_s - self._logged_at_s < self._timings.log_every_s:
            return
        innermost, *callers = code
        log.warning(
            "event_loop.blocked",
            duration_ms=round(blocked_s * 1000),
            still_blocked=not free,
            function=innermost.function,
            file=innermost.file,
            line=innermost.line,
            callers=[str(caller) for caller in callers[:MAX_CALLERS]],
            task=task,
            times=self._times,
            late=LATE,
        )
        self._logged_at_s, self._times = now_s, 0


def running_code(frame: FrameType | None) -> list[CodePlace]:
    """
    Return the stack of what the event loop is running, innermost first, without frames of the standard library.

    If all frames are of the standard library, all are returned. If the loop runs nothing, because it waits, the result
    is empty. *frame* is the innermost frame of the loop's thread.
    """
    everything, ours = list[CodePlace](), list[CodePlace]()
    while frame is not None:
        code = frame.f_code
        if code is asyncio.Handle._run.__code__:  # noqa: SLF001 - below it is only the loop itself.
            return ours or everything
        place = CodePlace(code.co_qualname, code.co_filename, frame.f_lineno)
        everything.append(place)
        if not is_standard_library(code.co_filename):
            ours.append(place)
        frame = frame.f_back
    return []


def is_standard_library(file: str) -> bool:
    """Return whether *file*, the file name of a code object, belongs to Python's standard library."""
    if file.startswith("<frozen "):
        return True
    path = PurePath(file)
    return any(map(path.is_relative_to, _STANDARD_LIBRARY)) and not _INSTALLED.intersection(path.parts)
