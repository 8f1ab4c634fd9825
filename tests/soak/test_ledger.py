"""Every promise that a run proves is seen broken here, on a ledger of a few orders."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.bench.loads import ESCALATION_QUEUE, FULFILLMENT_QUEUE
from tests.soak.ledger import MAX_EXAMPLES, Fate, Ledger, Orders, Problems, Promise

Item = dict[str, Any]

PROPER, IMPROPER, EXHAUSTED = "order-0000000", "order-0000001", "order-0000002"
GARBAGE, USELESS = "m-1", "m-2"


def order(order_id: str, status: str, **attributes: str) -> Item:
    return {name: {"S": value} for name, value in {"OrderId": order_id, "Status": status, **attributes}.items()}


def case(reason: str, *, state: str = "OPEN", episode: int = 1) -> Item:
    return {"State": {"S": state}, "Episode": {"N": str(episode)}, "Reasons": {"L": [{"S": reason}]}}


def letter(origin: str, reason: str = "UNDECODABLE_MESSAGE: not JSON") -> Item:
    return {"OriginMessageId": {"StringValue": origin}, "Reason": {"StringValue": reason}}


class Story:
    """A run in which all goes well, of three orders and two useless bodies; the tests change one thing each."""

    def __init__(self) -> None:
        self.ledger = Ledger(3, Problems())
        self.orders = Orders(self.ledger)
        for order_id in (PROPER, IMPROPER, EXHAUSTED):
            self.orders[order_id] = order(order_id, "RECEIVED", OpenKey="RECEIVED#1")
            self.ledger.order_sent(order_id, messages=1, improper=order_id == IMPROPER)
        self.ledger.garbage[FULFILLMENT_QUEUE].add(GARBAGE)
        self.ledger.garbage[ESCALATION_QUEUE].add(USELESS)
        shipment = self.ledger.shipment(PROPER, "key-1")
        self.orders[PROPER] = order(PROPER, "FULFILLED", ShipmentId=shipment, OpenKey="FULFILLED#2026-01-01#1")
        for order_id in (IMPROPER, EXHAUSTED):
            self.orders[order_id] = order(order_id, "ESCALATED", OpenKey="ESCALATED#1")
        self.cases = {
            IMPROPER: case("INVALID_PRICE"),
            EXHAUSTED: case("FULFILLMENT_EXHAUSTED"),
            f"message-{GARBAGE}": case("UNDECODABLE_MESSAGE"),
            f"message-{USELESS}": case("UNDECODABLE_MESSAGE"),
        }
        for case_id in self.cases:
            self.notify(case_id)
        self.left: list[str] = []
        self.letters = {FULFILLMENT_QUEUE: [letter(GARBAGE)], ESCALATION_QUEUE: [letter(USELESS)]}

    def notify(self, case_id: str, *, episode: int = 1, execution: str | None = None) -> None:
        notification = {"CaseId": case_id, "NotificationId": f"{case_id}#{episode}#soak"}
        self.ledger.notified(notification | {"ExecutionArn": execution or f"arn:{case_id}"})

    def check(self) -> dict[Promise, int]:
        self.ledger.check_orders(self.orders)
        self.ledger.check_cases(self.cases)
        self.ledger.check_queue(FULFILLMENT_QUEUE, self.left)
        for queue, letters in self.letters.items():
            self.ledger.check_dead_letters(queue, letters)
        return dict(self.ledger.problems.counts)


def test_nothing_is_wrong_if_all_went_well() -> None:
    story = Story()
    assert story.check() == {}
    assert story.ledger.settled == {Fate.FULFILLED: 1, Fate.ESCALATED: 2}
    assert story.ledger.open == 0


def test_what_may_be_repeated_is_counted_and_no_problem() -> None:
    story = Story()
    story.ledger.shipment(PROPER, "key-1")
    story.notify(IMPROPER)
    story.orders[PROPER] = dict(story.orders[PROPER])  # The same status again.
    assert story.check() == {}
    assert (story.ledger.repeated_requests, story.ledger.repeated_notifications) == (1, 1)


def settled_twice(story: Story) -> None:
    story.orders[PROPER] = order(PROPER, "RECEIVED")
    story.orders[PROPER] = order(PROPER, "FULFILLED", ShipmentId=f"SHIPMENT-{PROPER}")


def settled_in_two_ways(story: Story) -> None:
    story.orders[EXHAUSTED] = order(EXHAUSTED, "FULFILLED", ShipmentId=story.ledger.shipment(EXHAUSTED, "key-2"))


def listed_as_open(story: Story) -> None:
    story.orders[PROPER]["OpenKey"] = {"S": "RECEIVED#1"}


def shipped_under_two_keys(story: Story) -> None:
    assert story.ledger.shipment(PROPER, "key-2") != story.ledger.shipment(PROPER, "key-1")


def improper_order_shipped(story: Story) -> None:
    story.ledger.shipment(IMPROPER, "key-1")


def fulfilled_by_another_shipment(story: Story) -> None:
    story.orders[PROPER]["ShipmentId"] = {"S": "SHIPMENT-2"}


def without_case(story: Story) -> None:
    del story.cases[EXHAUSTED]


def garbage_without_case(story: Story) -> None:
    del story.cases[f"message-{USELESS}"]


def one_case_too_many(story: Story) -> None:
    story.cases["execution-7"] = case("WORKFLOW_FAILED")
    story.notify("execution-7")


def reopened_case(story: Story) -> None:
    story.cases[IMPROPER] = case("INVALID_PRICE", episode=2)


def closed_case(story: Story) -> None:
    story.cases[IMPROPER] = case("INVALID_PRICE", state="RESOLVED")


def case_with_another_reason(story: Story) -> None:
    story.cases[EXHAUSTED] = case("ORDER_NOT_FOUND")


def notified_twice(story: Story) -> None:
    story.notify(IMPROPER, episode=2)


def execution_notified_for_two_cases(story: Story) -> None:
    story.notify(f"message-{GARBAGE}", episode=2, execution=f"arn:{IMPROPER}")


def not_notified(story: Story) -> None:
    del story.ledger._notifications[IMPROPER]


def notified_without_case(story: Story) -> None:
    story.notify("execution-8")


def left_in_the_queue(story: Story) -> None:
    story.left.append("{")


def garbage_lost(story: Story) -> None:
    story.letters[FULFILLMENT_QUEUE].clear()


def dead_letter_without_reason(story: Story) -> None:
    story.letters[FULFILLMENT_QUEUE] = [letter(GARBAGE, "")]


def order_in_the_dead_letter_queue(story: Story) -> None:
    story.letters[ESCALATION_QUEUE].append(letter("m-3", "delivered 20 times without an outcome"))


def dead_letter_of_sqs(story: Story) -> None:
    story.letters[ESCALATION_QUEUE].append({})


BROKEN = {
    Promise.SETTLED: [settled_twice, settled_in_two_ways, listed_as_open],
    Promise.SHIPPED: [shipped_under_two_keys, improper_order_shipped, fulfilled_by_another_shipment],
    Promise.CASES: [
        without_case,
        garbage_without_case,
        one_case_too_many,
        reopened_case,
        closed_case,
        case_with_another_reason,
    ],
    Promise.NOTIFIED: [notified_twice, execution_notified_for_two_cases, not_notified, notified_without_case],
    Promise.EMPTY: [left_in_the_queue],
    Promise.GARBAGE: [garbage_lost, dead_letter_without_reason, order_in_the_dead_letter_queue, dead_letter_of_sqs],
}


@pytest.mark.parametrize(
    ("promise", "doctor"), [(promise, doctor) for promise, doctors in BROKEN.items() for doctor in doctors]
)
def test_a_broken_promise_is_found(promise: Promise, doctor: Callable[[Story], None]) -> None:
    story = Story()
    doctor(story)
    found = story.check()
    assert promise in found
    assert story.ledger.problems.examples[promise]


def test_an_order_that_is_not_settled_is_found() -> None:
    ledger = Ledger(2, Problems())
    orders = Orders(ledger)
    orders[PROPER] = order(PROPER, "RECEIVED")
    ledger.order_sent(PROPER, messages=1, improper=False)
    assert ledger.open == 1
    ledger.check_orders(orders)
    assert ledger.problems.examples[Promise.SETTLED] == [f"{PROPER} is not settled"]


def test_an_improper_order_that_is_fulfilled_is_found() -> None:
    ledger = Ledger(2, Problems())
    orders = Orders(ledger)
    orders[IMPROPER] = order(IMPROPER, "RECEIVED")
    ledger.order_sent(IMPROPER, messages=1, improper=True)
    orders[IMPROPER] = order(IMPROPER, "FULFILLED")
    assert ledger.problems.counts == {Promise.SETTLED: 1}


def test_an_order_that_is_fulfilled_without_a_shipment_is_found() -> None:
    ledger = Ledger(2, Problems())
    orders = Orders(ledger)
    orders[PROPER] = order(PROPER, "RECEIVED")
    ledger.order_sent(PROPER, messages=1, improper=False)
    orders[PROPER] = order(PROPER, "FULFILLED", ShipmentId=f"SHIPMENT-{PROPER}")
    ledger.check_orders(orders)
    assert ledger.problems.examples[Promise.SHIPPED] == [f"{PROPER} is fulfilled, but was not shipped"]


def test_orders_fulfilled_long_ago_are_checked_and_forgotten_once_there_is_no_message_about_them() -> None:
    ledger = Ledger(4, Problems())
    orders = Orders(ledger, kept=1)
    ids = [f"order-{number:07}" for number in range(4)]
    for order_id in ids:
        orders[order_id] = order(order_id, "RECEIVED")
        ledger.order_sent(order_id, messages=1, improper=False)
    ledger.message_deleted(ids[1])
    for order_id in ids[:3]:
        shipment = ledger.shipment(order_id, "key")
        wrong = {"OpenKey": "RECEIVED#1"} if order_id == ids[1] else {}
        orders[order_id] = order(order_id, "FULFILLED", ShipmentId=shipment, **wrong)
    assert list(orders) == [ids[0], ids[2], ids[3]]  # There may be another message about the first one.
    assert ledger.problems.examples[Promise.SETTLED] == [f"{ids[1]} is fulfilled, but listed as open"]


def test_only_the_first_examples_are_kept() -> None:
    problems = Problems()
    for number in range(1000):
        problems.add(Promise.EMPTY, f"{number}" * 10_000)
    assert problems.counts == {Promise.EMPTY: 1000}
    assert len(problems.examples[Promise.EMPTY]) == MAX_EXAMPLES
    assert len(problems.examples[Promise.EMPTY][0]) == 1000
