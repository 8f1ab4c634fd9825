"""Entry point of `python -m workers.console`."""

import sys

from workers.streams import flush_output, open_closed


def main() -> int:
    """Serve the console until SIGTERM or Ctrl-C; return the exit code."""
    open_closed()
    try:
        try:
            from workers.console.main import run  # noqa: PLC0415 - takes a while.
        except ModuleNotFoundError as error:
            if error.name not in {"jinja2", "markupsafe"}:
                raise
            sys.stderr.write(
                "python -m workers.console: it needs Jinja2, which is not installed: "
                "pip install 'order-fulfillment-workers[console]'\n"
            )
            return 1
        return run()
    except KeyboardInterrupt:  # Before the console has handlers of its own.
        return 130
    finally:
        flush_output()


if __name__ == "__main__":
    sys.exit(main())
