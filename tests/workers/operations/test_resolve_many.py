"""Many cases are resolved a few at once, as a fixed set; what fails does not stop the others."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.workers.cli.tables import FakeTables
from tests.workers.domain.examples import case
from tests.workers.fakes import ANOTHER, EXECUTION, NOW, order
from tests.workers.operations.fakes import fake_stack, refused
from workers.domain.cases import Case, CaseState, Claim, OrderCopy, Resolution
from workers.domain.resolutions import Action, Request
from workers.errors import OutageError, UnreadableOrderError
from workers.operations.cells import cell_of
from workers.operations.decisions import Decision, read_decisions
from workers.operations.documents import case_row
from workers.operations.errors import OperationError
from workers.operations.resolve import InvalidOrderError
from workers.operations.resolve_many import MAX_FAILURES, RESOLVED_AT_ONCE, Plan, carry_out, plan

CARD = "4929123412345678"


def decision(case_id: str, action: str = "cancel", card_number: str | None = None, **corrections: str) -> Decision:
    shipment_id = "S-1" if action == "fulfill" else None
    request = Request(action=Action(action), actor="ada", note="as agreed", shipment_id=shipment_id)
    return Decision(case_id, request, corrections, card_number)


def resolution(action: str, actor: str = "ada") -> Resolution:
    return Resolution(action=action, episode=1, actor=actor, note="x", at="2026-11-22T11:00:00Z")


class Desk:
    """Cases and orders, and a resolver that fails with `errors` by case. `done`: what it was asked for, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ids: str) -> None:
        self.tables = FakeTables(*(case(case_id=each, order_id=each) for each in ids)).install(monkeypatch)
        for each in ids:
            self.tables.orders[each] = order("ESCALATED", order_id=each, name="Ada", item_name="Bicycle", price="-1")
        self.errors: dict[str, Exception] = {}
        self.done: list[tuple[str, str, Mapping[str, str] | None]] = []
        self.episodes: list[int | None] = []
        self.during: dict[str, asyncio.Event] = {}
        self.running, self.most_at_once = 0, 0
        self.looked_at, self.reported = list[int](), list[int]()
        monkeypatch.setattr("workers.operations.resolve_many.opened_resolver", self._opened)
        monkeypatch.setattr("workers.operations.resolve_many.resolve_with", self._resolve)

    @asynccontextmanager
    async def _opened(self, _stack: Any) -> AsyncIterator[None]:
        yield None

    async def _resolve(
        self, _resolver: Any, case_id: str, request: Request, corrected: Mapping[str, str] | None
    ) -> None:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        if case_id in self.during:
            self.during[case_id].set()
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)
        self.running -= 1
        self.done.append((case_id, request.action, corrected))
        self.episodes.append(request.episode)
        if case_id in self.errors:
            raise self.errors[case_id]

    async def plan(self, *decisions: Decision) -> Plan:
        return await plan(fake_stack(), decisions, progress=self.looked_at.append)

    async def carry_out(self, planned: Plan) -> list[str]:
        await carry_out(fake_stack(), planned, progress=self.reported.append)
        return outcomes(planned)


def outcomes(planned: Plan) -> list[str]:
    return [step.outcome for step in planned.steps]


def problems(planned: Plan) -> Sequence[str | None]:
    return [step.problem for step in planned.steps]


async def test_a_plan_changes_nothing_and_says_what_cannot_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2", "3")
    desk.tables.orders["2"] = order("RECEIVED", order_id="2")
    planned = await desk.plan(decision("1"), decision("2"), decision("3", "resubmit"), decision("4"))
    assert problems(planned) == [
        None,
        "the order is RECEIVED: it is in progress, not escalated",
        "Price must be a price above 0 with at most two decimals (correct Price)",
        "there is no case '4'; `orders escalations list` shows the open ones",
    ]
    assert [step.decision.case_id for step in planned.open] == ["1"]
    assert desk.done == []


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "CANCELLED"])
async def test_only_an_escalated_order_is_resubmitted(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    desk = Desk(monkeypatch, "1")
    desk.tables.orders["1"] = order(status, order_id="1", name="Ada", item_name="Bicycle", price="1")
    planned = await desk.plan(decision("1", "resubmit", CARD))
    assert problems(planned) == [f"the order is {status}: only an escalated order can be resubmitted"]


async def test_a_resubmission_that_was_interrupted_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1")
    claim = Claim(actor="ada", note="x", at=NOW, episode=1, number=1, order_id="1", execution_arn=EXECUTION)
    desk.tables.cases["1"] = case(case_id="1", order_id="1", episode=1, execution_arns=(ANOTHER,), claim=claim)
    desk.tables.orders["1"] = order("RECEIVED", order_id="1", name="Ada", item_name="Bicycle", price="1")
    planned = await desk.plan(decision("1", "resubmit", CARD))
    assert await desk.carry_out(planned) == ["resolved"]


async def test_what_a_list_shows_of_an_order_does_not_correct_it(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, name = Desk(monkeypatch, "1"), " =Ada\tMary\u202e "
    desk.tables.orders["1"] = order("ESCALATED", order_id="1", name=name, item_name="Bicycle", price="1")
    listed = case_row(case_of_escalated(name), None)
    row = ",".join(cell_of(listed[column]) for column in ("case_id", "name", "item_name"))
    content = f"case_id,name,item_name,price,action\n{row},2,resubmit\n".encode()
    decisions, _ = read_decisions("f.csv", content, actor="ada", note="x", cards_allowed=False)
    (step,) = (await desk.plan(*decisions)).steps
    assert step.corrected == {"OrderId": "1", "Name": name, "ItemName": "Bicycle", "Price": "2"}


def case_of_escalated(name: str) -> Case:
    escalated = order("ESCALATED", order_id="1", name=name, item_name="Bicycle", price="1")
    return case(case_id="1", order_id="1", order=OrderCopy.of(escalated))


async def test_each_is_done_and_reported_and_a_failure_stops_none(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2", "3", "4", "5")
    desk.errors = {
        "2": OperationError("others are changing it"),
        "3": OutageError("DynamoDB is down"),
        "5": refused("AccessDenied", "PutItem"),
    }
    planned = await desk.plan(*map(decision, "123"), decision("4", "fulfill"), decision("5"))
    assert await desk.carry_out(planned) == ["resolved", "failed", "failed", "resolved", "failed"]
    denied = "these credentials do not allow PutItem (AccessDenied)"
    assert problems(planned) == [None, "others are changing it", "DynamoDB is down", None, denied]
    assert [step.can_repeat for step in planned.steps] == [False, False, True, False, True]
    assert [case_id for case_id, *_ in desk.done] == ["1", "2", "3", "4", "5"]
    assert (sum(desk.looked_at), desk.reported) == (5, [1, 1, 1, 1, 1])
    assert [planned.count(outcome) for outcome in ("resolved", "failed", "not tried")] == [2, 3, 0]


async def test_what_is_done_is_about_the_episode_that_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1")
    desk.tables.cases["1"] = case(case_id="1", order_id="1", episode=3)
    await desk.carry_out(await desk.plan(decision("1")))
    assert desk.episodes == [3]


async def test_what_was_done_before_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2", "3")
    closed = {"state": CaseState.RESOLVED, "resolutions": (resolution("cancel"),)}
    desk.tables.cases["1"] = case(case_id="1", order_id="1", **closed)
    closed["resolutions"] = (resolution("cancel", "grace"),)
    desk.tables.cases["2"] = case(case_id="2", order_id="2", **closed)
    planned = await desk.plan(decision("1"), decision("2"), decision("3"))
    assert await desk.carry_out(planned) == ["unchanged", "failed", "resolved"]
    assert str(problems(planned)[1]).startswith("the case is already resolved by grace at ")
    assert [case_id for case_id, *_ in desk.done] == ["3"]


async def test_orders_are_resubmitted_once_their_card_number_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2")
    planned = await desk.plan(decision("1", "resubmit", CARD, Price="2"), decision("2", "resubmit", Price="3"))
    assert [step.needs_card_number for step in planned.steps] == [False, True]
    with pytest.raises(InvalidOrderError):
        planned.steps[1].add_card_number("12")
    planned.steps[1].add_card_number("4929 1234 1234 5678")
    assert await desk.carry_out(planned) == ["resolved", "resolved"]
    assert [corrected and (corrected["Price"], corrected["CC"]) for *_, corrected in desk.done] == [
        ("2", CARD),
        ("3", CARD),
    ]


async def test_a_wrong_card_number_concerns_only_its_case(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2")
    planned = await desk.plan(decision("1", "resubmit", "12", Price="2"), decision("2"))
    assert problems(planned) == ["CC must be a card number of 16 digits (correct CC)", None]
    assert await desk.carry_out(planned) == ["failed", "resolved"]


async def test_an_aws_that_fails_again_and_again_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(n) for n in range(MAX_FAILURES + RESOLVED_AT_ONCE + 3)]
    desk = Desk(monkeypatch, *ids)
    desk.errors = dict.fromkeys(ids[1:], OutageError("down"))
    planned = await desk.plan(*map(decision, ids))
    await desk.carry_out(planned)
    tried = len(desk.done)
    assert 1 + MAX_FAILURES <= tried < 1 + MAX_FAILURES + RESOLVED_AT_ONCE
    assert outcomes(planned) == ["resolved"] + (tried - 1) * ["failed"] + (len(ids) - tried) * ["not tried"]
    assert [step.can_repeat for step in planned.steps[:tried]] == [False] + (tried - 1) * [True]
    assert planned.is_worth_repeating


async def test_a_few_are_resolved_at_once_and_reported_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(n) for n in range(3 * RESOLVED_AT_ONCE)]
    desk = Desk(monkeypatch, *ids)
    desk.during["0"] = asyncio.Event()
    planned = await desk.plan(*map(decision, ids))
    await desk.carry_out(planned)
    assert desk.most_at_once == RESOLVED_AT_ONCE
    assert [step.decision.case_id for step in planned.steps] == ids
    assert desk.done[0][0] != "0"


async def test_cases_of_one_order_are_resolved_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2", "3")
    for each in ("2", "3"):
        desk.tables.cases[each] = case(case_id=each, order_id="1")
    await desk.carry_out(await desk.plan(decision("1"), decision("2"), decision("3")))
    assert (desk.most_at_once, [case_id for case_id, *_ in desk.done]) == (1, ["1", "2", "3"])


async def test_an_order_that_cannot_be_read_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2")
    desk.tables.orders["1"] = UnreadableOrderError("the order's Status is not valid")  # type: ignore[assignment]
    planned = await desk.plan(decision("1"), decision("2"))
    assert await desk.carry_out(planned) == ["failed", "resolved"]
    assert problems(planned) == ["the order's Status is not valid", None]
    assert not planned.is_worth_repeating


async def test_refusals_are_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(n) for n in range(MAX_FAILURES + 3)]
    desk = Desk(monkeypatch, *ids)
    desk.errors = dict.fromkeys(ids, OperationError("refused"))
    await desk.carry_out(await desk.plan(*map(decision, ids)))
    assert len(desk.done) == len(ids)


async def test_an_interruption_finishes_the_running_cases_and_begins_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [str(n) for n in range(2 * RESOLVED_AT_ONCE)]
    desk = Desk(monkeypatch, *ids)
    desk.during = {each: asyncio.Event() for each in ids}
    planned = await desk.plan(*map(decision, ids))
    running = asyncio.create_task(desk.carry_out(planned))
    await desk.during[ids[RESOLVED_AT_ONCE - 1]].wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert outcomes(planned) == RESOLVED_AT_ONCE * ["resolved"] + RESOLVED_AT_ONCE * ["not tried"]
    assert len(desk.done) == RESOLVED_AT_ONCE


async def test_after_an_interruption_a_case_whose_order_is_busy_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1", "2")
    desk.tables.cases["2"] = case(case_id="2", order_id="1")
    desk.during["1"] = asyncio.Event()
    planned = await desk.plan(decision("1"), decision("2"))
    running = asyncio.create_task(desk.carry_out(planned))
    await desk.during["1"].wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert outcomes(planned) == ["resolved", "not tried"]


async def test_a_case_that_is_cut_off_is_not_called_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(monkeypatch, "1")
    desk.errors["1"] = asyncio.CancelledError()  # type: ignore[assignment]
    planned = await desk.plan(decision("1"))
    with pytest.raises(asyncio.CancelledError):
        await desk.carry_out(planned)
    assert problems(planned) == ["interrupted: it may be resolved or not"]
    assert planned.is_worth_repeating


@pytest.mark.parametrize(
    ("begin", "done"), [(0, MAX_FAILURES), (1, 1 + MAX_FAILURES), (MAX_FAILURES + 3, MAX_FAILURES + 3)]
)
async def test_only_failures_of_aws_in_a_row_are_counted(
    monkeypatch: pytest.MonkeyPatch, begin: int, done: int
) -> None:
    ids = [str(n) for n in range(MAX_FAILURES + 3)]
    desk = Desk(monkeypatch, *ids)
    for each in ids:  # Of one order, so that they are resolved one after the other.
        desk.tables.cases[each] = case(case_id=each, order_id="0")
    desk.errors = dict.fromkeys(ids[begin:], OutageError("down"))
    await desk.carry_out(await desk.plan(*map(decision, ids)))
    assert len(desk.done) == done
