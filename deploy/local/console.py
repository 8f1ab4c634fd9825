"""The web console of `run`: its address with the token, and how it is started beside the workers."""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from deploy.errors import DeployError
from deploy.local.log_lines import LogLine
from deploy.local.ports import port_near
from workers.console.security import MIN_TOKEN_CHARS, is_token, new_token
from workers.testing.sdk import HOST

NAME = "console"
FIRST_PORT = 8090
TOKEN = "CONSOLE_TOKEN"  # noqa: S105 - its name, not its value.
MISSING = (
    "There is no web console: Jinja2 is not installed. To install it: touch requirements-dev.txt; make setup; then run "
    "this again"
)


@dataclass(slots=True)
class Console:
    """
    Where the console listens and who may use it; both stay when it is started again.

    Its address is noted once, as soon as it listens and `note_when_ready` was called.
    """

    port: int
    token: str
    note: Callable[[str], None]
    _listens: bool = field(default=False, init=False)
    _wanted: bool = field(default=False, init=False)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/?token={self.token}"

    def command(self, health_urls: Mapping[str, str], log_path: Path) -> str:
        """Return the command that starts it. It finds the token in its environment: commands can be seen by all."""
        workers = [argument for name, url in health_urls.items() for argument in ("--worker", f"{name}={url}")]
        arguments = ["-m", "workers.console", "--port", str(self.port), *workers, "--log", str(log_path)]
        return f"exec python {shlex.join(arguments)}"

    def see(self, line: LogLine) -> None:
        if line.event == "console.started" and not self._listens:
            self._listens = True
            self._note()

    def note_when_ready(self) -> None:
        self._wanted = True
        self._note()

    def _note(self) -> None:
        if self._wanted and self._listens:
            self.note(f"Open the console: {self.url}")


def check_token(environ: Mapping[str, str] = os.environ) -> None:
    """Check the console's setting before anything is started. Raises `DeployError` if it is wrong."""
    if (token := environ.get(TOKEN)) and not is_token(token):
        raise DeployError(
            f"{TOKEN} must have at least {MIN_TOKEN_CHARS} characters, all of them letters, digits, - or _"
        )


@contextlib.contextmanager
def local_console(note: Callable[[str], None], environ: Mapping[str, str] = os.environ) -> Iterator[Console | None]:
    """Reserve a port for the console during the block. Without Jinja2, yield None and say so."""
    if find_spec("jinja2") is None:
        note(MISSING)
        yield None
        return
    with port_near(FIRST_PORT) as port:
        yield Console(port, environ.get(TOKEN) or new_token(), note)
