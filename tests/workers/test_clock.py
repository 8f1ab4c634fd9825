from datetime import UTC, datetime, timedelta, timezone

import pytest

from workers import clock

NOON = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)


def test_now_is_the_current_time() -> None:
    before = datetime.now(UTC)
    assert before <= clock.parse(clock.now()) <= datetime.now(UTC)


def test_times_are_written_in_utc_with_microseconds() -> None:
    assert clock.at(1_800_000_000.25) == "2027-01-15T08:00:00.250000Z"
    assert clock.written(NOON.replace(microsecond=0)) == "2026-11-22T12:00:00.000000Z"
    assert clock.written(NOON) == "2026-11-22T12:00:00.250000Z"
    assert clock.written(NOON.astimezone(timezone(timedelta(hours=1)))) == "2026-11-22T12:00:00.250000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00.250000Z",
        "2026-11-22T12:00:00.25Z",
        "2026-11-22T13:00:00.250+01:00",
        "2026-11-22 12:00:00.250000",
    ],
)
def test_a_time_is_read_and_utc_is_the_default(text: str) -> None:
    assert clock.parse(text) == NOON


@pytest.mark.parametrize("text", ["", "noon", "2026-13-01T00:00:00Z", "1800000000"])
def test_other_text_is_not_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"Invalid isoformat|month must be in"):
        clock.parse(text)


def test_people_read_times_in_utc_to_the_second_and_other_text_as_it_is() -> None:
    assert clock.shown("2026-11-22T13:00:00.250000+01:00") == "2026-11-22 12:00:00"
    assert clock.shown("then") == "then"


@pytest.mark.parametrize(
    ("value", "time"),
    [
        ("2026-11-22T10:00:00.000Z", "2026-11-22T10:00:00.000Z"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
        ("2026-11-22 10:00:00", "2026-11-22T10:00:00.000000Z"),
        ("2026-11-22T11:00:00+01:00", "2026-11-22T10:00:00.000000Z"),
        (1_764_000_000, "2025-11-24T16:00:00.000000Z"),
        ("0001-01-01T00:00:00+14:00", None),
        (1e300, None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_of_any_source_is_rfc_3339_in_utc(value: object, time: str | None) -> None:
    assert clock.rfc_3339(value) == time


def test_a_time_before_another_has_the_same_form() -> None:
    assert clock.earlier("2026-11-22T10:00:00.000000Z", 90) == "2026-11-22T09:58:30.000000Z"
