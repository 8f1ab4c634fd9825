from datetime import UTC, date, datetime, timedelta

import pytest

from workers.operations.errors import OperationError
from workers.operations.windows import Moment, Window, parse_moment

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", timedelta(seconds=90)),
        ("3d", timedelta(days=3)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        (" 2026-11-22T10:00 ", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00:01.5Z", datetime(2026, 11, 22, 10, 0, 1, 500_000, tzinfo=UTC)),
        ("2026-11-22T10:00+02:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
    ],
)
def test_a_moment_is_an_age_or_a_time(text: str, moment: Moment) -> None:
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "1w", "22.11.2026", "2026-13-01", "0001-01-01T00:00+10:00"])
def test_any_other_text_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="must be an age, such as 2h or 3d, or a time, such as 2026-11-22"):
        parse_moment(text)


def test_a_window_without_a_begin_is_seven_days_long() -> None:
    assert Window().bounded(NOW) == Window(NOW - timedelta(days=7), None)
    until = datetime(2026, 10, 10, tzinfo=UTC)
    assert Window(None, until).bounded(NOW) == Window(datetime(2026, 10, 3, tzinfo=UTC), until)
    assert Window(until).bounded(NOW) == Window(until)


def test_a_window_that_ends_in_the_future_ends_now() -> None:
    until = NOW + timedelta(days=40)
    window = Window(None, until).bounded(NOW)
    assert (window, window.length_s(NOW)) == (Window(NOW - timedelta(days=7), until), 7 * 86_400)
    assert next(iter(window.days(NOW))) == NOW.date()
    assert Window(NOW - timedelta(days=366), until).bounded(NOW).length_s(NOW) == 366 * 86_400


def test_a_window_at_the_begin_of_all_times_has_days() -> None:
    first = datetime(1, 1, 1, tzinfo=UTC)
    assert [*Window(first, first + timedelta(days=1, hours=1)).days(NOW)] == [date(1, 1, 2), date(1, 1, 1)]
    with pytest.raises(OperationError, match="begins too early"):
        Window(None, first + timedelta(days=1)).bounded(NOW)


def test_a_window_is_at_most_366_days_long() -> None:
    for longest in (Window(NOW - timedelta(days=366)), Window(NOW - timedelta(days=366, minutes=5))):
        assert longest.bounded(NOW) == longest
    with pytest.raises(OperationError, match="longer than 366 days"):
        Window(NOW - timedelta(days=366, minutes=5, microseconds=1)).bounded(NOW)


@pytest.mark.parametrize(
    ("since", "until"),
    [
        ("1h", "1h"),
        ("1h", "2h"),
        ("0s", None),
        ("2026-11-23", None),
        ("2026-11-23", "2026-11-24"),
        ("2026-11-20", "2026-11-19"),
    ],
)
def test_an_empty_window_is_refused(since: str, until: str | None) -> None:
    with pytest.raises(OperationError, match="the time window is empty"):
        Window.of(NOW, parse_moment(since), None if until is None else parse_moment(until))


def test_an_age_beyond_all_times_is_refused() -> None:
    with pytest.raises(OperationError, match="begins too early"):
        Window.of(datetime(1, 1, 2, tzinfo=UTC), timedelta(days=3), None)


def test_the_part_of_a_window_that_is_older() -> None:
    window = Window(NOW - timedelta(days=3), NOW - timedelta(hours=2))
    assert window.older_than(NOW, None) == window
    assert window.older_than(NOW, timedelta(hours=1)) == window
    assert window.older_than(NOW, timedelta(hours=3)) == Window(window.since, NOW - timedelta(hours=3))
    assert Window().older_than(NOW, timedelta(hours=3)) == Window(None, NOW - timedelta(hours=3))
    for age in (timedelta(days=3), timedelta(days=4)):
        with pytest.raises(OperationError, match="the time window is empty"):
            window.older_than(NOW, age)


def test_the_days_of_a_window_are_those_of_utc_and_the_newest_comes_first() -> None:
    window = Window.of(NOW, parse_moment("2026-11-20T23:00-02:00"), None)
    assert [*window.days(NOW)] == [date(2026, 11, 22), date(2026, 11, 21)]
    ended = Window.of(NOW, timedelta(days=3), timedelta(days=1))
    assert [*ended.days(NOW)] == [date(2026, 11, 21), date(2026, 11, 20), date(2026, 11, 19)]
    assert next(iter(window.days(NOW.replace(hour=23, minute=56)))) == date(2026, 11, 23)


def test_a_window_includes_its_first_time_but_not_its_last() -> None:
    window = Window(NOW - timedelta(days=1), NOW)
    times = (
        "2026-11-21T11:59:59Z",
        "2026-11-21T12:00:00.000000Z",
        "2026-11-22T11:59:59Z",
        "2026-11-22T12:00:00.000000Z",
    )
    assert [window.includes(at) for at in times] == [False, True, True, False]
    assert [Window(window.since).includes(at) for at in times] == [False, True, True, True]
    assert [Window(None, NOW).includes(at) for at in times] == [True, True, True, False]
