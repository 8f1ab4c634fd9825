"""The time, as it is written into tables and messages: RFC 3339, UTC, in microseconds."""

from datetime import UTC, datetime


def now() -> str:
    """Return the time now."""
    return _written(datetime.now(UTC))


def at(epoch_s: float) -> str:
    """Return the time *epoch_s*, in seconds since the epoch."""
    return _written(datetime.fromtimestamp(epoch_s, UTC))


def _written(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
