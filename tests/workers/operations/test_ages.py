from datetime import UTC, datetime, timedelta

import pytest

from workers.operations.ages import format_age, parse_age, seconds_since


@pytest.mark.parametrize(("text", "age"), [("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259200)])
def test_ages_are_read_and_written(text: str, age: int) -> None:
    assert parse_age(text) == timedelta(seconds=age)
    assert format_age(age) == text


@pytest.mark.parametrize("text", ["", "10", "s", "1.5h", "-1m", "10 m", "10w", "100000s", "10ms", "\u0661s"])
def test_other_text_is_not_an_age(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number and a unit"):
        parse_age(text)


def test_the_longest_age_has_five_digits() -> None:
    assert parse_age("99999d") == timedelta(days=99_999)


def test_an_age_is_written_in_the_largest_unit_of_which_it_has_two() -> None:
    assert [format_age(age) for age in (None, -5, 0.5, 119, 120)] == [None, "0s", "0s", "119s", "2m"]
    assert [format_age(age) for age in (1, 179, 7199, 7200, 172_799, 172_800)] == [
        "1s",
        "2m",
        "119m",
        "2h",
        "47h",
        "2d",
    ]


def test_the_age_of_an_invalid_time_is_unknown() -> None:
    now = datetime(2026, 11, 22, 10, tzinfo=UTC)
    assert seconds_since("2026-11-22T09:59:00.000Z", now) == 60
    assert [seconds_since(at, now) for at in (None, "", "yesterday")] == [None, None, None]
