"""What a shell completes after a part of an `orders` command."""

import pytest
from click.shell_completion import ShellComplete

from tests.workers.cli.console import done, run
from workers.cli.app import orders
from workers.cli.completion import SHELLS, command


def completed(*words: str) -> list[str]:
    """Return what completes the last of *words*."""
    *before, incomplete = words
    return [item.value for item in ShellComplete(orders, {}, "orders", "").get_completions(before, incomplete)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["l"], ["list", "logs"]),
        (["esc"], ["escalate", "escalations"]),
        (["escalations", ""], ["list", "resolve", "show"]),
        (["dead-letters", "re"], ["replay"]),
        (["list", "--st"], ["--status", "--stuck"]),
        (["list", "--status", ""], ["RECEIVED", "ESCALATED", "FULFILLED", "CANCELLED"]),
        (["list", "--status", "esc"], ["ESCALATED"]),
        (["list", "--reason", "invalid"], ["INVALID_CARD_NUMBER", "INVALID_PRICE"]),
        (["dead-letters", "list", "--reason", "UNDEC"], ["UNDECODABLE_MESSAGE"]),
        (["dead-letters", "replay", ""], ["fulfillment", "escalation"]),
        (["dead-letters", "discard", "E"], ["escalation"]),
        (["dead-letters", "discard", "escalation", "--y"], ["--yes"]),
        (["dead-letters", "discard", "escalation", "--ex"], []),  # The former name of `--yes` is hidden.
        (["escalations", "list", "--state", ""], ["open", "resolved"]),
        (["escalations", "list", "--severity", "C"], ["critical"]),
        (["escalations", "list", "--by", "s"], ["severity", "source", "status"]),
        (["escalations", "resolve", "002", ""], ["resubmit", "fulfill", "cancel", "close"]),
        (["escalations", "resolve", "002", "re"], ["resubmit"]),
        (["escalations", "resolve", "--source", "w"], ["workflow"]),
        (["completion", ""], list(SHELLS)),
        (["cancel", ""], []),
    ],
)
def test_commands_options_and_words_are_completed(words: list[str], expected: list[str]) -> None:
    assert completed(*words) == expected


def test_names_of_files_are_left_to_the_shell() -> None:
    for words in (
        ["submit", "or"],
        ["logs", "or"],
        ["show", "001", "--logs", "or"],
        ["escalations", "resolve", "--from", "or"],
    ):
        (item,) = ShellComplete(orders, {}, "orders", "").get_completions(words[:-1], words[-1])
        assert (item.type, item.value) == ("file", "or"), words


def test_completing_a_command_imports_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr("workers.cli.app.importlib.import_module", fail)
    assert completed("li") == ["list"]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_of_a_shell_asks_orders(shell: str) -> None:
    script = done(orders, "completion", shell).stdout
    assert f"_ORDERS_COMPLETE={shell}_complete" in script
    assert script == f"{script.rstrip()}\n"


def test_another_shell_is_refused_with_those_there_are() -> None:
    ran = run(command, "powershell")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "'powershell' is not one of 'bash', 'zsh', 'fish'" in ran.stderr
