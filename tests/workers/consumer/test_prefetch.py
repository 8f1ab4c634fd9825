import pytest

from workers.consumer.prefetch import Prefetch


@pytest.mark.parametrize(
    ("handle_s", "count"),
    [(600, 0), (11, 0), (10, 1), (1, 10), (0.1, 100), (0.05, 100), (0, 100)],
)
def test_the_faster_the_handlers_the_more_is_prefetched(handle_s: float, count: int) -> None:
    assert Prefetch(100, handle_s).count == count


def test_never_prefetches_more_than_the_concurrency() -> None:
    assert Prefetch(3, 0.001).count == 3
    assert Prefetch(1000, 0.001).count == 100


@pytest.mark.parametrize(("handle_s", "max_wait_s"), [(0, 0.02), (0.05, 0.02), (1, 0.05), (60, 3), (600, 5)])
def test_a_free_slot_waits_for_others_a_small_share_of_a_handlers_time(handle_s: float, max_wait_s: float) -> None:
    assert Prefetch(100, handle_s).max_wait_s == pytest.approx(max_wait_s)


def test_it_follows_the_mean_time_of_a_handler() -> None:
    prefetch = Prefetch(100, 10)
    for _ in range(200):
        prefetch.observe(0.05)
    assert prefetch.handle_s == pytest.approx(0.05, rel=0.01)
    prefetch.observe(100)
    assert prefetch.count < 100
