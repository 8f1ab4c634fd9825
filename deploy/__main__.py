"""Entry point of `python -m deploy`. It imports little, so that Ctrl-C never prints a traceback."""

import sys

INTERRUPTED = 130  # The shell's convention: 128 + SIGINT.


def main() -> int:
    """Run the command that is given on the command line; return its exit code."""
    try:
        from deploy.command import main as run  # noqa: PLC0415 - takes a while.

        return run()
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
