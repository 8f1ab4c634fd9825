"""Every command of `orders`, by its words: `list`, `escalations list`, ..."""

from collections.abc import Iterator

import click

from workers.cli.app import orders


def _commands(group: click.Group, *words: str) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            yield from _commands(command, *words, name)
        elif command is not None:
            yield " ".join([*words, name]), command


COMMANDS = dict(_commands(orders))
