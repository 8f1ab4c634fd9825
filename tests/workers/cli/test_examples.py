"""Every example of `orders ...` in the help and in the README is a command with options that exist."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from tests.docs.pages import PAGES, blocks, page
from workers.cli.app import orders


def commands(command: click.Command = orders) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found)


def shown() -> list[str]:
    texts = [command.epilog for command in commands() if command.epilog]
    texts += ["\n".join(blocks(page(name), "sh")) for name in PAGES]
    return [line for text in texts for line in re.findall(r"^(?:.* \| )? *(orders .*)$", text, re.MULTILINE)]


@pytest.mark.parametrize("line", shown())
def test_every_example_parses(line: str) -> None:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.wordchars += ".:"
    _, *words = list(lexer)
    if "|" in words:
        words = words[: words.index("|")]
    words = [word for word, before in zip(words, ["", *words], strict=False) if ">" not in {word, before}]  # > FILE
    command: click.Command = orders
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    _, unknown, _ = command.make_parser(click.Context(command)).parse_args(words)
    assert unknown == []


def test_every_command_has_an_example() -> None:
    assert [
        command.name
        for command in commands()
        if not isinstance(command, click.Group) and "orders " not in (command.epilog or "")
    ] == []
    assert len(shown()) > 20
