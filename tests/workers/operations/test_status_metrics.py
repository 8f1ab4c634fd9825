"""What CloudWatch's data points say, and for how long they count."""

from datetime import timedelta

import pytest

from tests.workers.operations.fakes import NOW
from workers.operations.status_metrics import Metrics, Points


def of_queue(**points: Points) -> Metrics:
    return Metrics(NOW, {("Q", name): each for name, each in points.items()}, {})


@pytest.mark.parametrize(("seconds", "known"), [(0, True), (899, True), (900, False)])
def test_an_age_counts_for_fifteen_minutes(seconds: int, *, known: bool) -> None:
    at = NOW - timedelta(seconds=seconds)
    assert of_queue(oldest=[(at, 41.7), (at - timedelta(minutes=1), 7)]).oldest_s("Q") == (42 if known else None)


@pytest.mark.parametrize(("seconds", "known"), [(899, True), (900, False)])
def test_a_shipment_is_recent_for_fifteen_minutes(seconds: int, *, known: bool) -> None:
    at = NOW - timedelta(seconds=seconds)
    points = [(NOW, 0.0), (at, 3.0)]
    assert Metrics(NOW, {}, {("fulfillment", "fulfilled"): points}).recently_fulfilled() == (at if known else None)


def test_a_queue_was_received_from_until_the_end_of_the_newest_minute_with_a_receive() -> None:
    def ago(minutes: int) -> Points:
        return [(NOW - timedelta(minutes=minutes - 1), 0), (NOW - timedelta(minutes=minutes), 2)]

    assert of_queue(received=ago(9), empty=ago(5)).last_poll_at("Q") == NOW - timedelta(minutes=4)
    assert of_queue(received=[(NOW, 0)]).last_poll_at("Q") is None
    assert of_queue().last_poll_at("Q") is None


def test_rates_are_those_of_the_five_minutes_up_to_the_newest_point_of_any_metric() -> None:
    minute = timedelta(minutes=1)
    deleted = [(NOW - number * minute, 300.0) for number in range(3, 9)]
    metrics = of_queue(oldest=[(NOW - 2 * minute, 1)], deleted=deleted, sent=[(NOW - 6 * minute, 91)])
    assert metrics.deleted_per_second("Q") == 4.0
    assert metrics.drained_per_second("Q") == 4.0 - 0.303
    assert of_queue().drained_per_second("Q") is None
