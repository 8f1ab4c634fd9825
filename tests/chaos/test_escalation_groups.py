"""Escalations that are written together: another writer changes one of their cases, or AWS accepts only some."""

import contextlib
import subprocess
import sys
from collections.abc import Collection
from functools import partial

import pytest

from deploy.local.aws import ROOT
from tests.chaos.checks import Allowed
from tests.chaos.conditions import Conditions
from tests.chaos.escalations import Escalation, Target, check_escalations, send_escalations
from tests.chaos.moments import ESCALATE
from tests.chaos.proxy import Fault, Rule, every_kind
from tests.chaos.scenario import Scenario
from tests.chaos.traps import Exchange, Fate, Step, Trap, wait_for_answer

pytestmark = pytest.mark.usefixtures("size")  # Every scenario has a short and a long version.

VISIBILITY_S = 60
MANY = 1_000_000
ATTEMPTS = 6


def test_two_workers_that_write_the_same_cases_at_once_write_each_once(scenario: Scenario) -> None:
    """Both workers have read the same orders before one of them writes: each case has each message once."""
    scenario.set_visibility_timeout(VISIBILITY_S)
    scenario.proxy.conditions = Conditions(repeated=1.0, repeated_within_s=0.0, max_repeats=1)
    _start(scenario, 2)
    sent = list[Escalation]()
    for _ in range(scenario.size.crashes):
        trap = _hold_both(scenario, sent)
        scenario.proxy.open_trap(trap)
        scenario.until_drained()
        refused = [exchange for exchange in trap.caught if exchange.status == 400]
        assert refused, scenario.explain("no transaction was cancelled")
    check_escalations(scenario, sent)


def _hold_both(scenario: Scenario, sent: list[Escalation]) -> Trap:
    """Send escalations until both workers write the same case, and hold what they write. Chance may give one all."""
    for _ in range(ATTEMPTS):
        trap = scenario.proxy.set_trap(Trap(Step.ARRIVED, ESCALATE, _hold, times=MANY))
        sent += send_escalations(scenario, 30, 12)
        with contextlib.suppress(AssertionError):
            scenario.until(partial(_both_write, trap.caught), "two workers that write the same cases", timeout_s=15)
            return trap
        scenario.proxy.open_trap(trap)
        scenario.until_drained()
    pytest.fail(scenario.explain(f"one worker wrote all, {ATTEMPTS} times"))


def _hold(_: Exchange) -> Fate:
    return Fate.HELD


def _writes(case_id: str, exchange: Exchange) -> bool:
    return case_id in exchange.cases


def _both_write(caught: Collection[Exchange]) -> bool:
    written = {(case_id, exchange.sender) for exchange in caught for case_id in exchange.cases}
    return len({case_id for case_id, _ in written}) < len(written)


@pytest.mark.parametrize("step", [Step.ARRIVED, pytest.param(Step.APPLIED, marks=pytest.mark.chaos)])
def test_an_operator_resolves_a_case_while_its_group_is_written(scenario: Scenario, step: Step) -> None:
    """Only the resolved case is written alone; the others go together once more, and none is lost."""
    scenario.set_visibility_timeout(VISIBILITY_S)
    _start(scenario, 1)
    sent, cancelled = send_escalations(scenario, 1, 1), list[str]()
    scenario.until_drained()
    for _ in range(scenario.size.crashes):
        known = next(one for one in sent if one.target is Target.NEW and one.order_id not in cancelled)
        case_id = known.order_id
        every = scenario.proxy.set_trap(Trap(Step.ARRIVED, ESCALATE, times=MANY))
        trap = scenario.proxy.set_trap(Trap(step, ESCALATE, _hold, partial(_writes, case_id)))
        sent += send_escalations(scenario, scenario.size.backlog, again=[known])
        held = trap.wait()
        _cancel(scenario, case_id)
        cancelled.append(case_id)
        scenario.proxy.open_trap(trap)
        scenario.until_drained()
        scenario.proxy.open_trap(every)
        if step is Step.ARRIVED:
            _check_others_go_together(scenario, held, case_id, every.caught)
    check_escalations(scenario, sent, cancelled=cancelled)


def _cancel(scenario: Scenario, case_id: str) -> None:
    arguments = ["escalations", "resolve", case_id, "cancel", "--yes", "--actor", "ada", "--note", "Customer has left."]
    ran = subprocess.run(
        [sys.executable, "-m", "workers.cli", *arguments],
        cwd=ROOT,
        env=scenario.stack.worker_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, scenario.explain(ran.stderr)


def _check_others_go_together(scenario: Scenario, held: Exchange, case_id: str, written: list[Exchange]) -> None:
    """The case that has changed is written alone next; the rest of its group goes into one or two more groups."""
    assert held.status == 400, scenario.explain("the transaction with the resolved case was not cancelled")
    after = [exchange.cases for exchange in written[written.index(held) + 1 :]]
    if held.cases == {case_id}:
        return
    alone = next(cases for cases in after if case_id in cases)
    assert alone == {case_id}, scenario.explain(f"the resolved case was written together with {alone}")
    others = {other for other in held.cases - {case_id} if not other.startswith(Target.SAME)}  # It has more messages.
    again = [cases & others for cases in after if cases & others]
    # One or two groups; a few more if the machine is so busy that they do not come together.
    assert len(again) <= max(2, len(others) // 2), scenario.explain(f"the others of the group were written in {again}")


def test_a_worker_stopped_while_it_writes_a_group_leaves_all_of_it_to_the_next(scenario: Scenario) -> None:
    """A transaction that gets no answer within the drain time is given up; applied late, it changes nothing."""
    scenario.set_visibility_timeout(VISIBILITY_S)
    sent = list[Escalation]()
    for _ in range(scenario.size.crashes):
        trap = scenario.proxy.set_trap(Trap(Step.ARRIVED, ESCALATE, _hold))
        worker = scenario.start("escalation", WORKER_DRAIN_S="1")
        sent += send_escalations(scenario, scenario.size.backlog)
        trap.wait()
        scenario.stop(worker, drain_s=1)
        following = scenario.start("escalation", awaited=False)
        scenario.until_drained()
        scenario.watch()
        scenario.proxy.open_trap(trap)
        assert wait_for_answer(trap.caught[0]) == 400, scenario.explain("a late transaction was accepted")
        scenario.stop(following)
    check_escalations(scenario, sent)


def test_conflicts_and_unprocessed_keys_lose_and_repeat_nothing(scenario: Scenario) -> None:
    """DynamoDB cancels transactions because of others at that moment, and leaves keys of batches unread."""
    scenario.set_visibility_timeout(VISIBILITY_S)
    scenario.proxy.conditions = Conditions(repeated=0.3)
    _start(scenario, 2)
    scenario.proxy.inject(Rule(Fault.CONFLICT, 0.3), Rule(Fault.UNPROCESSED, 0.5))
    sent = send_escalations(scenario, scenario.size.orders)
    scenario.until_drained()
    scenario.proxy.clear()
    # A message whose transaction meets five conflicts in a row is released, and tried again.
    check_escalations(scenario, sent, Allowed(exceptions={"message.failed"}))


@pytest.mark.chaos
def test_faults_of_every_kind_lose_and_repeat_no_escalation(scenario: Scenario) -> None:
    """Ten percent each of all faults, for two workers that also get duplicates."""
    scenario.proxy.conditions = Conditions(repeated=0.3, short_receives=True)
    _start(scenario, 2)
    scenario.proxy.inject(*every_kind(0.1, delay_s=0.3))
    sent = send_escalations(scenario, scenario.size.orders)
    scenario.until_drained()
    scenario.proxy.clear()
    check_escalations(scenario, sent, Allowed(cut_short=True, exceptions={"message.failed"}))


def _start(scenario: Scenario, workers: int) -> None:
    """Start escalation workers; return once all of them consume."""
    for worker in [scenario.start("escalation", awaited=False) for _ in range(workers)]:
        worker.wait_for("worker.started", timeout_s=60)
