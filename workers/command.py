"""The command line `python -m workers`: arguments, settings, logging, exit codes."""

import argparse
import asyncio
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

import structlog

from workers import logs
from workers.domain.cards import mask
from workers.errors import FatalError, plain_name
from workers.kinds import AnyWorker, OwnWorker, Worker
from workers.log_output import LogOutput
from workers.own.loading import Handling, Opening, load
from workers.proxies import keep_metadata_direct
from workers.queue_address import QUEUE, QueueAddress
from workers.runner import run
from workers.settings import Settings
from workers.streams import complain
from workers.wiring import MakeHandler, make_handler, own_handler

EPILOG = """\
exit codes:
  0  stopped by SIGTERM or Ctrl-C
  1  cannot start, or failed while running; the last line of output says why. If standard output is closed,
     a line on standard error
  2  wrong command line
A second signal ends the worker at once; its messages become visible again by themselves.

Settings come from environment variables: see docs/configuration.md.
Access to AWS comes from the SDK's own variables and profiles.
"""


RUN_EPILOG = """\
HANDLER is an async function that takes a workers.Message, or the pydantic model that its parameter is annotated with.
If it returns, the message is acknowledged. If it raises:
  workers.PermanentError   to the dead-letter queue at once
  workers.TransientError   delivered again later, WORKER_MAX_ATTEMPTS times at most; so is any other exception
  workers.OutageError      held, with all others, until the handler succeeds again
HANDLER may also be an async context manager without parameters that yields such a function: what it opens stays open
while the worker runs. The module is imported from the current directory, or from this Python's environment.

Examples:
  python -m workers run returns:handle --queue Returns
  python -m workers run shop.returns:open_handler --queue https://sqs.eu-west-1.amazonaws.com/123456789012/Returns

See docs/own-workers.md.
"""
NAME = r"[A-Za-z0-9_-]{1,80}"


def run_command(arguments: Sequence[str] | None = None, *, make_handler: MakeHandler = make_handler) -> int:
    """Run the worker named in *arguments* (default: the command line's); return 0 or 1, as `EPILOG` says."""
    given = parser().parse_args(arguments)
    keep_metadata_direct()
    try:
        worker = _worker(given)
        own = isinstance(worker, OwnWorker)
        settings = Settings.read_shared(os.environ) if own else Settings.read(os.environ)
    except FatalError as error:
        complain(f"python -m workers: {error}")  # Logging is not configured yet.
        return 1
    as_json = settings.log_format != "console" if settings.log_format else not sys.stdout.isatty()
    output = logs.configure(level=settings.log_level, as_json=as_json, release=settings.release)
    try:
        if own:
            return _run(worker, settings, lambda: own_handler(_load(given.handler, settings)), output)
        return _run(worker, settings, lambda: make_handler, output)
    finally:  # Also if the process ends in another way, for example because a provider calls `sys.exit`.
        if not output.finish():
            problem = f"cannot be written ({output.closed})" if output.closed else "takes no more log lines"
            complain(f"python -m workers: standard output {problem}; the last lines are lost")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m workers",
        description="Run one worker: consume its queue until SIGTERM or Ctrl-C, then finish the messages in flight.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    workers = top.add_subparsers(dest="worker", required=True, metavar="WORKER", title="workers")
    workers.add_parser(Worker.FULFILLMENT.value, help="fulfills orders", description="Run the fulfillment worker.")
    workers.add_parser(Worker.ESCALATION.value, help="routes escalations", description="Run the escalation worker.")
    own = workers.add_parser(
        "run",
        help="runs a handler of your own on any queue",
        description="Run a worker of your own: it calls HANDLER for each message of a queue.",
        epilog=RUN_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.add_argument("handler", metavar="HANDLER", help="package.module:name, for example returns:handle")
    own.add_argument("--queue", required=True, help=f"{QUEUE}; it needs a dead-letter queue")
    own.add_argument("--name", help="the worker's name in logs and metrics (default: the queue's name)")
    return top


def _worker(given: argparse.Namespace) -> AnyWorker:
    """
    Return the worker that was named on the command line.

    Raises:
        FatalError: It cannot be a worker of your own: its queue or its name is wrong.
    """
    if given.worker != "run":
        return Worker(given.worker)
    try:
        queue = QueueAddress.parse(given.queue)
    except ValueError as error:
        raise FatalError(f"--queue is {mask(repr(given.queue))}, {error}") from None
    name = queue.name if given.name is None else given.name
    if not re.fullmatch(NAME, name) or name in set(Worker):
        raise FatalError(
            f"--name is {mask(repr(name))}, must be 1 to 80 letters, digits, dashes and underscores, "
            f"and not {' or '.join(Worker)}"
        )
    return OwnWorker(name, queue)


def _load(handler: str, settings: Settings) -> Handling | Opening:
    """Import the handler; its package logs from the same level as the worker."""
    loaded = load(handler)
    logging.getLogger(handler.partition(":")[0].partition(".")[0]).setLevel(settings.log_level)
    return loaded


def _run(worker: AnyWorker, settings: Settings, maker: Callable[[], MakeHandler], output: LogOutput) -> int:
    try:
        asyncio.run(run(worker, settings, make_handler=maker(), output=output))
    except FatalError as error:
        structlog.get_logger().critical("worker.failed", worker=str(worker), reason=str(error))
        return 1
    except (SystemExit, KeyboardInterrupt) as error:
        if callable(signal.getsignal(signal.SIGTERM)):
            raise  # From the handler in __main__: the signal came before the worker had set its own.
        reason = f"a task raised {plain_name(error)}"  # It ends the event loop, and with it the worker.
        structlog.get_logger().critical("worker.failed", worker=str(worker), reason=reason, exc_info=error)
        return 1
    except Exception:  # noqa: BLE001 - the last resort: one event in the log, not a bare traceback.
        structlog.get_logger().exception("worker.failed", worker=str(worker))
        return 1
    return 0
