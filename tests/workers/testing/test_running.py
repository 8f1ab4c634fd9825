"""Starting a worker: what is passed on, and what is refused before a process starts."""

import re
from decimal import Decimal
from pathlib import Path

import pytest

from workers.testing import running


def test_settings_may_be_numbers_and_switches() -> None:
    env: running.Environment = {"A": 3, "B": 0.5, "C": "text", "D": Path("/x"), "E": True}
    assert running._settings("escalation", env) == {"A": "3", "B": "0.5", "C": "text", "D": "/x", "E": "true"}


@pytest.mark.parametrize("value", [None, ["a"], b"a", Decimal(1)])
def test_another_value_is_refused_with_its_name(value: object) -> None:
    line = f"start_worker('escalation'): env WORKER_CONCURRENCY is {value!r}, must be a text or a number"
    with pytest.raises(TypeError, match=re.escape(line)):
        running._settings("escalation", {"WORKER_CONCURRENCY": value})


class Process:
    """A worker that does not end before it is killed."""

    def __init__(self) -> None:
        self.signals: list[str] = []

    def poll(self) -> int | None:
        return -9 if "kill" in self.signals else None

    def terminate(self) -> None:
        self.signals.append("terminate")

    def kill(self) -> None:
        self.signals.append("kill")

    def wait(self, timeout_s: float | None = None) -> int:
        if "kill" not in self.signals:
            raise subprocess.TimeoutExpired("worker", timeout_s or 0)
        return -9
