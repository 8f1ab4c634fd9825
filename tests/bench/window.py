"""The period in which a consumer is measured."""

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Event(StrEnum):
    """What a window may wait for."""

    DELETE = "delete"
    RECEIVE = "receive"
    SEND = "send"


@dataclass(slots=True)
class Window:
    """
    The measured period.

    It opens `settle_s` after `opens_after` events of the kind `opens_on`. It closes `seconds` later, or with the last
    of `expected` deletes. After that, the requests of the next `quiet_s` are counted separately.
    """

    opens_on: Event
    pids: tuple[int, ...]
    seconds: float | None = None
    expected: int | None = None
    opens_after: int = 1
    settle_s: float = 0.0
    quiet_s: float = 0.0
    result: dict[str, Any] | None = None
    _requests: Counter[str] = field(default_factory=Counter)
    _quiet_requests: Counter[str] = field(default_factory=Counter)
    _deleted: int = 0
    _unsettled: int = 0
    _acknowledged_after_s: list[float] = field(default_factory=list)
    _events: int = 0
    _opened_at_ns: int | None = None
    _closed: dict[str, Any] | None = None
    _client_cpu_s: float = 0.0
    _own_cpu_s: float = 0.0

    def note(self, event: Event) -> None:
        """Begin, if enough events show that the consumer has begun to work."""
        if event is not self.opens_on:
            return
        self._events += 1
        if self._events == self.opens_after:
            if self.settle_s:
                asyncio.get_running_loop().call_later(self.settle_s, self._open)
            else:
                self._open()

    def count_request(self, action: str) -> None:
        if self._is_open:
            self._requests[action] += 1
        elif self._closed is not None and self.result is None:
            self._quiet_requests[action] += 1

    def count_delete(self, acknowledged_after_s: float, *, settled: bool) -> None:
        """Count a message that was deleted so long after its receive, before or after its order was *settled*."""
        if not self._is_open:
            return
        self._deleted += 1
        self._unsettled += not settled
        self._acknowledged_after_s.append(acknowledged_after_s)
        if self._deleted == self.expected:
            self._close()

    @property
    def _is_open(self) -> bool:
        return self._opened_at_ns is not None and self._closed is None

    def _open(self) -> None:
        self._opened_at_ns = time.monotonic_ns()
        self._client_cpu_s, self._own_cpu_s = _cpu_s(self.pids), time.process_time()
        if self.seconds is not None:
            asyncio.get_running_loop().call_later(self.seconds, self._close)

    def _close(self) -> None:
        assert self._opened_at_ns is not None
        self._closed = {
            "opened_at_ns": self._opened_at_ns,
            "seconds": (time.monotonic_ns() - self._opened_at_ns) / 1e9,
            "client_cpu_s": _cpu_s(self.pids) - self._client_cpu_s,
            "stub_cpu_s": time.process_time() - self._own_cpu_s,
        }
        if self.quiet_s:
            asyncio.get_running_loop().call_later(self.quiet_s, self._end)
        else:
            self._end()

    def _end(self) -> None:
        assert self._closed is not None
        self.result = self._closed | {
            "deleted": self._deleted,
            "unsettled": self._unsettled,
            "requests": dict(self._requests),
            "quiet_requests": dict(self._quiet_requests),
            "acknowledged_p99_ms": _p99_ms(self._acknowledged_after_s),
        }


def _p99_ms(durations_s: Sequence[float]) -> float:
    if len(durations_s) < 2:
        return 0.0
    return 1000 * statistics.quantiles(durations_s, n=100, method="inclusive")[98]


def _cpu_s(pids: tuple[int, ...]) -> float:
    """Return the user and system time of these processes so far, including all their threads."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except FileNotFoundError:
            continue  # The process ended; the harness notices.
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S
