"""SIGTERM in every phase of a worker's life: it ends with exit code 0, in time, and what it had in flight goes on."""

import time

import pytest

from tests.chaos.checks import ABANDONED, RELEASED, Allowed, check, outcomes
from tests.chaos.proxy import DELETE, RECEIVE, Fault, Rule
from tests.chaos.scenario import Kind, Scenario

SLOW = "tests.chaos.providers:Slow"
# Far beyond any test: a message that is received sooner was given back, not waited for.
LONG_VISIBILITY_S = 300


@pytest.fixture
def kept(scenario: Scenario) -> Scenario:
    """A scenario in which no message comes back by itself."""
    scenario.set_visibility_timeout(LONG_VISIBILITY_S)
    return scenario


def _until_began(scenario: Scenario, count: int) -> None:
    scenario.until(lambda: len(scenario.shipments("began")) >= count, f"{count} handlers under way")


def _finish_with_another(scenario: Scenario) -> None:
    """Let a fresh worker do the rest at once: nothing may be hidden from it."""
    scenario.start(FULFILLMENT_PROVIDER="tests.chaos.providers:Recorder")
    if any(sent.kind is not Kind.VALID for sent in scenario.sent):
        scenario.start("escalation")
    scenario.until_drained(timeout_s=20)


def test_a_message_received_during_the_stop_is_released(kept: Scenario) -> None:
    """A receive under way is allowed to finish, and what it brings is released at once."""
    worker = kept.start(WORKER_WAIT_S="3")
    kept.until(lambda: kept.proxy.count(RECEIVE), "a poll")
    worker.process.terminate()
    worker.wait_for("consumer.stopping")
    kept.send([Kind.VALID])
    assert worker.wait() == 0
    assert outcomes(kept, RELEASED) == {"stopping": 1}
    _finish_with_another(kept)
    check(kept)


def test_running_handlers_finish_and_unstarted_messages_are_released(kept: Scenario) -> None:
    """What has started may finish within the drain time; what has not goes back at visibility 0."""
    kept.send([Kind.VALID] * 12)
    worker = kept.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="1.5", WORKER_CONCURRENCY="5")
    _until_began(kept, 5)
    kept.stop(worker)
    assert len(kept.shipments()) == 5
    assert set(outcomes(kept, RELEASED)) <= {"stopping"}
    _finish_with_another(kept)
    assert len(kept.shipments("began")) == 12
    check(kept)


@pytest.mark.chaos
def test_handlers_that_exceed_the_drain_time_are_cancelled_and_released(kept: Scenario) -> None:
    """What does not finish within the drain time goes back, too."""
    kept.send([Kind.VALID] * 6)
    worker = kept.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="60", WORKER_DRAIN_S="1")
    _until_began(kept, 6)
    kept.stop(worker, drain_s=1)
    assert outcomes(kept, RELEASED) == {"stopping": 6}
    _finish_with_another(kept)
    check(kept)


@pytest.mark.chaos
def test_a_held_message_is_released(kept: Scenario) -> None:
    """Messages held because a provider is down do not keep the process beyond its drain time."""
    kept.provider_down.touch()
    kept.send([Kind.VALID] * 6)
    worker = kept.start(FULFILLMENT_PROVIDER="tests.chaos.providers:SometimesDown", WORKER_DRAIN_S="1")
    worker.wait_for("downstream.failed")
    kept.stop(worker, drain_s=1)
    kept.provider_down.unlink()
    _finish_with_another(kept)
    check(kept)


@pytest.mark.chaos
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.THROTTLED, Fault.LOST_ANSWER])
def test_an_aws_outage_does_not_delay_the_stop(scenario: Scenario, fault: Fault) -> None:
    """The last flush takes three seconds at most, whatever AWS answers; the messages come back by themselves."""
    scenario.set_visibility_timeout(5)
    scenario.send([Kind.VALID] * 10)
    worker = scenario.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="1", WORKER_DRAIN_S="2")
    _until_began(scenario, 10)
    scenario.proxy.inject(Rule(fault))
    scenario.stop(worker, drain_s=2)
    assert outcomes(scenario, ABANDONED)["unconfirmed"] > 0
    scenario.proxy.clear()
    _finish_with_another(scenario)
    check(scenario, Allowed(cut_short=True))


@pytest.mark.chaos
def test_unconfirmed_deletes_are_abandoned_after_the_flush(scenario: Scenario) -> None:
    """A delete that was not confirmed is not called one: the line says `unconfirmed`, and nothing is done twice."""
    scenario.proxy.inject(Rule(Fault.FAILED_ENTRIES, actions={DELETE}), Rule(Fault.ERROR, actions={DELETE}))
    scenario.send([Kind.VALID] * 10)
    worker = scenario.start()
    worker.wait_for("order.fulfilled")
    scenario.stop(worker)
    scenario.proxy.clear()
    _finish_with_another(scenario)
    check(scenario)


@pytest.mark.chaos
def test_a_worker_that_waits_for_aws_stops(scenario: Scenario) -> None:
    """Before it has reached AWS for the first time a worker stops, too."""
    scenario.proxy.go_down()
    worker = scenario.start(awaited=False)
    worker.wait_for("aws.unavailable")
    scenario.stop(worker, drain_s=0)
    scenario.proxy.come_back()
    check(scenario)


@pytest.mark.chaos
def test_a_second_signal_ends_a_worker_at_once(scenario: Scenario) -> None:
    """Whoever asks twice does not wait for handlers."""
    scenario.set_visibility_timeout(2)
    scenario.send([Kind.VALID] * 3)
    worker = scenario.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="60", WORKER_DRAIN_S="60")
    _until_began(scenario, 3)
    worker.process.terminate()
    worker.wait_for("consumer.stopping")
    began_s = time.monotonic()
    worker.process.terminate()
    assert worker.wait() != 0
    assert time.monotonic() - began_s < 2
    scenario.killed.add(worker.pid)
    _finish_with_another(scenario)
    check(scenario, Allowed(cut_short=True))


@pytest.mark.usefixtures("size")
def test_sigterm_at_random_moments_stops_cleanly(scenario: Scenario) -> None:
    """Any moment is a good one: no message is hidden from the next worker, and every process ends with 0."""
    scenario.set_visibility_timeout(LONG_VISIBILITY_S)
    scenario.proxy.inject(Rule(Fault.LATENCY, 0.5, delay_s=0.2))
    scenario.send_mix()
    for _ in range(scenario.size.kills):
        worker = scenario.start(awaited=False)
        worker.wait_for("worker.starting")
        time.sleep(scenario.rng.uniform(0, 1.2))
        scenario.stop(worker)
    scenario.proxy.clear()
    _finish_with_another(scenario)
    check(scenario)
