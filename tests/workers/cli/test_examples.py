"""Every `orders ...` that is shown somewhere is a command that exists, with options that it has."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from workers.cli.app import orders

ROOT = Path(__file__).parents[3]


def commands(command: click.Command = orders) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found)


def shown() -> list[str]:
    texts = [each.epilog for each in commands() if each.epilog]
    texts += re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return [line for text in texts for line in re.findall(r"^(?:.* \| )? *(orders .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("line", shown())
def test_what_is_shown_as_an_example_is_understood(line: str) -> None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.wordchars += ".:"
    _, *words = list(lexer)
    if "|" in words:
        words = words[: words.index("|")]
    command: click.Command = orders
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    _, unknown, _ = command.make_parser(click.Context(command)).parse_args(words)
    assert unknown == []


def test_every_command_has_an_example() -> None:
    assert [
        each.name for each in commands() if not isinstance(each, click.Group) and "orders " not in (each.epilog or "")
    ] == []
    assert len(shown()) > 20
