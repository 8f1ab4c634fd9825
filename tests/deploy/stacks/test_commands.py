"""What the commands ask and print."""

import io
from collections.abc import Callable

import pytest

from deploy.errors import DeployError
from deploy.stacks import commands


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answer", "agreed"), [("yes\n", True), (" yes \n", True), ("y\n", False), ("YES\n", False), ("", False)]
)
def test_only_yes_confirms(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str, agreed: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    assert commands._confirmed("Delete all of it?", "deleted", yes=False) is agreed
    assert capsys.readouterr() == ("", "Delete all of it? Type yes: ")


def test_without_a_terminal_only_the_option_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert commands._confirmed("Delete all of it?", "deleted", yes=True)
    with pytest.raises(DeployError, match=r"^Nothing was deleted: there is no terminal to ask .* To confirm: --yes$"):
        commands._confirmed("Delete all of it?", "deleted", yes=False)


def test_outputs_are_sorted_columns(capsys: pytest.CaptureFixture[str]) -> None:
    commands._print_outputs({"Url": "u", "Name": "n"})
    commands._print_outputs({})
    assert capsys.readouterr().out == "Name  n\nUrl   u\n"


@pytest.mark.parametrize("check", [commands.status, commands.down])
def test_a_wrong_prefix_is_refused_before_aws_is_asked(check: Callable[..., int]) -> None:
    class Options:
        name_prefix = "-wrong"

    with pytest.raises(DeployError, match="NamePrefix"):
        check(Options())
