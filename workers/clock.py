"""Times as tables, messages and logs hold them: RFC 3339 in UTC with microseconds, `2026-11-22T10:00:00.000000Z`."""

from datetime import UTC, datetime


def now() -> str:
    """Return the current time."""
    return written(datetime.now(UTC))


def at(epoch_s: float) -> str:
    """Return the time *epoch_s* seconds after the epoch."""
    return written(datetime.fromtimestamp(epoch_s, UTC))


def written(at: datetime) -> str:
    """Return *at*, which must have a time zone, as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """
    Return the time in *text*; without a time zone it counts as UTC.

    Raises:
        ValueError: It is not a time.
    """
    parsed = datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
