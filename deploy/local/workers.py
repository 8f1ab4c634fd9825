"""Runs both workers of the Procfile under the supervisor, and reads their output line by line."""

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

from honcho.environ import parse_procfile

from deploy.errors import DeployError
from deploy.local import supervisor
from deploy.local.aws import ROOT
from deploy.local.console import NAME, TOKEN, Console
from deploy.local.log_lines import LogLine
from deploy.local.ports import reserved_ports
from workers.errors import FatalError
from workers.escalation.rules.reader import EscalationRules
from workers.settings import Settings
from workers.task_protection import agent_uri
from workers.testing import children
from workers.testing.sdk import HOST

PROCFILE = ROOT / "Procfile"
STOP_S = supervisor.STOP_S + supervisor.LAST_LINES_S
# A developer does not wait long for a stop. The supervisor kills a process that has not stopped within `STOP_S`.
TIMINGS = {"WORKER_WAIT_S": "1", "WORKER_DRAIN_S": "2"}
RETENTION, RETENTION_PARAMETER = "ORDER_RETENTION_DAYS", "OrderRetentionDays"
KEPT_LINES = 10_000
LAST_LINES = 10
HEALTH_PORT, HEALTH_URLS = "WORKER_HEALTH_PORT", "WORKER_HEALTH_URLS"
_FOLLOW_S = 0.05


@dataclass(frozen=True, slots=True)
class Workers:
    """
    Both worker processes. `lines` holds the last `KEPT_LINES` lines that were read from them.

    `health_urls` has the address of each process's health checks, by its name in the Procfile.
    """

    on_line: Callable[[LogLine], None]
    health_urls: Mapping[str, str] = field(default_factory=dict)
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
        last = [str(line.fields.get("detail", line.text)) for line in list(self.lines)[-LAST_LINES:]]
        return "\n".join(dict.fromkeys(reasons) or last)

    def failures(self) -> list[str]:
        """Return a line for each process that ended by itself, or not as it should."""
        return [_end(line) for line in self.lines if line.event == "process.ended" and line.fields["level"] != "info"]


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
    return {RETENTION_PARAMETER: str(_read(environment, RETENTION).order_retention_days or "")}


def _read(environment: Mapping[str, str], variable: str) -> Settings:
    """Return the settings with only this variable. Raises `DeployError` if it is wrong."""
    try:
        return Settings.read({name: value for name, value in environment.items() if name == variable})
    except FatalError as error:
        raise DeployError(str(error)) from error


def _given(environment: Mapping[str, str]) -> dict[str, str]:
    return {**environment, **TIMINGS, "LOG_FORMAT": "json", "WORKER_HEALTH_HOST": HOST}


def _end(line: LogLine) -> str:
    code, signal = line.fields.get("exit_code"), line.fields.get("signal")
    return f"{line.fields.get('worker')} ended with {signal or f'exit code {code}'}"


@contextlib.contextmanager
def local_workers(
    environment: Mapping[str, str],
    log_path: Path,
    on_line: Callable[[LogLine], None] = lambda _: None,
    *,
    restart: bool = False,
    note: Callable[[str], None] = lambda _: None,
    console: Console | None = None,
) -> Iterator[Workers]:
    """
    Run the Procfile for the length of the block; the workers' output is appended to `log_path`, as JSON lines only.

    `on_line` is called with each line as it is read. With `restart`, a worker that ends is started again, unless it
    could not start at all; without it, all end with the first. At the end of the block the workers are stopped, which
    `note` is told, and the rest of their output is read. An interrupt meanwhile kills them at once. `console` runs
    beside them, and is started again whenever it ends.

    Raises `DeployError` if `WORKER_HEALTH_PORT` is wrong or too high: each process gets a port of its own.
    """
    names = list(parse_procfile(PROCFILE.read_text(encoding="utf-8")).processes)
    first = _read(environment, HEALTH_PORT).health_port
    with (
        reserved_ports(names, first) as ports,
        tempfile.TemporaryDirectory(prefix="local-workers-") as directory,
        log_path.open("ab") as output,
        log_path.open("rb") as written,
    ):
        if not _ends_with_a_line(written):
            output.write(b"\n")
            output.flush()
        written.seek(0, os.SEEK_END)  # The lines of earlier runs stay in the file and are not read again.
        health_urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        optional = ["--optional", f"{NAME}={console.command(health_urls, log_path.resolve())}"] if console else []
        secret = {TOKEN: console.token} if console else {}
        process = children.start(
            Path(sys.executable),
            supervisor.__name__,
            [*_arguments(ports, restart=restart), *optional],
            environment=_supervisor_environment(environment) | secret,
            # A file, not a pipe: if this process is killed, the supervisor goes on until it has stopped the workers.
            output=output,
            directory=Path(directory),
            working_directory=ROOT,
        )
        workers = Workers(on_line, health_urls)
        reader = threading.Thread(target=_follow, args=(written, process, workers), name="worker-logs")
        reader.start()
        try:
            yield workers
        finally:
            try:
                _stop(process, workers, note)
            finally:
                children.stop(process, 0)  # What still runs is killed.
                reader.join()
                while workers.read() is not None:
                    pass


def _ends_with_a_line(written: BinaryIO) -> bool:
    """Return whether the file is empty or ends with a whole line. A run that was killed may have left half of one."""
    if written.seek(0, os.SEEK_END) == 0:
        return True
    written.seek(-1, os.SEEK_END)
    return written.read() == b"\n"


def _arguments(ports: Mapping[str, int], *, restart: bool) -> list[str]:
    health = [argument for name, port in ports.items() for argument in ("--health-port", f"{name}={port}")]
    return ["--procfile", str(PROCFILE), *health, *(["--restart"] if restart else [])]


def _supervisor_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` for the supervisor, with this interpreter first on the path, and this project's modules."""
    path = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    modules = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    return {**_given(environment), "PATH": path, "PYTHONPATH": modules, "PYTHONUNBUFFERED": "1"}


def _stop(process: subprocess.Popen[bytes], workers: Workers, note: Callable[[str], None]) -> None:
    """Ask the workers to stop, and read their lines until they have, for `STOP_S` at most."""
    if process.poll() is not None:
        return
    process.terminate()
    note(f"Stopping both workers, for at most {STOP_S:.0f} s; Ctrl-C ends them at once")
    deadline_s = time.monotonic() + STOP_S
    with contextlib.suppress(TimeoutError):
        while workers.read(max(0, deadline_s - time.monotonic())) is not None:
            pass


def _follow(written: BinaryIO, process: subprocess.Popen[bytes], workers: Workers) -> None:
    """Pass on every line of the growing file until the process that writes it has ended."""
    begun = b""
    while True:
        if os.fstat(written.fileno()).st_size < written.tell():  # A person has emptied the file.
            written.seek(0)
            begun = b""
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
