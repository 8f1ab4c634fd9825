"""The command line `python -m workers`: arguments, settings, logging, exit codes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

import structlog

from workers import logs
from workers.errors import FatalError
from workers.log_output import LogOutput
from workers.proxies import keep_metadata_direct
from workers.runner import run
from workers.settings import Settings, Worker
from workers.streams import complain
from workers.wiring import MakeHandler, make_handler

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


def run_command(arguments: Sequence[str] | None = None, *, make_handler: MakeHandler = make_handler) -> int:
    """Run the worker named in *arguments* (default: the command line's); return 0 or 1, as `EPILOG` says."""
    parser = argparse.ArgumentParser(
        prog="python -m workers",
        description="Run one worker: consume its queue until SIGTERM or Ctrl-C, then finish the messages in flight.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("worker", choices=[worker.value for worker in Worker], help="the worker to run")
    worker = Worker(parser.parse_args(arguments).worker)
    keep_metadata_direct()
    try:
        settings = Settings.read(os.environ)
    except FatalError as error:
        complain(f"python -m workers: {error}")  # Logging is not configured yet.
        return 1
    as_json = settings.log_format != "console" if settings.log_format else not sys.stdout.isatty()
    output = logs.configure(level=settings.log_level, as_json=as_json, release=settings.release)
    try:
        return _run(worker, settings, make_handler, output)
    finally:  # Also if the process ends in another way, for example because a provider calls `sys.exit`.
        if not output.finish():
            problem = f"cannot be written ({output.closed})" if output.closed else "takes no more log lines"
            complain(f"python -m workers: standard output {problem}; the last lines are lost")


def _run(worker: Worker, settings: Settings, make_handler: MakeHandler, output: LogOutput) -> int:
    try:
        asyncio.run(run(worker, settings, make_handler=make_handler, output=output))
    except FatalError as error:
        structlog.get_logger().critical("worker.failed", worker=worker.value, reason=str(error))
        return 1
    except Exception:  # noqa: BLE001 - the last resort: one event in the log, not a bare traceback.
        structlog.get_logger().exception("worker.failed", worker=worker.value)
        return 1
    return 0
