"""The worker processes of a run: two for each queue, of which one stays and one is deployed again and again."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from deploy.local.aws import ROOT
from tests.bench.processes import environment
from tests.soak.endings import Endings
from tests.soak.endpoint import CHANNEL, PROVIDER
from tests.soak.ledger import Problems, Promise
from tests.soak.measures import Sample, sample
from tests.support import free_port
from workers.testing import children, sdk

if TYPE_CHECKING:
    from subprocess import Popen

    from tests.soak.plan import Plan

KINDS = ("fulfillment", "escalation")
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 90.0
METRICS_TIMEOUT_S = 5.0
MAX_LINE_BYTES = 1 << 20
LAST_LINES = 30
RULES = """\
[[rules]]
severity = "warning"
channels = ["soak"]

[channels.soak]
type = "webhook"
url_env = "SOAK_CHANNEL"
"""
MAY_HAVE_EXCEPTION = {"order.attempts_exhausted"}  # The provider's last failure.
_ENDINGS = {"message.acknowledged", "message.released", "message.dead_lettered", "message.abandoned"}
_TASKS = re.compile(rb"^workers_tasks (\S+)$", re.MULTILINE)


@dataclass(eq=False)
class Process:
    """One worker process. Its name is also its access key id."""

    name: str
    kind: str
    stays: bool
    port: int
    popen: "Popen[bytes]"
    endings: Endings
    started: asyncio.Event = field(default_factory=asyncio.Event)
    output_ended: asyncio.Event = field(default_factory=asyncio.Event)
    is_stopping: bool = False
    is_killed: bool = False
    samples: list[Sample] = field(default_factory=list)
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))


class Fleet:
    """Starts, deploys, watches and stops the workers. What they do wrong goes to *problems*."""

    def __init__(self, plan: "Plan", problems: Problems, directory: Path) -> None:
        self.events: Counter[str] = Counter()
        self.processes: list[Process] = []
        self.deploys = self.kills = 0
        self._plan = plan
        self._problems = problems
        self._directory = directory
        self._endpoint = ""
        self._numbers: Counter[str] = Counter()
        self._readers: set[asyncio.Task[None]] = set()
        self._rules = directory / "rules.toml"

    @property
    def running(self) -> Sequence[Process]:
        return [process for process in self.processes if process.popen.poll() is None and not process.is_stopping]

    async def start(self, endpoint: str) -> None:
        """Start two workers for each queue."""
        self._endpoint = endpoint
        self._rules.write_text(RULES, encoding="utf-8")
        await asyncio.gather(*(self._start(kind, stays=stays) for kind in KINDS for stays in (True, False)))

    def delivered(self, worker: str, message_id: str, receive_count: int) -> None:
        """Record that a worker was sent a message."""
        for process in reversed(self.processes):
            if process.name == worker:
                process.endings.delivered(message_id, receive_count)
                return

    async def deploy(self, *, kill: bool) -> None:
        """Replace one worker of each queue: first the new one starts, then the old one stops or is killed."""
        await asyncio.gather(*(self._replace(kind, kill=kill) for kind in KINDS))
        self.deploys += 1

    async def _replace(self, kind: str, *, kill: bool) -> None:
        old = [process for process in self.running if process.kind == kind and not process.stays]
        await self._start(kind, stays=False)
        for process in old:
            await self._stop(process, kill=kill)

    async def measure(self, at_s: float) -> None:
        """Take a sample of each running process."""
        running = [process for process in self.running if process.started.is_set()]
        tasks = await asyncio.gather(*(_tasks(process.port) for process in running))
        for process, count in zip(running, tasks, strict=True):
            if (taken := sample(process.popen.pid, at_s, count, process.endings.count)) is not None:
                process.samples.append(taken)

    async def stop(self) -> None:
        """Stop all workers, and check that they have."""
        await asyncio.gather(*(self._stop(process, kill=False) for process in self.running))

    def kill(self) -> None:
        """End every process at once."""
        for process in self.processes:
            process.is_stopping = process.is_killed = True
            children.stop(process.popen, 0)

    async def _start(self, kind: str, *, stays: bool) -> None:
        self._numbers[kind] += 1
        name = f"{kind}-{self._numbers[kind]}"
        port = free_port()
        read, write = os.pipe()
        try:
            popen = children.start(
                Path(sys.executable),
                "workers",
                [kind],
                environment=self._environment(name, port),
                output=write,
                directory=self._directory,
                working_directory=ROOT,
            )
        finally:
            os.close(write)
        process = Process(name, kind, stays, port, popen, Endings(name, self._problems))
        self.processes.append(process)
        reader = asyncio.create_task(self._read(process, read), name=name)
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        started, ended = (
            asyncio.ensure_future(process.started.wait()),
            asyncio.ensure_future(process.output_ended.wait()),
        )
        try:
            await asyncio.wait((started, ended), timeout=START_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            started.cancel()
            ended.cancel()
        if not process.started.is_set() and not process.is_stopping:
            self._problems.add(Promise.WORKERS, f"{name} does not start: {''.join(process.last_lines)[-1000:]}")

    def _environment(self, name: str, port: int) -> Mapping[str, str]:
        return {
            **environment(),
            **sdk.exports(self._endpoint),
            "AWS_ACCESS_KEY_ID": name,
            "FULFILLMENT_PROVIDER": "http",
            "FULFILLMENT_URL": f"{self._endpoint}{PROVIDER}",
            "ESCALATION_RULES": str(self._rules),
            "SOAK_CHANNEL": f"{self._endpoint}{CHANNEL}",
            "WORKER_WAIT_S": str(self._plan.wait_s),
            "WORKER_HEALTH_PORT": str(port),
            "LOG_FORMAT": "json",
        }

    async def _read(self, process: Process, read: int) -> None:
        """Read the output of a process until it ends."""
        stream = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        loop = asyncio.get_running_loop()
        try:
            with os.fdopen(read, "rb") as pipe:
                transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), pipe)
                try:
                    while line := await stream.readline():
                        self._take(process, line.decode(errors="replace"))
                finally:
                    transport.close()
        finally:
            process.output_ended.set()
        if not process.is_stopping:
            self._problems.add(Promise.WORKERS, f"{process.name} ended: {''.join(process.last_lines)[-1000:]}")

    def _take(self, process: Process, text: str) -> None:
        process.last_lines.append(text)
        try:
            line: dict[str, Any] = json.loads(text)
            event = line["event"]
        except (ValueError, KeyError, TypeError):
            if not process.is_killed:  # A killed process may leave half a line.
                self._problems.add(Promise.WORKERS, f"{process.name} printed {text[:300]!r}")
            return
        self.events[event] += 1
        if event in _ENDINGS:
            process.endings.ended(line["message_id"], line["receive_count"])
        elif event == "worker.started":
            process.started.set()
        if event in {"worker.failed", "library.logged"} or ("exception" in line and event not in MAY_HAVE_EXCEPTION):
            self._problems.add(Promise.WORKERS, f"{process.name}: {text[:1000]}")

    async def _stop(self, process: Process, *, kill: bool) -> None:
        process.is_stopping = True
        process.is_killed = kill
        if kill:
            self.kills += 1
            process.popen.send_signal(signal.SIGKILL)
        code = await asyncio.to_thread(children.stop, process.popen, STOP_TIMEOUT_S)
        await process.output_ended.wait()
        if kill:
            return
        if code:
            self._problems.add(Promise.WORKERS, f"{process.name} stopped with {code}")
        process.endings.stopped()


async def _tasks(port: int) -> int | None:
    """Return how many tasks a worker has."""
    with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
        timeout = aiohttp.ClientTimeout(total=METRICS_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session,
            session.get(f"http://{sdk.HOST}:{port}/metrics") as answer,
        ):
            found = _TASKS.search(await answer.read())
            return None if found is None else round(float(found[1]))
    return None
