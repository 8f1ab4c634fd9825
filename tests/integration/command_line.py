"""Runs `orders` as a user does: as a process, of which the output and the exit code count."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.local.aws import ROOT
from tests import forked
from tests.json_documents import check
from tests.support import DeployedStack

CARD = "4929123412345678"
SHORT_CARD = "492912341234"  # Too short to be recognized as a card number, and still it must not be written.
TIMEOUT_S = 120.0
GROUPS = {"bulk", "escalations", "dead-letters", "workers"}


@dataclass(frozen=True, slots=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """
    `orders` on a stack. Every output is searched for card numbers, which it must not contain.

    With `--json`, it is compared with the schema of the command.
    """

    stack: DeployedStack

    def __call__(self, *arguments: str | Path, stdin: str | bytes = b"", **env: str | None) -> Ran:
        with self.start(*arguments, **env) as process:
            given = stdin.encode() if isinstance(stdin, str) else stdin
            out, err = process.communicate(given, timeout=TIMEOUT_S)
        result = ran(process, out, err)
        if "--json" in arguments:
            check(" ".join(map(str, arguments[: 2 if arguments[0] in GROUPS else 1])), result.out)
        return result

    @contextlib.contextmanager
    def start(self, *arguments: str | Path, **env: str | None) -> Iterator[subprocess.Popen[bytes]]:
        """Start it with these variables changed (None: unset). The end of the block kills it if it still runs."""
        named = {"STATE_MACHINE": self.stack.state_machine_arn}
        environment: dict[str, str | None] = {**self.stack.worker_environment(), **named, **env}
        process = forked.Popen(
            ["-m", "workers.cli", *map(str, arguments)],
            cwd=ROOT,
            env={name: value for name, value in environment.items() if value is not None},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def interrupt(self, process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGINT) -> Ran:
        """Press Ctrl-C, or send another signal, and wait for the end."""
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return ran(process, out, err)


def ran(process: subprocess.Popen[bytes], out: bytes, err: bytes) -> Ran:
    result = Ran(process.returncode, out.decode(), err.decode())
    for text in (result.out, result.err):
        assert CARD not in re.sub(r"[ -]", "", text)
        assert SHORT_CARD not in text
    return result
