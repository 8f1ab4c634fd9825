"""`orders ...`, or `python -m workers.cli ...`."""

import io
import os
import sys
import traceback

import click

from workers.cli.app import orders
from workers.cli.output import CliError, note
from workers.cli.stack import Stack
from workers.domain.cards import mask

FAILED, INTERRUPTED = 1, 130


def main() -> int:
    """Run the command of the command line; return the exit code."""
    _open_streams()
    stack = Stack()
    try:
        code = orders.main(prog_name="orders", standalone_mode=False, obj=stack)
        sys.stdout.flush()
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        # It quotes arguments: a card number may be where none belongs.
        click.echo(mask(told.getvalue()), nl=False, err=True)
        return error.exit_code
    except CliError as error:
        if error.exit_code == INTERRUPTED and sys.stderr.isatty():
            click.echo(err=True)  # The terminal has written `^C`.
        note(f"orders: {error}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("orders: interrupted; the command can be repeated")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has seen enough. What is still to be flushed at the end goes nowhere, quietly.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:  # noqa: BLE001 - the last stop; which errors there are is looked up only now.
        note(f"orders: {_told(error, stack)}")
        return FAILED
    return code if isinstance(code, int) else 0


def _open_streams() -> None:
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # Closed by who started this, as by `>&-`: Python has none then.
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - open to the end.
    for stream in (sys.stdout, sys.stderr):
        # A terminal or a pipe that is not UTF-8 gets what it can show.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _told(error: Exception, stack: Stack) -> str:
    """Return the one line that says what went wrong."""
    from workers.cli.errors import SDK_ERRORS, explained  # noqa: PLC0415 - the SDK takes a while to import.
    from workers.errors import WorkerError  # noqa: PLC0415

    # What the library makes of the SDK's errors is for the workers' log.
    origin = error.__cause__ if isinstance(error, WorkerError) else error
    match error:
        case _ if isinstance(origin, SDK_ERRORS):
            return explained(origin, stack)
        case WorkerError():
            return str(error)
        case OSError():
            return f"{error.filename or 'input or output'}: {error.strerror}"
        case _:
            click.echo(mask("".join(traceback.format_exception(error))), err=True)
            return f"a mistake in this program: {type(error).__name__}"


if __name__ == "__main__":
    sys.exit(main())
