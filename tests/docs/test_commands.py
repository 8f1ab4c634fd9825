"""Every command on a page exists, with its options. tests/workers/cli/test_examples.py looks at those of `orders`."""

import re
import shlex

import click
import pytest

from deploy import command as deploy_command
from deploy.local import commands as local_commands
from deploy.local.aws import ROOT
from deploy.stacks import commands as stack_commands
from tests.bench import options as bench_options
from tests.docs.pages import PAGES, blocks, code, page
from tests.soak import options as soak_options
from workers.cli.app import orders
from workers.command import parser as worker_parser
from workers.console.command import command as console
from workers.kinds import Worker

TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
PYTHON = {"python", ".venv/bin/python"}
DEPLOY_COMMANDS = [
    *((stack_commands, name) for name in ("up", "down", "status")),
    *((local_commands, name) for name in ("local", "run", "demo")),
]
# Not ours, or plain shell.
FOREIGN = {
    ".",
    "aws",
    "docker",
    "eval",
    "export",
    "grep",
    "journalctl",
    "kubectl",
    "pip",
    "pytest",
    "sed",
    "until",
    "vault",
}


def lines(text: str) -> list[str]:
    """Return the commands of a page's blocks for shells, continued lines joined, comments left out."""
    shell = "\n".join(blocks(text, "sh")).replace("\\\n", " ").splitlines()
    shell += [line.removeprefix("$ ") for line in "\n".join(blocks(text, "console")).splitlines() if line[:2] == "$ "]
    return [line for line in shell if line.strip() and not line.startswith("#")]


SHOWN = [(name, line) for name in PAGES for line in lines(page(name))]


def words_of(line: str) -> list[str]:
    """Return the words of a command; none of a line that only sets a variable."""
    if re.match(r"[A-Z]+=(\$\(.*\)$|\S*$)", line):
        return []
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # Variables before a command.
        words = words[1:]
    return words


def check_arguments(module: str, arguments: list[str]) -> None:
    """Fail if an argument of the workers or the console is wrong."""
    if module == "workers":
        assert worker_parser().parse_args(arguments).worker in {*Worker, "run"}
    else:
        console.make_context(module, arguments)


@pytest.mark.parametrize(("name", "line"), SHOWN, ids=[f"{name}: {line}"[:90] for name, line in SHOWN])
def test_a_command_on_a_page_exists(name: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match words_of(line):
        case [] | ["orders", *_]:
            return
        case ["make", *targets]:
            assert {each for each in targets if "=" not in each} <= TARGETS
        case [python, "-m", "workers" | "workers.console" as started, *arguments] if python in PYTHON:
            check_arguments(started, arguments)
        case [python, "-m", "deploy", *arguments] if python in PYTHON:
            for module, command in DEPLOY_COMMANDS:
                monkeypatch.setattr(module, command, lambda *_: 0)
            # Exits with 2 if an argument is wrong.
            assert deploy_command.main([each for each in arguments if each != "..."]) == 0
        case [python, "-m", "tests.bench" | "tests.soak" as module, *arguments] if python in PYTHON:
            options = bench_options if module == "tests.bench" else soak_options
            assert options.parser().parse_args(arguments)  # Exits if an argument is wrong.
        case [python, "-m", module, *_] if python in PYTHON and module.startswith("tests."):
            assert (ROOT / f"{module.replace('.', '/')}.py").exists()
        case [python, "-m", "pytest", *paths] if python in PYTHON:
            assert paths
        case [program, *_]:
            assert program in FOREIGN, f"{name}: {line}"


@pytest.mark.parametrize("name", PAGES)
def test_commands_of_orders_that_sentences_name_exist(name: str) -> None:
    for named in code(page(name)):
        command: click.Command = orders
        words = named.split()[1:] if named.startswith("orders ") else []
        while isinstance(command, click.Group) and words and words[0] not in {"...", "--help"}:
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, named
            command = found


def test_pages_show_commands() -> None:
    assert len(SHOWN) > 40
