"""Entry point of `orders ...` and `python -m workers.cli ...`. It imports little, so that Ctrl-C is always one line."""

import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command that is given on the command line; return its exit code."""
    try:
        from workers.cli.main import main as run  # noqa: PLC0415 - takes a while.

        return run()
    except KeyboardInterrupt:
        print("orders: interrupted; the command can be repeated", file=sys.stderr)  # noqa: T201 - click may be missing.
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
