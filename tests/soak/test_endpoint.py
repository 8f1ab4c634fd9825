"""The endpoint of the soak: what it plays of a week, and what goes wrong in a spell."""

from http import HTTPStatus

import pytest

from tests.bench.loads import ESCALATION_QUEUE, FULFILLMENT_QUEUE
from tests.soak.endpoint import GARBAGE, Endpoint, Fault
from tests.soak.ledger import Ledger, Problems, Promise
from tests.soak.plan import Plan, Trouble

PLAN = Plan(minutes=1, orders=2_000)
TRIES = 2_000


def new_endpoint(seed: int = 0) -> Endpoint:
    plan = Plan(PLAN.minutes, PLAN.orders, seed)
    return Endpoint(plan, Ledger(plan.orders, Problems()), lambda *_: None)


async def test_orders_arrive_as_the_workflow_sends_them_with_garbage_on_both_queues() -> None:
    endpoint = new_endpoint()
    for _ in range(PLAN.orders):
        endpoint.send_order()
    assert len(endpoint.orders) == endpoint.ledger.open == PLAN.orders
    sent = {name: list(endpoint.sqs.queue(name).messages.values()) for name in (FULFILLMENT_QUEUE, ESCALATION_QUEUE)}
    garbage = {name: [one.body for one in messages if one.order_id is None] for name, messages in sent.items()}
    assert garbage[FULFILLMENT_QUEUE] == garbage[ESCALATION_QUEUE]
    assert set(garbage[FULFILLMENT_QUEUE]) == set(GARBAGE)
    about = [message.order_id for messages in sent.values() for message in messages if message.order_id is not None]
    assert set(about) == set(endpoint.orders)
    assert 0.002 < (len(about) - PLAN.orders) / PLAN.orders < 0.03
    improper = {message.order_id for message in sent[ESCALATION_QUEUE] if message.order_id is not None}
    assert 0.03 < len(improper) / PLAN.orders < 0.07
    endpoint.sqs.clear(endpoint._sampler)  # Its timers end.


async def test_a_seed_repeats_the_arrivals() -> None:
    bodies = []
    for seed in (1, 1, 2):
        endpoint = new_endpoint(seed)
        for _ in range(300):
            endpoint.send_order()
        bodies.append([message.order_id for message in endpoint.sqs.queue(ESCALATION_QUEUE).messages.values()])
        endpoint.sqs.clear(endpoint._sampler)
    assert bodies[0] == bodies[1] != bodies[2]


@pytest.mark.parametrize(
    ("trouble", "fault"),
    [
        (Trouble.AWS_THROTTLES, Fault.THROTTLED),
        (Trouble.AWS_FAILS, Fault.FAILED),
        (Trouble.AWS_RESETS, Fault.RESET),
        (Trouble.AWS_RESETS, Fault.LOST_ANSWER),
    ],
)
def test_a_spell_makes_a_fault_of_aws_frequent(trouble: Trouble, fault: Fault) -> None:
    endpoint = new_endpoint()
    usual = [endpoint.fault() for _ in range(TRIES)]
    assert 0 < sum(found is not None for found in usual) < 0.03 * TRIES
    endpoint.troubles.add(trouble)
    assert sum(endpoint.fault() is fault for _ in range(TRIES)) > 0.05 * TRIES


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (Trouble.PROVIDER_DOWN, HTTPStatus.SERVICE_UNAVAILABLE),
        (Trouble.PROVIDER_REFUSES, None),
        (Trouble.PROVIDER_FAILS, HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
def test_a_spell_of_the_provider_makes_requests_fail(trouble: Trouble, status: HTTPStatus | None) -> None:
    endpoint = new_endpoint()
    endpoint.troubles.add(trouble)
    answers = [endpoint.ship({"OrderId": f"order-{number:07}"}, "key")[0] for number in range(300)]
    assert status in answers


def test_a_provider_that_is_slow_ships() -> None:
    endpoint = new_endpoint()
    status, answer, usual_s = endpoint.ship({"OrderId": "order-0000001"}, "key")
    endpoint.troubles.add(Trouble.PROVIDER_SLOW)
    assert endpoint.ship({"OrderId": "order-0000001"}, "key")[:2] == (status, answer)
    assert endpoint.ship({"OrderId": "order-0000001"}, "key")[2] > usual_s
    assert endpoint.ledger.repeated_requests == 2


def test_only_what_the_channel_accepts_counts_as_a_notification() -> None:
    endpoint = new_endpoint()
    notification = {"CaseId": "c", "NotificationId": "c#1#soak", "ExecutionArn": "arn:c"}
    endpoint.troubles.add(Trouble.CHANNEL_DOWN)
    assert endpoint.notify(notification)[0] is HTTPStatus.SERVICE_UNAVAILABLE
    endpoint.troubles = {Trouble.CHANNEL_SLOW}
    status, _, slow_s = endpoint.notify(notification)
    endpoint.troubles.clear()
    assert (status, slow_s > endpoint.notify(notification)[2]) == (HTTPStatus.OK, True)
    assert endpoint.ledger.repeated_notifications == 1


async def test_what_is_left_at_the_end_is_found() -> None:
    endpoint = new_endpoint()
    endpoint.send_order()
    endpoint.check()
    assert {promise for promise, count in endpoint.ledger.problems.counts.items() if count} == {
        *(Promise.SETTLED, Promise.CASES, Promise.EMPTY, Promise.GARBAGE)
    }
    endpoint.sqs.clear(endpoint._sampler)
