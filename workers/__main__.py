"""`python -m workers fulfillment | escalation`: run one worker until SIGTERM."""

import signal
import sys


def main() -> int:
    """Run the worker named on the command line; return the exit code."""
    for each in (signal.SIGTERM, signal.SIGINT):
        # Until the worker has its own handlers: importing the SDK takes a second.
        signal.signal(each, lambda *_: sys.exit(0))
    from workers.command import run_command  # noqa: PLC0415 - after the signal handlers.

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
