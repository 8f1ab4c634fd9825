"""The command line of the workers."""

import argparse
import asyncio
import os
import sys

import structlog

from workers import logs
from workers.errors import FatalError
from workers.runner import run
from workers.settings import Settings, Worker


def run_command() -> int:
    """Run the worker named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m workers",
        description="Run one worker. It consumes its queue until SIGTERM or Ctrl-C, then finishes what is in flight.",
        epilog="Settings come from the environment; README.md lists them. "
        "AWS access comes from the SDK's own variables and profiles.",
    )
    parser.add_argument("worker", choices=[each.value for each in Worker], help="which queue to consume")
    worker = Worker(parser.parse_args().worker)
    try:
        settings = Settings.read(os.environ)
    except FatalError as error:
        print(f"python -m workers: {error}", file=sys.stderr)  # noqa: T201 - there are no logs yet.
        return 1
    as_json = settings.log_format != "console" if settings.log_format else not sys.stdout.isatty()
    logs.configure(level=settings.log_level, as_json=as_json)
    try:
        asyncio.run(run(worker, settings))
    except FatalError as error:
        structlog.get_logger().critical("worker.failed", worker=worker.value, reason=str(error))
        return 1
    except Exception:  # noqa: BLE001 - the last stop: told in one event, not as a bare traceback.
        structlog.get_logger().exception("worker.failed", worker=worker.value)
        return 1
    return 0
