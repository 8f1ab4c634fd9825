"""Runs the console's command, and turns what ends it into one line and an exit code."""

import traceback

import click

from workers.console.command import command
from workers.domain.cards import mask
from workers.errors import WorkerError
from workers.operations.errors import OperationError
from workers.streams import complain

NAME = "python -m workers.console"
FAILED = 1


def run() -> int:
    try:
        command.main(prog_name=NAME, standalone_mode=False)
    except click.ClickException as error:
        complain(f"{NAME}: {' '.join(error.format_message().split()).rstrip('.')} (see `{NAME} --help`)")
        return error.exit_code
    except (OperationError, WorkerError) as error:
        complain(f"{NAME}: {error}")
        return FAILED
    except Exception as error:  # noqa: BLE001 - the outermost handler.
        complain(mask("".join(traceback.format_exception(error))))
        complain(f"{NAME}: internal error: {type(error).__name__}")
        return FAILED
    return 0
