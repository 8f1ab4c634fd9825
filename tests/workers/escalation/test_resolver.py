import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.workers.fakes import ANOTHER, DOWN, EXECUTION, NO_WAIT, NOW, FakeCases, FakeOrders, Journal, order
from workers import clock
from workers.domain.cases import Case, CaseState, Resolution
from workers.domain.escalations import Assessment, Escalation, plan_escalation
from workers.domain.orders import Order, OrderStatus
from workers.domain.reasons import Reason, Severity
from workers.domain.resolutions import Action, Request, ResolutionError, ResolutionPlan, resubmission_name
from workers.errors import ConflictError, OutageError
from workers.escalation.conflicts import MAX_TRIES
from workers.escalation.resolver import Resolver

PREFIX = "arn:aws:states:us-east-1:123456789012:execution:Orders"
CARD = "4929123412345678"
CORRECTED = {"OrderId": "001", "Name": "Ada", "ItemName": "Bicycle", "Price": "12.50", "CC": CARD}
ASSESSMENT = Assessment(Severity.WARNING, ("log",))


def request(action: str, **changes: Any) -> Request:
    more = {"shipment_id": "S-1"} if action == "fulfill" else {}
    return Request(**({"action": Action(action), "actor": "ada", "note": "as agreed"} | more | changes))


RESUBMIT = request("resubmit")


class ResolvableFakeCases(FakeCases):
    """Also applies resolutions as the table does. After a read, other tasks run before the write."""

    async def get(self, case_id: str) -> Case | None:
        found = await super().get(case_id)
        await asyncio.sleep(0)
        return found

    async def put(self, case: Case) -> None:
        await self._write("cases.put", ResolutionPlan(case, None), None)

    async def resolve(self, plan: ResolutionPlan, order: Order | None) -> None:
        await self._write("cases.resolve", plan, order)

    async def _write(self, step: str, plan: ResolutionPlan, order: Order | None) -> None:
        if plan.case is None:
            return
        lost = self.journal.write(step, plan.case.state, plan.order_status)
        if plan.case.version != self.cases[plan.case.case_id].version:
            raise ConflictError("changed")
        if plan.order_status is not None:
            assert order is not None
            if self.orders.orders[order.order_id] != order:
                raise ConflictError("changed")
            shipment = plan.case.resolutions[-1].shipment_id
            self.orders.orders[order.order_id] = replace(order, status=plan.order_status, shipment_id=shipment)
        self.cases[plan.case.case_id] = replace(plan.case, version=plan.case.version + 1)
        if lost is not None:
            raise lost


class FakeExecutions:
    """Starts executions that record their order, or with `stop_short` do not get that far."""

    def __init__(self, journal: Journal, orders: FakeOrders) -> None:
        self.journal = journal
        self.orders = orders
        self.started: dict[str, Mapping[str, str]] = {}
        self.stop_short = False

    def arn(self, name: str) -> str:
        return f"{PREFIX}:{name}"

    async def start(self, name: str, order: Mapping[str, str]) -> str:
        lost = self.journal.write("executions.start", name)
        if name not in self.started:
            self.started[name] = order
            stored = self.orders.orders.get(order["OrderId"])
            if not self.stop_short and (stored is None or stored.status is OrderStatus.ESCALATED):
                self.orders.orders[order["OrderId"]] = Order(order["OrderId"], OrderStatus.RECEIVED, self.arn(name))
        if lost is not None:
            raise lost
        return self.arn(name)


class Bench:
    """A resolver and its fakes: by default a case that `EXECUTION` opened, and its escalated order."""

    def __init__(self, first: Order | None = None, *, stored: bool = True, **case: Any) -> None:
        self.journal = Journal()
        self.orders = FakeOrders(self.journal, *([first or order("ESCALATED")] if stored else []))
        opened = replace(
            Case(
                case_id="001",
                state=CaseState.OPEN,
                severity=Severity.WARNING,
                opened_at=NOW,
                updated_at=NOW,
                order_id="001",
                execution_arns=(EXECUTION,),
                message_ids=("m1",),
                opened_by="m1",
                version=1,
            ),
            **case,
        )
        self.case_id = opened.case_id
        self.cases = ResolvableFakeCases(self.journal, self.orders, opened)
        self.executions = FakeExecutions(self.journal, self.orders)
        self.resolver = Resolver(
            orders=self.orders,
            cases=self.cases,
            executions=self.executions,
            now=lambda: NOW,
            conflict_backoff=NO_WAIT,
        )

    @property
    def case(self) -> Case:
        return self.cases.cases[self.case_id]

    @property
    def order(self) -> Order:
        return self.orders.orders["001"]

    @property
    def writes(self) -> list[str]:
        return [name for name in self.journal.names() if not name.endswith(".get")]

    def arn(self, number: int, episode: int = 1) -> str:
        """Return the ARN of the case's resubmission with that number from the episode."""
        return self.executions.arn(resubmission_name(self.case, episode, number))

    async def resolve(self, asked: Request) -> None:
        await self.resolver.resolve(self.case_id, asked)

    async def resubmit(self, asked: Request = RESUBMIT, **changes: Any) -> str:
        return await self.resolver.resubmit(self.case_id, CORRECTED | changes, asked)

    async def interrupt(self) -> None:
        """Resubmit, and crash after the execution was started."""
        self.journal.fail("cases.resolve", DOWN)
        with pytest.raises(OutageError):
            await self.resubmit()

    async def escalate(self, execution_arn: str | None, message_id: str = "m2", order_id: str = "001") -> None:
        """Have the escalation worker handle an escalation of that execution."""
        escalation = Escalation(
            message_id=message_id, order_id=order_id, reasons=(Reason.INVALID_PRICE,), execution_arn=execution_arn
        )
        stored, case = self.orders.orders.get(order_id), self.cases.cases.get(order_id)
        await self.cases.apply(plan_escalation(escalation, stored, case, NOW, ASSESSMENT), stored)


def resubmission(execution_arn: str, episode: int = 1, actor: str = "ada") -> Resolution:
    return Resolution(
        action="resubmit", episode=episode, actor=actor, note="as agreed", at=NOW, execution_arn=execution_arn
    )


async def test_the_corrected_order_is_started_then_the_case_is_closed() -> None:
    bench = Bench()
    assert await bench.resubmit() == bench.arn(1)
    assert list(bench.executions.started.values()) == [CORRECTED]
    assert bench.writes == ["cases.put", "executions.start", "cases.resolve"]
    assert (bench.case.state, bench.case.resolutions) == (CaseState.RESOLVED, (resubmission(bench.arn(1)),))
    assert (bench.order.status, bench.order.execution_arn) == (OrderStatus.RECEIVED, bench.arn(1))
    assert CARD not in str([bench.case, bench.journal.steps])


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "CANCELLED"])
async def test_a_repeated_resubmission_returns_the_same_execution_and_does_nothing(status: str) -> None:
    bench = Bench()
    first = await bench.resubmit()
    bench.orders.orders["001"] = replace(bench.order, status=OrderStatus(status))
    before = bench.case, bench.writes
    assert await bench.resubmit(request("resubmit", note="again"), Price="13") == first
    assert (bench.case, bench.writes) == before


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("step", ["cases.put", "executions.start", "cases.resolve"])
async def test_a_failed_resubmission_can_be_repeated_whether_or_not_it_was_applied(step: str, lost: bool) -> None:
    bench = Bench()
    bench.journal.fail(step, DOWN, lost=lost)
    with pytest.raises(OutageError):
        await bench.resubmit()
    assert await bench.resubmit() == bench.arn(1)
    assert list(bench.executions.started) == [bench.arn(1).rpartition(":")[2]]
    assert (bench.case.state, bench.case.resolutions) == (CaseState.RESOLVED, (resubmission(bench.arn(1)),))


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED"])
async def test_an_interrupted_resubmission_leaves_the_case_open_until_it_is_repeated(status: str) -> None:
    bench = Bench()
    await bench.interrupt()
    bench.orders.orders["001"] = replace(bench.order, status=OrderStatus(status))
    assert bench.case.state is CaseState.OPEN
    assert await bench.resubmit() == bench.arn(1)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)
    assert len(bench.executions.started) == 1


async def test_an_interrupted_resubmission_may_record_its_order_while_it_is_repeated() -> None:
    bench = Bench()
    before = bench.order
    await bench.interrupt()
    recorded = bench.order

    class Overtaken(FakeOrders):
        async def get(self, order_id: str) -> Order | None:
            found = await super().get(order_id)
            self.orders[order_id] = recorded  # The next read finds what the execution has written meanwhile.
            return found

    bench.resolver = replace(bench.resolver, orders=Overtaken(bench.journal, before))
    assert await bench.resubmit() == bench.arn(1)
    assert (bench.case.state, bench.case.resolutions) == (CaseState.RESOLVED, (resubmission(bench.arn(1)),))
    assert len(bench.executions.started) == 1


async def test_an_interrupted_resubmission_that_was_escalated_is_added_not_started_again() -> None:
    bench = Bench()
    await bench.interrupt()
    await bench.escalate(bench.arn(1))
    assert await bench.resubmit() == bench.arn(1)
    assert len(bench.executions.started) == 1
    assert (bench.case.state, bench.case.episode) == (CaseState.OPEN, 2)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)
    # It is on the case now, so the next resubmission belongs to the next episode.
    assert await bench.resubmit() == bench.arn(1, episode=2)
    assert (bench.case.state, len(bench.executions.started)) == (CaseState.RESOLVED, 2)


async def test_a_conflict_with_our_own_write_adds_the_resubmission_once() -> None:
    bench = Bench()
    await bench.interrupt()
    await bench.escalate(bench.arn(1))
    bench.journal.fail(
        "cases.put", ConflictError("changed"), lost=True
    )  # The SDK retried and lost to its own first try.
    assert await bench.resubmit() == bench.arn(1)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)


async def test_a_resubmission_escalated_before_the_case_is_closed_is_added() -> None:
    bench = Bench()

    class Overtaken(FakeExecutions):
        async def start(self, name: str, order: Mapping[str, str]) -> str:
            arn = await super().start(name, order)
            await bench.escalate(arn)
            return arn

    bench.resolver = replace(bench.resolver, executions=Overtaken(bench.journal, bench.orders))
    assert await bench.resubmit() == bench.arn(1)
    assert (bench.case.state, bench.case.episode, bench.order.status) == (CaseState.OPEN, 2, OrderStatus.ESCALATED)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)


async def test_another_persons_interrupted_resubmission_is_finished_in_their_name() -> None:
    bench = Bench()
    await bench.interrupt()
    with pytest.raises(ResolutionError) as raised:
        await bench.resubmit(request("resubmit", actor="grace"))
    assert str(raised.value) == f"the case is already resolved by ada at {clock.shown(NOW)}: resubmit"
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)
    assert len(bench.executions.started) == 1


async def test_another_persons_escalated_resubmission_is_added_before_the_next_begins() -> None:
    bench = Bench()
    await bench.interrupt()
    await bench.escalate(bench.arn(1))
    assert await bench.resubmit(request("resubmit", actor="grace")) == bench.arn(1, episode=2)
    assert [(resolution.actor, resolution.episode) for resolution in bench.case.resolutions] == [
        ("ada", 1),
        ("grace", 2),
    ]
    assert (bench.case.state, len(bench.executions.started)) == (CaseState.RESOLVED, 2)


async def test_a_claim_that_was_never_started_can_be_taken_over_later() -> None:
    bench = Bench()
    bench.journal.fail("executions.start", DOWN)
    with pytest.raises(OutageError):
        await bench.resubmit()
    with pytest.raises(ResolutionError, match=r"^ada began to resubmit order 001 at "):
        await bench.resubmit(request("resubmit", actor="grace"))
    assert (bench.executions.started, bench.case.state) == ({}, CaseState.OPEN)
    bench.resolver = replace(bench.resolver, now=lambda: "2026-11-22T11:02:00.000000Z")
    assert await bench.resubmit(request("resubmit", actor="grace"), Price="13") == bench.arn(2)
    assert [order["Price"] for order in bench.executions.started.values()] == ["13"]
    assert [(done.actor, done.execution_arn) for done in bench.case.resolutions] == [("grace", bench.arn(2))]
    with pytest.raises(ResolutionError, match="already resolved by grace"):
        await bench.resubmit()
    assert len(bench.executions.started) == 1


async def test_the_person_who_resolves_the_case_started_the_execution() -> None:
    for _ in range(20):
        bench = Bench()
        asked = {name: bench.resubmit(request("resubmit", actor=name), Name=name) for name in ("ada", "grace")}
        ended = await asyncio.gather(*asked.values(), return_exceptions=True)
        (error,) = [result for result in ended if isinstance(result, ResolutionError)]
        (won,) = [name for name, result in zip(asked, ended, strict=True) if result is not error]
        assert [order["Name"] for order in bench.executions.started.values()] == [won]
        assert [resolution.actor for resolution in bench.case.resolutions] == [won]


async def test_a_resubmission_that_did_not_record_its_order_is_started_again() -> None:
    bench = Bench()
    bench.executions.stop_short = True
    await bench.interrupt()
    await bench.escalate(bench.arn(1))  # Only added: the order still belongs to the first execution.
    assert (bench.case.state, bench.case.episode, bench.order.execution_arn) == (CaseState.OPEN, 1, EXECUTION)
    bench.executions.stop_short = False
    assert await bench.resubmit() == bench.arn(2)
    assert (bench.case.state, bench.order.status) == (CaseState.RESOLVED, OrderStatus.RECEIVED)
    assert bench.case.resolutions == (resubmission(bench.arn(2)),)


async def test_a_resubmission_that_fails_at_once_does_not_close_the_case() -> None:
    bench = Bench()

    class Failing(FakeExecutions):
        async def start(self, name: str, order: Mapping[str, str]) -> str:
            self.stop_short = True
            arn = await super().start(name, order)
            await bench.escalate(arn)
            return arn

    bench.resolver = replace(bench.resolver, executions=Failing(bench.journal, bench.orders))
    assert await bench.resubmit() == bench.arn(1)
    assert (bench.case.state, bench.order.status) == (CaseState.OPEN, OrderStatus.ESCALATED)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)
    await bench.resolve(request("cancel"))
    await bench.resolve(request("cancel"))
    assert (bench.case.state, bench.order.status) == (CaseState.RESOLVED, OrderStatus.CANCELLED)
    assert [resolution.action for resolution in bench.case.resolutions] == ["resubmit", "cancel"]


async def test_each_episode_is_resubmitted_with_its_own_execution() -> None:
    bench = Bench()
    for episode in (1, 2, 3):
        assert await bench.resubmit() == bench.arn(1, episode)
        await bench.escalate(bench.arn(1, episode), f"m-{episode}")
    assert (bench.case.episode, bench.case.state) == (4, CaseState.OPEN)
    assert [resolution.episode for resolution in bench.case.resolutions] == [1, 2, 3]
    assert len(bench.executions.started) == 3


async def test_an_order_can_be_resubmitted_from_its_own_case_after_another_case() -> None:
    bench = Bench(stored=False, case_id="malformed-execution", order_id=None)
    first = await bench.resubmit(Price="-1")
    await bench.escalate(first)
    assert bench.cases.cases["001"].state is CaseState.OPEN
    second = await bench.resolver.resubmit("001", CORRECTED, RESUBMIT)
    assert second != first
    assert (bench.order.status, bench.order.execution_arn) == (OrderStatus.RECEIVED, second)
    assert [order["Price"] for order in bench.executions.started.values()] == ["-1", "12.50"]
    assert {case.state for case in bench.cases.cases.values()} == {CaseState.RESOLVED}


async def test_an_order_that_is_not_in_the_table_is_started() -> None:
    bench = Bench(stored=False)
    assert await bench.resubmit() == bench.arn(1)
    assert bench.case.state is CaseState.RESOLVED


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"OrderId": "002"}, "the case is about order 001"),
        ({"OrderId": CARD}, "malformed fields: OrderId"),
        ({"Name": "", "CC": None}, "malformed fields: Name, CC"),
        ({"Price": CARD * 20, "CC": int(CARD)}, "malformed fields: Price, CC"),
    ],
)
async def test_a_wrong_order_is_refused_and_not_quoted(changes: dict[str, Any], why: str) -> None:
    bench = Bench()
    with pytest.raises(ResolutionError) as raised:
        await bench.resubmit(**changes)
    assert str(raised.value) == why
    assert (bench.writes, bench.case.state) == ([], CaseState.OPEN)


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "CANCELLED"])
async def test_an_order_that_is_not_escalated_is_not_resubmitted(status: str) -> None:
    bench = Bench(order(status))
    way_out = "" if status == "RECEIVED" else "; close closes its case"
    why = f"^the order is {status}: only an escalated order can be resubmitted{way_out}$"
    with pytest.raises(ResolutionError, match=why):
        await bench.resubmit()
    assert (bench.writes, bench.case.state) == ([], CaseState.OPEN)


@pytest.mark.parametrize("asked", [request("cancel"), request("fulfill")])
async def test_only_resubmit_takes_a_corrected_order(asked: Request) -> None:
    bench = Bench()
    with pytest.raises(ResolutionError, match=f"^only resubmit takes a corrected order, not {asked.action}$"):
        await bench.resubmit(asked)
    assert (bench.writes, bench.case.state) == ([], CaseState.OPEN)


async def test_a_missing_case_is_refused() -> None:
    bench = Bench()
    for asked in (request("cancel"), request("fulfill")):
        with pytest.raises(ResolutionError, match=r"^the case does not exist$"):
            await bench.resolver.resolve("002", asked)
    with pytest.raises(ResolutionError, match=r"^the case does not exist$"):
        await bench.resolver.resubmit("002", CORRECTED | {"OrderId": "002"}, RESUBMIT)
    assert bench.writes == []


@pytest.mark.parametrize(
    ("asked", "status", "shipment_id"), [("fulfill", "FULFILLED", "S-1"), ("cancel", "CANCELLED", None)]
)
async def test_fulfill_and_cancel_resolve_order_and_case_and_can_be_repeated(
    asked: str, status: str, shipment_id: str | None
) -> None:
    bench = Bench()
    for _ in range(2):
        await bench.resolve(request(asked))
    assert bench.writes == ["cases.resolve"]
    assert bench.order == order(status, shipment_id=shipment_id)
    assert bench.case.state is CaseState.RESOLVED
    assert bench.case.resolutions == (request(asked).record(1, NOW),)


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("asked", ["fulfill", "cancel"])
async def test_fulfill_and_cancel_can_be_repeated_after_a_lost_response(asked: str, lost: bool) -> None:
    bench = Bench()
    bench.journal.fail("cases.resolve", DOWN, lost=lost)
    with pytest.raises(OutageError):
        await bench.resolve(request(asked))
    await bench.resolve(request(asked))
    assert (bench.case.state, len(bench.case.resolutions)) == (CaseState.RESOLVED, 1)


@pytest.mark.parametrize("asked", ["resubmit", "fulfill", "cancel"])
async def test_a_conflict_with_our_own_write_is_ignored(asked: str) -> None:
    bench = Bench()
    bench.journal.fail("cases.resolve", ConflictError("changed"), lost=True)
    await carry_out(bench, request(asked))
    assert (bench.case.state, len(bench.case.resolutions)) == (CaseState.RESOLVED, 1)


async def test_cancel_closes_a_case_without_an_order() -> None:
    bench = Bench(stored=False, case_id="message-m1", order_id=None)
    with pytest.raises(ResolutionError, match="the order does not exist"):
        await bench.resolve(request("fulfill"))
    await bench.resolve(request("cancel"))
    assert (bench.case.state, bench.orders.orders) == (CaseState.RESOLVED, {})


NO_ORDER: dict[str, Any] = {"stored": False, "case_id": "message-m1", "order_id": None}


@pytest.mark.parametrize("case", [{}, NO_ORDER])
@pytest.mark.parametrize("asked", ["fulfill", "cancel"])
async def test_fulfill_and_cancel_finish_an_interrupted_resubmission_that_runs(
    asked: str, case: dict[str, Any]
) -> None:
    bench = Bench(**case)
    await bench.interrupt()
    for _ in range(2):
        with pytest.raises(ResolutionError, match=r"^the case is already resolved by ada at .*: resubmit$"):
            await bench.resolve(request(asked, actor="grace"))
    assert (bench.case.state, bench.order.status) == (CaseState.RESOLVED, OrderStatus.RECEIVED)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)


async def test_an_escalated_resubmission_is_added_before_the_order_is_cancelled() -> None:
    bench = Bench()
    await bench.interrupt()
    await bench.escalate(bench.arn(1))
    await bench.resolve(request("cancel", actor="grace"))
    assert [(resolution.actor, resolution.action) for resolution in bench.case.resolutions] == [
        ("ada", "resubmit"),
        ("grace", "cancel"),
    ]
    assert (bench.case.state, bench.order.status) == (CaseState.RESOLVED, OrderStatus.CANCELLED)


async def test_a_case_without_an_order_is_not_cancelled_while_a_claim_is_recent() -> None:
    bench = Bench(**NO_ORDER)
    bench.executions.stop_short = True
    await bench.interrupt()
    with pytest.raises(ResolutionError, match=r"^ada began to resubmit order 001 at "):
        await bench.resolve(request("cancel", actor="grace"))
    assert bench.case.state is CaseState.OPEN
    bench.resolver = replace(bench.resolver, now=lambda: "2026-11-22T11:02:00.000000Z")
    await bench.resolve(request("cancel", actor="grace"))
    assert [resolution.actor for resolution in bench.case.resolutions] == ["grace"]


async def test_resubmit_needs_an_order() -> None:
    bench = Bench()
    with pytest.raises(ResolutionError, match=r"^a resubmission needs the corrected order$"):
        await bench.resolve(RESUBMIT)
    assert bench.writes == []


@pytest.mark.parametrize("second", ["resubmit", "fulfill", "cancel"])
@pytest.mark.parametrize("first", ["resubmit", "fulfill", "cancel"])
async def test_the_second_person_is_told_who_was_first(first: str, second: str) -> None:
    bench = Bench()
    await carry_out(bench, request(first))
    before = bench.case, bench.order, bench.writes
    with pytest.raises(ResolutionError) as raised:
        await carry_out(bench, request(second, actor="grace"))
    assert str(raised.value) == f"the case is already resolved by ada at {clock.shown(NOW)}: {first}"
    assert (bench.case, bench.order, bench.writes) == before


@pytest.mark.parametrize("second", ["resubmit", "fulfill", "cancel"])
@pytest.mark.parametrize("first", ["resubmit", "fulfill", "cancel"])
async def test_of_two_simultaneous_requests_one_wins(first: str, second: str) -> None:
    bench = Bench()
    asked = [request(first), request(second, actor="grace")]
    ended = await asyncio.gather(*(carry_out(bench, request) for request in asked), return_exceptions=True)
    (error,) = [result for result in ended if result is not None]
    assert isinstance(error, ResolutionError)
    assert bench.case.state is CaseState.RESOLVED
    assert [resolution.actor for resolution in bench.case.resolutions] == [asked[ended.index(None)].actor]


async def carry_out(bench: Bench, asked: Request) -> None:
    if asked.action is Action.RESUBMIT:
        await bench.resubmit(asked)
    else:
        await bench.resolve(asked)


@pytest.mark.parametrize("asked", ["resubmit", "fulfill", "cancel"])
async def test_a_conflict_is_retried(asked: str) -> None:
    bench = Bench()
    bench.journal.fail("cases.resolve", *[ConflictError("changed")] * (MAX_TRIES - 1))
    await carry_out(bench, request(asked))
    assert (bench.case.state, len(bench.executions.started)) == (CaseState.RESOLVED, int(asked == "resubmit"))


async def test_lasting_conflicts_are_raised() -> None:
    bench = Bench()
    bench.journal.fail("cases.resolve", *[ConflictError("changed")] * MAX_TRIES)
    with pytest.raises(ConflictError):
        await bench.resolve(request("cancel"))
    assert (bench.case.state, bench.order.status) == (CaseState.OPEN, OrderStatus.ESCALATED)


async def test_a_resubmission_without_its_execution_cannot_be_repeated() -> None:
    """For example, a person has edited the case in the table."""
    edited = replace(resubmission("arn"), execution_arn=None)
    bench = Bench(state=CaseState.RESOLVED, resolutions=(edited,))
    with pytest.raises(ResolutionError, match="already resolved by ada"):
        await bench.resubmit()


@pytest.mark.parametrize("status", ["RECEIVED", "FULFILLED", "CANCELLED"])
async def test_close_changes_only_the_case_and_can_be_repeated(status: str) -> None:
    bench = Bench(order(status, execution_arn=ANOTHER))
    for _ in range(2):
        await bench.resolve(request("close"))
    assert bench.order == order(status, execution_arn=ANOTHER)
    assert bench.case.state is CaseState.RESOLVED
    assert bench.case.resolutions == (request("close").record(1, NOW),)


async def test_an_escalated_order_is_not_left_without_an_open_case() -> None:
    bench = Bench(order("ESCALATED"))
    with pytest.raises(ResolutionError, match=r"^the order is ESCALATED: resubmit, fulfill or cancel it"):
        await bench.resolve(request("close"))
    assert bench.case.state is CaseState.OPEN


@pytest.mark.parametrize("action", ["resubmit", "fulfill", "cancel"])
async def test_a_request_about_an_episode_leaves_a_later_one_alone(action: str) -> None:
    bench, asked = Bench(), request(action, episode=1)
    await bench.resubmit()
    await bench.escalate(bench.arn(1))
    assert (bench.case.state, bench.case.episode) == (CaseState.OPEN, 2)
    with pytest.raises(ResolutionError, match="the case has been opened again meanwhile, for INVALID_PRICE"):
        await (bench.resubmit(asked) if action == "resubmit" else bench.resolve(asked))
    assert (bench.case.state, bench.order.status) == (CaseState.OPEN, OrderStatus.ESCALATED)
    later = replace(asked, episode=2)
    await (bench.resubmit(later) if action == "resubmit" else bench.resolve(later))
    assert bench.case.state is CaseState.RESOLVED


async def test_a_resubmission_about_an_episode_is_added_although_its_execution_has_begun_the_next() -> None:
    bench = Bench()

    class Overtaken(FakeExecutions):
        async def start(self, name: str, order: Mapping[str, str]) -> str:
            arn = await super().start(name, order)
            await bench.escalate(arn)
            return arn

    bench.resolver = replace(bench.resolver, executions=Overtaken(bench.journal, bench.orders))
    assert await bench.resubmit(request("resubmit", episode=1)) == bench.arn(1)
    assert (bench.case.episode, bench.case.resolutions) == (2, (resubmission(bench.arn(1)),))


async def test_a_resubmission_is_added_to_its_episode_although_something_else_has_begun_the_next() -> None:
    bench = Bench()

    class Overtaken(FakeExecutions):
        async def start(self, name: str, order: Mapping[str, str]) -> str:
            bench.cases.cases["001"] = replace(bench.case, episode=2)
            return await super().start(name, order)

    bench.resolver = replace(bench.resolver, executions=Overtaken(bench.journal, bench.orders))
    assert await bench.resubmit(request("resubmit", episode=1)) == bench.arn(1)
    assert (bench.case.state, bench.case.episode) == (CaseState.OPEN, 2)
    assert bench.case.resolutions == (resubmission(bench.arn(1)),)
