"""The command line `python -m workers.console`."""

import asyncio
import errno
import logging
import os
import signal
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import structlog

from workers import logs
from workers.console.app import application
from workers.console.console import Console, Place, explained_here, login_name
from workers.console.place import find_place
from workers.console.security import Guard, allowed_hosts, is_host_name, is_token, new_token
from workers.console.server import serving
from workers.http_values import is_loopback
from workers.operations.errors import OperationError
from workers.operations.stack import Stack
from workers.operations.status_endpoints import Endpoint, parse_endpoint
from workers.settings import Settings
from workers.streams import complain

HOST: Final = "127.0.0.1"
PORT: Final = 8090
WARNING: Final = (
    "Warning: other machines may reach the console. They need its token, but this is plain HTTP: who can read the "
    "traffic reads the token too. An SSH tunnel, or a proxy with TLS, is safer."
)
NO_NAME: Final = "Browsers reach it by the names of --allowed-host; none is given."
_OF_THE_PORT: Final = {errno.EADDRINUSE, errno.EACCES}
_LOG_SETTINGS: Final = ("LOG_LEVEL", "LOG_FORMAT")
TOKEN_VARIABLE: Final = "CONSOLE_TOKEN"  # noqa: S105 - its name, not its value.

log = structlog.get_logger(__name__)


class _Worker(click.ParamType["Endpoint"]):
    name = "worker"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        try:
            return parse_endpoint(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _HostName(click.ParamType[str]):
    name = "host name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not is_host_name(str(value)):
            self.fail(f"{str(value)!r} is not a host name, with a port or without", param, ctx)
        return str(value)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    help="The address to listen on. On any other, everyone who can reach it needs the token, and it is plain HTTP.",
)
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one.")
@click.option(
    "--allowed-host",
    "allowed",
    multiple=True,
    type=_HostName(),
    metavar="NAME",
    help="A host name, with a port or without, that browsers reach it by. Can be repeated. Loopback always is.",
)
@click.option("--write", is_flag=True, help="Let it change things on AWS. On a local AWS it always may.")
@click.option("--actor", envvar="ORDERS_ACTOR", default=login_name, metavar="NAME", help="The name that forms propose.")
@click.option(
    "--worker",
    "endpoints",
    multiple=True,
    type=_Worker(),
    envvar="WORKER_HEALTH_URLS",
    metavar="NAME=URL",
    help="Where a worker has its health port. Can be repeated. Default: WORKER_HEALTH_URLS, separated by spaces.",
)
@click.option(
    "--log",
    "log_files",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A file with the workers' JSON lines, for the pages of orders. Can be repeated.",
)
def command(
    *,
    host: str,
    port: int,
    allowed: Sequence[str],
    write: bool,
    actor: str,
    endpoints: Sequence[Endpoint],
    log_files: Sequence[Path],
) -> None:
    """
    Show the workflow, orders, cases, dead letters, queues and workers in a browser, and settle what needs a person.

    It prints the address to open, with a token: everyone who has it may use the console. It listens on this machine
    only, and is read-only on AWS, unless you say otherwise. The stack is the one that `orders` uses: the same variables
    name it. CONSOLE_TOKEN sets the token, so that a console that is started again keeps its address.
    """
    token = os.environ.get(TOKEN_VARIABLE) or new_token()
    if not is_token(token):
        raise click.UsageError(f"{TOKEN_VARIABLE} must have 22 to 256 characters, all of them letters, digits, - or _")
    given = Settings.read({name: os.environ[name] for name in _LOG_SETTINGS if os.environ.get(name)})
    as_json = os.environ.get("LOG_FORMAT", "") == "json"
    if not is_loopback(host):
        complain(f"{WARNING} {'' if allowed else NO_NAME}".rstrip())
    output = logs.configure(level=given.log_level, as_json=as_json)
    # It warns of each connection that is closed because very many calls went out at once. They are answered.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    try:
        asyncio.run(
            _serve(
                Options(
                    host, port, tuple(allowed), token, write, actor, tuple(endpoints), tuple(log_files), quiet=as_json
                )
            )
        )
    finally:
        output.flush()


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for. With *quiet*, the address with the token is not printed: a supervisor does it."""

    host: str
    port: int
    allowed: Sequence[str]
    token: str
    write: bool
    actor: str
    endpoints: Sequence[Endpoint]
    log_files: Sequence[Path]
    quiet: bool


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stack = Stack()
    place = await _unless(stop, _found(stack, write=options.write))
    listening = _listen(options.host, options.port)
    port = listening.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    guard = Guard(options.token, port, allowed_hosts(port, [host, *options.allowed]))
    console = Console(stack, guard, place, options.actor, options.endpoints, options.log_files)
    async with serving(application(console), listening):
        address = f"http://{host}:{port}/"
        log.info("console.started", url=address, place=place.name, can_write=place.can_write)
        if not options.quiet:
            click.echo(f"The console is at {address}?token={options.token}")
        await stop.wait()
    log.info("console.stopped")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Place]) -> Place:
    """Return what *work* returns. Raises `Abort` if a person stops the console before: AWS may not answer for long."""
    finding, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({finding, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not finding.done():
            raise click.Abort
        return finding.result()
    finally:
        finding.cancel()
        stopping.cancel()


async def _found(stack: Stack, *, write: bool) -> Place:
    """Return where the console looks. Raises `OperationError` if that is unknown, or a name is wrong."""
    try:
        assert stack.names  # noqa: S101 - it reads them.
        return await find_place(stack, write=write)
    except Exception as error:
        text = await explained_here(error, stack)
        if text is None:
            raise
        raise OperationError(text) from error


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises `OperationError` if that is impossible."""
    try:
        (family, *_), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        why = "there is no such host" if isinstance(error, socket.gaierror | UnicodeError) else os.strerror(number or 0)
        hint = "--port chooses another one" if number in _OF_THE_PORT else "see --host"
        raise OperationError(f"it cannot listen on {host} at port {port}: {why} ({hint})") from error
