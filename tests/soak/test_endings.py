"""Deliveries and last lines are compared as they come."""

from tests.soak.endings import Endings
from tests.soak.ledger import Problems, Promise


def found(problems: Problems) -> list[str]:
    assert problems.counts.total() == len(problems.examples[Promise.ENDINGS])
    return problems.examples[Promise.ENDINGS]


def test_every_delivery_has_its_line() -> None:
    problems = Problems()
    endings = Endings("fulfillment-1", problems)
    for delivery in (("a", 1), ("b", 1), ("a", 2)):
        endings.delivered(*delivery)
        endings.ended(*delivery)
    endings.stopped()
    assert found(problems) == []
    assert endings.count == 3


def test_a_delivery_of_a_message_in_flight_needs_no_line_of_its_own_but_may_have_one() -> None:
    problems = Problems()
    endings = Endings("fulfillment-1", problems)
    for message in ("folded", "on its own"):
        endings.delivered(message, 1)
        endings.delivered(message, 2)
        endings.ended(message, 1)
    endings.ended("on its own", 2)
    endings.stopped()
    assert found(problems) == []


def test_a_second_line_is_found() -> None:
    problems = Problems()
    endings = Endings("fulfillment-1", problems)
    endings.delivered("a", 1)
    endings.ended("a", 1)
    endings.ended("a", 1)
    assert found(problems) == ["fulfillment-1 ended a, delivery 1, twice, or never received it"]


def test_a_line_about_a_message_that_was_not_received_is_found() -> None:
    problems = Problems()
    Endings("escalation-2", problems).ended("b", 3)
    assert found(problems) == ["escalation-2 ended b, delivery 3, twice, or never received it"]


def test_a_missing_line_is_found_when_the_worker_has_stopped() -> None:
    problems = Problems()
    endings = Endings("escalation-2", problems)
    endings.delivered("c", 1)
    assert found(problems) == []
    endings.stopped()
    assert found(problems) == ["escalation-2 received c, delivery [1], and never ended it"]
