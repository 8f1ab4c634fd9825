"""What `orders cancel` and `orders erase` refuse before they ask AWS for anything."""

import click
import pytest
from click.testing import CliRunner

from workers.cli import cancel, erase, people
from workers.operations.stack import Stack


@pytest.mark.parametrize("command", [cancel.command, erase.command])
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "there is no terminal to ask for confirmation: use --yes"),
        (["--yes", "--actor", " "], "must be 1 to 128 characters"),
        (["--yes", "--actor", "x" * 129], "must be 1 to 128 characters"),
    ],
)
def test_wrong_options_are_bad_usage(command: click.Command, arguments: list[str], problem: str) -> None:
    ran = CliRunner().invoke(command, ["001", *arguments], obj=Stack(environ={}))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].endswith(problem)


def test_a_note_that_is_too_long_is_bad_usage() -> None:
    ran = CliRunner().invoke(cancel.command, ["001", "--yes", "--note", "x" * 1001], obj=Stack(environ={}))
    assert ran.stderr.splitlines()[-1] == "Error: the note must be 1 to 1000 characters"


def test_the_default_actor_is_the_login_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert people.login_name() == "grace"


@pytest.mark.parametrize("error", [KeyError("no such user"), OSError("no user")])
def test_without_a_login_name_the_actor_is_unknown(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", fail)
    assert people.login_name() == "unknown"
