"""The workers of the Procfile, run by honcho beside a local AWS; what they log, line by line."""

import contextlib
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from deploy.local import children
from deploy.local.aws import ROOT
from deploy.local.log_lines import LogLine

# honcho kills what has not stopped 5 s after it was asked to: the workers' own patience must be shorter.
HONCHO_STOP_S = 10.0
KEPT_LINES = 10_000
_FOLLOW_S = 0.05
TIMINGS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "2"}


@dataclass(frozen=True, slots=True)
class Workers:
    """Both worker processes. `lines` is what was read from them so far, the newest `KEPT_LINES` of it."""

    on_line: Callable[[LogLine], None]
    lines: deque[LogLine] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _incoming: "queue.Queue[LogLine | None]" = field(default_factory=queue.Queue)

    def add(self, line: LogLine | None) -> None:
        """Take the next line, or `None` for the end."""
        self._incoming.put(line)

    def read(self, timeout_s: float | None = None) -> LogLine | None:
        """
        Return the next line, kept in `lines` too; `None` where the workers have ended.

        Raises `TimeoutError` where none came for `timeout_s`.
        """
        try:
            line = self._incoming.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            self._incoming.put(None)  # The end stays the end for whoever asks next.
        else:
            self.lines.append(line)
            self.on_line(line)
        return line

    def failures(self) -> list[str]:
        """Return what honcho says of processes that did not end with exit code 0."""
        return [line.text for line in self.lines if " stopped (rc=" in line.text and not line.text.endswith("(rc=0)")]


@contextlib.contextmanager
def local_workers(
    environment: Mapping[str, str], log_path: Path, on_line: Callable[[LogLine], None] = lambda _: None
) -> Iterator[Workers]:
    """
    Run the Procfile for the length of the block; everything the workers write is added to `log_path` too.

    `on_line` is called with each line as it is read. At the end the workers are stopped (SIGTERM, their drain time) and
    what they wrote until then is read.
    """
    bin_directory = str(Path(sys.executable).parent)
    path = os.pathsep.join([bin_directory, environment.get("PATH", os.defpath)])
    workers = Workers(on_line)
    with (
        tempfile.TemporaryDirectory(prefix="local-workers-") as directory,
        log_path.open("ab") as output,
        log_path.open("rb") as written,
    ):
        written.seek(0, os.SEEK_END)  # What an earlier run wrote is kept, and not told again.
        process = children.start(
            Path(sys.executable),
            "honcho",
            # No .env: whatever it sets would get past the isolation from the caller's own AWS settings.
            ["start", "--procfile", str(ROOT / "Procfile"), "--env", os.devnull, "--no-prefix", "--no-colour"],
            environment={**environment, **TIMINGS, "LOG_FORMAT": "json", "PATH": path, "PYTHONUNBUFFERED": "1"},
            # A file and no pipe to us: where we are killed, honcho would break on it before it has stopped the workers.
            output=output,
            directory=Path(directory),
            working_directory=ROOT,
        )
        reader = threading.Thread(target=_follow, args=(written, process, workers), name="worker-logs")
        reader.start()
        try:
            yield workers
        finally:
            children.stop(process, HONCHO_STOP_S)
            reader.join()
            while workers.read() is not None:
                pass


def _follow(written: BinaryIO, process: subprocess.Popen[bytes], workers: Workers) -> None:
    """Pass on every line of the file as it grows, until the process that writes it has ended."""
    begun = b""
    while True:
        ended = process.poll() is not None  # Before the look: the last line may come with the end.
        for raw in written:
            begun += raw
            if begun.endswith(b"\n"):
                workers.add(LogLine.parse(begun.decode("utf-8", "replace").rstrip("\n")))
                begun = b""
        if ended:
            break
        time.sleep(_FOLLOW_S)
    workers.add(None)
