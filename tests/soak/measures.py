"""What is measured of each worker process, and whether it stays flat."""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.soak.plan import Plan

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """One process at one moment. `cpu_s` and `ended` count from its start."""

    at_s: float
    memory_mb: float  # Resident, in MB (10^6 bytes).
    descriptors: int
    tasks: int | None  # Of the event loop; None if the process did not answer.
    cpu_s: float
    ended: int  # Messages.


def sample(pid: int, at_s: float, tasks: int | None, ended: int) -> Sample | None:
    """Return a sample of a process, None if it has ended."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text(encoding="ascii").split()[1])
        fields = (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        descriptors = len(list((process / "fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return Sample(at_s, pages * _PAGE_BYTES / 1e6, descriptors, tasks, cpu_s, ended)


def _memory_mb(samples: Sequence[Sample]) -> float | None:
    return statistics.median(one.memory_mb for one in samples) if samples else None


def _descriptors(samples: Sequence[Sample]) -> float | None:
    return _quiet([one.descriptors for one in samples])


def _tasks(samples: Sequence[Sample]) -> float | None:
    return _quiet([one.tasks for one in samples if one.tasks is not None])


def _quiet(counts: Sequence[int]) -> float | None:
    """Return the lower quartile. Bursts and resets do not change it; what leaks lifts it."""
    return statistics.quantiles(counts, n=4, method="inclusive")[0] if len(counts) > 1 else None


def cpu_ms_per_message(samples: Sequence[Sample]) -> float | None:
    """Return the CPU time that a message took between the first and the last sample."""
    ended = samples[-1].ended - samples[0].ended if samples else 0
    return 1000 * (samples[-1].cpu_s - samples[0].cpu_s) / ended if ended else None


@dataclass(frozen=True, slots=True)
class Measure:
    """
    What is measured. It is flat if it has not grown by more than a share of the first figure, or by more than `slack`.

    The larger one counts: a worker with twenty descriptors may have a few more.
    """

    title: str
    unit: str
    figure: Callable[[Sequence[Sample]], float | None]
    share: float
    slack: float

    def allowed(self, first: float) -> float:
        return first + max(self.share * first, self.slack)


# A worker's buffers grow a little with the worst moment so far, and a connection that was needed in a burst stays open
# for a while. CPU time also depends on who else uses the machine.
MEASURES = (
    Measure("resident memory", "MB", _memory_mb, 0.05, 4),
    Measure("open descriptors", "", _descriptors, 0.25, 15),
    Measure("asyncio tasks", "", _tasks, 0.10, 8),
    Measure("CPU time per message", "ms", cpu_ms_per_message, 0.30, 0.2),
)


@dataclass(frozen=True, slots=True)
class Flatness:
    """One measure of one process: over the first whole day after the warm-up, and over the last day."""

    worker: str
    measure: Measure
    first: float | None
    last: float | None

    @property
    def is_flat(self) -> bool | None:
        """None if it cannot be told."""
        if self.first is None or self.last is None:
            return None
        return self.last <= self.measure.allowed(self.first)


def flatness(worker: str, samples: Sequence[Sample], plan: Plan) -> list[Flatness]:
    """Compare two days of a process that lived for the whole run."""
    first = [one for one in samples if plan.warm_up_s <= one.at_s <= plan.warm_up_s + plan.day_s]
    last = [one for one in samples if plan.duration_s - plan.day_s <= one.at_s <= plan.duration_s]
    return [Flatness(worker, measure, measure.figure(first), measure.figure(last)) for measure in MEASURES]
