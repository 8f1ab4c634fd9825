"""`python -m workers fulfillment | escalation`: run one worker until SIGTERM or Ctrl-C."""

import signal
import sys

from workers.streams import flush_output, open_closed


def main() -> int:
    """Run the worker named on the command line; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # The worker sets its own handlers, but importing the SDK first takes a second.
        signal.signal(number, lambda *_: sys.exit(0))
    open_closed()
    try:
        _import_structlog()
        from workers.command import run_command  # noqa: PLC0415 - after the signal handlers.

        return run_command()
    finally:
        flush_output()  # Of the help: log lines do not go through Python's streams.


def _import_structlog() -> None:
    """
    Import structlog, but not rich.

    structlog imports rich if it is installed, for tracebacks in color that a worker never prints: 4.5 MB of memory.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # With None, Python's import raises ModuleNotFoundError.
    try:
        import structlog  # noqa: F401, PLC0415 - only so that it is imported now.
    finally:
        del sys.modules["rich"]


if __name__ == "__main__":
    sys.exit(main())
