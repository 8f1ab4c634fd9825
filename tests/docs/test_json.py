"""docs/json.md: its examples follow the schemas by which tests check what commands print, and those its convention."""

import json
import re
from collections.abc import Iterator

import click
import pytest

from tests.docs.pages import blocks, headings, page, section
from tests.docs.schema import Schema
from tests.json_documents import COUNT, DEPLOY_STATUS, PRICE, SCHEMAS, TIME, check, maybe
from workers.cli.app import orders

PAGE = page("docs/json.md")


def example(command: str) -> str:
    (block,) = blocks(section(PAGE, f"{'python -m ' if command == DEPLOY_STATUS else 'orders '}{command}"), "json")
    return block


SAME_AS_ANOTHER = {"dead-letters discard": "dead-letters replay", "workers resume": "workers pause"}


@pytest.mark.parametrize("command", SCHEMAS)
def test_an_example_follows_the_schema_of_its_command(command: str) -> None:
    name = SAME_AS_ANOTHER.get(command, command)
    if name != command:
        assert f"`orders {command}` prints the same fields" in section(PAGE, f"orders {name}")
        assert SCHEMAS[command] == SCHEMAS[name]
    else:
        check(command, example(command))


def test_the_page_has_every_command_that_prints_json() -> None:
    named = {heading.removeprefix("orders ") for heading in headings(PAGE) if heading.startswith("orders ")}
    described = set(SCHEMAS) - {DEPLOY_STATUS}
    assert named | set(SAME_AS_ANOTHER) == described
    commands = {name.split(" --")[0] for name in described}  # Some have an option that changes what they print.
    assert commands == set(commands_with_json()) - {"logs"}


def commands_with_json() -> Iterator[str]:
    context = click.Context(orders)
    for name in orders.list_commands(context):
        if name == "completion":  # Prints a script for a shell.
            continue
        command = orders.get_command(context, name)
        assert command is not None
        subcommands = command.commands if isinstance(command, click.Group) else {"": command}
        for word, subcommand in subcommands.items():
            assert any("--json" in option.opts for option in subcommand.params), f"{name} {word} has no --json"
            yield f"{name} {word}".strip()


def fields(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, inner in schema.get("properties", {}).items():
        yield name, inner
        yield from fields(inner)
    for inner in [*schema.get("anyOf", ()), *([schema["items"]] if "items" in schema else [])]:
        yield from fields(inner)


@pytest.mark.parametrize(
    ("name", "schema"),
    sorted({(name, json.dumps(inner)) for schema in SCHEMAS.values() for name, inner in fields(schema)}),
)
def test_a_field_follows_the_convention(name: str, schema: str) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", name)
    assert (json.loads(schema) in (TIME, maybe(TIME))) == (name == "at" or name.endswith("_at"))
    if name.endswith("_s"):
        assert json.loads(schema) in (COUNT, maybe(COUNT))
    if name == "price":
        assert json.loads(schema) in (PRICE, maybe(PRICE))
