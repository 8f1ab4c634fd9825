"""The commands of `python -m deploy`: what each gets from the command line, and what ends it. Nothing is deployed."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoRegionError

import deploy.command
from deploy.aws import explained
from deploy.command import main
from deploy.errors import DeployError

STOPPED = "Interrupted. Everything was stopped\n"
INTERRUPTED = "Interrupted. AWS finishes what it has started. To look at it: python -m deploy status\n"


class Commands:
    """Stands for the modules with the commands. `called`: what was called with which options; *ends* may end it."""

    def __init__(self) -> None:
        self.called: list[tuple[str, Any]] = []
        self.end: Callable[[], int] = lambda: 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        def command(*given: Any) -> int:
            (options,) = given if given and isinstance(given[0], argparse.Namespace) else (given,)
            kept = ("command", "interrupted")
            shown = options if isinstance(options, tuple) else vars(options)
            self.called.append(
                (name, shown if isinstance(shown, tuple) else {k: v for k, v in shown.items() if k not in kept})
            )
            return self.end()

        command.__doc__ = f"What {name} does."
        return command


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    made = Commands()
    monkeypatch.setattr(deploy.command, "stack_commands", made)
    monkeypatch.setattr(deploy.command, "local_commands", made)
    return made


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (
            ["up"],
            (
                "up",
                {
                    "name_prefix": "",
                    "pipeline_only": False,
                    "parameter": [],
                    "tag": [],
                    "role_arn": None,
                    "yes": False,
                    "allow_replacement": False,
                },
            ),
        ),
        (
            [
                *("up", "--name-prefix", "test-", "--pipeline-only", "--yes", "--allow-replacement"),
                *("--parameter", "A=1", "--parameter", "B=2"),
                *("--tag", "team=a", "--tag", "cost=b", "--role-arn", "arn:role"),
            ],
            (
                "up",
                {
                    "name_prefix": "test-",
                    "pipeline_only": True,
                    "parameter": ["A=1", "B=2"],
                    "tag": ["team=a", "cost=b"],
                    "role_arn": "arn:role",
                    "yes": True,
                    "allow_replacement": True,
                },
            ),
        ),
        (["down"], ("down", {"name_prefix": "", "yes": False, "delete_data": False})),
        (
            ["down", "--name-prefix", "t-", "--yes", "--delete-data"],
            ("down", {"name_prefix": "t-", "yes": True, "delete_data": True}),
        ),
        (["status"], ("status", {"name_prefix": "", "as_json": False})),
        (["status", "--name-prefix", "t-"], ("status", {"name_prefix": "t-", "as_json": False})),
        (["status", "--json"], ("status", {"name_prefix": "", "as_json": True})),
        (["local"], ("local", (None, Path("state")))),
        (["local", "--port", "4567"], ("local", (4567, Path("state")))),
        (["run"], ("run", (None, Path("state")))),
        (["run", "--port", "1"], ("run", (1, Path("state")))),
        (["run", "--port", "65535"], ("run", (65535, Path("state")))),
        (["demo"], ("demo", ())),
    ],
)
def test_a_command_gets_its_options(commands: Commands, arguments: list[str], called: tuple[str, Any]) -> None:
    commands.end = lambda: 7
    assert main(arguments, Path("state")) == 7
    assert commands.called == [called]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "the following arguments are required: command"),
        (["upp"], "invalid choice: 'upp'"),
        (["run", "--port", "0"], "argument --port: 0 is not a port: must be 1 to 65535"),
        (["run", "--port", "65536"], "argument --port: 65536 is not a port: must be 1 to 65535"),
        (["local", "--port", "http"], "argument --port: invalid _port value: 'http'"),
        (["demo", "--port", "4567"], "unrecognized arguments: --port 4567"),
        (["down", "--pipeline-only"], "unrecognized arguments: --pipeline-only"),
        (["status", "--yes"], "unrecognized arguments: --yes"),
    ],
)
def test_wrong_usage_is_named(
    commands: Commands, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert problem in capsys.readouterr().err
    assert commands.called == []


def raising(error: BaseException) -> Callable[[], int]:
    def end() -> int:
        raise error

    return end


@pytest.mark.parametrize(
    ("command", "error", "ended"),
    [
        ("up", DeployError("There is no stack"), (1, "There is no stack\n")),
        ("up", NoRegionError(), (1, "No region: set AWS_REGION, or a region in your AWS profile.\n")),
        ("up", KeyboardInterrupt(), (130, INTERRUPTED)),
        ("down", KeyboardInterrupt(), (130, INTERRUPTED)),
        ("status", KeyboardInterrupt(), (130, "")),
        ("run", KeyboardInterrupt(), (130, "")),
        ("demo", KeyboardInterrupt(), (130, STOPPED)),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    commands: Commands, capsys: pytest.CaptureFixture[str], command: str, error: BaseException, ended: tuple[int, str]
) -> None:
    commands.end = raising(error)
    code, text = ended
    assert main([command]) == code
    assert capsys.readouterr() == ("", text)


def test_an_error_of_aws_is_explained(commands: Commands, capsys: pytest.CaptureFixture[str]) -> None:
    error = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "CreateStack")
    commands.end = raising(error)
    assert main(["up"]) == 1
    assert capsys.readouterr() == ("", f"{explained(error)}\n")


@pytest.mark.parametrize(
    ("number", "line"),
    [(errno.EPIPE, ""), (errno.ENOSPC, "standard output: No space left on device\n")],
)
def test_output_that_nobody_can_read_is_exit_code_1_and_at_most_one_line(
    commands: Commands, capsys: pytest.CaptureFixture[str], number: int, line: str
) -> None:
    commands.end = raising(OSError(number, os.strerror(number)))
    assert main(["status"]) == 1
    assert capsys.readouterr() == ("", line)


def test_an_error_of_the_system_that_is_not_about_output_is_a_bug(commands: Commands) -> None:
    commands.end = raising(FileNotFoundError(2, "No such file"))
    with pytest.raises(FileNotFoundError):
        main(["status"])


@pytest.mark.parametrize(("code", "line"), [(0, "standard output: No space left on device\n"), (3, "")])
def test_output_that_cannot_be_flushed_is_exit_code_1_and_one_line(
    commands: Commands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, code: int, line: str
) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full, monkeypatch.context() as patched:  # noqa: PTH123
        patched.setattr(sys, "stdout", full)
        commands.end = lambda: full.write("x") - 1 + code
        assert main(["status"]) == (code or 1)
    assert capsys.readouterr().err == line


def test_streams_that_the_caller_has_closed_are_empty(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # As with `<&-`.
    commands.end = lambda: len(sys.stdin.read())
    assert main(["status"]) == 0
    sys.stdin.close()


def test_sigterm_is_an_interruption_while_a_command_runs(commands: Commands) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def end() -> int:
        assert signal.getsignal(signal.SIGTERM) is not before
        signal.raise_signal(signal.SIGTERM)
        return 0

    commands.end = end
    assert main(["demo"]) == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_help_names_every_command_and_option(
    commands: Commands, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    helps = {}
    for command in ("", "up", "down", "status", "local", "run", "demo"):
        with pytest.raises(SystemExit, match="0"):
            main([*filter(None, [command]), "--help"])
        helps[command] = capsys.readouterr().out
    for command, text in (
        ("up", "create or update the stacks"),
        ("down", "delete the stacks and the tables"),
        ("status", "show the stacks and their contents"),
        ("local", "run a local AWS and the stack, for your own tests, until Ctrl-C"),
        ("run", "run a local AWS, the stack, both workers and the samples; show logs until Ctrl-C"),
        ("demo", "like run, but on throwaway state, and it stops by itself"),
    ):
        assert f" {command} {text} " in " ".join(helps[""].split())
        assert f"What {command} does." in helps[command]
        assert helps[command].startswith(f"usage: python -m deploy {command} ")
    assert helps[""].startswith("usage: python -m deploy [-h] command ...\n\nDeploy the order pipeline to AWS, or run")
    assert helps[""].endswith(deploy.command._EXAMPLES)
    for command, option in (
        ("up", "--name-prefix PREFIX  prefix of every resource name (default: none)"),
        ("up", "--pipeline-only       deploy without the workers on ECS"),
        ("up", "--parameter KEY=VALUE"),
        ("up", "--yes                 do not ask before a table or queue is changed"),
        ("up", "--allow-replacement   update even if a table or queue is replaced or removed"),
        ("down", "--yes                 do not ask before deleting"),
        ("down", "--delete-data         delete even if tables or queues are not empty, or executions are running"),
        ("run", "--port PORT  port of the local AWS on 127.0.0.1 (default: 4566 if it is free, else any free port)"),
    ):
        assert " ".join(option.split()) in " ".join(helps[command].split())
    assert commands.called == []
