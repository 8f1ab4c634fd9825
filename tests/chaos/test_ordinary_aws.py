"""The promises hold on AWS as it is on an ordinary day: late answers, short receives, messages that come twice."""

import time
from collections.abc import Callable

import pytest

from tests.chaos.checks import Allowed, check, check_requests
from tests.chaos.conditions import ORDINARY_AWS
from tests.chaos.escalations import Escalation, check_escalations, send_escalations
from tests.chaos.proxy import Fault, Rule
from tests.chaos.scenario import Scenario

pytestmark = pytest.mark.usefixtures("size")  # Every scenario has a short and a long version.

# Longer than a short scenario: messages come twice because SQS delivers them twice, not because a worker is too slow.
VISIBILITY_S = 30
CONNECTION_FAULTS = (Rule(Fault.RESET, 0.05), Rule(Fault.LOST_ANSWER, 0.05))


@pytest.fixture
def ordinary(scenario: Scenario) -> Scenario:
    scenario.proxy.conditions = ORDINARY_AWS
    scenario.proxy.accepts_old_receipts = scenario.rng.random() < 0.5
    return scenario


def test_two_fulfillment_workers_on_an_ordinary_day(ordinary: Scenario) -> None:
    """Duplicates, short receives and latency together lose nothing, fulfill nothing twice and cause few requests."""
    ordinary.set_visibility_timeout(VISIBILITY_S)
    _start(ordinary, ["fulfillment", "fulfillment", "escalation"])
    began_s = time.time()
    _until_shared(ordinary, ordinary.send_mix)
    check_requests(ordinary, per_delivery=3, began_s=began_s)
    check(ordinary)


def test_two_escalation_workers_on_an_ordinary_day(ordinary: Scenario) -> None:
    """Escalations get one episode each, and one notification from each worker that received the message."""
    ordinary.set_visibility_timeout(VISIBILITY_S)
    _start(ordinary, ["escalation"] * 2, **ordinary.route_to_webhook())
    began_s = time.time()
    sent = list[Escalation]()
    _until_shared(ordinary, lambda: sent.extend(send_escalations(ordinary, ordinary.size.orders)))
    check_requests(ordinary, per_delivery=8, began_s=began_s)
    check_escalations(ordinary, sent)


def test_two_workers_of_each_kind_with_resets_and_lost_answers(ordinary: Scenario) -> None:
    """The same while connections are reset and answers lost."""
    ordinary.set_visibility_timeout(3)
    _start(ordinary, ["fulfillment", "fulfillment", "escalation", "escalation"])
    ordinary.proxy.inject(*CONNECTION_FAULTS)
    _until_shared(ordinary, ordinary.send_mix)
    ordinary.proxy.clear()
    check(ordinary, Allowed(cut_short=True))


@pytest.mark.chaos
def test_many_escalations_with_resets_and_lost_answers(ordinary: Scenario) -> None:
    """The same for a backlog of escalations."""
    _start(ordinary, ["escalation"] * 2)
    ordinary.proxy.inject(*CONNECTION_FAULTS)
    sent = list[Escalation]()
    _until_shared(ordinary, lambda: sent.extend(send_escalations(ordinary, ordinary.size.orders)))
    ordinary.proxy.clear()
    check_escalations(ordinary, sent, Allowed(cut_short=True))


def _start(scenario: Scenario, names: list[str], **env: str) -> None:
    """Start workers; return once all of them consume."""
    workers = [scenario.start(name, awaited=False, **env) for name in names]
    for worker in workers:
        worker.wait_for("worker.started", timeout_s=60)


def _until_shared(scenario: Scenario, send: Callable[[], None]) -> None:
    """Send a backlog, and another one if no message was delivered to two workers: that tests too little."""
    for _ in range(5):
        send()
        scenario.until_drained()
        receivers = {(delivery.message_id, delivery.sender) for delivery in scenario.proxy.deliveries}
        if len({message_id for message_id, _ in receivers}) < len(receivers):
            return
    raise AssertionError(scenario.explain("no message was delivered to two workers"))
