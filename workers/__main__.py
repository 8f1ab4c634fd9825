"""`python -m workers fulfillment | escalation`: run one worker until SIGTERM or Ctrl-C."""

import signal
import sys


def main() -> int:
    """Run the worker named on the command line; return the exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # The worker sets its own handlers, but importing the SDK first takes a second.
        signal.signal(number, lambda *_: sys.exit(0))
    from workers.command import run_command  # noqa: PLC0415 - after the signal handlers.

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
