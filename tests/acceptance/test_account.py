"""The confirmation of an account, and wrong arguments. Nothing is made before."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.errors import DeployError
from tests.acceptance import __main__ as command
from tests.acceptance import account as accounts
from tests.acceptance.account import Account, confirm

ACCOUNT = "123456789012"


def account(endpoint: str = "https://sts.eu-central-1.amazonaws.com") -> Account:
    def client(service: str) -> Any:
        raise AssertionError(f"{service} was called")

    return Account(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/tester", "eu-central-1", endpoint, client)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_given_account_is_confirmed_without_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = Terminal("rest")
    monkeypatch.setattr(sys, "stdin", typed)
    confirm(account(), ACCOUNT)
    assert typed.read() == "rest"


def test_another_account_is_refused() -> None:
    with pytest.raises(DeployError, match="points to account 123456789012, not to 210987654321"):
        confirm(account(), "210987654321")


def test_the_account_is_confirmed_by_typing_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = Terminal(f"{ACCOUNT}\nrest")
    monkeypatch.setattr(sys, "stdin", typed)
    confirm(account(), None)
    assert typed.read() == "rest", "it asked, and read one line"


@pytest.mark.parametrize("typed", ["", "\n", "yes\n", "210987654321\n", "12345678901\n"])
def test_anything_else_that_is_typed_is_no_confirmation(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    with pytest.raises(DeployError, match="Nothing was done"):
        confirm(account(), None)


def test_without_a_terminal_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{ACCOUNT}\n"))
    assert command.main([], account) == 1
    shown = capsys.readouterr().err
    # What it is about comes before the question.
    for text in (ACCOUNT, "user/tester", "eu-central-1", "at most about $", "1000 orders, 63 of which"):
        assert text in shown
    assert shown.splitlines()[-1].endswith(f"To confirm: make acceptance ACCOUNT={ACCOUNT}")


@pytest.mark.parametrize(
    "prefix", ["", "acceptance", "acceptance-", "acceptance-12345-", "acceptance-1a2b3c", "acceptance-1A2B3C-", "test-"]
)
def test_a_prefix_of_something_else_is_not_removed(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--account", ACCOUNT, "--clean", prefix], account) == 1
    assert "is not a prefix of this command, such as acceptance-1a2b3c-" in capsys.readouterr().err


def test_only_the_confirmed_account_is_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--account", "210987654321", "--clean", "acceptance-1a2b3c-"], account) == 1
    assert "Nothing was done" in capsys.readouterr().err


@pytest.mark.parametrize("orders", ["0", "-1", "1.5", "100001", "many", "²", ""])
def test_a_wrong_number_of_orders_is_one_line(orders: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([f"--orders={orders}"], account)
    assert ended.value.code == 2
    assert "must be a number from 1 to 100000" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("endpoint", "is_local"),
    [
        ("http://127.0.0.1:4566", True),
        ("http://localhost:4566", True),
        ("http://[::1]:4566", True),
        ("https://sts.amazonaws.com", False),
        ("https://127.0.0.1.example.com", False),
    ],
)
def test_a_local_aws_is_one_on_this_machine(endpoint: str, is_local: bool) -> None:
    assert account(endpoint).is_local is is_local
    assert ("(a local AWS)" in "\n".join(account(endpoint).lines())) is is_local


def test_a_report_that_cannot_be_written_is_found_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "versions", dict)  # It starts git.
    assert command.main(["--account", ACCOUNT, "--report", str(tmp_path)], account) == 1
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown == f"Nothing was done: the report cannot be written to {tmp_path}: Is a directory"


def test_a_text_that_is_in_no_fact_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise a run with a misspelled text would pass without a single fact."""
    assert command.main(["--account", ACCOUNT, "--facts", "sqss"], account) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "Nothing was done: no fact has 'sqss' in its id"
