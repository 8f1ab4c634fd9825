"""The command line `python -m workers.console`."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click
import structlog

from workers import logs
from workers.console.app import application
from workers.console.console import Console, Place, explained_here, login_name
from workers.console.place import find_place
from workers.console.security import Guard, allowed_hosts, is_token, new_token
from workers.console.server import serving
from workers.operations.errors import OperationError
from workers.operations.stack import Stack
from workers.operations.status_endpoints import Endpoint, parse_endpoint

HOST: Final = "127.0.0.1"
PORT: Final = 8090
TOKEN_VARIABLE: Final = "CONSOLE_TOKEN"  # noqa: S105 - its name, not its value.

log = structlog.get_logger(__name__)


class _Worker(click.ParamType["Endpoint"]):
    name = "worker"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Endpoint:
        try:
            return parse_endpoint(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--host", default=HOST, show_default=True, help="The address to listen on.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65_535), help="0: a free one.")
@click.option(
    "--allowed-host",
    "allowed",
    multiple=True,
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
def command(
    *, host: str, port: int, allowed: Sequence[str], write: bool, actor: str, endpoints: Sequence[Endpoint]
) -> None:
    """
    Show the workflow, orders, cases, dead letters, queues and workers in a browser, and settle what needs a person.

    It prints the address to open, with a token: whoever has it may use the console. It listens on this machine only,
    and is read-only on AWS, unless you say otherwise. The stack is the one that `orders` uses: the same variables name
    it. CONSOLE_TOKEN sets the token, so that a console that is started again keeps its address.
    """
    token = os.environ.get(TOKEN_VARIABLE) or new_token()
    if not is_token(token):
        raise click.UsageError(f"{TOKEN_VARIABLE} must have at least 22 letters, digits, - or _")
    as_json = os.environ.get("LOG_FORMAT", "") == "json"
    output = logs.configure(level=os.environ.get("LOG_LEVEL") or "INFO", as_json=as_json)
    try:
        asyncio.run(_serve(Options(host, port, tuple(allowed), token, write, actor, tuple(endpoints), quiet=as_json)))
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
    quiet: bool


async def _serve(options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stack = Stack()
    place = await _explained(stack, find_place(stack, write=options.write))
    listening = _listen(options.host, options.port)
    port = listening.getsockname()[1]
    host = f"[{options.host}]" if ":" in options.host else options.host
    guard = Guard(options.token, port, allowed_hosts(port, [host, *options.allowed]))
    console = Console(stack, guard, place, options.actor, options.endpoints)
    async with serving(application(console), listening):
        address = f"http://{host}:{port}/"
        log.info("console.started", url=address, place=place.name, can_write=place.can_write)
        if not options.quiet:
            click.echo(f"The console is at {address}?token={options.token}")
        await stop.wait()
    log.info("console.stopped")


async def _explained(stack: Stack, work: Awaitable[Place]) -> Place:
    try:
        return await work
    except Exception as error:
        text = await explained_here(error, stack)
        if text is None:
            raise
        raise OperationError(text) from error


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises `OperationError` if that is impossible."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, reuse_port=False)
    except OSError as error:
        raise OperationError(
            f"it cannot listen on {host} at port {port}: {error.strerror or error}. --port chooses another one"
        ) from error
