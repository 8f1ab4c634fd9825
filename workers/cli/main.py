"""Runs one command of `orders`, and turns whatever ends it into one line and an exit code."""

import errno
import sys
import traceback

import click

from workers.cli.app import orders
from workers.cli.output import CliError, note
from workers.domain.cards import mask
from workers.errors import WorkerError
from workers.operations.errors import OperationError
from workers.operations.stack import Stack
from workers.streams import flush_output, open_closed

FAILED, INTERRUPTED = 1, 130


def main() -> int:
    """Run the command that is given on the command line; return its exit code."""
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        # Escape characters that the terminal or pipe cannot encode.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = _run()
    failed = flush_output()
    if failed is None or code != 0:
        return code
    if failed.errno != errno.EPIPE:  # A reader that ends early, as `head` does, has what it wants.
        note(f"orders: standard output: {failed.strerror}")
    return FAILED


def _run() -> int:
    try:
        code = orders.main(prog_name="orders", standalone_mode=False, obj=Stack())
    except click.ClickException as error:
        _show_usage(error)
        return error.exit_code
    except CliError as error:
        if error.exit_code == INTERRUPTED and sys.stderr.isatty():
            note("")  # End the line on which the terminal shows `^C`.
        note(f"orders: {error}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        note("orders: interrupted; the command can be repeated")
        return INTERRUPTED
    except BrokenPipeError:  # The reader of standard output has ended.
        return FAILED
    except Exception as error:  # noqa: BLE001 - the outermost handler.
        note(f"orders: {_line(error)}")
        return FAILED
    return code if isinstance(code, int) else 0


def _show_usage(error: click.ClickException) -> None:
    """Print one line about wrong usage. Click itself would print a block about the command's arguments first."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return
    context = error.ctx if isinstance(error, click.UsageError) else None
    command, text = context.command_path if context else "orders", " ".join(error.format_message().split())
    # Our own checks say what to do; click's only name the argument.
    hint = "" if type(error) is click.UsageError else f" (see `{command} --help`)"
    note(f"{command}: {text.rstrip('.')}{hint}")


def _line(error: Exception) -> str:
    """Return one line about *error*; print the traceback of an internal error."""
    match error:
        case OperationError() | WorkerError():
            return str(error)
        case OSError():
            # Whatever else is written names its file.
            unnamed = "standard output" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "input or output"
            return f"{error.filename or unnamed}: {error.strerror}"
        case _:
            click.echo(mask("".join(traceback.format_exception(error))), err=True)
            return f"internal error: {type(error).__name__}"
