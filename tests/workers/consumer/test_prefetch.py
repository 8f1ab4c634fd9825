import math

import pytest

from workers.consumer.prefetch import Prefetch


@pytest.mark.parametrize(
    ("handle_s", "receive_s", "count"),
    [
        (600, 0.01, 0),
        (11, 0.01, 0),
        (10, 0.01, 1),
        (1, 0.01, 10),
        (0.05, 0.001, 91),
        (0.05, 0.01, 200),
        (0.05, math.inf, 80),
        (0, 0.01, 400),
    ],
)
def test_the_faster_the_handlers_and_the_slower_the_receives_the_more_is_prefetched(
    handle_s: float, receive_s: float, count: int
) -> None:
    assert Prefetch(100, handle_s, receive_s=receive_s).count == count


def test_never_prefetches_more_than_four_times_the_concurrency() -> None:
    assert Prefetch(3, 0.001).count == 12
    assert Prefetch(1000, 0.001, receive_s=1).count == 4000


@pytest.mark.parametrize(("handle_s", "max_wait_s"), [(0, 0.02), (0.05, 0.02), (1, 0.05), (60, 3), (600, 5)])
def test_a_free_slot_waits_for_others_a_small_share_of_a_handlers_time(handle_s: float, max_wait_s: float) -> None:
    assert Prefetch(100, handle_s).max_wait_s == pytest.approx(max_wait_s)


def test_it_follows_the_mean_time_of_a_handler() -> None:
    prefetch = Prefetch(100, 10)
    for _ in range(200):
        prefetch.observe(0.05)
    assert prefetch.handle_s == pytest.approx(0.05, rel=0.01)
    prefetch.observe(100)
    assert prefetch.count < 80


def test_handlers_that_have_not_run_are_assumed_to_take_a_second() -> None:
    assert Prefetch(100) == Prefetch(100, 1.0)
    assert Prefetch(100).count == 4
