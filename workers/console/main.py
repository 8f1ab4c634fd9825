"""Runs the console's command, and turns what ends it into one line and an exit code."""

import traceback
from collections.abc import Sequence

import click

from workers.console.command import command
from workers.domain.cards import mask
from workers.errors import WorkerError
from workers.operations.errors import OperationError
from workers.streams import complain

NAME = "python -m workers.console"
FAILED, INTERRUPTED = 1, 130


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments*, by default those of the process; return its exit code."""
    try:
        command.main(arguments, prog_name=NAME, standalone_mode=False)
    except click.ClickException as error:
        # Our own checks say what to do; click's only name the argument.
        hint = "" if type(error) is click.UsageError else f" (see `{NAME} --help`)"
        complain(f"{NAME}: {' '.join(error.format_message().split()).rstrip('.')}{hint}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        complain(f"{NAME}: interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # The reader of standard output has ended.
        return FAILED
    except (OperationError, WorkerError) as error:
        complain(f"{NAME}: {error}")
        return FAILED
    except Exception as error:  # noqa: BLE001 - the outermost handler.
        complain(mask("".join(traceback.format_exception(error))))
        complain(f"{NAME}: internal error: {type(error).__name__}")
        return FAILED
    return 0
