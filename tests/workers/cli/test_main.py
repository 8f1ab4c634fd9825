"""Wrong usage of any command is one line that names what was wrong."""

import sys

import pytest

from workers.cli.__main__ import main

CARD = "4929123412345678"


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["orders", *arguments])
    code = main()
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sumbit"], "orders: No such command 'sumbit' (see `orders --help`)"),
        (["submit"], "orders submit: Missing argument 'FILE|-' (see `orders submit --help`)"),
        (
            ["submit", "-", "--submission", "0"],
            "orders submit: Invalid value for '--submission': 0 is not in the range 1<=x<=999999 (see `orders submit",
        ),
        (["submit", "-", "more"], "orders submit: Got unexpected extra argument (more)"),
        (["list", "--status", "FULFILLED"], "orders list: Invalid value for '--status': only open orders are listed"),
        (["show", "--log", CARD], "orders show: No such option '--log'. Did you mean '--logs'? (see `orders show"),
        (
            ["dead-letters", "replay"],
            "orders dead-letters replay: Missing argument '{fulfillment|escalation}'. Choose from: fulfillment, escal",
        ),
        (
            ["escalations", "resolve", "1", "cancel", "--actor", "ada", "--note", "x"],
            "orders escalations resolve: there is no terminal to ask for confirmation: use --yes",
        ),
        (["escalations", CARD], "orders escalations: No such command '****'"),
    ],
)
def test_wrong_usage_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(line)


def test_without_arguments_the_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert err.startswith("Usage: orders [OPTIONS] COMMAND")
