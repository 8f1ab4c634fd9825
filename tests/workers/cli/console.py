"""Runs one command of `orders` against a scripted stack, without a process."""

import re
from collections.abc import Sequence
from typing import Any

import click
from click.testing import CliRunner, Result

from tests.json_documents import check
from tests.workers.operations.fakes import fake_stack
from workers.operations.stack import Stack


def run(command: click.Command, *arguments: str, stack: Stack | None = None, given: str | None = None) -> Result:
    """
    Run *command* with what it reads from standard input; return its exit code and both of its outputs.

    With `--json`, the output is compared with the schema of the command.
    """
    ran = CliRunner().invoke(command, arguments, obj=stack or fake_stack(), input=given)
    if "--json" in arguments:
        check(_words(command, arguments), ran.stdout)
    return ran


def _words(command: click.Command, arguments: Sequence[str]) -> str:
    """Return the words of a command: `escalations list`, also if *command* is only its `list`."""
    if isinstance(command, click.Group):
        return f"{command.name} {arguments[0]}"
    module = command.callback.__module__ if command.callback is not None else ""
    in_group = module.endswith(("escalations", "resolve"))
    return f"{'escalations ' if in_group else ''}{command.name}"


def done(command: click.Command, *arguments: str, **more: Any) -> Result:
    """Run *command*, which must not fail."""
    ran = run(command, *arguments, **more)
    assert (ran.exception, ran.exit_code) == (None, 0), ran.output
    return ran


def rows(text: str) -> list[str]:
    """Return the lines of a table, with a bar between the columns."""
    return [re.sub(r" {2,}", " | ", line.strip()) for line in text.splitlines()]
