"""Runs both workers of the Procfile with honcho, for a local AWS, and reads their output line by line."""

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

from deploy.errors import DeployError
from deploy.local import children
from deploy.local.aws import ROOT
from deploy.local.log_lines import LogLine
from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules
from workers.settings import Settings
from workers.task_protection import agent_uri

HONCHO_STOP_S = 10.0
# honcho kills a process that has not stopped within 5 s. So the workers must stop sooner.
TIMINGS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "2"}
RETENTION, RETENTION_PARAMETER = "ORDER_RETENTION_DAYS", "OrderRetentionDays"
KEPT_LINES = 10_000
LAST_LINES = 10
_FOLLOW_S = 0.05


@dataclass(frozen=True, slots=True)
class Workers:
    """Both worker processes. `lines` holds the last `KEPT_LINES` lines that were read from them."""

    on_line: Callable[[LogLine], None]
    lines: deque[LogLine] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))
    _incoming: "queue.Queue[LogLine | None]" = field(default_factory=queue.Queue)

    def add(self, line: LogLine | None) -> None:
        """Add the next line, or `None` when the output has ended."""
        self._incoming.put(line)

    def read(self, timeout_s: float | None = None) -> LogLine | None:
        """
        Return the next line and keep it in `lines`, or return `None` if the workers have ended.

        Raises `TimeoutError` if no line came within `timeout_s`.
        """
        try:
            line = self._incoming.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            self._incoming.put(None)  # So that the next read returns None too.
        else:
            self.lines.append(line)
            self.on_line(line)
        return line

    def reason(self) -> str:
        """Return why the workers ended, in their own words; without any, their last lines."""
        reasons = [
            f"{line.fields.get('worker')}: {line.fields.get('reason') or line.fields.get('exception')}"
            for line in self.lines
            if line.event == "worker.failed"
        ]
        return "\n".join(dict.fromkeys(reasons) or [line.text for line in list(self.lines)[-LAST_LINES:]])

    def failures(self) -> list[str]:
        """Return honcho's lines about processes that ended with an exit code other than 0."""
        return [line.text for line in self.lines if " stopped (rc=" in line.text and not line.text.endswith("(rc=0)")]


def check_settings(environment: Mapping[str, str]) -> None:
    """
    Check the workers' settings, before anything is started.

    Raises:
        DeployError: A setting is wrong; the workers would end for the same reason.
    """
    ours = {"ORDER_TABLE", "ESCALATION_TABLE", "ORDER_FULFILLMENT_QUEUE", "ESCALATION_QUEUE"}
    given = {name: value for name, value in _given(environment).items() if name not in ours}
    try:
        settings = Settings.read(given)
        EscalationRules.read(settings.escalation_rules, given)
        agent_uri(settings, given)
    except FatalError as error:
        raise DeployError(str(error)) from error


def retention(environment: Mapping[str, str]) -> dict[str, str]:
    """
    Return the stack's parameter that is the workers' `ORDER_RETENTION_DAYS`: `orders` reads it from the stack.

    Raises:
        DeployError: The setting is wrong.
    """
    try:
        settings = Settings.read({name: environment[name] for name in (RETENTION,) if name in environment})
    except FatalError as error:
        raise DeployError(str(error)) from error
    return {RETENTION_PARAMETER: str(settings.order_retention_days or "")}


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, **TIMINGS, "LOG_FORMAT": "json"}


@contextlib.contextmanager
def local_workers(
    environment: Mapping[str, str], log_path: Path, on_line: Callable[[LogLine], None] = lambda _: None
) -> Iterator[Workers]:
    """
    Run the Procfile for the length of the block; the workers' output is appended to `log_path`.

    `on_line` is called with each line as it is read. At the end the workers are stopped (SIGTERM, then their drain
    time), and the rest of their output is read.
    """
    bin_directory = str(Path(sys.executable).parent)
    path = os.pathsep.join([bin_directory, environment.get("PATH", os.defpath)])
    workers = Workers(on_line)
    with (
        tempfile.TemporaryDirectory(prefix="local-workers-") as directory,
        log_path.open("ab") as output,
        log_path.open("rb") as written,
    ):
        written.seek(0, os.SEEK_END)  # The lines of earlier runs stay in the file and are not read again.
        process = children.start(
            Path(sys.executable),
            "honcho",
            # Without a .env file: it could bring the caller's own AWS settings back.
            ["start", "--procfile", str(ROOT / "Procfile"), "--env", os.devnull, "--no-prefix", "--no-colour"],
            environment={**_given(environment), "PATH": path, "PYTHONUNBUFFERED": "1"},
            # A file, not a pipe: if this process is killed, honcho would fail on the pipe before it stops the workers.
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
    """Pass on every line of the growing file until the process that writes it has ended."""
    begun = b""
    while True:
        ended = process.poll() is not None  # Check this before reading: the last lines may come just before the end.
        for raw in written:
            begun += raw
            if begun.endswith(b"\n"):
                workers.add(LogLine.parse(begun.decode("utf-8", "replace").rstrip("\n")))
                begun = b""
        if ended:
            break
        time.sleep(_FOLLOW_S)
    workers.add(None)
