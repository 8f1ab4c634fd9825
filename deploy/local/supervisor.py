"""
Runs the processes of a Procfile, and starts a process again that has ended.

    python -m deploy.local.supervisor --procfile Procfile --health-port fulfillment=8081 [--restart]
        [--optional "console=exec python -m workers.console"]

Its output is theirs, as JSON lines only: a line that is not JSON, such as a traceback, becomes `process.printed`. Its
own lines have the same form. All processes are in its process group, so that killing the group leaves none behind.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import orjson
import structlog
from honcho.environ import parse_procfile

from workers import logs
from workers.backoff import Backoff

log = structlog.get_logger(__name__)

RESTART = Backoff(base_s=1, cap_s=30)
# A process that has run for this long did start: the next wait is short again.
STEADY_S = 60.0
# How long the processes may take to stop. Locally a worker needs three seconds, and three more for a last flush.
STOP_S = 12.0
LAST_LINES_S = 2.0  # For the output of a process that has ended; one of its own children may keep the pipe open.
READ_BYTES = 65_536
MAX_LINE_BYTES = 1_000_000
MAX_PRINTED_CHARS = 4_000
_STARTED, _FAILED = "worker.started", "worker.failed"
NOT_FOR_WORKERS = {"CONSOLE_TOKEN"}


@dataclass(frozen=True, slots=True)
class Program:
    """
    A line of the Procfile, and the port for the process's health checks; or an optional program, which has none.

    However an optional program ends, the others go on, and it is started again.
    """

    name: str
    command: str
    health_port: int | None = None

    @property
    def is_optional(self) -> bool:
        return self.health_port is None

    @property
    def health_url(self) -> str | None:
        return None if self.health_port is None else f"http://127.0.0.1:{self.health_port}"


class Process(Protocol):
    """A running process; `wait` returns its exit code, negative if a signal ended it."""

    @property
    def pid(self) -> int: ...

    def wait(self) -> Coroutine[Any, Any, int]: ...

    def send_signal(self, signal: int) -> None: ...


Start = Callable[[Program], Coroutine[Any, Any, tuple[Process, asyncio.StreamReader]]]


class _Run:
    """What is known about one run of a program: whether it got ready, and why it failed, in its own words."""

    def __init__(self) -> None:
        self.ready = False
        self.reason: str | None = None

    def see(self, fields: Mapping[str, Any]) -> None:
        if fields.get("event") == _STARTED:
            self.ready = True
        elif fields.get("event") == _FAILED:
            self.reason = str(fields.get("reason") or "an internal error")


@dataclass(slots=True)
class Supervisor:
    """
    Keeps each of `programs` running until `stop` is called. Writes their lines with `write`.

    With `restart`, a process that ends is started again after a wait that doubles up to 30 s, for ever. But if it never
    got ready and ends by itself, it would fail again: then, and always without `restart`, all processes are stopped.
    """

    programs: Sequence[Program]
    start: Start
    restart: bool
    write: Callable[[bytes], object]
    _running: dict[str, Process] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _failed: bool = False

    async def run(self) -> int:
        """Run until stopped; return the exit code: 0 after `stop`, 1 if a process has ended all."""
        async with asyncio.TaskGroup() as group:
            for program in self.programs:
                group.create_task(self._keep_running(program), name=program.name)
        return 1 if self._failed else 0

    def stop(self) -> None:
        """Ask all processes to stop, and kill those that have not after `STOP_S`. Called again: kill them at once."""
        if self._stopping.is_set():
            self._kill()
            return
        self._stopping.set()
        log.info("processes.stopping", processes=list(self._running), at_most_s=STOP_S)
        self._signal(signal.SIGTERM)
        asyncio.get_running_loop().call_later(STOP_S, self._kill)

    def _kill(self) -> None:
        for name in self._running:
            log.error("process.killed", worker=name)
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep_running(self, program: Program) -> None:
        loop = asyncio.get_running_loop()
        failures, proven = 0, False
        while not self._stopping.is_set():
            began_s = loop.time()
            run, code = await self._run(program)
            ran_s = loop.time() - began_s
            proven = proven or run.ready or ran_s >= STEADY_S
            ended = {"worker": program.name, **_how(code), "ran_s": round(ran_s, 1), "reason": run.reason}
            if self._stopping.is_set():
                as_asked = code in (0, -signal.SIGTERM)
                (log.info if as_asked else log.error)("process.ended", **ended)
                return
            if not program.is_optional and (not self.restart or (code > 0 and not proven)):
                log.error("process.ended", **ended)
                self._failed = True
                self.stop()
                return
            failures = 1 if ran_s >= STEADY_S else failures + 1
            wait_s = RESTART.max_wait_s(failures)
            log.warning("process.ended", **ended, restart_s=wait_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_s)

    async def _run(self, program: Program) -> tuple[_Run, int]:
        """Run a program once; return its exit code, negative if a signal ended it."""
        run = _Run()
        try:
            process, output = await self.start(program)
        except OSError as error:  # Too many processes or open files, or too little memory.
            run.reason = f"it cannot be started: {error.strerror}"
            return run, os.EX_OSERR
        self._running[program.name] = process
        log.info("process.started", worker=program.name, pid=process.pid, health_url=program.health_url)
        if self._stopping.is_set():  # Since it was started.
            process.send_signal(signal.SIGTERM)
        relaying = asyncio.create_task(self._relay(program, output, run), name=f"lines of {program.name}")
        try:
            code = await process.wait()
        finally:
            del self._running[program.name]
            await asyncio.wait([relaying], timeout=LAST_LINES_S)
            relaying.cancel()
        return run, code

    async def _relay(self, program: Program, output: asyncio.StreamReader, run: _Run) -> None:
        async for line in lines(output):
            fields = _fields(line)
            if fields is not None:
                self.write(line + b"\n")
                run.see(fields)
            elif text := line.decode("utf-8", "replace").rstrip()[:MAX_PRINTED_CHARS]:
                log.warning("process.printed", worker=program.name, detail=text)


async def lines(stream: asyncio.StreamReader, read_bytes: int = READ_BYTES) -> AsyncIterator[bytes]:
    """Yield each line without its end. A line of more than `MAX_LINE_BYTES` comes in pieces."""
    begun = b""
    while chunk := await stream.read(read_bytes):
        *whole, begun = (begun + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(begun) > MAX_LINE_BYTES:
            yield begun
            begun = b""
    if begun:
        yield begun


def _fields(line: bytes) -> Mapping[str, Any] | None:
    try:
        value = orjson.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _how(code: int) -> dict[str, int | str]:
    """Return how a process ended, as fields of a line."""
    if code >= 0:
        return {"exit_code": code}
    try:
        return {"signal": signal.Signals(-code).name}
    except ValueError:  # A real-time signal has no name.
        return {"signal": str(-code)}


async def start_shell(program: Program) -> tuple[Process, asyncio.StreamReader]:
    """Start a program as a Procfile says: a shell's command, in the directory of the Procfile's project."""
    # Not `stdout=PIPE`: then `wait` could also wait for children of the process that keep the pipe open.
    read_end, write_end = os.pipe()
    try:
        output, reader = os.fdopen(read_end, "rb"), asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), output)
        process = await asyncio.create_subprocess_shell(
            program.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(program),
        )
    finally:
        os.close(write_end)
    return process, reader


def _environment(program: Program) -> dict[str, str]:
    if program.is_optional:
        return dict(os.environ)
    without = {name: value for name, value in os.environ.items() if name not in NOT_FOR_WORKERS}
    return {**without, "WORKER_HEALTH_PORT": str(program.health_port)}


def programs(procfile: Path, health_ports: Mapping[str, int]) -> list[Program]:
    """Return the lines of a Procfile, each with its port."""
    commands = parse_procfile(procfile.read_text(encoding="utf-8")).processes
    return [Program(name, command, health_ports[name]) for name, command in commands.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the Procfile until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.supervisor")
    parser.add_argument("--procfile", type=Path, required=True)
    parser.add_argument("--health-port", action="append", default=[], metavar="NAME=PORT")
    parser.add_argument("--optional", action="append", default=[], metavar="NAME=COMMAND", help="never ends the others")
    parser.add_argument("--restart", action="store_true", help="start a process again that has ended")
    options = parser.parse_args(arguments)
    ports = {name: int(port) for name, _, port in (given.partition("=") for given in options.health_port)}
    optional = [Program(name, command) for name, _, command in (given.partition("=") for given in options.optional)]
    output = logs.configure(level="INFO", as_json=True)
    try:
        return asyncio.run(_supervise([*programs(options.procfile, ports), *optional], restart=options.restart))
    finally:
        output.flush()


async def _supervise(found: Sequence[Program], *, restart: bool) -> int:
    supervisor = Supervisor(found, start_shell, restart, _write)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
    return await supervisor.run()


def _write(line: bytes) -> None:
    with contextlib.suppress(OSError):  # A full disk: the processes go on without their lines.
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
