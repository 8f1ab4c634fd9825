"""`orders status`: the whole system on one screen."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from workers.cli.options import json_option
from workers.cli.output import InterruptedCommandError, json_text, print_json
from workers.cli.running import run
from workers.cli.status_view import screen
from workers.cli.tables import print_styled, styled_text, terminal_width

if TYPE_CHECKING:
    from workers.operations.stack import Stack
    from workers.operations.status import Status
    from workers.operations.status_endpoints import Endpoint
    from workers.operations.status_reader import StatusReader

WATCH_S, MAX_WATCH_S = 5, 3600


class _Worker(click.ParamType["Endpoint"]):
    """A worker's endpoints, whether ours or your own: `fulfillment=http://127.0.0.1:8081`."""

    name = "worker"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> "Endpoint":
        from workers.operations.status_endpoints import parse_endpoint  # noqa: PLC0415 - `--help` needs no SDK.

        try:
            return parse_endpoint(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(
    "status",
    short_help="Show the whole system on one screen.",
    epilog="""\b
Examples:
  orders status
  orders status --watch
  orders status --watch 30 > status.log
  orders status --json | jq -r '.needs[].command'
  orders status --worker fulfillment=http://127.0.0.1:8081 --worker escalation=http://127.0.0.1:8082""",
)
@click.option(
    "--watch",
    "watch_s",
    is_flag=False,
    flag_value=str(WATCH_S),
    type=click.IntRange(1, MAX_WATCH_S),
    metavar="[SECONDS]",
    help=f"Show it again every {WATCH_S} s, or as often as you say, until Ctrl-C (exit code 0).",
)
@click.option(
    "--worker",
    "endpoints",
    multiple=True,
    type=_Worker(),
    envvar="WORKER_HEALTH_URLS",
    metavar="NAME=URL",
    help="Where a worker has its health port. Can be repeated. Default: WORKER_HEALTH_URLS, separated by spaces.",
)
@json_option("an object; with --watch one per line")
@click.pass_obj
def command(stack: "Stack", *, watch_s: int | None, endpoints: "Sequence[Endpoint]", as_json: bool) -> None:
    """
    Show workers, provider and channels, queues, orders and open cases, and what needs a person now.

    The workers are asked at their health ports: `make run` starts them with one, and `make env` says where. Without
    --worker and WORKER_HEALTH_URLS, they are those in the cluster of deploy/workers.yaml on ECS. NAME is fulfillment,
    escalation, or a worker of your own, with a suffix if there are several: Returns, fulfillment-2. Ages of messages
    come from CloudWatch, a few minutes late.

    What is not known is shown as unknown, with the reason below: never as 0, and never as fine. Every source has some
    seconds to answer, so the screen comes within about five. Final orders are those of today (UTC). Nothing is
    received, and nothing is changed.
    """
    from workers.operations.status_reader import StatusReader  # noqa: PLC0415 - `--help` needs no SDK.

    reader = StatusReader(stack, endpoints)
    if watch_s is None:
        _show(run(stack, reader.read()), as_json=as_json)
        return
    with contextlib.suppress(InterruptedCommandError):  # It has no other end.
        run(stack, _watch(reader, watch_s, as_json=as_json))


def _show(status: "Status", *, as_json: bool) -> None:
    if as_json:
        print_json(status)
    else:
        print_styled(screen(status, terminal_width(sys.stdout)))


async def _watch(reader: "StatusReader", every_s: int, *, as_json: bool) -> None:
    if sys.stdout.isatty() and os.environ.get("TERM") not in {None, "dumb", "unknown"} and not as_json:
        await _watch_on_terminal(reader, every_s)
        return
    while True:
        status = await reader.read()
        if as_json:
            click.echo(json_text(status, indent=None))
        else:
            _show(status, as_json=False)
            click.echo()
        sys.stdout.flush()
        await reader.sleep(every_s)


async def _watch_on_terminal(reader: "StatusReader", every_s: int) -> None:
    """Draw the screen again and again, and whenever the size of the terminal changes."""
    from rich.console import Console  # noqa: PLC0415 - takes 0.1 s to import; only a terminal needs it.
    from rich.live import Live  # noqa: PLC0415

    shown = Screen()
    console = Console()
    with Live(shown, console=console, screen=True, auto_refresh=False) as live, _on_resize(live.refresh):
        while True:
            shown.status = await reader.read()
            live.refresh()
            await reader.sleep(every_s)


class Screen:
    """What rich draws: as many lines as fit. What needs a person comes first."""

    status: "Status | None" = None

    def __rich_console__(self, _console: Any, options: Any) -> Any:
        from rich.text import Text  # noqa: PLC0415 - as above.

        if self.status is None:
            yield Text("reading ...")
            return
        lines = list(screen(self.status, options.max_width))
        height = options.height or options.max_height
        hidden = len(lines) - height
        if hidden > 0:
            hidden += 1
            lines = [*lines[: height - 1], [(f"... {hidden} more lines on a higher terminal", "dim")]]
        for line in lines:
            text = styled_text(line)
            text.no_wrap, text.overflow = True, "ellipsis"
            yield text


@contextlib.contextmanager
def _on_resize(draw: Callable[[], object]) -> Iterator[None]:
    """During the block, call *draw* whenever the size of the terminal changes."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGWINCH, draw)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGWINCH)
