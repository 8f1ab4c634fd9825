"""What `orders escalations resolve` refuses, asks, does and prints."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.workers.cli.console import done, run
from tests.workers.cli.tables import FakeTables
from tests.workers.domain.examples import case
from tests.workers.fakes import ANOTHER, EXECUTION, order
from workers import clock
from workers.cli.output import CliError
from workers.cli.resolve import resolve_command
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.resolutions import Request
from workers.operations.stack import Stack

CARD = "4929123412345678"
AT = "2026-11-22T11:59:30.123456Z"
CASE = case(episode=2, order_id="001")
GIVEN = ("001", "--actor", "ada", "--note", "as agreed")
STORED = order("ESCALATED", name="Ada", item_name="Bicycle", price="-1", cc="************5678")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["resubmit", "--shipment-id", "S"], "resubmit takes no shipment id: only fulfill does"),
        (["cancel", "--shipment-id", "S"], "cancel takes no shipment id: only fulfill does"),
        (["cancel", "--price", "1"], "cancel does not correct the order: only resubmit does"),
        (["cancel", "--card-number-stdin"], "cancel does not correct the order: only resubmit does"),
        (["fulfill"], "fulfill needs a shipment id of 1 to 128 visible ASCII characters, without spaces"),
        (
            ["fulfill", "--shipment-id", f"S-{CARD}"],
            "the shipment id has 13 or more digits in a row: it would be masked like a card number",
        ),
        (["cancel", "--note", " "], "the note must be 1 to 1000 characters"),
        (["cancel", "--actor", "x" * 129], "the actor must be 1 to 128 characters"),
        (
            ["ship"],
            (
                "Invalid value for '[resubmit|fulfill|cancel|close]': 'ship' is not one of "
                "'resubmit', 'fulfill', 'cancel', 'close'."
            ),
        ),
    ],
)
def test_options_that_do_not_fit_the_action_are_bad_usage(arguments: list[str], problem: str) -> None:
    stack = Stack(environ={})
    given = ["001", "--actor", "ada", "--note", "as agreed", *arguments]
    ran = CliRunner().invoke(resolve_command, given, obj=stack)
    assert (ran.exit_code, ran.stdout, ran.stderr.splitlines()[-1]) == (2, "", f"Error: {problem}")


class Table(FakeTables):
    """A table whose case is closed by each request, except for *more* changes. `resolved`: what was asked for."""

    def __init__(self, closed: Case = CASE, **more: Any) -> None:
        super().__init__(closed)
        self.more = more
        self.resolved: list[tuple[str, Request, Mapping[str, str] | None]] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Table":
        super().install(monkeypatch)
        monkeypatch.setattr("workers.cli.resolve_one.resolve_case", self.resolve_case)
        return self

    async def resolve_case(
        self, _stack: Stack, case_id: str, request: Request, corrected: Mapping[str, str] | None
    ) -> None:
        self.resolved.append((case_id, request, corrected))
        arn = None if corrected is None else ANOTHER
        record = replace(request.record(2, AT), execution_arn=arn)
        changes = {"state": CaseState.RESOLVED, "resolutions": (record,)} | self.more
        self.cases[case_id] = replace(self.cases[case_id], **changes)


@pytest.fixture(name="table")
def _table(monkeypatch: pytest.MonkeyPatch) -> Table:
    table = Table().install(monkeypatch)
    table.orders["001"] = STORED
    return table


def at_terminal(monkeypatch: pytest.MonkeyPatch, *arguments: str, given: str, hidden: str = "") -> Result:
    """Run the command with a person who types *given*, and *hidden* at the hidden prompt."""

    def prompt(text: str, *, hide_input: bool, err: bool) -> str:
        assert (text, hide_input, err) == ("Card number (not shown)", True, True)
        return hidden

    monkeypatch.setattr("workers.cli.resolve_one.click.prompt", prompt)
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _self: True, raising=False)
    return CliRunner().invoke(resolve_command, [*GIVEN, *arguments], obj=Stack(environ={}), input=given)


def test_a_case_is_cancelled_and_reported(table: Table) -> None:
    ran = done(resolve_command, *GIVEN, "cancel", "--yes")
    assert (ran.stdout, ran.stderr) == ("Case 001: cancel by ada at 2026-11-22 11:59:30\n", "")
    ((case_id, request, corrected),) = table.resolved
    assert (case_id, corrected) == ("001", None)
    assert (request.action, request.actor, request.note, request.shipment_id) == ("cancel", "ada", "as agreed", None)
    assert request.episode == 2  # The one that was shown.


def test_an_order_is_fulfilled_with_its_shipment(table: Table) -> None:
    ran = done(resolve_command, *GIVEN, "fulfill", "--shipment-id", "S-4711", "--yes", "--json")
    assert table.resolved[0][1].shipment_id == "S-4711"
    assert json.loads(ran.stdout) == {
        "case_id": "001",
        "changed": True,
        "order_id": "001",
        "state": "RESOLVED",
        "episode": 2,
        "action": "fulfill",
        "actor": "ada",
        "at": AT,
        "execution_arn": None,
        "shipment_id": "S-4711",
    }


def test_a_corrected_order_is_resubmitted(table: Table) -> None:
    options = ("--price", "12.50", "--name", "Zoe", "--item-name", "Car", "--card-number-stdin", "--yes")
    ran = done(resolve_command, *GIVEN, "resubmit", *options, given="4929 1234-1234 5678\n")
    assert ran.output == "Case 001: resubmit by ada at 2026-11-22 11:59:30, as execution two\n"
    corrected = {"OrderId": "001", "Name": "Zoe", "ItemName": "Car", "Price": "12.50", "CC": CARD}
    assert table.resolved[0][2] == corrected


def test_an_order_that_no_table_has_is_resubmitted_from_the_options(table: Table) -> None:
    table.orders.clear()
    table.cases["001"] = replace(CASE, order_id=None)
    options = ("--price", "1", "--name", "Zoe", "--item-name", "Car", "--order-id", "9", "--card-number-stdin", "--yes")
    done(resolve_command, *GIVEN, "resubmit", *options, given=CARD)
    assert table.resolved[0][2] == {"OrderId": "9", "Name": "Zoe", "ItemName": "Car", "Price": "1", "CC": CARD}


def test_a_request_that_was_done_before_changes_nothing(table: Table) -> None:
    before = Resolution(action="resubmit", episode=2, actor="ada", note="x", at=AT, execution_arn=EXECUTION)
    table.cases["001"] = replace(CASE, state=CaseState.RESOLVED, resolutions=(before,))
    ran = done(resolve_command, *GIVEN, "resubmit", "--yes")
    assert ran.output.splitlines() == [
        "Case 001: resubmit by ada at 2026-11-22 11:59:30, as execution one",
        "Nothing was changed: that was done before. `orders show 001` says what came of it",
    ]
    answer = json.loads(done(resolve_command, *GIVEN, "resubmit", "--yes", "--json").stdout)
    assert (answer["changed"], answer["execution_arn"]) == (False, EXECUTION)
    assert (table.resolved, table.read) == ([], ["001"] * 4)


def test_a_case_that_another_person_has_resolved_is_refused(table: Table) -> None:
    before = Resolution(action="cancel", episode=2, actor="bob", note="x", at=AT)
    table.cases["001"] = replace(CASE, state=CaseState.RESOLVED, resolutions=(before,))
    ran = run(resolve_command, *GIVEN, "cancel", "--yes")
    assert str(ran.exception) == (
        f"the case is already resolved by bob at {clock.shown(AT)}: cancel; `orders show 001` says what came of it"
    )
    assert (ran.stdout, table.resolved) == ("", [])


def test_a_case_that_was_opened_again_is_said_to_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(state=CaseState.OPEN, episode=3, resolutions=()).install(monkeypatch)
    ran = done(resolve_command, *GIVEN, "cancel", "--yes")
    assert ran.stdout.splitlines() == ["Case 001: cancel", "It is open: INVALID_CARD_NUMBER (episode 3)"]
    table.cases["001"] = CASE
    answer = json.loads(done(resolve_command, *GIVEN, "cancel", "--yes", "--json").stdout)
    assert [answer[name] for name in ("state", "episode", "at", "execution_arn", "shipment_id")] == [
        *("OPEN", 3),
        *[None] * 3,
    ]


@pytest.mark.parametrize(
    ("stored", "options", "given", "problem"),
    [
        (True, [], CARD, "Price must be a price above 0 with at most two decimals; correct it with --price"),
        (True, ["--price", "1"], "12", "CC must be a card number of 16 digits"),
        (True, ["--price", "1" * 300], CARD, "malformed: Price"),
        (
            False,
            [],
            CARD,
            "order 001 is not in the table: to resubmit it, give --name, --item, --price",
        ),
    ],
)
def test_an_order_that_cannot_be_resubmitted_names_the_options(
    table: Table, stored: bool, options: list[str], given: str, problem: str
) -> None:
    if not stored:
        table.orders.clear()
    arguments = [*GIVEN, "resubmit", "--card-number-stdin", "--yes", *options]
    ran = run(resolve_command, *arguments, given=given)
    assert (ran.exit_code, ran.stdout, ran.stderr.splitlines()[-1]) == (2, "", f"Error: {problem}")
    assert table.resolved == []


def test_without_a_terminal_the_card_number_comes_from_standard_input_only(table: Table) -> None:
    ran = run(resolve_command, *GIVEN, "resubmit", "--price", "1", "--yes", given=CARD)
    problem = "there is no terminal to ask for the card number: use --card-number-stdin"
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (2, f"Error: {problem}")
    ran = run(resolve_command, *GIVEN, "resubmit", "--card-number-stdin")
    problem = "there is no terminal to ask for confirmation: use --yes"
    assert (ran.exit_code, ran.stderr.splitlines()[-1]) == (2, f"Error: {problem}")
    assert table.resolved == []


def test_no_more_than_a_card_number_is_read(table: Table) -> None:
    options = ("--price", "1", "--card-number-stdin", "--yes")
    ran = run(resolve_command, *GIVEN, "resubmit", *options, given=f"{CARD}{' ' * 984}1")
    assert (ran.exit_code, len(table.resolved)) == (0, 1)
    ran = run(resolve_command, *GIVEN, "resubmit", *options, given=f"{' ' * 984}{CARD}")
    assert len(table.resolved) == 1, ran.output


def test_a_person_confirms_what_is_shown(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    ran = at_terminal(monkeypatch, "resubmit", "--price", "12.50", given="y\n", hidden=CARD)
    assert ran.exit_code == 0, ran.output
    *shown, question = ran.stderr.splitlines()
    assert shown == [
        "Case 001, episode 2: INVALID_CARD_NUMBER",
        "  order     001, ESCALATED",
        "  OrderId   001",
        "  Name      Ada",
        "  ItemName  Bicycle",
        "  Price     12.50 (was -1)",
        "  CC        ends in 5678",
        "  by        ada: as agreed",
    ]
    assert question.startswith("Resubmit? [y/N]: ")
    assert len(table.resolved) == 1
    assert CARD not in ran.output


def test_a_person_who_says_no_changes_nothing(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    table.orders.clear()
    ran = at_terminal(monkeypatch, "cancel", given="n\n")
    assert isinstance(ran.exception, CliError)
    assert (str(ran.exception), ran.exception.exit_code, ran.stdout) == ("nothing was done", 1, "")
    assert ran.stderr.splitlines()[:3] == [
        "Case 001, episode 2: INVALID_CARD_NUMBER",
        "  order     not in the table",
        "  by        ada: as agreed",
    ]
    assert table.resolved == []


def test_the_shipment_is_confirmed(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    ran = at_terminal(monkeypatch, "fulfill", "--shipment-id", "S-1", given="y\n")
    assert "  shipment  S-1" in ran.stderr.splitlines()
    assert len(table.resolved) == 1


def test_with_yes_nothing_is_asked_at_a_terminal(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    ran = at_terminal(monkeypatch, "cancel", "--yes", given="")
    assert (ran.stderr, len(table.resolved)) == ("", 1)


def test_a_terminal_is_not_standard_input_for_a_card_number(monkeypatch: pytest.MonkeyPatch, table: Table) -> None:
    ran = at_terminal(monkeypatch, "resubmit", "--price", "1", "--card-number-stdin", "--yes", given=CARD)
    assert ran.stderr.splitlines()[-1] == (
        "Error: standard input is a terminal: leave out --card-number-stdin to get a hidden prompt"
    )
    assert table.resolved == []


def test_without_a_terminal_a_case_is_looked_up_first(table: Table) -> None:
    ran = run(resolve_command, *GIVEN, "cancel")
    assert (ran.exit_code, table.resolved) == (2, [])
    assert ran.stderr.splitlines()[-1] == "Error: there is no terminal to ask for confirmation: use --yes"
    missing = run(resolve_command, "nosuch", *GIVEN[1:], "cancel")
    assert str(missing.exception).startswith("there is no case 'nosuch'")


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ([], "--actor NAME and --note TEXT"),
        (["--actor", "ada"], "--note TEXT"),
        (["--note", "as agreed"], "--actor NAME"),
    ],
)
def test_a_missing_actor_and_a_missing_note_are_named_together(given: list[str], missing: str) -> None:
    ran = CliRunner().invoke(resolve_command, ["001", "cancel", *given], obj=Stack(environ={}))
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[-1] == f"Error: missing {missing}: stored on the case"
