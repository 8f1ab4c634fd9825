from datetime import UTC, datetime

from workers.domain.retention import FOR_EVER, Retention

AT = "2026-11-22T10:00:00.999999Z"


def test_what_ended_expires_after_as_many_days_as_are_set() -> None:
    expected = int(datetime(2027, 2, 20, 10, tzinfo=UTC).timestamp())
    assert Retention(90).expires_at(AT) == expected


def test_without_a_retention_nothing_expires() -> None:
    assert FOR_EVER.expires_at(AT) is None
