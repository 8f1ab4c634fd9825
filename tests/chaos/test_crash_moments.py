"""A worker is killed between any two of its steps, alone or beside another worker that has the same messages."""

import pytest

from tests.chaos.checks import NOTHING, Allowed, check
from tests.chaos.conditions import Conditions
from tests.chaos.escalations import check_escalations, send_escalations
from tests.chaos.moments import (
    DELETE_LOST,
    DELETE_PASSED,
    READ_PASSED,
    RECORD_LOST,
    RECORD_PASSED,
    REPORT_ACCEPTED,
    REPORT_LOST,
    SEND_ACCEPTED,
    SEND_LOST,
    UPDATE_ANSWERED,
    UPDATE_LATE,
    UPDATE_LOST,
    UPDATE_PASSED,
    WRITE_ANSWERED,
    WRITE_LATE,
    WRITE_LOST,
    WRITE_PASSED,
    Moment,
)
from tests.chaos.proxy import Fault, Rule
from tests.chaos.scenario import Kind, Scenario
from tests.chaos.traps import Trap, wait_for_answer
from tests.support import Worker

pytestmark = pytest.mark.usefixtures("size")  # Every scenario has a short and a long version.

VISIBILITY_S = 60  # Only killed workers lose messages, and only when the scenario ends their visibility.
DUPLICATES = Conditions(repeated=0.5)
OTHERS = [Kind.BARE, Kind.TWICE, Kind.STALE, Kind.MISSING, Kind.RESUBMITTED, Kind.RESUBMITTED]
RECORDER = {"FULFILLMENT_PROVIDER": "tests.chaos.providers:Recorder"}


def _moments(shorts: list[Moment], longs: list[Moment]) -> pytest.MarkDecorator:
    """Return the parameter `moment`: *longs* are only in `make chaos`."""
    params = [pytest.param(moment, id=moment.name) for moment in shorts]
    params += [pytest.param(moment, id=moment.name, marks=pytest.mark.chaos) for moment in longs]
    return pytest.mark.parametrize("moment", params)


workers = pytest.mark.parametrize(
    "workers", [pytest.param(1, id="alone", marks=pytest.mark.chaos), pytest.param(2, id="beside another")]
)


@workers
@_moments([WRITE_LATE, WRITE_PASSED, DELETE_PASSED], [READ_PASSED, WRITE_LOST, WRITE_ANSWERED, DELETE_LOST])
def test_an_escalation_worker_killed_at_any_moment_loses_and_repeats_nothing(
    scenario: Scenario, moment: Moment, workers: int
) -> None:
    """Every order is escalated once, with one case, one episode and each message once; a line may be repeated."""
    _kill_escalation_workers(scenario, moment, workers, {})


@workers
@_moments([SEND_ACCEPTED], [WRITE_PASSED, WRITE_ANSWERED, SEND_LOST, RECORD_LOST, RECORD_PASSED])
def test_a_worker_killed_while_it_notifies_loses_no_notification(
    scenario: Scenario, moment: Moment, workers: int
) -> None:
    """The same with a webhook: it gets each notification at least once, and once more only from another worker."""
    _kill_escalation_workers(scenario, moment, workers, scenario.route_to_webhook())


@pytest.mark.chaos
@workers
@_moments([WRITE_LOST, WRITE_LATE, WRITE_PASSED], [])
def test_a_worker_killed_after_a_cancelled_transaction_loses_and_repeats_nothing(
    scenario: Scenario, moment: Moment, workers: int
) -> None:
    """The same while half of the transactions are cancelled, so that the next ones repeat parts of them."""
    scenario.proxy.inject(Rule(Fault.CONFLICT, 0.5))
    _kill_escalation_workers(scenario, moment, workers, {}, Allowed(exceptions={"message.failed"}))


def _kill_escalation_workers(
    scenario: Scenario, moment: Moment, workers: int, env: dict[str, str], allowed: Allowed = NOTHING
) -> None:
    _prepare(scenario, workers)
    running = [scenario.start("escalation", awaited=False, **env) for _ in range(workers)]
    sent, late = [], list[Trap]()
    for _ in range(scenario.size.crashes):
        _wait_until_started(running)
        trap = scenario.kill_at(moment, skip=scenario.rng.randint(0, 1))
        sent += send_escalations(scenario, scenario.size.backlog)
        victim = scenario.bury(trap)
        running[running.index(victim)] = scenario.start("escalation", awaited=False, **env)
        late += [trap] if moment.late else []
        scenario.until_drained()
    _wait_until_started(running)
    _apply(scenario, late)
    scenario.proxy.clear()
    check_escalations(scenario, sent, allowed)


@workers
@_moments(
    [UPDATE_LATE, UPDATE_PASSED, REPORT_ACCEPTED],
    [UPDATE_LOST, UPDATE_ANSWERED, REPORT_LOST, DELETE_LOST, DELETE_PASSED],
)
def test_a_fulfillment_worker_killed_at_any_moment_loses_and_repeats_nothing(
    scenario: Scenario, moment: Moment, workers: int
) -> None:
    """Every order is fulfilled once, its open case closed once; only its line may be missing."""
    _kill_fulfillment_workers(scenario, moment, workers, {})


@pytest.mark.chaos
@workers
@_moments([READ_PASSED, UPDATE_LOST, UPDATE_LATE], [])
def test_a_worker_killed_around_the_call_of_its_provider_loses_nothing(
    scenario: Scenario, moment: Moment, workers: int
) -> None:
    """The same with a provider, whose orders are read first; an order may be shipped again, with the same key."""
    _kill_fulfillment_workers(scenario, moment, workers, RECORDER)


def _kill_fulfillment_workers(scenario: Scenario, moment: Moment, workers: int, env: dict[str, str]) -> None:
    _prepare(scenario, workers)
    running = [scenario.start(awaited=False, **env) for _ in range(workers)]
    scenario.start("escalation", awaited=False)
    late = list[Trap]()
    for _ in range(scenario.size.crashes):
        _wait_until_started(running)
        trap = scenario.kill_at(moment, skip=scenario.rng.randint(0, 1))
        scenario.send([Kind.VALID] * scenario.size.backlog + OTHERS * 2)
        victim = scenario.bury(trap)
        running[running.index(victim)] = scenario.start(awaited=False, **env)
        late += [trap] if moment.late else []
        scenario.until_drained()
    _wait_until_started(running)
    _apply(scenario, late)
    check(scenario)


def _prepare(scenario: Scenario, workers: int) -> None:
    scenario.set_visibility_timeout(VISIBILITY_S)
    if workers > 1:
        scenario.proxy.conditions = DUPLICATES


def _apply(scenario: Scenario, traps: list[Trap]) -> None:
    """Apply the writes of dead workers: they must change nothing any more."""
    scenario.watch()
    for trap in traps:
        scenario.proxy.open_trap(trap)
        wait_for_answer(trap.caught[0])


def _wait_until_started(workers: list[Worker]) -> None:
    for worker in workers:
        worker.wait_for("worker.started", timeout_s=60)
