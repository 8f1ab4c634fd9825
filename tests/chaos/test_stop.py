"""SIGTERM in every phase of a worker's life: it exits with code 0 in time, and its messages are processed later."""

import time

import pytest

from tests.chaos.checks import ABANDONED, RELEASED, Allowed, check, outcomes
from tests.chaos.proxy import DELETE, RECEIVE, Fault, Rule
from tests.chaos.scenario import Kind, Scenario

SLOW = "tests.chaos.providers:Slow"
# Longer than any test: a message that is received again earlier was released.
LONG_VISIBILITY_S = 300


@pytest.fixture
def kept(scenario: Scenario) -> Scenario:
    """A scenario in which messages reappear only after a release."""
    scenario.set_visibility_timeout(LONG_VISIBILITY_S)
    return scenario


def _wait_for_handlers(scenario: Scenario, count: int) -> None:
    scenario.until(lambda: len(scenario.shipments("began")) >= count, f"{count} running handlers")


def _finish_with_another(scenario: Scenario) -> None:
    """Let another worker process the rest at once: no message may be hidden from it."""
    scenario.start(FULFILLMENT_PROVIDER="tests.chaos.providers:Recorder")
    if any(sent.kind is not Kind.VALID for sent in scenario.sent):
        scenario.start("escalation")
    scenario.until_drained(timeout_s=20)


def test_a_message_received_during_the_stop_is_released(kept: Scenario) -> None:
    """A running receive finishes first, and its messages are released at once."""
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
    """Running handlers may finish within the drain time; other messages are released with visibility 0."""
    kept.send([Kind.VALID] * 12)
    worker = kept.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="1.5", WORKER_CONCURRENCY="5")
    _wait_for_handlers(kept, 5)
    kept.stop(worker)
    assert len(kept.shipments()) == 5
    assert set(outcomes(kept, RELEASED)) <= {"stopping"}
    _finish_with_another(kept)
    assert len(kept.shipments("began")) == 12
    check(kept)


@pytest.mark.chaos
def test_handlers_that_exceed_the_drain_time_are_cancelled_and_released(kept: Scenario) -> None:
    """Handlers that do not finish within the drain time are cancelled, and their messages released."""
    kept.send([Kind.VALID] * 6)
    worker = kept.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="60", WORKER_DRAIN_S="1")
    _wait_for_handlers(kept, 6)
    kept.stop(worker, drain_s=1)
    assert outcomes(kept, RELEASED) == {"stopping": 6}
    _finish_with_another(kept)
    check(kept)


@pytest.mark.chaos
def test_a_held_message_is_released(kept: Scenario) -> None:
    """Messages held because of a provider outage do not delay the stop beyond the drain time."""
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
    """The last flush takes at most three seconds, whatever AWS answers; its messages become visible by themselves."""
    scenario.set_visibility_timeout(5)
    scenario.send([Kind.VALID] * 10)
    worker = scenario.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="1", WORKER_DRAIN_S="2")
    _wait_for_handlers(scenario, 10)
    scenario.proxy.inject(Rule(fault))
    scenario.stop(worker, drain_s=2)
    assert outcomes(scenario, ABANDONED)["unconfirmed"] > 0
    scenario.proxy.clear()
    _finish_with_another(scenario)
    check(scenario, Allowed(cut_short=True))


@pytest.mark.chaos
def test_unconfirmed_deletes_are_abandoned_after_the_flush(scenario: Scenario) -> None:
    """An unconfirmed delete is logged as `unconfirmed`, and its order is not changed twice."""
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
    """A worker that has not reached AWS yet can be stopped, too."""
    scenario.proxy.go_down()
    worker = scenario.start(awaited=False)
    worker.wait_for("aws.unavailable")
    scenario.stop(worker, drain_s=0)
    scenario.proxy.come_back()
    check(scenario)


@pytest.mark.chaos
def test_a_second_signal_ends_a_worker_at_once(scenario: Scenario) -> None:
    """A second signal does not wait for handlers."""
    scenario.set_visibility_timeout(2)
    scenario.send([Kind.VALID] * 3)
    worker = scenario.start(FULFILLMENT_PROVIDER=SLOW, CHAOS_SHIP_S="60", WORKER_DRAIN_S="60")
    _wait_for_handlers(scenario, 3)
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
    """A stop at any moment hides no message from the next worker, and every process exits with code 0."""
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
