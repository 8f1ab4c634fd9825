"""A console as a process, on a deployed stack."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.aws import ROOT
from tests import forked
from tests.support import DeployedStack, Worker, eventually, free_port

TOKEN = "launch-token-of-the-browser-tests"


@dataclass
class Served:
    """
    A console process at a port of its own, and the stack and workers that it shows.

    `stop` and `start` end it and start it again at the same address, with the same token.
    """

    stack: DeployedStack
    port: int
    log_path: Path
    workers: Sequence[Worker] = ()
    arguments: Sequence[str] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """The address that a person opens first, with the token."""
        return f"{self.origin}/?token={TOKEN}"

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        before = self._starts()
        with self.log_path.open("ab") as log:
            self.process = forked.Popen(
                ["-m", "workers.console", "--port", str(self.port), "--actor", "ada", *self.arguments],
                cwd=ROOT,
                env=self.stack.worker_environment() | {"CONSOLE_TOKEN": TOKEN, "LOG_FORMAT": "json"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        eventually(lambda: self._starts() > before)

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(60)

    @property
    def log(self) -> str:
        return self.log_path.read_text(encoding="utf-8") if self.log_path.exists() else ""

    def _starts(self) -> int:
        return self.log.count('"event":"console.started"')


def new_console(stack: DeployedStack, log_path: Path, workers: Sequence[Worker], *arguments: str) -> Served:
    """Return a console that is started at a free port."""
    served = Served(stack, free_port(), log_path, workers, arguments)
    served.start()
    return served
