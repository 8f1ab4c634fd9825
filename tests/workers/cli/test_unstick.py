"""What `orders requeue` and `orders escalate` refuse, ask, do and print."""

import json
from typing import Any

import click
import pytest

from tests.workers.cli.console import done, run
from workers.cli import escalate, requeue
from workers.operations.unstick import Sent

ORDER = {"OrderId": "001", "Status": "RECEIVED", "UpdatedAt": "2026-11-22T11:59:30Z"}


class Operations:
    """Stands for the work of both commands. `done`: what was asked for, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, reasons: list[str] | None = None, waiting: int = 0) -> None:
        self.done: list[Any] = []

        async def send(_stack: Any, order_id: str) -> Sent:
            self.done.append(("requeue", order_id))
            return Sent(order_id, "Orders", "m-1", waiting)

        async def read(_stack: Any, _order_id: str) -> Any:
            return ORDER, reasons

        async def report(_stack: Any, order: Any, actor: str, why: str) -> Sent:
            self.done.append(("escalate", order["OrderId"], actor, why))
            return Sent(order["OrderId"], "Escalations", "m-2", waiting)

        for name, fake in (("requeue", send), ("read_to_escalate", read), ("escalate", report)):
            monkeypatch.setattr(f"workers.operations.unstick.{name}", fake)


def test_requeue_says_what_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    Operations(monkeypatch)
    assert done(requeue.command, "001").stdout == "Order 001: its message was sent to Orders again (m-1)\n"
    Operations(monkeypatch, waiting=3)
    assert done(requeue.command, "001").stdout.splitlines()[1:] == [
        "About 3 messages are there already. If its own is one of them, that does no harm"
    ]
    found = json.loads(done(requeue.command, "001", "--json").stdout)
    assert found == {"order_id": "001", "changed": True, "queue": "Orders", "message_id": "m-1"}


def test_escalate_says_what_was_sent_and_what_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    ran = done(escalate.command, "001", "--yes", "--actor", " ada ", "--note", " lost ")
    assert ran.stdout.splitlines() == [
        "Order 001: escalated as ORDER_STUCK (m-2)",
        "Its case is there as soon as a worker has handled that message: `orders show 001`",
    ]
    assert operations.done == [("escalate", "001", "ada", "lost")]
    found = json.loads(done(escalate.command, "001", "--yes", "--note", "lost", "--json").stdout)
    assert found == {"order_id": "001", "changed": True, "message_id": "m-2"}


def test_an_open_case_is_not_reported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch, ["INVALID_PRICE"])
    ran = done(escalate.command, "001", "--note", "lost")
    assert ran.stdout == "Nothing was changed: order 001 is escalated, and its case is open: INVALID_PRICE\n"
    found = json.loads(done(escalate.command, "001", "--note", "lost", "--json").stdout)
    assert found == {"order_id": "001", "changed": False, "message_id": None}
    assert operations.done == []


def test_escalate_asks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    arguments = ("001", "--actor", "ada", "--note", "lost")
    ran = run(escalate.command, *arguments)
    assert ran.exit_code == 2
    assert "there is no terminal to ask for confirmation: use --yes" in ran.stderr
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _self: True, raising=False)
    ran = run(escalate.command, *arguments, given="n\n")
    assert str(ran.exception) == "nothing was done"
    assert ran.stderr.startswith("Order 001: RECEIVED since 2026-11-22 11:59:30\nEscalate it, by ada: lost? [y/N]:")
    assert operations.done == []
    done(escalate.command, *arguments, given="y\n")
    assert operations.done == [("escalate", "001", "ada", "lost")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--yes"], "Missing option '--note'"),
        (["--yes", "--note", " "], "must be 1 to 1000 characters"),
        (["--yes", "--note", "x" * 1001], "must be 1 to 1000 characters"),
        (["--yes", "--note", "x", "--actor", ""], "must be 1 to 128 characters"),
        (["--yes", "--note", "x", "--actor", "x" * 129], "must be 1 to 128 characters"),
    ],
)
def test_wrong_options_are_bad_usage(monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str) -> None:
    operations = Operations(monkeypatch)
    ran = run(escalate.command, "001", *arguments)
    assert (ran.exit_code, operations.done) == (2, [])
    assert problem in ran.stderr


@pytest.mark.parametrize("command", [requeue.command, escalate.command])
def test_the_help_says_when_to_use_the_other(command: click.Command) -> None:
    shown = " ".join(done(command, "--help").stdout.split())
    assert "verif" in shown
