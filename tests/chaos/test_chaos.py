"""The promises about every message hold whatever happens to workers, connections, AWS and providers."""

import signal
import time
from collections import Counter
from typing import Any

import pytest

from tests.chaos.checks import (
    ABANDONED,
    ENDINGS,
    NOTHING,
    RELEASED,
    Allowed,
    check,
    check_delivered_again_only_if_released,
    check_delivered_once,
    check_shipped_once,
    outcomes,
)
from tests.chaos.proxy import DELETE, EXTEND, RECEIVE, Fault, Rule, every_kind
from tests.chaos.scenario import Kind, Scenario, resident_mb
from tests.support import Worker
from workers.trials import MAX_TRIALS

pytestmark = pytest.mark.usefixtures("size")  # Every scenario has a short and a long version.

# Limit for one worker in an AWS outage, once its running requests have failed. Other consumers: 40 and more.
MAX_REQUESTS_PER_S = 12.0
UNHURRIED_S = 20  # A visibility timeout that a worker on a busy machine extends in time.
SETTLING_S = 1.5  # Until running requests have failed and their callers back off.
RECOVERY_S = 15.0  # Every backoff is capped at 10 s.
MAX_GROWTH_MB = 12.0
REFUSED_S = 6.0


def test_workers_killed_at_random_lose_nothing_and_repeat_nothing(scenario: Scenario) -> None:
    """A crash at any moment loses no message and changes no state twice."""

    def start() -> Worker:
        return scenario.start(awaited=False, WORKER_MAX_DELIVERIES="15", **_slow_provider(scenario))

    scenario.send_mix()
    escalation = scenario.start("escalation", awaited=False)
    workers = [start() for _ in range(2)]
    workers[0].wait_for("order.fulfilled")
    for _ in range(scenario.size.kills):
        victim = scenario.rng.choice([*workers, escalation])
        scenario.kill(victim)
        if victim is escalation:
            escalation = scenario.start("escalation", awaited=False)
        else:
            workers[workers.index(victim)] = start()
        time.sleep(scenario.rng.uniform(0.3, 1.5))
    scenario.until_drained()
    check(scenario, Allowed(cut_short=True))


def test_a_rolling_deploy_loses_nothing_and_stops_cleanly(scenario: Scenario) -> None:
    """A stop under load, many times: unstarted messages are released, running ones finish, deletes are flushed."""

    def start() -> Worker:
        return scenario.start(awaited=False, **_slow_provider(scenario))

    scenario.send_mix()
    scenario.start("escalation", awaited=False)
    workers = [start() for _ in range(2)]
    workers[0].wait_for("order.fulfilled")
    for turn in range(scenario.size.kills):
        workers.append(start())
        time.sleep(scenario.rng.uniform(0.2, 1.2))
        scenario.stop(workers[turn])
    scenario.until_drained()
    check_delivered_again_only_if_released(scenario)
    check(scenario)
    released = set(outcomes(scenario, RELEASED))
    assert released <= {"stopping"}, scenario.explain(f"released as {released}")


def _slow_provider(scenario: Scenario) -> dict[str, str]:
    """Return the settings of a slow worker, so that there is work to interrupt."""
    concurrency = max(3, scenario.size.orders // 60)
    return {
        "FULFILLMENT_PROVIDER": "tests.chaos.providers:Slow",
        "CHAOS_SHIP_S": "0.8",
        "WORKER_CONCURRENCY": str(concurrency),
    }


@pytest.mark.parametrize("outage", [pytest.param("refused", marks=pytest.mark.chaos), "reset"])
def test_a_total_outage_of_aws_passes_by_itself(scenario: Scenario, outage: str) -> None:
    """An AWS outage: capped backoff, no busy loop, no used attempt, recovery without help."""
    workers = [scenario.start(WORKER_CONCURRENCY="5", awaited=False), scenario.start("escalation")]
    scenario.proxy.inject(Rule(Fault.LATENCY, delay_s=0.3))
    scenario.send_mix()
    workers[0].wait_for("order.fulfilled")
    if outage == "refused":
        scenario.proxy.go_down()
    else:
        scenario.proxy.inject(Rule(Fault.RESET))
    began_s = time.time()
    time.sleep(scenario.size.outage_s)
    ended_s = time.time()
    if outage == "refused":
        scenario.proxy.come_back()
    scenario.proxy.clear()
    scenario.until(
        lambda: scenario.proxy.count(RECEIVE, since_s=ended_s), "the first poll after the outage", timeout_s=RECOVERY_S
    )
    scenario.until_drained()
    rate = scenario.proxy.requests_per_second(since_s=began_s + SETTLING_S, until_s=ended_s) / len(workers)
    assert rate < MAX_REQUESTS_PER_S, scenario.explain(f"{rate:.1f} requests per second and worker in the outage")
    check(scenario, Allowed(cut_short=True))


def test_faults_of_every_kind_change_no_result(scenario: Scenario) -> None:
    """Ten percent each of errors, throttling, resets, late, lost and half answers, failed entries and duplicates."""
    worker = scenario.start()
    scenario.start("escalation")
    scenario.proxy.inject(*every_kind(0.1, delay_s=0.3))
    waves = 4 if scenario.size.orders >= 200 else 1
    resident = []
    for _ in range(waves):
        scenario.send_mix(scenario.size.orders // waves)
        scenario.until_drained()
        resident.append(resident_mb(worker))
    # The first wave fills caches and pools; after it, memory does not grow.
    growth_mb = resident[-1] - resident[0]
    assert growth_mb < MAX_GROWTH_MB, scenario.explain(f"resident memory after each wave, MB: {resident}")
    scenario.proxy.clear()
    check(scenario, Allowed(cut_short=True))


@pytest.mark.chaos
def test_deletes_whose_response_is_lost_are_repeated(scenario: Scenario) -> None:
    """A delete whose response is lost is sent again, and its message is not handled twice."""
    scenario.set_visibility_timeout(UNHURRIED_S)
    scenario.start(awaited=False)
    scenario.start("escalation")
    scenario.proxy.inject(Rule(Fault.LOST_ANSWER, 0.5, actions={DELETE}))
    scenario.send_mix()
    scenario.until_drained()
    scenario.proxy.clear()
    check_delivered_once(scenario)
    check(scenario)


def test_refused_entries_are_sent_again_and_duplicates_folded(scenario: Scenario) -> None:
    """`Failed` entries of a delete are retried, and a message that is received twice is handled once."""
    scenario.start(FULFILLMENT_PROVIDER="tests.chaos.providers:Recorder", awaited=False)
    scenario.start("escalation")
    scenario.proxy.inject(
        Rule(Fault.DUPLICATED, 0.5), Rule(Fault.FAILED_ENTRIES, 0.3), Rule(Fault.LOST_ANSWER, 0.1, actions={DELETE})
    )
    scenario.send_mix()
    scenario.until_drained()
    scenario.proxy.clear()
    check_shipped_once(scenario)
    check(scenario)


def test_a_handler_may_take_longer_than_the_visibility_timeout(scenario: Scenario) -> None:
    """Visibility is extended until a message is settled, so a slow message is delivered and handled once."""
    # Long enough for a busy machine, and for the local AWS to process the fifty extensions of the long version.
    scenario.set_visibility_timeout(10)
    scenario.proxy.inject(Rule(Fault.FAILED_ENTRIES, 0.1, actions={EXTEND}))
    scenario.start(
        FULFILLMENT_PROVIDER="tests.chaos.providers:Slow",
        CHAOS_SHIP_S="11",
        WORKER_CONCURRENCY=str(scenario.size.orders // 2 + 5),
        awaited=False,
    )
    scenario.start("escalation")
    scenario.send_mix()
    scenario.until_drained()
    check_delivered_once(scenario)
    check_shipped_once(scenario)
    check(scenario)


@pytest.mark.parametrize("stops", [False, True], ids=["goes on", "stops"])
@pytest.mark.parametrize("accepted", [True, pytest.param(False, marks=pytest.mark.chaos)], ids=["accepted", "refused"])
def test_a_worker_that_was_frozen_too_long_gives_no_message_away(
    scenario: Scenario, *, accepted: bool, stops: bool
) -> None:
    """A worker that was frozen for longer than the visibility timeout leaves its messages to those that have them."""
    scenario.set_visibility_timeout(10)  # The others extend theirs in time on a busy machine, too.
    scenario.proxy.accepts_old_receipts = accepted
    slow: dict[str, Any] = {"FULFILLMENT_PROVIDER": "tests.chaos.providers:Slow", "WORKER_DRAIN_S": "1"}
    scenario.send([Kind.VALID] * 6)
    frozen = scenario.start(CHAOS_SHIP_S="60", **slow)
    scenario.until(lambda: len(scenario.shipments("began")) == 6, "six running handlers")
    frozen.process.send_signal(signal.SIGSTOP)
    for _ in range(2):
        scenario.start(CHAOS_SHIP_S="5", **slow)
    scenario.until(lambda: len(scenario.shipments("began")) == 12, "the messages to be taken over")
    if stops:
        frozen.process.send_signal(signal.SIGTERM)
    frozen.process.send_signal(signal.SIGCONT)
    scenario.until_drained()
    assert scenario.proxy.changed_with_old_receipts == [], scenario.explain("a message was given away")
    check_shipped_once(scenario)
    assert len(scenario.shipments("began")) == 12, scenario.explain("a message was given away")
    if stops:
        assert frozen.wait() == 0
    endings = Counter((line["event"], line["outcome"]) for line in frozen.lines() if line["event"] in ENDINGS)
    assert endings == {(ABANDONED, "receipt_lost"): 6}, scenario.explain(f"endings of the frozen worker: {endings}")
    check(scenario)


@pytest.mark.chaos
def test_a_lost_receipt_cancels_the_handler(scenario: Scenario) -> None:
    """Once a receipt is lost, its handler is cancelled; the next delivery of the message does the work."""
    scenario.set_visibility_timeout(2)
    scenario.start(
        FULFILLMENT_PROVIDER="tests.chaos.providers:Slow",
        CHAOS_SHIP_S="1.8",
        WORKER_MAX_DELIVERIES="15",
        WORKER_CONCURRENCY="40",
        awaited=False,
    )
    scenario.start("escalation")
    scenario.proxy.inject(Rule(Fault.LOST_RECEIPTS, 0.4))
    scenario.send_mix()
    scenario.until_drained()
    scenario.proxy.clear()
    check(scenario)
    lost = outcomes(scenario, "message.abandoned")
    assert lost["receipt_lost"] > 0, scenario.explain(f"no receipt was lost: {lost}")


def test_a_provider_outage_uses_no_attempt(scenario: Scenario) -> None:
    """A provider outage: messages in flight are held, none is received, one message probes, all resume."""
    scenario.set_visibility_timeout(UNHURRIED_S)
    worker = scenario.start(FULFILLMENT_PROVIDER="tests.chaos.providers:SometimesDown", awaited=False)
    scenario.start("escalation")
    scenario.proxy.inject(Rule(Fault.LATENCY, delay_s=0.1))
    scenario.send_mix()
    scenario.until(scenario.shipments, "a first shipment")
    scenario.provider_down.touch()
    worker.wait_for("downstream.failed")
    time.sleep(SETTLING_S)
    calls, began_s = len(scenario.shipments("began")), time.time()
    time.sleep(scenario.size.provider_down_s)
    probes = len(scenario.shipments("began")) - calls
    fulfillment = [
        delivery for delivery in scenario.proxy.deliveries if delivery.at_s > began_s and "Source" not in delivery.body
    ]
    scenario.provider_down.unlink()
    assert not fulfillment, scenario.explain(f"{len(fulfillment)} messages were received while the provider was down")
    assert probes <= 10 + scenario.size.provider_down_s / 4, scenario.explain(f"{probes} calls while it was down")
    scenario.until_drained()
    check_delivered_once(scenario)
    check(scenario)


@pytest.mark.chaos
def test_a_long_provider_outage_escalates_no_order(scenario: Scenario) -> None:
    """Deliveries used up by a provider outage do not count against an order, however many they are."""
    scenario.provider_down.touch()
    scenario.start(
        FULFILLMENT_PROVIDER="tests.chaos.providers:SometimesDown",
        WORKER_MAX_HANDLE_S="1",
        WORKER_MAX_DELIVERIES="3",
        awaited=False,
    )
    scenario.start("escalation")
    scenario.send_mix(30)
    time.sleep(20 + scenario.size.provider_down_s)
    scenario.provider_down.unlink()
    scenario.until_drained()
    check(scenario)


@pytest.mark.chaos
def test_a_failing_order_gets_all_its_attempts(scenario: Scenario) -> None:
    """Failed attempts are counted on the order; deploys and AWS outages are not attempts."""
    failing = [sent.order_id for sent in scenario.send([Kind.VALID] * 3, prefix="failing") if sent.order_id]
    scenario.send_mix()
    scenario.start("escalation", awaited=False)

    def start() -> Worker:
        return scenario.start(FULFILLMENT_PROVIDER="tests.chaos.providers:Failing", WORKER_MAX_ATTEMPTS="3")

    worker = start()
    for _ in range(3):
        time.sleep(scenario.rng.uniform(0.2, 1.5))
        scenario.proxy.inject(Rule(Fault.RESET))
        time.sleep(0.5)
        scenario.proxy.inject(Rule(Fault.LOST_ANSWER, 0.4, actions={"UpdateItem"}))
        worker, before = start(), worker
        scenario.stop(before)
    scenario.until_drained()
    check(
        scenario, Allowed(cut_short=True, exhausted=failing, exceptions={"message.failed", "order.attempts_exhausted"})
    )
    orders = scenario.orders()
    attempts = {order_id: int(orders[order_id]["Attempts"]) for order_id in failing}
    assert set(attempts.values()) == {3}, scenario.explain(f"attempts: {attempts}")
    calls = {order_id: scenario.shipments("began").count(order_id) for order_id in failing}
    assert min(calls.values()) >= 3, scenario.explain(f"calls of the provider: {calls}")


@pytest.mark.chaos
def test_a_message_that_crashes_its_worker_is_escalated(scenario: Scenario) -> None:
    """A message that crashes workers is handled alone, a few times at most, and then escalated."""
    scenario.set_visibility_timeout(3)
    scenario.start("escalation", awaited=False)
    poison = [sent.order_id for sent in scenario.send([Kind.VALID], prefix="poison") if sent.order_id]
    _drain_despite_crashes(scenario, WORKER_MAX_DELIVERIES="3")
    scenario.send_mix()
    _drain_despite_crashes(scenario, WORKER_MAX_DELIVERIES="3")
    check(scenario, Allowed(cut_short=True, exhausted=poison))
    crashes = scenario.shipments("began").count(poison[0])
    # Fewer, if a last poll of a killed process received the message without handling it.
    assert 1 <= crashes <= 3 + MAX_TRIALS, scenario.explain(f"the message was handled {crashes} times")


@pytest.mark.chaos
def test_a_message_that_crashes_its_worker_does_not_affect_others(scenario: Scenario) -> None:
    """Messages that are only in flight when another one crashes the worker are not escalated."""
    scenario.set_visibility_timeout(3)
    scenario.start("escalation", awaited=False)
    poison = [sent.order_id for sent in scenario.send([Kind.VALID], prefix="poison") if sent.order_id]
    scenario.send_mix()
    _drain_despite_crashes(scenario, WORKER_MAX_DELIVERIES="5")
    check(scenario, Allowed(cut_short=True, exhausted=poison))


def _drain_despite_crashes(scenario: Scenario, **env: str) -> None:
    """Act as a supervisor until the queues are empty: start another worker after every crash."""

    def start() -> Worker:
        return scenario.start(FULFILLMENT_PROVIDER="tests.chaos.providers:Crashing", awaited=False, **env)

    worker = start()

    def drained() -> bool:
        nonlocal worker
        if (code := worker.process.poll()) is not None:
            assert code == -signal.SIGKILL, scenario.explain(f"exit code {code}")
            scenario.killed.add(worker.pid)
            worker = start()
        return scenario.drained()

    scenario.until(drained, "empty queues")
    scenario.until_drained()
    scenario.stop(worker)


@pytest.mark.chaos
def test_expired_credentials_are_an_outage(scenario: Scenario) -> None:
    """Credentials that expire while a worker runs are an outage: backoff, no exit, recovery without help."""
    workers = [scenario.start(WORKER_CONCURRENCY="5", awaited=False), scenario.start("escalation")]
    scenario.proxy.inject(Rule(Fault.LATENCY, delay_s=0.3))
    scenario.send_mix()
    workers[0].wait_for("order.fulfilled")
    scenario.proxy.inject(Rule(Fault.EXPIRED))
    began_s = time.time()
    time.sleep(scenario.size.outage_s)
    ended_s = time.time()
    scenario.proxy.clear()
    scenario.until_drained()
    rate = scenario.proxy.requests_per_second(since_s=began_s + SETTLING_S, until_s=ended_s) / len(workers)
    assert rate < MAX_REQUESTS_PER_S, scenario.explain(f"{rate:.1f} requests per second and worker")
    check(scenario)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.SIGNATURE,
        pytest.param(Fault.TOMORROW, marks=pytest.mark.chaos),
        pytest.param(Fault.DENIED, marks=pytest.mark.chaos),
    ],
)
def test_a_refusal_of_every_call_is_an_outage(scenario: Scenario, fault: Fault) -> None:
    """A wrong signature, a code that no one knows and denied access end no running worker and cost no attempt."""
    workers = [scenario.start(WORKER_CONCURRENCY="5", awaited=False), scenario.start("escalation")]
    scenario.proxy.inject(Rule(Fault.LATENCY, delay_s=0.3))
    scenario.send_mix()
    workers[0].wait_for("order.fulfilled")
    scenario.proxy.inject(Rule(fault))
    began_s = time.time()
    time.sleep(REFUSED_S)
    ended_s = time.time()
    scenario.proxy.clear()
    assert [worker.process.poll() for worker in workers] == [None, None], scenario.explain("a worker ended")
    scenario.until_drained()
    rate = scenario.proxy.requests_per_second(since_s=began_s + SETTLING_S, until_s=ended_s) / len(workers)
    assert rate < MAX_REQUESTS_PER_S, scenario.explain(f"{rate:.1f} requests per second and worker")
    check(scenario)


@pytest.mark.parametrize("fault", [Fault.DENIED, pytest.param(Fault.TOMORROW, marks=pytest.mark.chaos)])
def test_a_refusal_that_may_pass_is_waited_for_at_the_start(scenario: Scenario, fault: Fault) -> None:
    """Permissions that are still spreading, or a code that no one knows, roll no deployment back."""
    scenario.proxy.inject(Rule(fault))
    worker = scenario.start(awaited=False)
    reason = worker.wait_for("aws.unavailable", attempt=3)["reason"]
    assert reason.startswith("GetQueueUrl: "), reason
    scenario.proxy.clear()
    worker.wait_for("worker.started")
    scenario.start("escalation")
    scenario.send_mix()
    scenario.until_drained()
    check(scenario)


def test_a_refused_signature_ends_the_start_at_once(scenario: Scenario) -> None:
    """A wrong secret or clock is one line and exit code 1."""
    scenario.proxy.inject(Rule(Fault.SIGNATURE))
    worker = scenario.start(awaited=False)
    scenario.workers.remove(worker)
    assert worker.wait(20) == 1
    assert [(line["event"], line.get("reason")) for line in worker.lines()] == [
        ("worker.starting", None),
        ("worker.failed", "GetQueueUrl: AWS refuses the credentials (InvalidSignatureException)"),
    ]


@pytest.mark.chaos
def test_throttled_receives_back_off(scenario: Scenario) -> None:
    """Throttled receives back off, messages in flight are settled meanwhile, and receiving resumes without help."""
    scenario.set_visibility_timeout(UNHURRIED_S)
    workers = [scenario.start(WORKER_CONCURRENCY="5", awaited=False), scenario.start("escalation")]
    scenario.proxy.inject(Rule(Fault.LATENCY, delay_s=0.3))
    scenario.send_mix()
    workers[0].wait_for("order.fulfilled")
    scenario.proxy.inject(Rule(Fault.THROTTLED, actions={RECEIVE}))
    began_s = time.time()
    time.sleep(scenario.size.outage_s)
    ended_s = time.time()
    scenario.proxy.clear()
    scenario.until_drained()
    rate = scenario.proxy.requests_per_second(RECEIVE, since_s=began_s + SETTLING_S, until_s=ended_s) / len(workers)
    assert rate < MAX_REQUESTS_PER_S / 2, scenario.explain(f"{rate:.1f} receives per second and worker")
    check_delivered_once(scenario)
    check(scenario, NOTHING)


@pytest.mark.chaos
def test_late_responses_are_not_awaited(scenario: Scenario) -> None:
    """A silent connection is closed after the read timeout; requests that are applied late change no result."""
    scenario.set_visibility_timeout(10)
    scenario.start(awaited=False)
    scenario.start("escalation")
    scenario.proxy.inject(Rule(Fault.LATENCY, 0.25, delay_s=40))
    scenario.send_mix(60)
    time.sleep(scenario.size.outage_s)
    scenario.proxy.clear()
    scenario.until(lambda: scenario.proxy.late == 0, "the late requests to be applied", timeout_s=60)
    scenario.until_drained(timeout_s=120)
    check(scenario, Allowed(cut_short=True))
