"""What grows is found: each measure of a worker that lives for the whole run, day against day."""

import os

import pytest

from tests.soak.measures import MEASURES, Sample, flatness, sample
from tests.soak.plan import Plan

HOUR = Plan()
MEMORY, DESCRIPTORS, TASKS, CPU = (measure.title for measure in MEASURES)


def grown(*, memory: float = 0, descriptors: float = 0, tasks: float = 0, cpu: float = 0) -> list[str]:
    """Return which measures are found to grow, if they grow by so much an hour."""
    samples, cpu_s, ended = [], 0.0, 0
    for step in range(720):
        share = step / 720
        arrived = HOUR.due(5 * step) - HOUR.due(5 * step - 5)
        cpu_s += arrived * (0.002 + cpu / 1000 * share)
        ended += arrived
        samples.append(
            Sample(
                5.0 * step,
                80 + memory * share + step % 3,
                round(20 + descriptors * share) + step % 4,
                round(30 + tasks * share) + step % 5,
                cpu_s,
                ended,
            )
        )
    found = flatness("fulfillment-1", samples, HOUR)
    assert all(one.is_flat is not None for one in found)
    return [one.measure.title for one in found if not one.is_flat]


def test_a_worker_that_only_varies_is_flat() -> None:
    assert grown() == []


@pytest.mark.parametrize(
    ("growth", "measure"),
    [({"memory": 15}, MEMORY), ({"descriptors": 40}, DESCRIPTORS), ({"tasks": 20}, TASKS), ({"cpu": 2.0}, CPU)],
)
def test_what_grows_is_found(growth: dict[str, float], measure: str) -> None:
    assert grown(**growth) == [measure]


def test_bursts_and_resets_are_no_growth() -> None:
    samples = []
    for step in range(720):
        late = step > 400
        descriptors = 5 if step % 10 == 0 else 190 if late and step % 3 == 0 else 40
        samples.append(
            Sample(5.0 * step, 80, descriptors, 150 if late and step % 3 == 0 else 10, step * 0.1, step * 50)
        )
    assert all(one.is_flat for one in flatness("fulfillment-1", samples, HOUR))


def test_what_grows_in_the_first_ten_minutes_only_is_flat() -> None:
    samples = [Sample(5.0 * step, min(80.0, 50 + step), 20, 30, step * 0.1, step * 50) for step in range(720)]
    assert all(one.is_flat for one in flatness("escalation-1", samples, HOUR))


def test_a_worker_that_was_not_measured_is_not_judged() -> None:
    unknown = [Sample(5.0 * step, 80, 20, None, 0, 0) for step in range(720)]
    for samples in ([], unknown):
        found = flatness("escalation-1", samples, HOUR)
        assert [one.is_flat for one in found if one.measure.title in {TASKS, CPU}] == [None, None]


def test_a_process_is_measured_until_it_has_ended() -> None:
    found = sample(os.getpid(), 7.0, 3, 100)
    assert found is not None
    assert (found.at_s, found.tasks, found.ended) == (7.0, 3, 100)
    assert found.memory_mb > 10
    assert found.descriptors > 2
    assert found.cpu_s > 0
    assert sample(2**22 + 1, 7.0, 3, 100) is None  # Above the largest process id of Linux.
