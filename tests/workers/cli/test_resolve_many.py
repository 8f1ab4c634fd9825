"""What `orders escalations resolve` shows, asks, does and prints if it is about many cases."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.workers.cli.console import rows, run
from tests.workers.cli.tables import FakeTables
from tests.workers.domain.examples import case
from tests.workers.fakes import order
from tests.workers.operations.fakes import fake_stack
from workers.cli.resolve import resolve_command
from workers.cli.resolve_many import MANY
from workers.domain.cases import CaseState
from workers.domain.reasons import Reason, Severity, Source
from workers.domain.resolutions import Action, Request
from workers.operations.errors import OperationError
from workers.operations.resolve_many import Plan, Step

CARD = "4929123412345678"
WHO = ("--actor", "ada", "--note", "as agreed")


class Desk:
    """Three open cases, of orders of these ids. `done`: what was resolved, in order. Cases in `refused` fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        cases = [case(case_id=each, order_id=each) for each in ("1", "2", "3")]
        cases[1] = replace(cases[1], severity=Severity.CRITICAL, reasons=(Reason.INVALID_PRICE,))
        cases[2] = replace(cases[2], sources=(Source.FULFILLMENT,), opened_at="2026-11-22T11:59:30.000000Z")
        self.tables = FakeTables(*cases).install(monkeypatch)
        for each in ("1", "2", "3"):
            self.tables.orders[each] = order("ESCALATED", order_id=each, name="Ada", item_name="Bicycle", price="-1")
        self.refused: set[str] = set()
        self.unavailable: set[str] = set()
        self.interrupted_at: str | None = None
        self.interruption: BaseException = KeyboardInterrupt()
        self.done: list[tuple[str, Request, Mapping[str, str] | None]] = []
        monkeypatch.setattr("workers.operations.resolve_many.carry_out", self._carry_out)
        self._monkeypatch = monkeypatch

    async def _carry_out(self, _stack: Any, planned: Plan, **_: Any) -> None:
        for step in planned.open:
            if step.decision.case_id == self.interrupted_at:
                raise self.interruption
            self._do(step)

    def _do(self, step: Step) -> None:
        case_id = step.decision.case_id
        if case_id in self.refused:
            step.problem = str(OperationError("others are changing it"))
            return
        if case_id in self.unavailable:
            step.problem, step.can_repeat = "DynamoDB is down", True
            return
        self.done.append((case_id, step.decision.request, step.corrected))
        step.is_resolved = True

    @property
    def resolved(self) -> list[str]:
        return [case_id for case_id, *_ in self.done]

    def run(self, *arguments: str, given: str | None = None) -> Result:
        return run(resolve_command, *arguments, stack=fake_stack(), given=given)

    def at_terminal(self, *arguments: str, given: str, hidden: tuple[str, ...] = ()) -> Result:
        """Run the command with a person who types *given*, and *hidden* at the hidden prompts."""
        answers = iter(hidden)

        def prompt(text: str, **options: Any) -> str:
            assert options["hide_input"]
            assert options["err"]
            assert (options["default"], options["show_default"]) == ("", False)
            assert text.startswith("Card number for ")
            return next(answers)

        self._monkeypatch.setattr("workers.cli.resolve_many.click.prompt", prompt)
        self._monkeypatch.setattr(
            "click.testing._NamedTextIOWrapper.isatty", lambda stream: stream.name == "<stdin>", raising=False
        )
        return self.run(*arguments, given=given)


@pytest.fixture(name="desk")
def _desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv("ORDERS_ACTOR", raising=False)
    return Desk(monkeypatch)


@contextmanager
def descriptor(text: str) -> Iterator[int]:
    """Yield a file descriptor from which *text* is read."""
    ours, theirs = os.pipe()
    try:
        os.write(theirs, text.encode())
        os.close(theirs)
        yield ours
    finally:
        os.close(ours)


def test_named_cases_are_resolved_and_each_is_reported(desk: Desk) -> None:
    ran = desk.run("1", "2", "1", "cancel", *WHO, "--yes")
    assert rows(ran.stdout) == [
        "CASE | ACTION | OUTCOME | PROBLEM",
        "1 | cancel | resolved | -",
        "2 | cancel | resolved | -",
    ]
    assert (ran.exit_code, ran.stderr) == (0, "2 resolved\n")
    assert ran.output == f"{ran.stdout}{ran.stderr}"  # The sum stands below the table.
    assert [(case_id, request.action, request.note) for case_id, request, _ in desk.done] == [
        ("1", Action.CANCEL, "as agreed"),
        ("2", Action.CANCEL, "as agreed"),
    ]


@pytest.mark.parametrize(
    ("selection", "resolved"),
    [
        (["--reason", "invalid_price"], ["2"]),
        (["--severity", "Critical"], ["2"]),
        (["--source", "fulfillment"], ["3"]),
        (["--older-than", "60s"], ["2", "1"]),
        (["--since", "60s"], ["3"]),
        (["--since", "60s", "--reason", "INVALID_PRICE"], []),
    ],
)
def test_open_cases_are_selected(desk: Desk, selection: list[str], resolved: list[str]) -> None:
    ran = desk.run("cancel", *selection, *WHO, "--yes")
    assert (ran.exit_code, desk.resolved) == (0, resolved)
    assert ran.stderr == (f"{len(resolved)} resolved\n" if resolved else "no open case matches: nothing was done\n")


def test_edited_cases_are_named_and_left_out(desk: Desk) -> None:
    desk.tables.edited = ["9"]
    ran = desk.run("cancel", "--reason", "INVALID_PRICE", *WHO, "--yes")
    assert ran.stderr.splitlines()[0] == "orders: case 9 cannot be read: it was edited in the table"


def test_what_fails_is_said_and_the_others_are_done(desk: Desk) -> None:
    desk.refused = {"2"}
    desk.tables.orders["3"] = order("FULFILLED", order_id="3")
    ran = desk.run("1", "2", "3", "cancel", *WHO, "--yes")
    assert rows(ran.stdout)[1:] == [
        "1 | cancel | resolved | -",
        "2 | cancel | failed | others are changing it",
        "3 | cancel | failed | the order is already FULFILLED; close closes its case",
    ]
    assert ran.stderr == "1 resolved, 2 failed\n"
    assert (ran.exit_code, str(ran.exception)) == (
        1,
        "2 failed: the problem of each is above",
    )


def test_what_may_succeed_later_is_to_be_repeated(desk: Desk) -> None:
    desk.unavailable = {"2"}
    ran = desk.run("1", "2", "unknown", "cancel", *WHO, "--yes")
    assert ran.stderr == "1 resolved, 2 failed\n"
    assert (ran.exit_code, str(ran.exception)) == (
        1,
        "not everything is done; repeat the command to do the rest: what is done is not done again",
    )


def test_for_scripts_the_report_is_json(desk: Desk) -> None:
    desk.refused = {"2"}
    ran = desk.run("1", "2", "cancel", *WHO, "--yes", "--json")
    assert json.loads(ran.stdout) == [
        {"case_id": "1", "order_id": "1", "action": "cancel", "actor": "ada", "outcome": "resolved", "problem": None},
        {
            "case_id": "2",
            "order_id": "2",
            "action": "cancel",
            "actor": "ada",
            "outcome": "failed",
            "problem": "others are changing it",
        },
    ]


def test_a_person_confirms_what_is_shown(desk: Desk) -> None:
    desk.tables.orders["3"] = order("RECEIVED", order_id="3", name="Zoe", item_name="Car", price="3")
    asked = desk.at_terminal("1", "3", "cancel", *WHO, given="n\n")
    assert rows(asked.stderr)[:3] == [
        "CASE | ORDER | NAME | ITEM | PRICE | ACTION | NOTE",
        "1 | ESCALATED | Ada | Bicycle | -1 | cancel | as agreed",
        "3 | RECEIVED | Zoe | Car | 3 | nothing: the order is RECEIVED: it is in progress, not escalated | as agreed",
    ]
    assert "Resolve 1 case (1 not)? [y/N]: " in asked.stderr
    assert (str(asked.exception), desk.done) == ("nothing was done", [])
    desk.at_terminal("1", "2", "cancel", *WHO, given="y\n")
    assert desk.resolved == ["1", "2"]


def test_a_dry_run_shows_what_would_be_done_and_changes_nothing(desk: Desk) -> None:
    desk.tables.orders["3"] = order("RECEIVED", order_id="3", name="Zoe", item_name="Car", price="3")
    ran = desk.run("1", "3", "cancel", *WHO, "--dry-run")
    assert rows(ran.stdout) == [
        "CASE | ORDER | NAME | ITEM | PRICE | ACTION | NOTE",
        "1 | ESCALATED | Ada | Bicycle | -1 | cancel | as agreed",
        "3 | RECEIVED | Zoe | Car | 3 | nothing: the order is RECEIVED: it is in progress, not escalated | as agreed",
    ]
    assert ran.stderr == "1 would be resolved, 1 would fail; this was a dry run: nothing was changed\n"
    assert (ran.exit_code, str(ran.exception)) == (1, "1 would fail: the problem of each is above")
    assert desk.done == []


def test_a_dry_run_is_json_for_scripts(desk: Desk) -> None:
    ran = desk.run("1", "unknown", "cancel", *WHO, "--dry-run", "--yes", "--json")
    assert [each["outcome"] for each in json.loads(ran.stdout)] == ["would be resolved", "would fail"]
    assert desk.done == []


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (["cancel", "--reason", "INVALID_PRICE"], 1),
        (["cancel", "--severity", "info"], 0),
        (["1", "fulfill", "--shipment-id", "S-1"], 1),
        (["1", "2", "resubmit", "--price", "5"], 2),
        (["1", "resubmit", "--price", "5", "--card-number-stdin"], 1),
    ],
)
def test_a_dry_run_needs_no_terminal_and_no_card_number(desk: Desk, arguments: list[str], number: int) -> None:
    ran = desk.run(*arguments, *WHO, "--dry-run")
    assert (ran.exit_code, desk.done) == (0, [])
    assert ran.stderr.startswith(f"{number} would be resolved; " if number else "no open case matches: ")


def test_a_file_can_be_looked_at_before(desk: Desk) -> None:
    given = f"case_id,action,price,cc\n1,resubmit,5,{CARD}\n2,resubmit,,\n"
    ran = desk.run("--from", "-", *WHO, "--dry-run", given=given)
    assert [line.split(" | ")[4:6] for line in rows(ran.stdout)[1:]] == [
        ["5 (was -1)", "resubmit"],
        ["-1", "nothing: Price must be a price above 0 with at most two decimals (correct Price)"],
    ]
    assert desk.done == []
    assert CARD not in ran.output


def test_each_card_number_is_asked_for(desk: Desk) -> None:
    ran = desk.at_terminal(
        "1", "2", "3", "resubmit", "--price", "5", *WHO, given="y\n", hidden=("12", CARD, "", "4929 1234 1234 5678")
    )
    assert "orders: CC must be a card number of 16 digits" in ran.stderr
    assert [(case_id, corrected and corrected["CC"]) for case_id, _, corrected in desk.done] == [
        ("1", CARD),
        ("3", CARD),
    ]
    assert "2 | resubmit | failed | no card number was given" in rows(ran.stdout)
    assert CARD not in ran.output


def test_card_numbers_are_read_from_a_descriptor(desk: Desk) -> None:
    with descriptor(f"1,{CARD}\n2,12\n") as number:
        ran = desk.run("1", "2", "3", "resubmit", "--price", "5", "--card-numbers-fd", str(number), *WHO, "--yes")
    assert [(case_id, corrected and corrected["CC"]) for case_id, _, corrected in desk.done] == [("1", CARD)]
    assert rows(ran.stdout)[2:] == [
        "2 | resubmit | failed | CC must be a card number of 16 digits",
        f"3 | resubmit | failed | --card-numbers-fd {number} has no card number for it",
    ]
    assert CARD not in ran.output


def test_a_descriptor_that_is_not_open_is_bad_usage(desk: Desk) -> None:
    with descriptor("") as number:
        pass
    ran = desk.run("1", "2", "resubmit", "--price", "5", "--card-numbers-fd", str(number), *WHO, "--yes")
    assert (ran.exit_code, desk.done) == (2, [])
    assert f"--card-numbers-fd {number} cannot be read: " in ran.stderr


def test_a_file_has_decisions_for_many_cases(desk: Desk, tmp_path: Any) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("Case ID,Action,Shipment ID,Severity\n1,fulfill,S-1,info\n2,cancel,,\n3,,,\n")
    ran = desk.run("--from", str(path), *WHO, "--yes")
    assert ran.stderr == "columns that are not used: Severity\n2 resolved\n"
    assert [(case_id, request.action, request.shipment_id) for case_id, request, _ in desk.done] == [
        ("1", "fulfill", "S-1"),
        ("2", "cancel", None),
    ]


def test_standard_input_may_have_card_numbers(desk: Desk) -> None:
    given = f"case_id,action,price,cc\n1,resubmit,5,{CARD}\n2,cancel,,\n"
    ran = desk.run("--from", "-", *WHO, "--yes", given=given)
    assert (ran.exit_code, desk.resolved) == (0, ["1", "2"])
    assert (desk.done[0][2] or {})["CC"] == CARD
    assert CARD not in ran.output


def test_a_wrong_file_does_nothing(desk: Desk, tmp_path: Any) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("case_id,action\n1,cancel\n2,ship\n")
    ran = desk.run("--from", str(path), *WHO, "--yes")
    assert (ran.exit_code, desk.done) == (1, [])
    assert str(ran.exception) == (
        f"{path}: nothing was done: line 3: action is none of resubmit, fulfill, cancel, close"
    )


def test_cases_that_are_resolved_already_need_no_confirmation(desk: Desk) -> None:
    record = Request(action=Action.CANCEL, actor="ada", note="x").record(1, "2026-11-22T11:00:00Z")
    for each in ("1", "2"):
        closed = replace(desk.tables.cases[each], state=CaseState.RESOLVED, resolutions=(record,))
        desk.tables.cases[each] = closed
    ran = desk.run("1", "2", "cancel", *WHO)
    assert (ran.exit_code, ran.stderr, desk.done) == (0, "0 resolved, 2 unchanged\n", [])


INTERRUPTED = "interrupted: 1 resolved, 1 not tried; repeat the command to do the rest: what is done is not done again"


def test_an_interruption_says_what_is_done(desk: Desk) -> None:
    desk.interrupted_at = "2"
    ran = desk.run("1", "2", "cancel", *WHO, "--yes")
    assert rows(ran.stdout)[1:] == ["1 | cancel | resolved | -", "2 | cancel | not tried | -"]
    assert str(ran.exception) == INTERRUPTED


def test_an_interruption_prints_the_report_for_scripts_too(desk: Desk) -> None:
    desk.interrupted_at = "2"
    ran = desk.run("1", "2", "cancel", *WHO, "--yes", "--json")
    assert [(each["case_id"], each["outcome"]) for each in json.loads(ran.stdout)] == [
        ("1", "resolved"),
        ("2", "not tried"),
    ]
    assert str(ran.exception) == INTERRUPTED


def test_any_other_end_prints_the_report_too(desk: Desk) -> None:
    desk.interrupted_at, desk.interruption = "2", OperationError("there is no table")
    ran = desk.run("1", "2", "cancel", *WHO, "--yes")
    assert rows(ran.stdout)[1:] == ["1 | cancel | resolved | -", "2 | cancel | not tried | -"]
    assert str(ran.exception) == "there is no table"


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_an_interruption_before_anything_was_done_prints_no_report(desk: Desk, form: list[str]) -> None:
    desk.interrupted_at = "1"
    ran = desk.run("1", "2", "cancel", *WHO, "--yes", *form)
    assert ran.stdout == ""
    assert str(ran.exception).startswith("interrupted: 0 resolved, 2 not tried; repeat the command")


@pytest.mark.parametrize(("count", "always"), [(MANY - 1, False), (MANY, True)])
def test_many_cases_are_counted_without_a_terminal_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, count: int, *, always: bool
) -> None:
    asked: list[bool] = []

    def noted(*_: Any, always: bool) -> AbstractContextManager[Any]:
        asked.append(always)
        return nullcontext(lambda _: None)

    monkeypatch.setattr("workers.cli.resolve_many.progress", noted)
    ids = [str(number) for number in range(count)]
    desk.tables.cases |= {each: case(case_id=each, order_id="1") for each in ids}
    desk.run(*ids, "cancel", *WHO, "--yes")
    assert asked == [always, always]


def test_the_actor_may_come_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERS_ACTOR", "grace")
    desk.run("1", "2", "cancel", "--note", "x", "--yes")
    assert [request.actor for _, request, _ in desk.done] == ["grace", "grace"]
    desk.run("1", "2", "cancel", "--note", "x", "--yes", "--actor", "ada")
    assert [request.actor for _, request, _ in desk.done[2:]] == ["ada", "ada"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "missing the action: resubmit, fulfill, cancel, close"),
        (["cancel"], "which cases? Name them, select them with an option such as --reason, or use --from"),
        (["1", "cancel", "--reason", "INVALID_PRICE"], "name the cases, or select them with options, but not both"),
        (["1", "cancel", "--from", "-"], "--from has the cases and actions: name no others"),
        (["--from", "-", "--reason", "INVALID_PRICE"], "--from has the cases and actions: name no others"),
        *(
            (["--from", "-", *more], "--from takes corrections, shipment ids and card numbers from the file")
            for more in (["--price", "1"], ["--shipment-id", "s"], ["--card-number-stdin"])
        ),
        (["1", "2", "resubmit", "--card-number-stdin"], "--card-number-stdin is for one case: use --card-numbers-fd"),
        (["1", "2", "fulfill", "--shipment-id", "S"], "several cases cannot have the same order or shipment id: use"),
        (["1", "2", "resubmit", "--order-id", "7"], "several cases cannot have the same order or shipment id: use"),
        (
            ["1", "resubmit", "--card-number-stdin", "--card-numbers-fd", "3"],
            "--card-number-stdin is for one case: use",
        ),
        (["1", "2", "cancel", "--card-numbers-fd", "3"], "cancel does not correct the order: only resubmit does"),
        (["1", "2", "cancel"], "there is no terminal to ask for confirmation: use --yes"),
        (["1", "2", "resubmit", "--price", "1", "--yes"], "there is no terminal to ask for the card numbers: use"),
    ],
)
def test_wrong_options_do_nothing(desk: Desk, arguments: list[str], problem: str) -> None:
    ran = desk.run(*arguments, *WHO, given="case_id,action\n1,cancel\n")
    assert (ran.exit_code, desk.done) == (2, [])
    assert problem in ran.stderr


def test_a_file_needs_an_actor(desk: Desk) -> None:
    ran = desk.run("--from", "-", "--yes", given="case_id,action\n1,cancel\n")
    assert "missing --actor NAME (or $ORDERS_ACTOR): stored on the case" in ran.stderr


FILE = "case_id,action\n1,cancel\n"


def test_a_file_may_have_64_mb(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.cli.resolve_many.MAX_FILE_BYTES", len(FILE))
    assert desk.run("--from", "-", *WHO, "--yes", given=FILE).exit_code == 0
    monkeypatch.setattr("workers.cli.resolve_many.MAX_FILE_BYTES", len(FILE) - 1)
    ran = desk.run("--from", "-", *WHO, "--yes", given=FILE)
    assert str(ran.exception) == "standard input is longer than 64 MB: divide it"


def test_a_person_confirms_a_file_but_not_one_on_standard_input(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    path.write_text(FILE, encoding="utf-8")
    assert desk.at_terminal("--from", str(path), *WHO, given="y\n").exit_code == 0
    assert desk.resolved == ["1"]
    assert desk.at_terminal("--from", "-", *WHO, given=FILE).exit_code == 2
    assert desk.resolved == ["1"]


def test_a_card_number_that_is_missing_leaves_out_one_case(desk: Desk) -> None:
    with descriptor(f"2 {CARD}\n") as cards:
        ran = desk.run("1", "2", "resubmit", "--price", "5", *WHO, "--yes", "--card-numbers-fd", str(cards))
    assert desk.resolved == ["2"]
    assert f"--card-numbers-fd {cards} has no card number for it" in ran.stdout
