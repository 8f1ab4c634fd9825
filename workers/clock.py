"""The time, as it is written into tables."""

from datetime import UTC, datetime


def now() -> str:
    """Return the time now, RFC 3339, UTC, in microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
