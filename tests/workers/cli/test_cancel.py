"""What `orders cancel` and `orders erase` refuse, ask, do and print."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.workers.cli.console import done, rows
from workers.cli import cancel, erase, people
from workers.domain.orders import OrderStatus
from workers.domain.resolutions import Action, Request
from workers.operations.cancel import Cancelled
from workers.operations.erase import Erasure, Found
from workers.operations.remains import Remainder
from workers.operations.stack import Stack


@pytest.mark.parametrize("command", [cancel.command, erase.command])
@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--yes", "--actor", " "], "must be 1 to 128 characters"),
        (["--yes", "--actor", "x" * 129], "must be 1 to 128 characters"),
    ],
)
def test_wrong_options_are_bad_usage(command: click.Command, arguments: list[str], problem: str) -> None:
    ran = CliRunner().invoke(command, ["001", *arguments], obj=Stack(environ={}))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1].endswith(problem)


@pytest.mark.parametrize("command", [cancel.command, erase.command])
def test_without_a_terminal_nothing_is_done(monkeypatch: pytest.MonkeyPatch, command: click.Command) -> None:
    operations = Operations(monkeypatch)
    ran = CliRunner().invoke(command, ["001"], obj=Stack(environ={}))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1] == "Error: there is no terminal to ask for confirmation: use --yes"
    # A missing order is said first: --yes would not help.
    assert operations.done == ([("read", "001")] if command is cancel.command else [])


def test_an_order_that_is_cancelled_already_needs_no_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    Operations(monkeypatch, CANCELLED)
    assert done(cancel.command, "001").stdout.startswith("Order 001: already CANCELLED")


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


AT = "2026-11-22T11:59:30.123456Z"
RECEIVED = {"OrderId": "001", "Status": "RECEIVED", "Name": "Ada", "Price": "12.50", "CC": "****", "Attempts": 2}
ESCALATED = {"OrderId": "001", "Status": "ESCALATED", "ItemName": "Bicycle"}
CANCELLED = {"OrderId": "001", "Status": "CANCELLED", "UpdatedAt": AT, "CancelledBy": "bob"}


class Operations:
    """Stands for the work of both commands. `done`: what was asked for, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, order: dict[str, Any] = RECEIVED) -> None:
        self.done: list[Any] = []
        self.order = order
        self.reasons: list[str] | None = None
        self.cancelled: dict[str, Any] = {"closed_case": False}
        self.found = Found("001", order, [{"CaseId": "001"}, {"CaseId": "one"}])
        self.remains = [Remainder("backups", "the tables as they were", "35 days")]
        for name in ("read_to_cancel", "open_case", "cancel_order"):
            monkeypatch.setattr(f"workers.operations.cancel.{name}", getattr(self, name))
        for name in ("find_to_erase", "erase"):
            monkeypatch.setattr(f"workers.operations.erase.{name}", getattr(self, name))
        monkeypatch.setattr("workers.operations.remains.what_remains", self.what_remains)

    async def read_to_cancel(self, _stack: Stack, order_id: str) -> dict[str, Any]:
        self.done.append(("read", order_id))
        return self.order

    async def open_case(self, _stack: Stack, order_id: str) -> list[str] | None:
        self.done.append(("case", order_id))
        return self.reasons

    async def cancel_order(self, _stack: Stack, order_id: str, request: Request) -> Cancelled:
        self.done.append(("cancel", order_id, request))
        return Cancelled(order_id, OrderStatus(self.order["Status"]), self.order, **self.cancelled)

    async def find_to_erase(self, _stack: Stack, order_id: str, progress: Callable[[int], None]) -> Found:
        progress(1)
        self.done.append(("find", order_id))
        return self.found

    async def what_remains(self, _stack: Stack, found: Found) -> list[Remainder]:
        assert found is self.found
        return self.remains

    async def erase(self, _stack: Stack, found: Found, actor: str) -> Erasure:
        self.done.append(("erase", found.order_id, actor))
        return Erasure(found.order_id, AT, actor, [str(case["CaseId"]) for case in found.cases])


def at_terminal(monkeypatch: pytest.MonkeyPatch, command: click.Command, *arguments: str, given: str) -> Result:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _self: True, raising=False)
    # The progress bar would be between the lines.
    monkeypatch.setattr("workers.cli.erase.progress", lambda *_: nullcontext(lambda _done: None))
    return CliRunner().invoke(command, ["001", *arguments], obj=Stack(environ={}), input=given)


def test_an_order_is_cancelled_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    operations.cancelled = {"closed_case": True, "still_open": ("INVALID_PRICE", "ORDER_NOT_FOUND")}
    ran = done(cancel.command, "001", "--actor", "ada", "--note", "left", "--yes")
    assert (ran.stdout.splitlines(), ran.stderr) == (
        [
            "Order 001: CANCELLED",
            "Case 001: closed",
            "Case 001 is open: INVALID_PRICE, ORDER_NOT_FOUND",
            "Its shipment was tried 2 times and failed. If a failure was a timeout, ask the provider.",
        ],
        "",
    )
    request = Request(action=Action.CANCEL, actor="ada", note="left")
    assert operations.done == [("read", "001"), ("cancel", "001", request)]


@pytest.mark.parametrize(
    ("order", "line"),
    [
        (ESCALATED, "Order 001: CANCELLED"),
        (CANCELLED, "Order 001: already CANCELLED since 2026-11-22 11:59:30, by bob"),
        (CANCELLED | {"CancelledBy": None, "Attempts": 3}, "Order 001: already CANCELLED since 2026-11-22 11:59:30"),
        (ESCALATED | {"Attempts": 3}, "Order 001: CANCELLED"),
        (RECEIVED | {"Attempts": 0}, "Order 001: CANCELLED"),
    ],
)
def test_one_line_says_what_became_of_the_order(
    monkeypatch: pytest.MonkeyPatch, order: dict[str, Any], line: str
) -> None:
    operations = Operations(monkeypatch, order)
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    assert done(cancel.command, "001", "--yes").output == f"{line}\n"
    assert operations.done[-1][2] == Request(action=Action.CANCEL, actor="grace", note="no reason given")


def test_for_scripts_a_cancellation_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    expected: dict[str, Any] = {
        "order_id": "001",
        "changed": True,
        "status": "CANCELLED",
        "was": "RECEIVED",
        "closed_case": False,
        "open_case": [],
    }
    assert json.loads(done(cancel.command, "001", "--yes", "--json").stdout) == expected | {"attempts": 2}
    operations.order, operations.cancelled = ESCALATED, {"closed_case": True, "still_open": ("INVALID_PRICE",)}
    changes = {"was": "ESCALATED", "closed_case": True, "open_case": ["INVALID_PRICE"], "attempts": 0}
    assert json.loads(done(cancel.command, "001", "--yes", "--json").stdout) == expected | changes
    operations.order, operations.cancelled = CANCELLED, {"closed_case": False}
    changes = {"was": "CANCELLED", "changed": False, "attempts": 0}
    assert json.loads(done(cancel.command, "001", "--yes", "--json").stdout) == expected | changes


def test_a_person_confirms_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    operations.reasons = ["INVALID_PRICE", "WORKFLOW_FAILED"]
    ran = at_terminal(monkeypatch, cancel.command, "--actor", "ada", given="y\n")
    assert ran.stderr.splitlines()[:4] == [
        "Order 001: RECEIVED, case open: INVALID_PRICE, WORKFLOW_FAILED",
        "  Name      Ada",
        "  Price     12.50",
        "  Attempts  2",
    ]
    assert ran.stderr.splitlines()[4].startswith("Cancel it, by ada: no reason given? [y/N]: ")
    assert [step[0] for step in operations.done] == ["read", "case", "cancel"]
    operations.reasons = None
    ran = at_terminal(monkeypatch, cancel.command, given="n\n")
    assert (str(ran.exception), ran.stderr.splitlines()[0]) == ("nothing was done", "Order 001: RECEIVED")
    assert operations.done[-1] == ("case", "001")


@pytest.mark.parametrize(("order", "arguments"), [(CANCELLED, []), (RECEIVED, ["--yes"])])
def test_a_repeated_or_confirmed_cancellation_asks_nothing(
    monkeypatch: pytest.MonkeyPatch, order: dict[str, Any], arguments: list[str]
) -> None:
    operations = Operations(monkeypatch, order)
    assert at_terminal(monkeypatch, cancel.command, *arguments, given="").stderr == ""
    assert [step[0] for step in operations.done] == ["read", "cancel"]


AUDIT = {
    "timestamp": AT,
    "level": "info",
    "event": "order.erased",
    "order_id": "001",
    "actor": "ada",
    "cases": ["001", "one"],
}


def test_an_order_is_erased_and_what_remains_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    ran = done(erase.command, "001", "--actor", " ada ", "--yes")
    assert rows(ran.stdout) == [
        "Order 001: erased, with 2 cases",
        "What others keep of it:",
        "WHERE | WHAT | UNTIL",
        "backups | the tables as they were | 35 days",
    ]
    assert json.loads(ran.stderr) == AUDIT
    assert operations.done == [("find", "001"), ("erase", "001", "ada")]
    operations.found = Found("001", None, [{"CaseId": "001"}])
    assert rows(done(erase.command, "001", "--yes").stdout)[0] == "Order 001: erased, with 1 case"
    operations.found = Found("001", CANCELLED | {"ErasedAt": AT}, [])
    again = rows(done(erase.command, "001", "--actor", "ada", "--yes").stdout)
    assert again[:2] == ["Order 001: already erased at 2026-11-22 11:59:30 by ada", "What others keep of it:"]


@pytest.mark.parametrize("actor", ["x", "x" * 128])
def test_the_name_of_an_actor_has_1_to_128_characters(monkeypatch: pytest.MonkeyPatch, actor: str) -> None:
    operations = Operations(monkeypatch)
    done(erase.command, "001", "--actor", actor, "--yes")
    assert operations.done[-1] == ("erase", "001", actor)


def test_the_help_says_whose_name_counts() -> None:
    (given,) = (param for param in cancel.command.params if param.name == "actor")
    assert isinstance(given, click.Option)
    assert given.help == (
        "Who does it. Stored with the order. The default is your login name on this machine, or $ORDERS_ACTOR."
    )
    needed = click.Command("x", params=people.actor_option("here", required=True)(lambda: None).__click_params__)
    assert isinstance(needed.params[0], click.Option)
    assert needed.params[0].help == "Who does it. Stored here. Required, or $ORDERS_ACTOR."


def test_for_scripts_an_erasure_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    ran = done(erase.command, "001", "--actor", "ada", "--yes", "--json")
    document = {
        "order_id": "001",
        "changed": True,
        "actor": "ada",
        "erased_at": AT,
        "cases": ["001", "one"],
        "remains": [{"where": "backups", "what": "the tables as they were", "until": "35 days"}],
    }
    assert json.loads(ran.stdout) == document
    assert (json.loads(ran.stderr), ran.stderr.count("\n")) == (AUDIT, 1)
    operations.found = Found("001", CANCELLED | {"ErasedAt": AT}, [])
    again = done(erase.command, "001", "--actor", "ada", "--yes", "--json")
    assert json.loads(again.stdout) == document | {"changed": False, "cases": []}


def test_a_person_confirms_an_erasure(monkeypatch: pytest.MonkeyPatch) -> None:
    operations = Operations(monkeypatch)
    ran = at_terminal(monkeypatch, erase.command, given="n\n")
    assert (str(ran.exception), ran.stdout) == ("nothing was erased", "")
    assert ran.stderr.splitlines()[:3] == ["Order 001: RECEIVED", "  with case 001", "  with case one"]
    assert ran.stderr.splitlines()[3].startswith("Erase it for good? [y/N]: ")
    assert operations.done == [("find", "001")]
    operations.found = Found("001", None, [])
    ran = at_terminal(monkeypatch, erase.command, given="y\n")
    assert ran.stderr.splitlines()[0] == "Order 001: not in the table"
    assert operations.done[-1][0] == "erase"
