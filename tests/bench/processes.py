"""Starts the stub and the consumers."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.local.aws import ROOT
from workers.testing import children, sdk

if TYPE_CHECKING:
    from subprocess import Popen

    Process = Popen[bytes]

STOP_TIMEOUT_S = 30.0


class BenchError(Exception):
    """A useless measurement: the consumer ended, or did not do its work."""


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start, and how long it may take to stop before it is killed."""

    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    stop_s: float = STOP_TIMEOUT_S

    @contextmanager
    def running(self) -> Iterator["Process"]:
        with self.log.open("ab") as output:
            process = children.start(
                Path(sys.executable),
                self.module,
                self.arguments,
                environment=self.environment,
                output=output,
                directory=self.log.parent,
                working_directory=ROOT,
            )
        try:
            yield process
        finally:
            children.stop(process, self.stop_s)


def environment() -> dict[str, str]:
    """Return the caller's environment without settings of AWS and of ours: the benchmark measures the defaults."""
    settings = ("AWS_", "WORKER_", "LOG_", "ORDER_", "ESCALATION_", "FULFILLMENT_", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    return kept | {"PYTHONPATH": str(ROOT), "NO_PROXY": sdk.HOST, "no_proxy": sdk.HOST}


def peak_memory_mb(pid: int) -> float:
    """Return the largest resident memory of a process so far, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise BenchError(f"process {pid} ended")


def tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-2000:]
