"""A run stands for a week: days, deploys and troubles, in any length."""

from itertools import pairwise

import pytest

from tests.soak.plan import Plan, Trouble

HOUR, HALF_A_MINUTE = Plan(), Plan(minutes=0.5, orders=1_500)


def test_an_hour_is_a_week() -> None:
    assert HOUR.days == 7
    assert HOUR.deploys() == [180.0 * number for number in range(1, 20)]
    assert 0 < sum(map(HOUR.kills, range(19))) < 10


@pytest.mark.parametrize("plan", [HOUR, HALF_A_MINUTE, Plan(minutes=15, orders=50_000)])
def test_all_orders_arrive_in_time_and_never_fewer_than_before(plan: Plan) -> None:
    due = [plan.due(plan.duration_s * step / 1000) for step in range(1001)]
    assert due[0] == 0
    assert due == sorted(due)
    assert due[-1] == plan.due(10 * plan.duration_s) == plan.orders


def test_a_day_has_a_night_and_a_rush_and_every_day_is_the_same() -> None:
    hours = [HOUR.day_s * hour / 24 for hour in range(24 * HOUR.days + 1)]
    counts = [HOUR.due(after) - HOUR.due(before) for before, after in pairwise(hours)]
    night, noon = counts[0], counts[12]
    assert noon > 3 * night > 0
    assert max(abs(first - last) for first, last in zip(counts[:24], counts[-24:], strict=True)) <= 1


@pytest.mark.parametrize("plan", [HOUR, HALF_A_MINUTE, Plan(minutes=15, orders=50_000)])
def test_every_day_has_each_trouble_once_at_the_same_time(plan: Plan) -> None:
    spells = plan.spells()
    assert list(spells) == sorted(spells, key=lambda spell: spell.start_s)
    for trouble in Trouble:
        days = [int(spell.start_s // plan.day_s) for spell in spells if spell.trouble is trouble]
        assert days == list(range(plan.days))
        hours = [spell.start_s % plan.day_s for spell in spells if spell.trouble is trouble]
        assert hours == pytest.approx([hours[0]] * plan.days)
    assert all(0 <= spell.start_s < spell.end_s <= plan.duration_s + 1e-6 for spell in spells)


def test_a_short_run_has_a_kill_and_a_stop() -> None:
    assert [HALF_A_MINUTE.kills(number) for number, _ in enumerate(HALF_A_MINUTE.deploys())] == [True, False]


def test_a_seed_repeats_the_troubles() -> None:
    assert Plan(seed=1).spells() == Plan(seed=1).spells() != Plan(seed=2).spells()


def test_only_a_run_with_two_days_after_the_warm_up_shows_growth() -> None:
    assert {minutes: Plan(minutes).shows_growth for minutes in (0.5, 3, 15, 60)} == {
        0.5: False,
        3: False,
        15: False,
        60: True,
    }
    assert Plan(15, warm_up_minutes=0).shows_growth
