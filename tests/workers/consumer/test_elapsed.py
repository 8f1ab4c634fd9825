import time

import pytest

from workers.consumer import elapsed


def test_a_suspended_machine_does_not_stop_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    read = {time.CLOCK_BOOTTIME: 5000.0, time.CLOCK_MONOTONIC: 1000.0}
    monkeypatch.setattr(time, "clock_gettime", read.__getitem__)
    assert elapsed.elapsed_s() == 5000.0


def test_systems_without_such_a_clock_use_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elapsed, "_BOOT_CLOCK", None)
    assert abs(elapsed.elapsed_s() - time.time()) < 60
