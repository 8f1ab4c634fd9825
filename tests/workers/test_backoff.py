import pytest

from workers.backoff import Backoff


@pytest.mark.parametrize(
    ("attempt", "bound_s"), [(1, 2.0), (2, 4.0), (3, 8.0), (9, 512.0), (10, 900.0), (100, 900.0), (10**6, 900.0)]
)
def test_waits_up_to_a_bound_that_doubles_with_each_attempt(attempt: int, bound_s: float) -> None:
    waits_s = [Backoff(2.0, 900.0).wait_s(attempt) for _ in range(500)]
    assert 0 <= min(waits_s) < bound_s * 0.05
    assert bound_s * 0.95 < max(waits_s) <= bound_s


def test_the_longest_wait_doubles_up_to_the_cap() -> None:
    assert [Backoff(1.0, 30.0).max_wait_s(attempt) for attempt in (1, 2, 5, 6, 1_000)] == [1.0, 2.0, 16.0, 30.0, 30.0]
    assert Backoff(1.0, 1e99).max_wait_s(10**6) == 2.0**32, "it never overflows"
