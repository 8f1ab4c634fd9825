import pytest

from workers.errors import OutageError, TransientError


def test_retry_after_is_bounded() -> None:
    assert OutageError("down", retry_after_s=1e9).retry_after_s == 600
    assert TransientError("busy", retry_after_s=1e9).retry_after_s == 600


@pytest.mark.parametrize("seconds", [float("nan"), -5, float("-inf")])
def test_retry_after_that_is_no_time_asks_for_nothing(seconds: float) -> None:
    assert OutageError("down", retry_after_s=seconds).retry_after_s == 0
    assert TransientError("busy", retry_after_s=seconds).retry_after_s == 0


def test_without_a_time_nothing_is_asked_for() -> None:
    assert (OutageError().retry_after_s, TransientError().retry_after_s) == (0, 0)
